"""Layers that are computed again in the backward pass instead of being kept."""

import inspect

import flax.linen as nn


def rematerialized(layer: type[nn.Module]) -> type[nn.Module]:
    """Returns a layer that keeps nothing but its inputs for the backward pass (Chen et al., 2016).

    Its parameters and results are the same. `layer.__call__` has an argument `deterministic`, which
    is given by its position.
    """
    position = list(inspect.signature(layer.__call__).parameters).index("deterministic")
    return nn.remat(layer, static_argnums=(position,))
