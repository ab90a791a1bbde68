"""What the updates of a run are made of, by its config."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import optax

from seqjax.tasks.task import Task
from seqjax.training.durations import Durations
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
      decay: of the parameters' moving average; 0 for none.
      rows: of a batch, whose states the task may carry.
    """

    task: Task
    rate: optax.Schedule
    optimizer: optax.GradientTransformation
    initial_key: jax.Array
    key: jax.Array
    accumulate: int
    decay: float
    rows: int

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
            config.optimizer.moving_average,
            rows,
        )

    def fresh(self) -> TrainState:
        """Returns the state before the first update."""
        params = self.task.init(self.initial_key)
        average = jax.tree.map(jnp.copy, params) if self.decay else None
        return TrainState(
            jnp.zeros((), jnp.int32),
            params,
            self.optimizer.init(params),
            average,
            self.task.carry(self.rows),
        )

    def step(self) -> Step:
        """Returns the update as a pure function."""
        return train_step_of(self.task.loss, self.optimizer, self.key, self.accumulate, self.decay)
