"""What changes from one update to the next."""

from typing import Any

import flax
import jax
import optax


@flax.struct.dataclass
class TrainState:
    """Parameters, optimizer state and the number of updates done.

    Attributes:
      step: int32 [], updates done.
      params: what the next update starts from.
      optimizer: what the optimizer remembers.
      average: the moving average of the parameters; None if none is kept.
      carry: what each row of a batch hands to the same row of the next; () for most tasks.
      feedback: what an update takes from the validation, see `Feedback`; () if nothing. A run's
        clock has it in checkpoints.

    Random numbers are no part of it: the key of an update is a function of the seed and its number.
    """

    step: jax.Array
    params: Any
    optimizer: optax.OptState
    average: Any = None
    carry: Any = ()
    feedback: Any = ()

    @property
    def best(self) -> Any:
        """The parameters that are evaluated and used: the average, where one is kept."""
        return self.params if self.average is None else self.average


def parameter_count(params) -> int:
    """Returns how many numbers the parameters hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
