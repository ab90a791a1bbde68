import jax
import numpy as np
import pytest

from seqjax.errors import UserError
from seqjax.parallel.mesh import (
    by_row,
    distribute,
    make_mesh,
    own_rows,
    replicated,
    row_parts,
    stand_ins,
)


@pytest.mark.parametrize(
    "asked, given",
    [
        ({}, (8, 1, 1)),
        ({"data": 3}, (3, 1, 1)),
        ({"data": 8}, (8, 1, 1)),
        ({"data": 2, "fsdp": 2}, (2, 2, 1)),
        ({"fsdp": 2, "model": 2}, (2, 2, 2)),
        ({"data": 1, "fsdp": -1, "model": 4}, (1, 2, 4)),
        ({"data": 1, "model": -1}, (1, 1, 8)),
    ],
)
def test_takes_as_many_devices_as_asked(asked, given):
    mesh = make_mesh(**asked)
    assert tuple(mesh.shape.values()) == given
    assert mesh.axis_names == ("data", "fsdp", "model")
    assert row_parts(mesh) == given[0] * given[1]


@pytest.mark.parametrize(
    "asked, reported",
    [
        ({"data": 9}, r"parallel.data = 9, .* their product 9 to be at most 8, .* cpu devices"),
        ({"data": 4, "model": 4}, r"parallel.model = 4: expected their product 16 to be at most 8"),
        ({"model": 3}, r"parallel.fsdp = 1, parallel.model = 3: .* product 3 to divide 8, .*-1"),
    ],
)
def test_refuses_what_the_devices_do_not_give(asked, reported):
    with pytest.raises(UserError, match=reported):
        make_mesh(**asked)


def test_some_of_the_devices_stand_in_for_others():
    devices = stand_ins(4)
    assert make_mesh(devices=devices).devices.ravel().tolist() == devices == jax.devices()[:4]
    with pytest.raises(RuntimeError, match="JAX has 8 CPU devices already, expected 9"):
        stand_ins(9)


def test_divides_rows_and_repeats_the_rest():
    mesh = make_mesh(data=2, fsdp=2, model=2)
    x = np.arange(24).reshape(8, 3)
    rows = jax.device_put(x, by_row(mesh))
    assert [shard.data.shape for shard in rows.addressable_shards] == [(2, 3)] * 8
    whole = jax.device_put(x, replicated(mesh))
    assert [shard.data.shape for shard in whole.addressable_shards] == [(8, 3)] * 8
    np.testing.assert_array_equal(rows, whole)


@pytest.mark.parametrize("rows", [None, 8])
def test_distributes_a_batch_by_row(rows):
    mesh = make_mesh(data=4, model=2)
    x = np.arange(24).reshape(8, 3)
    assert own_rows(mesh, 8) == slice(0, 8)
    found = distribute(mesh, {"x": x, "y": x[:, 0]}, rows)
    assert found["x"].sharding.is_equivalent_to(by_row(mesh), 2)
    np.testing.assert_array_equal(found["x"], x)
    np.testing.assert_array_equal(found["y"], x[:, 0])
