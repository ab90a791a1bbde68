"""Which of a machine's NVIDIA GPUs each of the trials that run at a time sees."""

import os
import subprocess

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def gpu_shares(workers: int) -> list[dict[str, str]]:
    """Returns what the environment of each worker's processes says of GPUs; nothing without any.

    Neighbouring GPUs go to the same worker, as many to each; what is left over stays idle. Where
    there are fewer GPUs than workers, some share one: JAX takes three quarters of its memory for
    each of them unless XLA_PYTHON_CLIENT_MEM_FRACTION says less.

    Args:
      workers: trials that run at a time; one alone sees all GPUs.
    """
    gpus = _visible() if workers > 1 and os.environ.get("JAX_PLATFORMS") != "cpu" else []
    if not gpus:
        return []
    each = max(1, len(gpus) // workers)
    starts = [worker * each % len(gpus) for worker in range(workers)]
    return [{_VISIBLE: ",".join(gpus[start : start + each])} for start in starts]


def _visible() -> list[str]:
    """Returns the names of the GPUs that CUDA would use, without taking any of them."""
    given = os.environ.get(_VISIBLE)
    if given is None:
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        try:
            given = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return []
    return given.replace(",", " ").split()
