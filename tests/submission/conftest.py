import subprocess
from pathlib import Path

import pytest

from seqjax.parallel.catalog import find_devices
from seqjax.submission.job import Job

_GOLDENS = Path(__file__).parents[1] / "goldens" / "submission"
_TRAIN = ("train", "--config=configs/demo.py", "--config.train.duration=500 steps")
_SWEEP = ("sweep", "--study=experiments/scan/study.py")
_TRIALS = ("simple-lstm", "simple-gru", "jump-lstm")


@pytest.fixture(scope="session")
def job():
    """Returns a function that makes a job of a training, or of a sweep over three trials."""

    def make(workdir="runs/demo", devices="", study=False, **fields):
        fields["devices"] = find_devices(devices, any_gpu=True) if devices else None
        if study:
            fields["trials"] = _TRIALS
        fixed = {
            "name": "seqjax-demo",
            "folder": Path("/home/me/seqjax/runs/demo/submit"),
            "here": Path("/home/me/seqjax"),
        }
        arguments = (*(_SWEEP if study else _TRAIN), f"--workdir={workdir}")
        if fields.get("storage"):
            arguments += (f"--storage={fields['storage']}",)
        return Job(**(fixed | {"arguments": arguments, "workdir": workdir} | fields))

    return make


@pytest.fixture
def same_as_golden(update_goldens):
    """Returns a function that compares the files of a submission, and its command, with a folder's.

    Scripts must be such that bash can read them.
    """

    def compare(submission, name):
        folder = _GOLDENS / name
        files = {**submission.files, "command.txt": submission.command + "\n"}
        if update_goldens:
            folder.mkdir(parents=True, exist_ok=True)
            for file, text in files.items():
                (folder / file).write_text(text)
        assert files == {path.name: path.read_text() for path in folder.iterdir()}, (
            "if the change is meant: python -m pytest tests/submission --update-goldens"
        )
        for file, text in files.items():
            if text.startswith("#!/usr/bin/env bash\n"):
                done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
                assert (done.returncode, done.stderr) == (0, ""), file

    return compare
