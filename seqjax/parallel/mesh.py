"""The devices of a run, arranged by what is divided among them."""

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

    Over `data` the rows of a batch are divided; over `fsdp` these, too, and parameters with all
    that belongs to them; over `model` heads, feed-forward units and the vocabulary: neighbours
    share a model.

    Args:
      data, fsdp, model: number of devices along each axis; at most one is -1 and takes what the
        others leave.
      devices: those there are, by default all of JAX.

    Raises:
      UserError: there are fewer devices than that, or the others do not divide them.
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
    """Returns so many CPU devices, for which a program can be compiled that others will run.

    Called before JAX has any devices, it leaves the accelerators of this machine alone.
    """
    # Where JAX has its devices already, they do if there are enough.
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
    """Returns whether a device is an NVIDIA GPU: AMD's have the platform 'gpu', too."""
    return device.platform == "gpu" and "cuda" in device.client.platform_version


def row_parts(mesh: Mesh) -> int:
    """Returns into how many parts the rows of a batch are divided: they must be a multiple."""
    return math.prod(mesh.shape[axis] for axis in _ROWS)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def by_row(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch."""
    return NamedSharding(mesh, PartitionSpec(_ROWS))


def own_rows(mesh: Mesh, rows: int) -> slice:
    """Returns which of a batch's rows the devices of this process hold."""
    places = by_row(mesh).addressable_devices_indices_map((rows,))
    held = [index[0].indices(rows) for index in places.values()]
    return slice(min(start for start, *_ in held), max(stop for _, stop, _ in held))


def distribute(
    mesh: Mesh, batch: Mapping[str, np.ndarray], rows: int | None = None
) -> dict[str, jax.Array]:
    """Returns a batch on the devices, by row.

    Args:
      mesh: the devices.
      batch: arrays of all rows, or with `rows` of those that are this process' own.
      rows: number of rows of all processes.
    """
    first = own_rows(mesh, rows).start if rows else 0

    def place(array: np.ndarray) -> jax.Array:
        total = rows or len(array)

        def part(index: tuple[slice, ...]) -> np.ndarray:
            start, stop, _ = index[0].indices(total)
            return array[start - first : stop - first]

        return jax.make_array_from_callback((total, *array.shape[1:]), by_row(mesh), part)

    return {name: place(array) for name, array in batch.items()}
