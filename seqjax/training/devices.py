"""The devices of a run, checked against what its model needs of them."""

from collections.abc import Sequence

import jax
import ml_collections
from jax.sharding import Mesh

from seqjax.architectures.transformer_fields import divided_sizes
from seqjax.errors import UserError
from seqjax.parallel.mesh import is_nvidia, make_mesh


def mesh_of(config: ml_collections.ConfigDict, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns the mesh that `config.parallel` names, of some devices or of all of JAX.

    Raises:
      UserError: the devices are not there, cannot share the model, or cannot compute it as it asks.
    """
    mesh = make_mesh(**config.parallel, devices=devices)
    _check_processes(mesh)
    _check_shards(config.model, mesh.shape["model"])
    _check_implementations(config.model, mesh)
    return mesh


def _check_processes(mesh: Mesh) -> None:
    """Refuses a mesh that leaves out a process, which could do nothing but wait."""
    inside = {device.process_index for device in mesh.devices.flat}
    if jax.process_count() > 1 and len(inside) < jax.process_count():
        raise UserError(
            f"parallel: {mesh.size} of {jax.device_count()} devices leave"
            f" {jax.process_count() - len(inside)} of {jax.process_count()} processes without one:"
            " expected some of each, as parallel.data = -1 takes"
        )


def _check_shards(model: ml_collections.ConfigDict, shards: int) -> None:
    for name in ("encoder", "decoder"):
        for field, size in divided_sizes(model[name]).items():
            if size % shards:
                raise UserError(
                    f"parallel.model = {shards}: expected a divisor of"
                    f" model.{name}.{field} = {size}"
                )


def _check_implementations(model: ml_collections.ConfigDict, mesh: Mesh) -> None:
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
