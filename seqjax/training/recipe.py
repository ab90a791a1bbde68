"""What the updates of a run are made of, by its config."""

import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import optax

from seqjax.tasks.task import Task
from seqjax.training.averages import Weight, weight_of
from seqjax.training.durations import Durations
from seqjax.training.feedback import Feedback, feedback_of, no_losses
from seqjax.training.optimizers import learning_rate, make_optimizer
from seqjax.training.state import TrainState
from seqjax.training.step import Step, train_step_of

# Named, because the default of JAX has changed before and a seed must keep its meaning.
GENERATOR = "threefry2x32"


class Recipe(NamedTuple):
    """A task and how its parameters are changed; numbers of the config may be traced.

    Attributes:
      task: initial parameters and loss.
      rate: learning rate as a function of the update's number.
      optimizer: what turns gradients into updates.
      initial_key: of the initial parameters.
      key: of the updates, each of which has one of its own.
      accumulate: parts that a batch is split into.
      weight: of the parameters in their average; None for none.
      rows: of a batch, whose states the task may carry.
      feedback: before the first evaluation.
      initial_range: of initial parameters, see `drawn_uniformly`; 0 leaves those of the task.
    """

    task: Task
    rate: optax.Schedule
    optimizer: optax.GradientTransformation
    initial_key: jax.Array
    key: jax.Array
    accumulate: int
    weight: Weight | None
    rows: int
    feedback: Feedback | tuple[()] = ()
    initial_range: float = 0.0

    @classmethod
    def of(
        cls, config: ml_collections.ConfigDict, task: Task, durations: Durations, rows: int
    ) -> "Recipe":
        """Returns the recipe of a config."""
        rate = learning_rate(
            config.optimizer.learning_rate,
            config.schedule,
            durations.warmup,
            durations.total,
            durations.hold,
            durations.interval,
        )
        return cls(
            task,
            rate,
            make_optimizer(config.optimizer, rate),
            *jax.random.split(jax.random.key(config.seed, impl=GENERATOR)),
            config.optimizer.accumulate,
            weight_of(config.optimizer),
            rows,
            feedback_of(no_losses(), config),
            config.model.initial_range,
        )

    def fresh(self) -> TrainState:
        """Returns the state before the first update."""
        params = self.task.init(self.initial_key)
        if self.initial_range:
            params = drawn_uniformly(self.initial_key, params, self.initial_range)
        average = jax.tree.map(jnp.copy, params) if self.weight else None
        return TrainState(
            jnp.zeros((), jnp.int32),
            params,
            self.optimizer.init(params),
            average,
            self.task.carry(self.rows),
            jax.tree.map(jnp.asarray, self.feedback),
        )

    def step(self) -> Step:
        """Returns the update as a pure function."""
        return train_step_of(self.task.loss, self.optimizer, self.key, self.accumulate, self.weight)


def drawn_uniformly(key: jax.Array, params: Any, limit: float) -> Any:
    """Returns parameters drawn from U(-limit, limit), but for the scales of normalization.

    The draw of a parameter depends on the key and its path.
    """

    def draw(path, leaf):
        name = jax.tree_util.keystr(path)
        if name.endswith("scale']"):
            return leaf
        own = jax.random.fold_in(key, zlib.crc32(name.encode()))
        return jax.random.uniform(own, leaf.shape, leaf.dtype, -limit, limit)

    return jax.tree_util.tree_map_with_path(draw, params)
