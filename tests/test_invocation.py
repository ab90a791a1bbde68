import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from seqjax.invocation import command_line

_ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("program", "begin"),
    [
        ("launch.py", ["python", "launch.py"]),
        ("../it's/launch.py", ["python", "../it's/launch.py"]),
        ("/venv/bin/seqjax", ["seqjax"]),
        ("/site-packages/seqjax/__main__.py", ["python", "launch.py"]),
    ],
)
def test_a_command_can_be_pasted(monkeypatch, program, begin):
    monkeypatch.setattr(sys, "argv", [program, "sweep"])
    arguments = ["train", "--workdir=runs/a b", "--config.train.duration=3 steps", Path("it's $x")]
    assert shlex.split(command_line(arguments)) == begin + list(map(str, arguments))


def test_what_a_sweep_would_run_runs_from_another_folder(tmp_path):
    study = tmp_path / "a study.py"
    study.write_text(
        "from seqjax.config import default_config\n"
        "from seqjax.studies.study import Study\n"
        "def get_study():\n"
        "    return Study('s', {'only': default_config()})\n"
    )
    options = ["--dry_run", "--study=a study.py", "--workdir=it's runs"]
    shown = subprocess.run(
        [sys.executable, str(_ROOT / "launch.py"), "sweep", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    program, launcher, verb, config, *_ = shlex.split(shown.stdout.splitlines()[1])
    assert (program, verb, config) == ("python", "train", "--config=a study.py:only")
    assert Path(launcher).samefile(_ROOT / "launch.py")
