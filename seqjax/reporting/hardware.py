"""Peak rates of matrix products of devices, by which the efficiency of a run is measured."""

import functools
import re
import time
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

_MEASURING_SECONDS = 0.4


class _Peak(NamedTuple):
    """Dense peak rates of one device in TFLOP/s; without a unit for a type, the rate of float32."""

    kind: str  # regular expression that the device_kind must contain
    bfloat16: float
    tensorfloat32: float
    float32: float


# Without sparsity, at boost clock. Sources are NVIDIA's data sheets unless noted.
_GPUS = (
    _Peak(r"\bP100-PCIE", 9.3, 9.3, 9.3),
    _Peak(r"\bP100-SXM2", 10.6, 10.6, 10.6),
    # Volta and Turing have tensor cores for float16 only.
    _Peak(r"\bV100-SXM", 15.7, 15.7, 15.7),
    _Peak(r"\bV100-PCIE", 14.0, 14.0, 14.0),
    _Peak(r"\bV100S-PCIE", 16.4, 16.4, 16.4),
    _Peak(r"\bT4$", 8.1, 8.1, 8.1),
    _Peak(r"\bA100\b", 312.0, 156.0, 19.5),
    _Peak(r"\bA30$", 165.0, 82.0, 10.3),
    _Peak(r"\bA40$", 149.7, 74.8, 37.4),
    _Peak(r"\bA10$", 125.0, 62.5, 31.2),
    _Peak(r"\bL4$", 121.0, 60.0, 30.3),
    _Peak(r"\bL40$", 181.0, 90.5, 90.5),
    _Peak(r"\bL40S$", 362.0, 183.0, 91.6),
    _Peak(r"\bH100 PCIe", 756.0, 378.0, 51.0),
    _Peak(r"\bH100 NVL", 835.5, 417.5, 60.0),
    _Peak(r"\bH100 80GB HBM3", 989.4, 494.7, 66.9),
    _Peak(r"\bH200 NVL", 835.5, 417.5, 60.0),
    _Peak(r"\bH200$", 989.4, 494.7, 66.9),
    _Peak(r"\bGH200\b", 989.4, 494.7, 66.9),
    _Peak(r"\bB200$", 2250.0, 1100.0, 75.0),
    _Peak(r"\bGB200$", 2500.0, 1250.0, 80.0),
    # White papers "NVIDIA Ampere GA102" and "NVIDIA Ada GPU Architecture", float32 accumulation.
    _Peak(r"RTX 3090$", 71.0, 35.6, 35.6),
    _Peak(r"RTX 4090$", 165.2, 82.6, 82.6),
)

# bfloat16 TFLOP/s of one JAX device (https://cloud.google.com/tpu/docs/system-architecture-tpu-vm,
# the page of each version); a chip of v2, v3 and 7x is two devices.
_TPUS = {
    "TPU v2": 45.0 / 2,
    "TPU v3": 123.0 / 2,
    "TPU v4": 275.0,
    "TPU v5 lite": 197.0,
    "TPU v5e": 197.0,
    "TPU v5": 459.0,
    "TPU v5p": 459.0,
    "TPU v6 lite": 918.0,
    "TPU v6e": 918.0,
    "TPU7x": 2307.0 / 2,
}

# bfloat16 passes of the matrix unit for one float32 product (jax.lax.Precision).
_TPU_PASSES = {"default": 1, "high": 3, "highest": 6}


def peak_flops(dtype: str, devices: Iterable[jax.Device]) -> float:
    """Returns the highest rate of matrix products of some devices, in FLOP/s.

    Known accelerators come from a table of their makers' dense peaks. Everything else is measured,
    see `peak_is_measured`: on a CPU the value is the best rate of a few matrix products on all
    cores of the machine, not a theoretical peak. If other programs compute at the same time it is
    too low, and a share of it may exceed one. Processes on CPUs count as one machine each. The
    value is computed once per process.

    Args:
      dtype: the type of the model's products, 'bfloat16' or 'float32'. For float32 it is the
        peak of the arithmetic that JAX uses: by default TensorFloat-32 on GPUs that have it and
        one bfloat16 pass on TPUs, true float32 if `jax_default_matmul_precision` is 'highest'.
      devices: the devices that compute, of one process or of many.
    """
    return _peak_flops(dtype, float32_precision(), tuple(devices))


def peak_is_measured(devices: Iterable[jax.Device]) -> bool:
    """Returns whether the peak of some devices is measured, since no table has them all."""
    return any(known_peak(device.device_kind, "float32") is None for device in devices)


@functools.cache
def _peak_flops(dtype: str, precision: str, devices: tuple[jax.Device, ...]) -> float:
    known = [known_peak(device.device_kind, dtype, precision) for device in devices]
    if None not in known:
        return sum(known)
    on_cpu = devices[0].platform == "cpu"
    machines = len({d.process_index for d in devices}) if on_cpu else len(devices)
    # Most CPUs convert bfloat16 before they multiply: they are no slower with float32.
    dtypes = {dtype, "float32"} if on_cpu else {dtype}
    return machines * max(map(_measured_peak, dtypes))


def known_peak(kind: str, dtype: str, precision: str = "default") -> float | None:
    """Returns the dense peak of one device in FLOP/s, or None for an unknown one.

    Args:
      kind: JAX's `device_kind`.
      dtype: 'bfloat16' or 'float32'.
      precision: of float32 products: 'default', 'high' or 'highest' (`jax.lax.Precision`).
    """
    if dtype not in ("bfloat16", "float32"):
        raise ValueError(f"dtype must be 'bfloat16' or 'float32', not {dtype!r}")
    if kind in _TPUS:
        return 1e12 * _TPUS[kind] / (1 if dtype == "bfloat16" else _TPU_PASSES[precision])
    # The name of a slice contains that of the whole GPU.
    if "MIG" in kind:
        return None
    for peak in _GPUS:
        if re.search(peak.kind, kind):
            if dtype == "bfloat16":
                return 1e12 * peak.bfloat16
            return 1e12 * (peak.float32 if precision == "highest" else peak.tensorfloat32)
    return None


def float32_precision() -> str:
    """Returns JAX's precision of float32 products: 'default', 'high' or 'highest'."""
    setting = jax.config.jax_default_matmul_precision
    try:
        return jax.lax.Precision(setting or "default").name.lower()
    except ValueError:
        # A DotAlgorithmPreset such as 'TF32_TF32_F32'.
        return "highest" if setting.startswith("F32") else "default"


def _measured_peak(dtype: str) -> float:
    product = jax.jit(jnp.matmul)
    best, size = 0.0, 128
    deadline = time.perf_counter() + _MEASURING_SECONDS
    seconds = 0.0
    while time.perf_counter() + seconds < deadline:
        # Products grow until four of the next size, each eight times the work, would take too long.
        if time.perf_counter() + 32 * seconds < deadline:
            size *= 2
            matrix = jnp.ones((size, size), dtype)
            product(matrix, matrix).block_until_ready()
        began = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        seconds = time.perf_counter() - began
        best = max(best, 2.0 * size**3 / seconds)
    return best
