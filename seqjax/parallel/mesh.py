"""The devices of a run, arranged by what is divided among them."""

from typing import Any

import jax
import ml_collections
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from seqjax.errors import UserError


def make_mesh(data: int = -1) -> Mesh:
    """Returns a mesh with the axis `data`, over which each batch is divided.

    Args:
      data: number of devices; -1 takes all there are.

    Raises:
      UserError: more devices are asked for than there are.
    """
    devices = jax.devices()
    if data > len(devices):
        raise UserError(
            f"parallel.data is {data}, but there are {len(devices)} {devices[0].platform} devices:"
            f" give 1 to {len(devices)}, or -1 for all"
        )
    count = len(devices) if data == -1 else data
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=devices[:count])


def is_nvidia(device: jax.Device) -> bool:
    """Returns whether a device is an NVIDIA GPU: AMD's have the platform 'gpu', too."""
    return device.platform == "gpu" and "cuda" in device.client.platform_version


def check_implementations(model: ml_collections.ConfigDict, mesh: Mesh) -> None:
    """Checks that the devices of a run can compute its model as it asks.

    Raises:
      UserError: cuDNN is asked for, and the device is no NVIDIA GPU or one of several.
    """
    for name in ("encoder", "decoder"):
        stack = model[name]
        if stack.kind != "lstm" or stack.implementation != "cudnn":
            continue
        field = f"model.{name}.implementation = 'cudnn'"
        device = mesh.devices.flat[0]
        if not is_nvidia(device):
            raise UserError(
                f"{field}: expected 'scan', which has the same parameters, since there is no"
                f" NVIDIA GPU among the devices ({device.platform})"
            )
        if mesh.size > 1:
            raise UserError(
                f"{field}: expected 'scan', or parallel.data = 1, since cuDNN does not divide a"
                f" batch over {mesh.size} devices"
            )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole: parameters, optimizer state."""
    return NamedSharding(mesh, PartitionSpec())


def placed(shapes: Any, sharding: NamedSharding) -> Any:
    """Returns the shapes and types of a pytree, as `jax.eval_shape` gives them, with a place."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
    )


def by_row(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: its rows divided over the axis `data`."""
    return NamedSharding(mesh, PartitionSpec("data"))
