import signal
import types
from pathlib import Path

import pytest

from seqjax.studies import processes
from seqjax.studies.processes import launch


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Returns a function that puts a program in the place of seqjax."""

    def put(text):
        package = tmp_path / "seqjax"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(text)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(
            processes, "seqjax", types.SimpleNamespace(__file__=str(package / "__init__.py"))
        )

    return put


def test_a_verb_of_seqjax_from_any_folder(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    outcome = launch(["evaluate", "--workdir=none"])
    assert outcome.code == 2 and outcome.output == "" and outcome.signal == 0
    assert outcome.complaint == (
        "seqjax: error: --workdir=none: has no config.json, expected a trained run"
    )
    assert capfd.readouterr() == ("", outcome.complaint + "\n")
    assert list(Path().iterdir()) == []


def test_output_is_kept_and_the_rest_is_shown(program, capfd):
    program(
        "import sys\nprint('x' * 1_000_000, 'ü')\nprint('one', file=sys.stderr)\n"
        "print('two  ', file=sys.stderr)\nprint(file=sys.stderr)\n"
        "sys.exit(sys.argv[1:] != ['a', 'b'])\n"
    )
    outcome = launch(["a", "b"])
    assert outcome == (0, "x" * 1_000_000 + " ü\n", "two", 0)
    assert capfd.readouterr() == ("", "one\ntwo  \n\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_handed_on_and_the_end_awaited(program, number, capfd):
    program(
        "import os, signal, sys, time\n"
        "def save(number, frame):\n"
        "    print('saved', file=sys.stderr)\n"
        "    sys.exit(128 + number)\n"
        f"signal.signal({int(number)}, save)\n"
        f"os.kill(os.getppid(), {int(number)})\n"
        "time.sleep(60)\n"
    )
    before = signal.getsignal(number)
    assert launch([]) == (128 + number, "", "saved", number)
    assert signal.getsignal(number) == before


def test_a_traceback_is_told_by_its_exception(program):
    program(
        "import sys\nprint('Traceback:\\n  raise KeyError(1)\\nKeyError: 1\\n---\\nFor simplicity,"
        " JAX has removed frames', file=sys.stderr)\nsys.exit(1)\n"
    )
    assert launch([]).complaint == "KeyError: 1"


def test_a_process_that_is_killed_says_so(program):
    program("import os\nos.kill(os.getpid(), 9)")
    assert launch([]) == (-9, "", "", 0)
