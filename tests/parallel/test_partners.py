import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from seqjax.errors import Unavailable
from seqjax.parallel.partners import lost

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "text",
    [
        "UNKNOWN: Gloo all-reduce failed: [pair.cc:547] Connection closed by peer [::1]:80\nmore",
        "INTERNAL: NCCL operation ncclAllReduce failed: unhandled system error",
        "DEADLINE_EXCEEDED: Barrier timed out",
    ],
)
def test_what_fails_for_want_of_another_process_may_be_tried_again(text):
    error = jax.errors.JaxRuntimeError(text)
    found = lost(error)
    assert isinstance(found, Unavailable)
    assert text.splitlines()[0] in str(found) and "\n" not in str(found)
    wrapped = RuntimeError("a step failed")
    wrapped.__cause__ = error
    assert isinstance(lost(wrapped), Unavailable)


@pytest.mark.parametrize(
    "error",
    [
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 5 bytes"),
        ValueError("Gloo"),
    ],
)
def test_other_errors_stay_what_they_are(error):
    assert lost(error) is error


SCRIPT = """
import os, sys
from seqjax.parallel.partners import Partners

def report(error):
    print(f"lost: {error}", file=sys.stderr)
    return 75

with Partners(report).watched():
    for line in sys.argv[1:]:
        os.write(2, line.encode() + b"\\n")
    os.abort()
"""
GIVEN_UP = [
    "E1130 22:45:18.54 21985 coordination_service_agent.cc:289] Polled an error",
    "F1130 22:45:18.55 21985 client.h:80] Terminating process because the JAX distributed service"
    " detected fatal errors.",
    "    @     0x7fd08a540634  absl::lts_20260107::log_internal::LogMessage::SendToLog()",
]
OTHER = "F1130 22:45:18.55 21985 other.cc:80] Check failed"


@pytest.mark.parametrize(
    ("lines", "code", "shown"),
    [
        (["[Gloo] connected", *GIVEN_UP], 75, ["[Gloo] connected", "lost: another process of "]),
        # Of any other abort everything is shown.
        (["[Gloo] connected", OTHER], -6, ["[Gloo] connected", OTHER]),
    ],
)
def test_an_abort_for_want_of_another_process_is_one_line(lines, code, shown):
    command = [sys.executable, "-c", SCRIPT, *lines]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == code, done.stderr
    found = done.stderr.splitlines()
    assert len(found) == len(shown)
    assert all(line.startswith(start) for line, start in zip(found, shown, strict=True)), found
