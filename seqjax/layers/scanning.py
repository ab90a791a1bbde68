"""Stacks of layers; equal layers can be compiled once, whatever their number."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.attention import SOURCE_ATTENTION
from seqjax.layers.dense import intercepted


def through(layers: Sequence[nn.Module], x: jax.Array, *arguments: Any, loop: bool) -> jax.Array:
    """Returns `layers[-1](... layers[0](x, *arguments) ..., *arguments)`.

    With `loop` the layers must be equal, and one is compiled for all. The loop is not used while
    parameters are initialized, attention weights are collected, or a library intercepts products,
    which knows modules by their paths.
    """
    one_by_one = layers[0].is_initializing() or layers[0].is_mutable_collection(SOURCE_ATTENTION)
    if loop and not one_by_one and not intercepted():
        return scanned(layers, x, *arguments)
    for layer in layers:
        x = layer(x, *arguments)
    return x


def scanned(layers: Sequence[nn.Module], x: jax.Array, *arguments: Any) -> jax.Array:
    """Returns `layers[-1](... layers[0](x, *arguments) ..., *arguments)` by a loop over one layer.

    The parameters of the layers stay separate and are stacked for the loop: checkpoints, shardings
    and results are the same as without it. Only the random numbers of dropout differ.
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
