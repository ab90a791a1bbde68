import subprocess
import sys
from pathlib import Path

import pytest

from seqjax.config import default_config
from seqjax.reporting.metrics_log import FILE, read_metrics
from seqjax.reporting.writers import MetricWriter

_ROOT = Path(__file__).parents[2]


def test_what_was_written_is_read_in_order(folder):
    reporting = default_config().reporting
    reporting.tensorboard = False
    with MetricWriter(folder, reporting, 0, {}) as writer:
        writer.write(5, {"train/seconds": 1.5})
        # A line ends at a line feed alone, though Unicode has other line ends.
        writer.write(6, {"signature": "a\u2028é"})
    assert list(read_metrics(folder)) == [
        {"step": 5, "train/seconds": 1.5},
        {"step": 6, "signature": "a\u2028é"},
    ]


def test_a_run_that_has_written_nothing_has_no_lines(tmp_path):
    assert list(read_metrics(tmp_path)) == []


@pytest.mark.parametrize(
    "broken", [b'{"step": 20, "lo', b'{"step": 20, "text": "\xc3', b"20", b"\0\0", b"{}", b""]
)
def test_a_broken_line_is_left_out(broken, tmp_path):
    (tmp_path / FILE).write_bytes(b'{"step": 1}\n' + broken + b'\n{"step": 2}\n')
    assert [entry["step"] for entry in read_metrics(tmp_path)] == [1, 2]


def test_neither_it_nor_what_a_sweep_needs_waits_for_jax():
    script = (
        "import sys, seqjax.reporting.metrics_log, seqjax.studies.sweep, seqjax.commands.sweep;"
        "sys.exit(any(name in sys.modules for name in ('jax', 'flax', 'orbax')))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
