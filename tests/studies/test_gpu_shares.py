import os

import pytest

from seqjax.studies.gpu_shares import gpu_shares


@pytest.fixture
def visible(monkeypatch):
    """Returns a function that sets which GPUs CUDA would use."""
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    return lambda gpus: monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)


@pytest.mark.parametrize(
    "gpus, workers, shares",
    [
        ("0,1,2,3", 4, ["0", "1", "2", "3"]),
        ("4,5,6,7", 2, ["4,5", "6,7"]),
        ("0,1,2", 2, ["0", "1"]),
        ("GPU-a, GPU-b", 3, ["GPU-a", "GPU-b", "GPU-a"]),
        ("3", 2, ["3", "3"]),
    ],
)
def test_every_worker_has_gpus_of_its_own_while_there_are_enough(visible, gpus, workers, shares):
    visible(gpus)
    assert gpu_shares(workers) == [{"CUDA_VISIBLE_DEVICES": share} for share in shares]


def test_one_worker_alone_sees_what_it_would_see_anyway(visible):
    visible("0,1,2,3")
    assert gpu_shares(1) == []


@pytest.mark.parametrize("content, shares", [("0\n1\n", ["0", "1"]), (None, [])])
def test_the_driver_decides_if_nothing_is_set(visible, monkeypatch, tmp_path, content, shares):
    program = tmp_path / "nvidia-smi"
    answer = "exit 9" if content is None else f"printf '{content}'"
    program.write_text(f"#!/bin/sh\n[ $1 = --query-gpu=index ] && {answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu_shares(2) == [{"CUDA_VISIBLE_DEVICES": share} for share in shares]


def test_no_gpu_is_handed_out_where_none_is(visible, monkeypatch):
    visible("")
    assert gpu_shares(2) == []
    visible("0,1")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert gpu_shares(2) == []
