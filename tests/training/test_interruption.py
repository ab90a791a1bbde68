import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seqjax.training.interruption import Interrupted, Interruption

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU"])
def test_a_signal_is_answered_between_two_steps(name):
    number = signal.Signals[name]
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert interruption.after(1) == ""
        interruption.check()
        signal.raise_signal(number)
        assert interruption.after(2) == name
        with pytest.raises(Interrupted):
            interruption.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(number) is before


def test_a_hangup_that_is_ignored_stays_ignored():
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
            assert interruption.after(1) == ""
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


SCRIPT = """
import fcntl, sys, termios, time
from seqjax.training.interruption import Interruption

# The terminal of this session, whose end ends the session.
fcntl.ioctl(1, termios.TIOCSCTTY, 0)
with Interruption() as interruption:
    print("ready", flush=True)
    while not interruption.after(1):
        time.sleep(0.01)
    print("saving", file=sys.stderr, flush=True)
    open(sys.argv[1], "w").write(interruption.after(2))
"""


def test_what_is_printed_after_the_terminal_is_gone_does_not_keep_a_run_from_saving(tmp_path):
    path = tmp_path / "saved"
    terminal, other = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path)],
        stdin=other,
        stdout=other,
        stderr=other,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    os.close(other)
    assert os.read(terminal, 5) == b"ready"
    os.close(terminal)
    assert child.wait(60) == 0
    assert path.read_text() == "SIGHUP"
