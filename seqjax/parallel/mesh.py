"""The device mesh of a run."""

import contextlib
import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from seqjax.errors import UserError

# The axes that the rows of a batch are divided over.
_ROWS = ("data", "fsdp")


def make_mesh(
    data: int = -1, fsdp: int = 1, model: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """Returns a mesh with three axes.

    The rows of a batch are sharded over `data` and `fsdp`; parameters with their gradients and
    optimizer state over `fsdp`; heads, feed-forward units and the vocabulary over `model`, whose
    devices are neighbours.

    Args:
      data, fsdp, model: number of devices along each axis; at most one may be -1, for all devices
        that the others leave.
      devices: the devices, by default all of JAX.

    Raises:
      UserError: there are too few devices, or the given axes do not divide their number.
    """
    asked = {"data": data, "fsdp": fsdp, "model": model}
    devices = jax.devices() if devices is None else devices
    sizes = _sizes(asked, len(devices), devices[0].platform)
    count = math.prod(sizes.values())
    return jax.make_mesh(
        tuple(sizes.values()),
        tuple(sizes),
        axis_types=(AxisType.Auto,) * len(sizes),
        devices=devices[:count],
    )


def stand_ins(count: int) -> list[jax.Device]:
    """Returns `count` CPU devices, to compile a program for devices that this machine lacks.

    If JAX has no devices yet, the accelerators of this machine are not initialized.
    """
    # If JAX has its devices already, they serve if there are enough.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)
        jax.config.update("jax_platforms", "cpu")
    devices = jax.devices("cpu")
    if len(devices) < count:
        raise RuntimeError(f"JAX has {len(devices)} CPU devices already, expected {count}")
    return devices[:count]


def _sizes(asked: Mapping[str, int], devices: int, platform: str) -> dict[str, int]:
    given = {axis: size for axis, size in asked.items() if size != -1}
    product = math.prod(given.values())
    rest = asked.keys() - given.keys()
    if product > devices or (rest and devices % product):
        fields = ", ".join(f"parallel.{axis} = {size}" for axis, size in given.items())
        what = f"to divide {devices}" if product <= devices else f"to be at most {devices}"
        raise UserError(
            f"{fields}: expected their product {product} {what}, the number of {platform} devices"
            "; -1 on one axis takes what the others leave"
        )
    return {axis: devices // product if axis in rest else size for axis, size in asked.items()}


def is_nvidia(device: jax.Device) -> bool:
    """Returns whether a device is an NVIDIA GPU; AMD's have the platform 'gpu' as well."""
    return device.platform == "gpu" and "cuda" in device.client.platform_version


def row_parts(mesh: Mesh) -> int:
    """Returns the number of parts of a batch, which must divide its number of rows."""
    return math.prod(mesh.shape[axis] for axis in _ROWS)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays that every device holds in full."""
    return NamedSharding(mesh, PartitionSpec())


def by_row(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch."""
    return NamedSharding(mesh, PartitionSpec(_ROWS))


def own_rows(mesh: Mesh, rows: int) -> slice:
    """Returns the rows of a batch that the devices of this process hold."""
    places = by_row(mesh).addressable_devices_indices_map((rows,))
    held = [index[0].indices(rows) for index in places.values()]
    return slice(min(start for start, *_ in held), max(stop for _, stop, _ in held))


def distribute(
    mesh: Mesh, batch: Mapping[str, np.ndarray], rows: int | None = None
) -> dict[str, jax.Array]:
    """Returns a batch on the devices, sharded by row.

    Args:
      mesh: the devices.
      batch: arrays of all rows; with `rows`, of the rows of this process alone.
      rows: number of rows in all processes.
    """
    first = own_rows(mesh, rows).start if rows else 0

    def place(array: np.ndarray) -> jax.Array:
        total = rows or len(array)

        def part(index: tuple[slice, ...]) -> np.ndarray:
            start, stop, _ = index[0].indices(total)
            return array[start - first : stop - first]

        return jax.make_array_from_callback((total, *array.shape[1:]), by_row(mesh), part)

    return {name: place(array) for name, array in batch.items()}
