"""Equal layers that are compiled once, however many there are."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def scanned(layers: Sequence[nn.Module], x: jax.Array, *arguments: Any) -> jax.Array:
    """Returns `layers[-1](... layers[0](x, *arguments) ..., *arguments)` by a loop over one layer.

    Parameters stay where they are and are stacked for the loop, so that checkpoints, shardings and
    results are those of layers that are compiled one by one; but each layer gets a dropout key of
    its own, and with dropout other random numbers.
    """
    stacked = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *(layer.variables["params"] for layer in layers)
    )
    rngs = {}
    if layers[0].has_rng("dropout"):
        rngs = {"dropout": jnp.stack([layer.make_rng("dropout") for layer in layers])}
    layer = layers[0].clone(parent=None, name=None)

    def body(x: jax.Array, own: tuple[Any, Any]) -> tuple[jax.Array, None]:
        params, rngs = own
        return layer.apply({"params": params}, x, *arguments, rngs=rngs), None

    return jax.lax.scan(body, x, (stacked, rngs))[0]
