"""What changes from one update to the next."""

from typing import Any

import flax
import jax
import optax


@flax.struct.dataclass
class TrainState:
    """Parameters, optimizer state and the number of updates done.

    Random numbers are no part of it: the key of an update is a function of the seed and its number.
    """

    step: jax.Array
    params: Any
    optimizer: optax.OptState


def parameter_count(params) -> int:
    """Returns how many numbers the parameters hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
