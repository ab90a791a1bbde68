"""A run directory that an earlier version wrote is read and continued.

`goldens/run_of_pairs.tar.gz` holds a tiny Transformer and its corpus, trained for 40 updates before
a batch was made of features and a checkpoint could hold a carry.
"""

import io
import json
import sys
import tarfile
from pathlib import Path

import pytest

from seqjax.commands.command_line import main

_STORED = Path(__file__).parent / "goldens" / "run_of_pairs.tar.gz"
# What it said when it was stored: text and log probability of the best output.
_OUTPUTS = {
    "a b c": ("y z x", -2.8857154846191406),
    "b a": ("y x", -1.2924752235412598),
    "c c b": ("z z y", -2.582474708557129),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    with tarfile.open(_STORED) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_a_stored_run_says_what_it_said(stored, monkeypatch, capfd):
    data = "".join(f"{line}\n" for line in _OUTPUTS).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["predict", f"--workdir={stored / 'run'}", "--n_best=1"]) == 0
    lines = capfd.readouterr().out.splitlines()
    for (source, (text, log_probability)), line in zip(_OUTPUTS.items(), lines, strict=True):
        found = json.loads(line)
        assert found["source"] == source and found["outputs"][0]["text"] == text
        expected = pytest.approx(log_probability, rel=1e-5)
        assert found["outputs"][0]["log_probability"] == expected


@pytest.mark.slow
def test_a_stored_run_goes_on(stored, capfd, tmp_path):
    fields = {
        "data.directory": stored / "corpus",
        "data.cache": tmp_path,
        "train.duration": 42,
        "parallel.data": 1,
    }
    options = [f"--config.{path}={value}" for path, value in fields.items()]
    assert main(["train", f"--workdir={stored / 'run'}", *options]) == 0
    assert "continuing at step 40" in capfd.readouterr().err
