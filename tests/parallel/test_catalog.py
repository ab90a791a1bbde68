import pytest

from seqjax.errors import UserError
from seqjax.parallel.catalog import KINDS, find_devices, usable_share
from seqjax.reporting.hardware import known_peak


@pytest.mark.parametrize(
    "name, kind, count",
    [
        ("h100x8", "h100", 8),
        ("H200", "h200", 1),
        ("a100-80gbx16", "a100-80gb", 16),
        ("rtx4090", "rtx4090", 1),
        ("rtx4090x2", "rtx4090", 2),
        # These count chips,
        ("tpu-v5e-16", "tpu-v5e", 16),
        ("tpu-v6e-1", "tpu-v6e", 1),
        # these cores, of which JAX has two,
        ("tpu-v4-16", "tpu-v4", 8),
        ("TPU-v5p-8", "tpu-v5p", 4),
        # or one in a device.
        ("tpu-v3-32", "tpu-v3", 32),
    ],
)
def test_a_name_says_kind_and_number(name, kind, count):
    devices = find_devices(name)
    assert (devices.name, devices.kind, devices.count) == (name, kind, count)
    assert devices.is_tpu == kind.startswith("tpu")


@pytest.mark.parametrize(
    "name, message",
    [
        ("h1000x8", "did you mean 'h100'?"),
        ("tpu-v9-8", "expected one of tpu-v2, tpu-v3"),
        ("", "expected one of"),
        ("x8", "expected one of"),
        ("gpux8", "expected one of"),
        ("tpu-v5e", "expected the size of the slice, as in tpu-v5e-8"),
        ("tpu-v5ex8", "expected the size of the slice"),
        ("tpu-v4-3", "expected an even number of cores"),
        ("h100x0", "expected at least 1"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(UserError) as caught:
        find_devices(name)
    assert str(caught.value).startswith(f"--devices={name}: ") and message in str(caught.value)


def test_a_scheduler_may_be_asked_for_any_gpu():
    assert find_devices("gpux8", any_gpu=True).count == 8


# bfloat16 TFLOP/s and GB of one device, as the makers' sheets have them.
SHEETS = {
    "tpu-v2": (22.5, 8),
    "tpu-v3": (61.5, 16),
    "tpu-v4": (275, 32),
    "tpu-v5e": (197, 16),
    "tpu-v5p": (459, 95),
    "tpu-v6e": (918, 32),
    "v100": (15.7, 16),
    "t4": (8.1, 16),
    "rtx3090": (71, 24),
    "a10": (125, 24),
    "a30": (165, 24),
    "a40": (149.7, 48),
    "a100": (312, 40),
    "a100-80gb": (312, 80),
    "rtx4090": (165.2, 24),
    "l4": (121, 24),
    "l40s": (362, 48),
    "h100": (989.4, 80),
    "h200": (989.4, 141),
    "b200": (2250, 180),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rates_and_memory_are_those_of_the_sheets(kind):
    rate = known_peak(KINDS[kind].reported, "bfloat16") / 1e12
    assert (rate, KINDS[kind].memory / 1e9) == pytest.approx(SHEETS[kind])


def test_of_a_gpu_not_all_memory_is_lent():
    assert (usable_share("h100"), usable_share("tpu-v5e")) == (0.75, 1.0)
