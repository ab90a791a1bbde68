"""Peak rates from the table and from measurement."""

import time

import jax
import pytest

from seqjax.reporting.hardware import known_peak, peak_flops


# Names as the drivers report them; rates of the data sheets in TFLOP/s.
@pytest.mark.parametrize(
    ("kind", "bfloat16", "default", "highest"),
    [
        ("NVIDIA A100-SXM4-80GB", 312, 156, 19.5),
        ("NVIDIA A100-PCIE-40GB", 312, 156, 19.5),
        ("NVIDIA A100 80GB PCIe", 312, 156, 19.5),
        ("NVIDIA H100 80GB HBM3", 989.4, 494.7, 66.9),
        ("NVIDIA H100 PCIe", 756, 378, 51),
        ("NVIDIA H200", 989.4, 494.7, 66.9),
        ("NVIDIA GH200 480GB", 989.4, 494.7, 66.9),
        ("NVIDIA L4", 121, 60, 30.3),
        ("NVIDIA L40", 181, 90.5, 90.5),
        ("NVIDIA L40S", 362, 183, 91.6),
        ("Tesla V100-SXM2-16GB", 15.7, 15.7, 15.7),
        ("Tesla T4", 8.1, 8.1, 8.1),
        ("TPU v3", 61.5, 61.5, 61.5 / 6),
        ("TPU v5 lite", 197, 197, 197 / 6),
        ("TPU v6 lite", 918, 918, 153),
    ],
)
def test_known_accelerators(kind, bfloat16, default, highest):
    assert known_peak(kind, "bfloat16") == pytest.approx(bfloat16 * 1e12)
    assert known_peak(kind, "float32", "default") == pytest.approx(default * 1e12)
    assert known_peak(kind, "float32", "highest") == pytest.approx(highest * 1e12)


@pytest.mark.parametrize(
    "kind",
    [
        "cpu",
        "",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "TPU v99",
    ],
)
def test_unknown_accelerators(kind):
    assert known_peak(kind, "bfloat16") is None


def test_unknown_numbers_are_refused():
    with pytest.raises(ValueError, match="'int8'"):
        peak_flops("int8", jax.devices())


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the accelerator may be in the table")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_cpu_is_measured_once_and_quickly(dtype):
    began = time.perf_counter()
    first = peak_flops(dtype, jax.devices()[:1])
    # Half a second is meant; a busy machine gets more.
    assert time.perf_counter() - began < 5
    assert 1e8 < first < 1e14
    assert peak_flops(dtype, jax.devices()[:1]) == first


@pytest.mark.parametrize("setting", [None, "highest", "float32", "tensorfloat32", "F32_F32_F32"])
def test_every_precision_setting_of_jax_is_understood(setting):
    with jax.default_matmul_precision(setting):
        assert peak_flops("float32", jax.devices()) > 0
