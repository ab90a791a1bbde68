"""Averages of the parameters over the updates of a training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from seqjax.training.feedback import Feedback

# (updates done before this one, feedback) -> the weight of the parameters after it.
Weight = Callable[[jax.Array, Any], jax.Array]


def moved(average: Any, params: Any, weight: jax.Array) -> Any:
    """Returns the average after an update: a' = (1 - w) a + w p."""
    return jax.tree.map(
        lambda a, p: ((1.0 - weight) * a + weight * p).astype(a.dtype), average, params
    )


def exponential(decay: float | jax.Array) -> Weight:
    """Returns the weight of an exponential average.

        w = 1 - min(decay, (1 + t) / (10 + t))      after t updates

    The average forgets where it started before it becomes slow (the warm-up is TensorFlow's).
    """
    return lambda step, feedback: 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))


def since_triggered(step: jax.Array, feedback: Feedback) -> jax.Array:
    """Returns the weight of the mean of all parameters since an update T.

        w = 1 / max(t - T + 1, 1)      after t updates

    Until then the average is the parameters themselves (Polyak and Juditsky, 1992; triggered by
    the validation Merity et al., 2018). The average of `torch.optim.ASGD` leaves out the first.
    """
    return 1.0 / jnp.maximum(step - feedback.since + 1, 1).astype(jnp.float32)


def weight_of(optimizer: ml_collections.ConfigDict) -> Weight | None:
    """Returns the weight of `config.optimizer`, None if no average is kept."""
    if optimizer.average_trigger:
        return since_triggered
    return exponential(optimizer.moving_average) if optimizer.moving_average else None
