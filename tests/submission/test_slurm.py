"""SLURM's scripts; where a SLURM is at hand they run for real."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seqjax.errors import UserError
from seqjax.submission import slurm

_ROOT = Path(__file__).parents[2]
# Trainings of seconds wait for a machine, start, compile.
_PATIENCE = 240


def test_the_script_of_a_run_is_the_golden_one(job, same_as_golden):
    asked = {"devices": "h100x16", "nodes": 2, "time_limit": "24:00:00"}
    asked["options"] = ("--partition=gpu", "--account=me")
    same_as_golden(slurm.submission(job(**asked)), "slurm")


def test_the_scripts_of_a_study_are_the_golden_ones(job, same_as_golden):
    same_as_golden(slurm.submission(job("runs/scan", study=True, devices="gpux1")), "slurm-study")


@pytest.mark.parametrize("cpus, reported", [({"SLURM_CPUS_PER_TASK": "16"}, 1), ({}, 0)])
def test_the_processors_of_a_task_are_those_of_the_job(job, tmp_path, cpus, reported):
    """The script as bash runs it, with a function in srun's place that prints its arguments."""
    asked = job(here=tmp_path, options=("--cpus-per-task=16",))
    script = slurm.submission(asked).files["job.sbatch"]
    assert "#SBATCH --cpus-per-task=16\n" in script
    done = subprocess.run(
        ["bash", "-c", f'srun() {{ printf "%s\\n" "$@"; }}\n{script}'],
        env={"PATH": os.environ["PATH"], **cpus},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = ["--cpus-per-task=16"] * reported + ["python", "launch.py", "train"]
    assert done.stdout.splitlines()[: len(expected)] == expected


def test_jobs_that_share_a_file_are_warned_of_its_locks(job):
    shared = slurm.submission(job("runs/scan", study=True))
    assert "SQLite needs a file system that keeps locks" in shared.note
    storage = "postgresql://me@host/scan"
    served = slurm.submission(job("runs/scan", study=True, storage=storage))
    assert served.note == "" and slurm.submission(job()).note == ""
    for name in ("trials.sbatch", "table.sbatch"):
        assert f" --workdir=runs/scan --storage={storage}" in served.files[name]


def test_an_array_has_no_more_jobs_at_a_time_than_asked_for(job):
    found = slurm.submission(job("runs/scan", study=True, workers=2))
    assert "#SBATCH --array=0-2%2\n" in found.files["trials.sbatch"]


def test_the_workers_of_a_search_are_an_array_and_share_it(job):
    search = {"arguments": ("sweep", "--study=search.py", "--workdir=runs/search")}
    found = slurm.submission(job("runs/search", workers=4, **search))
    script = found.files["trials.sbatch"]
    assert "#SBATCH --array=0-3\n" in script and "--trial" not in script
    assert "launch.py sweep --study=search.py --workdir=runs/search\n" in script
    assert "SQLite needs" in found.note
    assert set(slurm.submission(job("runs/search", **search)).files) == {"job.sbatch"}


def test_an_array_that_is_too_large_by_default_is_reported(job):
    many = tuple(f"trial-{number:04}" for number in range(1001))
    asked = job(arguments=("sweep", "--study=x.py", "--workdir=runs/x"), trials=many)
    assert "1001 jobs needs a larger MaxArraySize" in slurm.submission(asked).note


@pytest.mark.parametrize(
    "asked, reported",
    [
        ({"devices": "tpu-v5e-8"}, "--devices=tpu-v5e-8: --on=slurm expects GPUs such as h100x8"),
        ({"options": ("--a", "gpu")}, "--option=gpu: expected an option of sbatch"),
        ({"options": ("--a\nrm",)}, "expected an option of sbatch"),
        ({"study": True, "nodes": 2}, "--nodes=2: expected 1, since a trial runs on one machine"),
    ],
)
def test_what_it_cannot_run_is_refused(job, asked, reported):
    with pytest.raises(UserError, match=re.escape(reported)):
        slurm.submission(job(**asked))


@pytest.fixture
def queue():
    """Returns a function that asks SLURM for a field of a job; skips where there is none."""
    if not all(map(shutil.which, ("sbatch", "sinfo", "scontrol"))):
        pytest.skip("no SLURM: sbatch, sinfo and scontrol are not installed")
    idle = subprocess.run(["sinfo", "--noheader", "--states=idle"], capture_output=True, text=True)
    if idle.returncode or not idle.stdout:
        pytest.skip(f"no SLURM: sinfo says {(idle.stderr or 'that no node is idle').strip()}")

    def ask(number, field):
        command = ["scontrol", "show", "job", "--oneliner", number]
        reported = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return re.search(rf"\b{field}=(\S+)", reported)[1]

    return ask


@pytest.fixture
def submitted(job, tmp_path, queue):
    """Returns a function that submits the files of a job and returns its number."""
    numbers = []

    def submit(arguments, **fields):
        program = (sys.executable, str(_ROOT / "launch.py"))
        made = job(folder=tmp_path, here=_ROOT, arguments=arguments, program=program, **fields)
        submission = slurm.submission(made)
        for name, text in submission.files.items():
            (tmp_path / name).write_text(text)
        done = subprocess.run(
            ["bash", "-c", submission.command], capture_output=True, text=True, check=True
        )
        numbers.extend(re.findall(r"job (\d+)", done.stdout))
        return numbers[-1]

    yield submit
    for number in numbers:
        subprocess.run(["scancel", number])


def _wait(until):
    deadline = time.monotonic() + _PATIENCE
    while not until() and time.monotonic() < deadline:
        time.sleep(0.5)


@pytest.mark.slow
def test_a_job_of_two_tasks_trains_stops_is_queued_again_and_ends(
    submitted, queue, tiny, tmp_path, monkeypatch
):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    workdir = tmp_path / "run"
    fields = {"train.duration": 100_000, "checkpoint.every": 0, "evaluation.every": 0}
    fields |= {"parallel.data": 2, "reporting.every": 1}
    demo = f"--config={_ROOT / 'configs' / 'demo.py'}"
    # One machine stands for two: both tasks are on it.
    options = ("--ntasks-per-node=2", "--overcommit")
    arguments = ("train", demo, f"--workdir={workdir}", *tiny(fields))
    number = submitted(arguments, options=options)
    metrics, log = workdir / "metrics.jsonl", tmp_path / f"{number}.log"
    _wait(lambda: metrics.exists() and metrics.read_text())
    assert metrics.exists(), log.read_text()
    (session,) = json.loads((workdir / "environment.json").read_text())["sessions"]
    assert (session["processes"], session["devices"][0]["count"]) == (2, 2)
    # As the time limit, or a job that goes before, does.
    subprocess.run(["scancel", "--signal=TERM", number], check=True)
    _wait(lambda: queue(number, "Restarts") == "1")
    assert queue(number, "Restarts") == "1", log.read_text()
    saved = [int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()]
    assert len(saved) == 1 and f"SIGTERM: saved step {saved[0]}" in log.read_text()
    # SLURM lets two minutes pass before it starts the job again; in the second of its end it can't.
    subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now+5"])
    _wait(lambda: len(json.loads((workdir / "environment.json").read_text())["sessions"]) == 2)
    assert len(json.loads((workdir / "environment.json").read_text())["sessions"]) == 2
