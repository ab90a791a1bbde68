import os
import re
import shutil
import time
from pathlib import Path

import pytest

from seqjax.commands.command_line import main

_ROOT = Path(__file__).parents[2]
_DEMO = f"--config={_ROOT / 'configs' / 'demo.py'}"
_STUDY = f"--study={_ROOT / 'experiments' / 'scan' / 'study.py'}"
_SEARCH = f"--study={_ROOT / 'experiments' / 'demo_search' / 'study.py'}"
_BUCKET = "--workdir=gs://bucket/runs/Demo_1/"


@pytest.fixture
def submit(tmp_path, monkeypatch, capfd):
    """Returns a function that submits from an empty folder: exit code, output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*options):
        code = main(["submit", *options])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def nothing_installed(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))


def test_a_dry_run_shows_all_and_leaves_nothing(submit, tmp_path):
    field = "--config.train.duration=500 steps"
    code, out, error = submit("--on=slurm", _DEMO, "--workdir=runs/x", field, "--dry_run")
    assert (code, error) == (0, "")
    folder = tmp_path / "runs" / "x" / "submit"
    assert out.startswith(f"# {folder / 'job.sbatch'}\n#!/usr/bin/env bash\n")
    assert f"\ncd {tmp_path} || exit\n" in out
    assert f"train {_DEMO} --workdir=runs/x '{field}' --processes=auto\n" in out
    assert out.endswith(f"# submitted by\nsbatch {folder / 'job.sbatch'}\n")
    assert not list(tmp_path.iterdir())


def test_without_the_schedulers_command_it_is_reported(submit, nothing_installed, tmp_path):
    code, out, error = submit("--on=slurm", _STUDY, "--workdir=runs/x", "--output=files")
    assert code == 0
    files = tmp_path / "files"
    assert {path.name for path in files.iterdir()} == {"trials.sbatch", "table.sbatch", "submit.sh"}
    for path in files.iterdir():
        assert f"# {path}\n{path.read_text()}" in out
    assert "\n# note: the jobs share study.db in WORKDIR: SQLite needs" in out
    assert error == (f"sbatch is not installed here: run where it is: bash {files / 'submit.sh'}\n")


def test_a_sweep_gets_its_workers_and_its_groups(submit):
    options = [_STUDY, "--workdir=runs/x", "--workers=2", "--dry_run"]
    out = submit("--on=local", *options, "--vectorize=auto")[1]
    assert "--workdir=runs/x --vectorize=auto --workers=2" in out
    # Each trial is a job of the array, or each worker where trials are trained together.
    assert "--array=0-8%2\n" in submit("--on=slurm", *options)[1]
    out = submit("--on=slurm", *options, "--vectorize=auto")[1]
    assert "--array=0-1\n" in out and "--workers" not in out and "--trial" not in out


def test_machines_elsewhere_get_the_checkout(submit, nothing_installed, tmp_path):
    options = ["--on=tpu", _DEMO, _BUCKET, "--devices=tpu-v5e-16", "--zone=us-east5-a"]
    code, out, error = submit(*options)
    assert code == 0
    # The first digits of `printf gs://bucket/runs/Demo_1 | sha256sum`.
    folder = tmp_path / "runs" / "demo-1-aaf2aa" / "submit"
    task = (folder / "task.yaml").read_text()
    assert f'workdir: "{_ROOT}"\n' in task and "name: seqjax-demo-1-aaf2aa\n" in task
    assert "launch.py train --config=configs/demo.py --workdir=gs://bucket/runs/Demo_1/" in task
    assert error.startswith(f"sky is not installed here: run where it is: (cd {folder} && sky ")
    assert error.endswith(f", or here: bash {folder / 'gcloud.sh'}\n")
    assert f"# or by hand\nbash {folder / 'gcloud.sh'}\n" in out

    (tmp_path / "mine.py").write_text((_ROOT / "configs" / "demo.py").read_text())
    code, out, error = submit("--on=cloud", "--config=mine.py", _BUCKET)
    assert (code, out) == (2, "")
    assert f"--config=mine.py: expected a file below {_ROOT}, which is copied" in error


@pytest.mark.parametrize(
    "on",
    [
        ["tpu", "--devices=tpu-v5e-8"],
        ["cloud"],
        ["kubernetes", "--image=x", "--volume=claim:/data"],
    ],
    ids=lambda on: on[0],
)
def test_machines_elsewhere_get_corpora_that_they_can_have(submit, on, monkeypatch):
    storage = "--storage=postgresql://me@host/scan"
    options = [f"--on={on[0]}", *on[1:], _STUDY, _BUCKET, storage, "--dry_run"]
    monkeypatch.delenv("SEQJAX_DATA", raising=False)
    code, out, error = submit(*options)
    assert (code, out) == (2, "") and error.count("\n") == 1
    assert "data.directory=$SEQJAX_DATA/scan/simple_split: expected a bucket such as gs" in error
    assert ("--volume=CLAIM:/PATH" in error) == (on[0] == "kubernetes")
    monkeypatch.setenv("SEQJAX_DATA", "/home/me")
    assert "data.directory=/home/me/scan/simple_split: expected" in submit(*options)[2]
    # The extra follows from the variable, which no argument names.
    monkeypatch.setenv("SEQJAX_DATA", "s3://mine/a b")
    code, out, error = submit(*options)
    assert (code, error) == (0, "") and "export SEQJAX_DATA='s3://mine/a b'\n" in out
    assert on[0] == "kubernetes" or "gs,s3,postgresql]'\n" in out
    monkeypatch.setenv("SEQJAX_DATA", "/data/corpora")
    assert submit(*options)[0] == (0 if on[0] == "kubernetes" else 2)


@pytest.mark.parametrize(
    "corpus, directory, fits",
    [
        ("tfds:wmt14_translate/de-en", "", True),
        ("tfds:wmt14_translate/de-en", "/home/me/tfds", True),
        ("synthetic:translation", "/nowhere", True),
        ("text", "corpora/mine", True),
        ("text", "../corpora", False),
        ("text", "~/corpora", False),
    ],
)
def test_a_corpus_elsewhere_is_made_there_or_comes_with_the_code(submit, corpus, directory, fits):
    fields = [f"--config.data.corpus={corpus}", f"--config.data.directory={directory}"]
    code, _, error = submit("--on=cloud", _DEMO, _BUCKET, *fields, "--dry_run")
    assert code == (0 if fits else 2) and ("data.directory=" in error) != fits


def test_runs_of_one_name_in_two_folders_are_two_jobs(submit):
    names = set()
    for workdir in ("gs://a/demo", "gs://b/demo", "gs://b/demo/", f"gs://a/{'long-' * 20}"):
        _, out, _ = submit("--on=cloud", _DEMO, f"--workdir={workdir}", "--dry_run")
        (name,) = re.findall("^name: (.*)$", out, re.MULTILINE)
        assert len(name) <= 50 and f"/runs/{name.removeprefix('seqjax-')}/submit/task.yaml" in out
        names.add(name)
    assert len(names) == 3


@pytest.mark.parametrize("on", ["local", "slurm"])
def test_a_search_is_one_sweep_which_names_its_database(submit, on):
    storage = "--storage=postgresql://me@host/searches"
    code, out, error = submit(f"--on={on}", _SEARCH, "--workdir=runs/x", storage, "--dry_run")
    assert (code, error) == (0, "")
    # `sweep` knows of no other processes.
    assert f" sweep {_SEARCH} --workdir=runs/x {storage}\n" in out and "--trial=" not in out


@pytest.mark.parametrize(
    "options, reported",
    [
        (["--on=mars", _DEMO], "--on=mars: expected "),
        ([_DEMO], "--on: expected a value, since it is required"),
        (
            ["--on=slurm"],
            "submit: expected --config=FILE or the --workdir of an existing run; runs/x",
        ),
        (["--on=slurm", _DEMO, _STUDY], "--study and --config: expected one of the two"),
        (["--on=slurm", _DEMO, "--config.train.duratio=1"], "did you mean 'train.duration'?"),
        (
            ["--on=slurm", _STUDY, "--config.train.patience=0"],
            "'simple-lstm': train.patience",
        ),
        (
            ["--on=local", _DEMO, "--nodes=2"],
            "--nodes: expected no such option; --on=local",
        ),
        (
            ["--on=slurm", _DEMO, "--zone=us-east5-a"],
            "--zone: expected no such option; --on=slurm takes --devices, --nodes, --time_limit,",
        ),
        (["--on=slurm", _DEMO, "--on_demand"], "--on_demand: expected no such option; --on=slurm"),
        (["--on=slurm", _DEMO, "--workers=2"], "--workers=2: expected --study=FILE with it"),
        (["--on=local", _STUDY, "--workers=0"], "--workers=0: expected at least 1"),
        (["--on=local", _STUDY, "--vectorize=x"], "--vectorize=x: expected 'auto', 'off', or a"),
        (["--on=local", _SEARCH, "--vectorize=2"], "--vectorize=2: the trials of a search are"),
        (["--on=slurm", _DEMO, "--nodes=0"], "--nodes=0: expected 1 or more"),
        (["--on=slurm", _DEMO, "--time_limit=2h"], "--time_limit=2h: expected hours, minutes and"),
        (["--on=slurm", _DEMO, "--option=gpu"], "--option=gpu: expected an option of sbatch"),
        (["--on=slurm", _DEMO, "--devices=h10x8"], "did you mean 'h100'?"),
        (["--on=slurm", _DEMO, "--devices=h100x3", "--nodes=2"], "a multiple of --nodes=2"),
        (["--on=cloud", _DEMO, "--devices=gpux8"], "--devices=gpux8: expected one of"),
        (["--on=tpu", _DEMO, "--devices=tpu-v5e-8"], "--workdir=runs/x: expected a bucket"),
        (["--on=tpu", _DEMO, "--zone=here"], "--zone=here: expected a zone such as us-east5-a"),
        (["--on=local", _DEMO, "--workdir=s3://bucket/x"], "a local path or gs://..."),
        (
            ["--on=local", _STUDY, "--workdir=gs://bucket/x"],
            "--storage=: expected a database such as postgresql://user@host/name, since SQLite",
        ),
        (["--on=slurm", _DEMO, "--storage=postgresql://host/x"], "expected --study=FILE with it"),
        (["--on=slurm", _STUDY, "--storage=study.db"], "--storage=study.db: expected a database"),
        (["--on=kubernetes", _DEMO], "--image=: expected a container image"),
    ],
)
def test_mistakes_are_one_line_before_any_file(submit, tmp_path, options, reported):
    code, out, error = submit("--workdir=runs/x", *options)
    assert (code, out) == (2, "")
    assert error.startswith("seqjax: error: ") and error.count("\n") == 1 and reported in error
    assert not list(tmp_path.iterdir())


def test_a_password_is_for_nobody_else(submit, nothing_installed, tmp_path):
    options = ["--on=slurm", _SEARCH, "--workdir=runs/x", "--workers=2"]
    code, out, _ = submit(*options, "--storage=postgresql://me:pa$$word@host/x")
    assert code == 0 and "# note: these files hold the password of --storage" in out
    files = list((tmp_path / "runs" / "x" / "submit").iterdir())
    assert files and {path.stat().st_mode & 0o777 for path in files} == {0o600}
    out = submit(*options, "--storage=postgresql://me@host/x", "--dry_run")[1]
    assert "# note: these files hold the password" not in out


def test_what_no_file_can_hold_is_refused(submit):
    broken = os.fsdecode(b"--workdir=runs/\xff")
    code, out, error = submit("--on=local", _DEMO, broken)
    assert (code, out) == (2, "")
    assert error == "seqjax: error: --workdir=b'runs/\\xff': expected UTF-8\n"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("nohup"), reason="nohup is not installed")
def test_a_local_job_runs_in_the_background(submit, tiny, tmp_path):
    code, out, _ = submit("--on=local", _DEMO, "--workdir=x", *tiny({"train.duration": 3}))
    assert code == 0 and out.splitlines()[-1].startswith("nohup bash ")
    log = tmp_path / "x" / "submit" / "run.log"
    deadline = time.monotonic() + 120
    said = ""
    while "what comes next" not in said and time.monotonic() < deadline:
        time.sleep(0.5)
        said = log.read_text() if log.exists() else ""
    assert "complete at step 3" in said
    # A run that is continued needs no file.
    assert submit("--on=local", "--workdir=x", "--dry_run")[0] == 0
    assert os.path.exists("x/checkpoints/3")
