import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from seqjax.errors import Unavailable, UserError
from seqjax.parallel.processes import Processes, joined

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs" / "demo.py"


@pytest.mark.parametrize(
    "given, message",
    [
        (("two",), "--processes=two: expected a number from 1, or 'auto'"),
        (("0",), "--processes=0: expected a number from 1, or 'auto'"),
        (
            ("auto", 1),
            "--processes=auto: expected a number above 1 with --process and",
        ),
        (("1", -1, "host:1234"), "--processes=1: expected a number above 1 with"),
        (("4", 4, "host:1234"), "--process=4: expected 0 to 3, since --processes=4"),
        (("4", -1, "host:1234"), "--process=-1: expected 0 to 3"),
        (("2", 0, "host"), "--coordinator=host: expected HOST:PORT of process 0"),
        (("2", 0, "host:99999"), "--coordinator=host:99999: expected HOST:PORT of process 0"),
        (("2", 0, "host:0"), "--coordinator=host:0: expected HOST:PORT of process 0"),
    ],
)
def test_options_that_do_not_go_together(given, message):
    with pytest.raises(UserError, match=message):
        Processes(*given).check()


@pytest.mark.parametrize("given", [(), ("auto",), ("2", 1, "host:1234")])
def test_options_that_do(given):
    Processes(*given).check()


def test_where_the_others_cannot_be_is_reported_before_any_waiting():
    def join(processes):
        with joined(processes, lambda error: 1):
            pass

    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError, match=f"expected a free port, process 0 cannot listen on {port} "
        ):
            join(Processes("2", 0, f"localhost:{port}"))
    with pytest.raises(
        Unavailable,
        match="--coordinator=no.such.host:99: expected a known host, no.such.host was not",
    ):
        join(Processes("2", 1, "no.such.host:99"))


# The second process meets what is wrong for both later than the first, which keeps the service up.
FAIL = """
import sys, time
from seqjax.parallel.processes import Processes, joined

number = int(sys.argv[2])
with joined(Processes("2", number, f"localhost:{sys.argv[1]}"), lambda error: 2):
    import jax
    jax.devices()
    time.sleep(3 * number)
    raise ValueError
"""


@pytest.mark.slow
def test_what_is_wrong_for_all_is_reported_by_each():
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FAIL, str(port), str(number)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for number in range(2)
    ]
    assert [process.wait(60) for process in processes] == [2, 2]


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def started(count, devices, verb, *options):
    """Starts a verb in so many processes with so many devices each."""
    port = free_port()
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    join = [f"--processes={count}", f"--coordinator=localhost:{port}"] if count > 1 else []
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "seqjax", verb, *map(str, options)]
            + ([*join, f"--process={number}"] if join else []),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def run(count, devices, verb, *options, text=""):
    """Returns exit codes, and standard outputs, of all processes."""
    with started(count, devices, verb, *options) as processes:
        outputs = [process.communicate(text, timeout=240) for process in processes]
        assert [process.returncode for process in processes] == [0] * count, outputs
    return [output for output, _ in outputs]


FIELDS = {"train.duration": 20, "checkpoint.every": 10, "evaluation.every": 20}
FIELDS |= {"optimizer.kind": "sgd"}
LAYOUTS = {
    "data": {"parallel.data": 4},
    "mixed": {"parallel.data": 1, "parallel.fsdp": 2, "parallel.model": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "count, layout", [(2, "mixed"), pytest.param(4, "data", marks=pytest.mark.thorough)]
)
def test_processes_train_what_one_does(count, layout, tiny, saved, reported, tmp_path):
    options = [f"--config={DEMO}", *tiny(FIELDS | LAYOUTS[layout])]
    alone, together = tmp_path / "alone", tmp_path / "together"
    run(1, 4, "train", f"--workdir={alone}", *options)
    run(count, 4 // count, "train", f"--workdir={together}", *options)
    for step in (10, 20):
        one, other = saved(alone, step), saved(together, step)
        assert one.keys() == other.keys()
        for name, (_, dtype, content) in one.items():
            mine, others = (np.frombuffer(x, dtype) for x in (content, other[name][2]))
            np.testing.assert_allclose(mine, others, rtol=1e-4, atol=1e-6, err_msg=name)
    # Only one of them writes.
    assert [line["step"] for line in reported(together)] == [
        line["step"] for line in reported(alone)
    ]


@pytest.mark.slow
@pytest.mark.thorough
def test_processes_evaluate_and_predict_what_one_does(tiny, tmp_path):
    count, together = 2, tmp_path
    options = [f"--config={DEMO}", *tiny(FIELDS | LAYOUTS["mixed"])]
    run(1, 4, "train", f"--workdir={together}", *options)
    evaluate = ["--split=validation", "--config.evaluation.limit=50"]
    (wanted,) = run(1, 4, "evaluate", f"--workdir={together}", *evaluate)
    found, *silent = run(count, 4 // count, "evaluate", f"--workdir={together}", *evaluate)
    assert not any(silent)
    times = ("decoding_seconds", "loss", "perplexity")
    wanted, found = json.loads(wanted), json.loads(found)
    np.testing.assert_allclose(found["loss"], wanted["loss"], rtol=1e-5)
    assert {k: v for k, v in found.items() if k not in times} == {
        k: v for k, v in wanted.items() if k not in times
    }

    lines = "der Hund\n\ndie Frau singt\n"
    (wanted,) = run(1, 4, "predict", f"--workdir={together}", text=lines)
    assert run(count, 4 // count, "predict", f"--workdir={together}", text=lines)[0] == wanted


@pytest.mark.slow
def test_a_process_that_has_nothing_to_do_is_lines(tmp_path):
    options = [f"--config={DEMO}", f"--workdir={tmp_path}", "--config.parallel.data=1"]
    with started(2, 1, "train", *options) as processes:
        ends = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [2, 2], ends
    for _, error in ends:
        assert "error: parallel: 1 of 2 devices leave 1 of 2 processes without one" in error


@pytest.mark.slow
def test_a_notice_to_one_process_stops_all_after_the_same_step(tiny, tmp_path):
    fields = {"train.duration": 100_000, "checkpoint.every": 0, "evaluation.every": 0}
    options = [f"--config={DEMO}", f"--workdir={tmp_path}", *tiny(fields | {"parallel.data": 2})]
    with started(2, 1, "train", *options) as processes:
        metrics = tmp_path / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while not (metrics.exists() and metrics.read_text()) and time.monotonic() < deadline:
            time.sleep(0.2)
        processes[1].send_signal(signal.SIGTERM)
        ends = [process.communicate(timeout=120) for process in processes]
        assert [process.returncode for process in processes] == [128 + signal.SIGTERM] * 2, ends
    steps = [int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]
    assert len(steps) == 1
    assert f"SIGTERM: saved step {steps[0]}" in ends[0][1]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_where_one_vanishes_the_others_end_in_one_line_to_be_tried_again(victim, tiny, tmp_path):
    """Process 0 holds what joins all: without it JAX ends the others; else an operation fails."""
    fields = {"train.duration": 100_000, "checkpoint.every": 0, "evaluation.every": 0}
    options = [f"--config={DEMO}", f"--workdir={tmp_path}", *tiny(fields | {"parallel.data": 2})]
    with started(2, 1, "train", *options) as processes:
        metrics = tmp_path / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while not (metrics.exists() and metrics.read_text()) and time.monotonic() < deadline:
            time.sleep(0.2)
        processes[victim].kill()
        _, error = processes[1 - victim].communicate(timeout=120)
        assert processes[1 - victim].returncode == 75, error
    last = error.splitlines()[-1]
    assert last.startswith("seqjax: error: another process of this program has ended or cannot be ")
    assert error.count("seqjax: error: ") == 1
    assert "Traceback" not in error and "stack trace" not in error
