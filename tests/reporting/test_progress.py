"""The bar on a real pseudo-terminal and the lines elsewhere."""

import contextlib
import io
import os
import re
import sys
import threading
import time

import pytest

from seqjax.reporting.progress import Pace, Progress

METRICS = {"loss": 3.2144, "tokens_per_second": 5312.4, "peak_share": 0.412, "accuracy": 0.5}


def test_lines_where_there_is_no_terminal():
    stream = io.StringIO()
    with Progress(2000, 0, stream) as progress:
        for step in range(1, 400):
            progress.update(step)
        progress.update(400, METRICS)
        progress.message("saved [red]checkpoint[/red]")
        progress.update(2000, METRICS)
    line, message, last = stream.getvalue().splitlines()
    assert line == "step 400/2000  loss 3.214  5,312 tokens/s  41 % of peak  0 s left"
    assert message == "saved [red]checkpoint[/red]"
    assert last == "step 2000/2000  loss 3.214  5,312 tokens/s  41 % of peak  took 0 s"


def test_a_line_shows_what_is_known():
    stream = io.StringIO()
    progress = Progress(10, 4, stream)
    progress.update(5, {})
    progress.update(6, {"loss": float("nan"), "peak_share": 0.0042, "tokens_per_second": 2.5e6})
    lines = stream.getvalue().splitlines()
    assert lines[0] == "step 5/10"
    assert lines[1].startswith("step 6/10  loss nan  2.5M tokens/s  0.4 % of peak  ")


def test_lines_are_flushed(tmp_path):
    path = tmp_path / "log"
    with path.open("w") as stream:
        Progress(10, 0, stream).update(1, {"loss": 1.0})
        assert path.read_text() == "step 1/10  loss 1.000\n"


def test_a_log_on_a_full_disk_does_not_stop_the_work():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    # Unbuffered below: what is not written is not tried again at the end.
    raw = open("/dev/full", "wb", buffering=0)
    stream = io.TextIOWrapper(raw, write_through=True)
    with Progress(10, 0, stream) as progress:
        progress.update(1, METRICS)
        progress.message("saved")
    raw.close()


def test_a_process_without_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with Progress(10, 0) as progress:
        progress.update(1, METRICS)
        progress.message("saved")


def test_a_terminal_that_is_gone_does_not_stop_the_work(monkeypatch):
    pty = pytest.importorskip("pty", reason="pseudo-terminals are a Unix thing")
    monkeypatch.setenv("TERM", "xterm")
    master, slave = pty.openpty()
    stream = os.fdopen(slave, "w", encoding="utf-8")
    with Progress(10, 0, stream) as progress:
        progress.update(1, METRICS)
        os.close(master)
        with pytest.raises(OSError):
            print("a line", file=stream, flush=True)
        time.sleep(0.11)
        progress.update(2, METRICS)
        progress.message("saved")
    with contextlib.suppress(OSError):
        stream.close()


class Terminal:
    """A pseudo-terminal; between `__enter__` and `__exit__` it is standard error."""

    def __init__(self, monkeypatch, columns=80, kind="xterm-256color"):
        pty = pytest.importorskip("pty", reason="pseudo-terminals are a Unix thing")
        monkeypatch.setenv("TERM", kind)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", "24")
        self.output = ""
        self._monkeypatch = monkeypatch
        self._master, slave = pty.openpty()
        self._stream = os.fdopen(slave, "w", encoding="utf-8")
        # The kernel holds a few kilobytes only, so that someone must read while others write.
        self._reader = threading.Thread(target=self._read)

    def _read(self):
        data = b""
        while not data.endswith(b"\0"):
            data += os.read(self._master, 65536)
        self.output = data.decode().rstrip("\0")

    def __enter__(self):
        self._reader.start()
        self._monkeypatch.setattr(sys, "stderr", self._stream)
        return self

    def __exit__(self, *exception):
        self.given_back = sys.stderr is self._stream
        self._stream.write("\0")
        self._stream.close()
        self._reader.join()
        os.close(self._master)
        self._monkeypatch.undo()


def frames(output):
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    return [frame for frame in re.split(r"[\r\n]+", plain) if frame.strip()]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_bar_fits_and_survives_other_output(monkeypatch, columns):
    metrics = METRICS | {"loss": 13.2144, "tokens_per_second": 999_000.0}
    with Terminal(monkeypatch, columns) as terminal, Progress(200_000, 100_000) as progress:
        for step in range(100_001, 100_200):
            progress.update(step)
            time.sleep(0.002)
        progress.update(150_000, metrics)
        time.sleep(0.15)
        progress.update(150_001)
        progress.message("checkpoint [bold]saved[/bold]")
        print("a warning", file=sys.stderr)
    lines = frames(terminal.output)
    assert max(map(len, lines)) < columns
    assert "checkpoint [bold]saved[/bold]" in lines
    assert "a warning" in lines
    # Both stand above the bar, which is the last thing on the screen.
    assert lines[-1].startswith("150001/200000") and lines[-1].rstrip().endswith("left")
    assert "loss 13.214" in lines[-1]
    assert ("41 % of peak" in lines[-1]) == (columns >= 80)
    assert ("━━━━━━━━" in lines[-1]) == (columns >= 80)
    # Two hundred updates in half a second are drawn some ten times a second.
    assert len(lines) < 60


def test_a_failed_run_gives_the_terminal_back(monkeypatch):
    with Terminal(monkeypatch) as terminal:
        with pytest.raises(KeyboardInterrupt), Progress(10, 0) as progress:
            progress.update(1)
            raise KeyboardInterrupt
    assert terminal.given_back
    assert frames(terminal.output)[-1].startswith("1/10  ━")
    # The cursor is shown again.
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")


def test_a_dumb_terminal_gets_lines(monkeypatch):
    with Terminal(monkeypatch, kind="dumb") as terminal, Progress(10, 0) as progress:
        progress.update(1)
        progress.update(2, {"loss": 1.0})
    assert "\x1b" not in terminal.output
    assert terminal.output.startswith("step 2/10  loss 1.000")


def test_an_update_that_draws_nothing_is_cheap():
    progress = Progress(100_000, 0, io.StringIO())
    began = time.perf_counter()
    for step in range(10_000):
        progress.update(step)
    assert time.perf_counter() - began < 0.5


def test_pace_leaves_out_compilation_and_pauses():
    pace = Pace()
    now = 100.0
    for step in range(1, 101):
        now += {1: 60.0, 2: 20.0, 5: 20.0, 50: 300.0}.get(step, 0.1)
        pace.add(step, now)
    assert pace.seconds_per_step() == pytest.approx(0.1)


def test_pace_follows_recent_speed():
    pace = Pace(window=10)
    for step in range(100):
        pace.add(step, 0.1 * step)
    for step in range(100, 120):
        pace.add(step, 9.9 + 0.2 * (step - 99))
    assert pace.seconds_per_step() == pytest.approx(0.2)


def test_pace_is_unknown_before_two_notes():
    pace = Pace()
    assert pace.seconds_per_step() is None
    pace.add(50, 1.0)
    pace.add(50, 2.0)
    assert pace.seconds_per_step() is None
    pace.add(100, 11.0)
    assert pace.seconds_per_step() == pytest.approx(0.2)
