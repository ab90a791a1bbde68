"""Layers that are recomputed in the backward pass to save memory."""

import inspect

import flax.linen as nn


def rematerialized(layer: type[nn.Module]) -> type[nn.Module]:
    """Returns a layer that keeps only its inputs for the backward pass (Chen et al., 2016).

    Parameters and results stay the same. `layer.__call__` must have an argument `deterministic`,
    which callers pass by position.
    """
    position = list(inspect.signature(layer.__call__).parameters).index("deterministic")
    return nn.remat(layer, static_argnums=(position,))
