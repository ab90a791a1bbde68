import os
import subprocess
import sys
from pathlib import Path

import pytest

from seqjax.errors import UserError
from seqjax.parallel.platform import check_flags

_ROOT = Path(__file__).parents[2]


def test_flags_that_xla_has_are_accepted(tmp_path):
    file = tmp_path / "flags"
    file.write_text("--xla_cpu_enable_fast_math=false")
    for flags in (
        "",
        "--xla_force_host_platform_device_count=8 --xla_gpu_autotune_level=2 --xla_dump_to=/tmp/x",
        str(file),
    ):
        check_flags(flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--xla_dump_to=/tmp/x --xla_fast=1", "flags that XLA has; it has no --xla_fast"),
        ("xla_dump_to=/tmp/x", "XLA_FLAGS=xla_dump_to=/tmp/x: expected flags, --NAME=VALUE, or a"),
    ],
)
def test_flags_of_which_xla_would_abort_are_mistakes(flags, message):
    with pytest.raises(UserError) as error:
        check_flags(flags)
    assert message in str(error.value)


@pytest.mark.parametrize("platforms", ["cuda", "quantum"])
def test_a_platform_that_is_not_here_is_a_mistake(platforms):
    script = (
        "from seqjax.errors import UserError\n"
        "from seqjax.parallel.platform import require_platform\n"
        "try: require_platform()\n"
        "except UserError as error: print(error)\n"
    )
    environment = os.environ | {"JAX_PLATFORMS": platforms, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=_ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    start = f"JAX_PLATFORMS={platforms}: expected an available platform, such as cpu"
    assert done.stdout.startswith(start) and done.stdout.count("\n") == 1
