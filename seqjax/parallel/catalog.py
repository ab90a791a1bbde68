"""Accelerators by the names that they are ordered by: `tpu-v5e-16`, `h100x8`."""

import re
from typing import NamedTuple

from seqjax.errors import UserError, did_you_mean


class Kind(NamedTuple):
    """A kind of accelerator.

    Attributes:
      reported: what JAX calls it, its `device_kind`, by which `reporting/hardware.py` knows how
        fast it is; '' where that says nothing.
      memory: bytes that one device has, as its maker says, in 10^9.
      bandwidth: bytes per second that it reads or writes there, likewise.
      cores: of a TPU, how much one device counts in the number of a slice's name.
    """

    reported: str
    memory: int
    bandwidth: int
    cores: int = 1


_GB = 10**9

# https://cloud.google.com/tpu/docs/v2 and the pages of v3, v4, v5e, v5p and v6e. The names of v2,
# v3, v4 and v5p count cores; a device of JAX is a core of v2 and v3, with half a chip's memory and
# bandwidth, and a chip of two since v4.
_TPUS = {
    "tpu-v2": Kind("TPU v2", 8 * _GB, 350 * _GB),
    "tpu-v3": Kind("TPU v3", 16 * _GB, 450 * _GB),
    "tpu-v4": Kind("TPU v4", 32 * _GB, 1200 * _GB, cores=2),
    "tpu-v5e": Kind("TPU v5 lite", 16 * _GB, 819 * _GB),
    "tpu-v5p": Kind("TPU v5", 95 * _GB, 2765 * _GB, cores=2),
    "tpu-v6e": Kind("TPU v6 lite", 32 * _GB, 1640 * _GB),
}

# NVIDIA's data sheets; of H100 and H200 the SXM modules, of V100 and A100 as well.
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
# Of a GPU's memory JAX takes so much, unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise.
_GPU_SHARE = 0.75
# Whatever the cluster has.
ANY_GPU = "gpu"

_SLICE = re.compile(r"(tpu-v\w+)-(\d+)", re.ASCII)
_SEVERAL = re.compile(r"(.+)x(\d+)", re.ASCII)


class Devices(NamedTuple):
    """Some accelerators of one kind.

    Attributes:
      name: what was asked for, `tpu-v5e-16`.
      kind: the kind's name, `tpu-v5e`.
      number: what stands after it: of a TPU the size of the slice, else the number of devices.
      count: how many devices JAX has there.
    """

    name: str
    kind: str
    number: int
    count: int

    @property
    def is_tpu(self) -> bool:
        """Whether it is a slice of TPUs."""
        return self.kind in _TPUS


def find_devices(name: str, any_gpu: bool = False) -> Devices:
    """Returns the devices of a name: `KIND-NUMBER` of TPUs, `KIND` or `KINDxNUMBER` of GPUs.

    Args:
      name: what was asked for.
      any_gpu: whether `gpu` may be the kind.

    Raises:
      UserError: an unknown kind, with the known ones, or an impossible number.
    """
    known = [*KINDS, *([ANY_GPU] if any_gpu else [])]
    kind, number = name.lower(), None
    # A name may end like a number of devices: rtx4090.
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
    """Returns which share of its memory a kind of accelerator lends to a program."""
    return _GPU_SHARE if kind in _GPUS else 1.0
