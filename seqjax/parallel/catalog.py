"""Accelerators under the names used to order them: `tpu-v5e-16`, `h100x8`."""

import re
from typing import NamedTuple

from seqjax.errors import UserError, did_you_mean


class Kind(NamedTuple):
    """A kind of accelerator.

    Attributes:
      reported: JAX's `device_kind`, the key to its speed in `reporting/hardware.py`.
      memory: published memory of one device in bytes, counted in 10^9.
      bandwidth: published bandwidth of this memory, in bytes per second.
      cores: how much one device adds to the number in the name of a TPU slice.
    """

    reported: str
    memory: int
    bandwidth: int
    cores: int = 1


_GB = 10**9

# Google's published figures (cloud.google.com/tpu/docs). Slices of v2, v3, v4 and v5p are named
# after their number of cores, two on each chip. A JAX device is one core of v2 and v3, with half
# of the chip's memory and bandwidth; from v4 on it is a whole chip.
_TPUS = {
    "tpu-v2": Kind("TPU v2", 8 * _GB, 350 * _GB),
    "tpu-v3": Kind("TPU v3", 16 * _GB, 450 * _GB),
    "tpu-v4": Kind("TPU v4", 32 * _GB, 1200 * _GB, cores=2),
    "tpu-v5e": Kind("TPU v5 lite", 16 * _GB, 819 * _GB),
    "tpu-v5p": Kind("TPU v5", 95 * _GB, 2765 * _GB, cores=2),
    "tpu-v6e": Kind("TPU v6 lite", 32 * _GB, 1638 * _GB),
}

# The makers' published figures; V100, A100, H100 and H200 are the SXM modules.
_GPUS = {
    "v100": Kind("Tesla V100-SXM2-16GB", 16 * _GB, 900 * _GB),
    "t4": Kind("Tesla T4", 16 * _GB, 320 * _GB),
    "rtx3090": Kind("NVIDIA GeForce RTX 3090", 24 * _GB, 936 * _GB),
    "a10": Kind("NVIDIA A10", 24 * _GB, 600 * _GB),
    "a30": Kind("NVIDIA A30", 24 * _GB, 933 * _GB),
    "a40": Kind("NVIDIA A40", 48 * _GB, 696 * _GB),
    "a100": Kind("NVIDIA A100-SXM4-40GB", 40 * _GB, 1555 * _GB),
    "a100-80gb": Kind("NVIDIA A100-SXM4-80GB", 80 * _GB, 2039 * _GB),
    "rtx4090": Kind("NVIDIA GeForce RTX 4090", 24 * _GB, 1008 * _GB),
    "l4": Kind("NVIDIA L4", 24 * _GB, 300 * _GB),
    "l40s": Kind("NVIDIA L40S", 48 * _GB, 864 * _GB),
    "h100": Kind("NVIDIA H100 80GB HBM3", 80 * _GB, 3350 * _GB),
    "h200": Kind("NVIDIA H200", 141 * _GB, 4800 * _GB),
    "b200": Kind("NVIDIA B200", 180 * _GB, 8000 * _GB),
}

KINDS = {**_TPUS, **_GPUS}
# The share of a GPU's memory that JAX takes, unless XLA_PYTHON_CLIENT_MEM_FRACTION is set.
_GPU_SHARE = 0.75
# Any GPU of the cluster.
ANY_GPU = "gpu"

_SLICE = re.compile(r"(tpu-v\w+)-(\d+)", re.ASCII)
_SEVERAL = re.compile(r"(.+)x(\d+)", re.ASCII)


class Devices(NamedTuple):
    """A number of accelerators of one kind.

    Attributes:
      name: the name given, `tpu-v5e-16`.
      kind: the kind's name, `tpu-v5e`.
      number: the number in the name: the size of a TPU slice, else the number of devices.
      count: the number of JAX devices.
    """

    name: str
    kind: str
    number: int
    count: int

    @property
    def is_tpu(self) -> bool:
        """Whether this is a TPU slice."""
        return self.kind in _TPUS


def find_devices(name: str, any_gpu: bool = False) -> Devices:
    """Returns the devices of a name: `KIND-NUMBER` for TPUs, `KIND` or `KINDxNUMBER` for GPUs.

    Args:
      name: the name given.
      any_gpu: whether the kind `gpu` is accepted.

    Raises:
      UserError: the kind is unknown or the number is impossible.
    """
    known = [*KINDS, *([ANY_GPU] if any_gpu else [])]
    kind, number = name.lower(), None
    # The name of a kind may itself look like a kind with a number: rtx4090.
    if kind not in known and (match := _SLICE.fullmatch(kind) or _SEVERAL.fullmatch(kind)):
        kind, number = match.groups()
    if kind not in known:
        raise UserError(
            f"--devices={name}: expected one of {', '.join(known)} with a number, as in tpu-v5e-16"
            f" or h100x8{did_you_mean(kind, known)}"
        )
    if (kind in _TPUS) != bool(_SLICE.fullmatch(name.lower())):
        raise UserError(f"--devices={name}: expected the size of the slice, as in {kind}-8")
    count, rest = divmod(int(number or 1), KINDS[kind].cores if kind in KINDS else 1)
    if count < 1 or rest:
        raise UserError(
            f"--devices={name}: expected {'an even number of cores' if rest else 'at least 1'}"
        )
    return Devices(name, kind, int(number or 1), count)


def usable_share(kind: str) -> float:
    """Returns the share of its memory that a kind of accelerator gives to a program."""
    return _GPU_SHARE if kind in _GPUS else 1.0
