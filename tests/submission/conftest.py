import re
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


@pytest.fixture(scope="session")
def kubelet():
    """Returns a function that gives the command of a container as the kubelet runs it.

    `$(NAME)` is the variable of a container that has it, else what it is; `$$` is `$`.
    """

    def command(container):
        variables = {entry["name"]: entry["value"] for entry in container.get("env", ())}

        def read(match):
            return "$" if match[0] == "$$" else variables.get(match[1], match[0])

        words = [*container["command"], *container["args"]]
        return [re.sub(r"\$\$|\$\(([^)]*)\)", read, word) for word in words]

    return command
