"""The update of a run, built from its config: shared by what trains and what only looks ahead."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jax.sharding import Mesh

from seqjax.data.batching import Shape
from seqjax.parallel.mesh import replicated
from seqjax.parallel.sharding import parameter_shardings, placed, shardings_like
from seqjax.training.optimizers import learning_rate, make_optimizer
from seqjax.training.preparation import Prepared
from seqjax.training.state import TrainState
from seqjax.training.step import Sums, make_train_step

# Named, because the default of JAX has changed before and a seed must keep its meaning.
GENERATOR = "threefry2x32"


class Update:
    """What an update of a run is.

    Attributes:
      rates: learning rate as a function of the update's number, in a list of one.
      step: the compiled update, `make_train_step`.
    """

    def __init__(self, config: ml_collections.ConfigDict, prepared: Prepared):
        durations = prepared.durations
        rate = learning_rate(
            config.optimizer.learning_rate, config.schedule, durations.warmup, durations.total
        )
        self.rates: list[optax.Schedule] = [rate]
        self._optimizer = make_optimizer(config.optimizer, rate)
        self._init = prepared.task.init
        self._key = jax.random.key(config.seed, impl=GENERATOR)
        self._shardings = self._divide(prepared.mesh)
        self.step = make_train_step(
            prepared.task.loss,
            self._optimizer,
            self._key,
            prepared.mesh,
            config.optimizer.accumulate,
            self._shardings,
        )

    def fresh_state(self) -> TrainState:
        """Returns the state before the first update, on the devices."""
        return jax.jit(self._fresh, out_shardings=self._shardings)()

    def abstract_state(self) -> TrainState:
        """Returns shapes, types and places of the state without computing it."""
        return placed(jax.eval_shape(self._fresh), self._shardings)

    # What follows is how the loop drives one run or a `Population` alike.

    def abstract_member(self) -> TrainState:
        """Returns what a checkpoint holds: `abstract_state`."""
        return self.abstract_state()

    def join(self, states: Sequence[TrainState]) -> TrainState:
        """Returns the one state."""
        (state,) = states
        return state

    def member(self, state: TrainState, number: int) -> TrainState:
        """Returns the one state."""
        return state

    def compile(self, state: TrainState, active: np.ndarray, batch: dict) -> None:
        """Compiles the update for the shapes of a batch, which may be abstract."""
        self.step.compile(state, batch)

    def flops(self, state: TrainState, active: np.ndarray, batch: dict) -> float:
        """Returns the FLOPs of the update of a run."""
        return self.step.flops(state, batch)

    def advance(
        self, state: TrainState, active: np.ndarray, batch: dict
    ) -> tuple[TrainState, list[Callable[[], Sums]]]:
        """Dispatches the update; returns the next state and what will read its sums."""
        state, sums = self.step(state, batch)
        return state, [functools.partial(jax.device_get, sums)]

    def _divide(self, mesh: Mesh) -> TrainState:
        """Returns the sharding of every array of the state."""
        shapes = jax.eval_shape(self._fresh)
        return TrainState(
            replicated(mesh),
            parameter_shardings(mesh, shapes.params),
            shardings_like(mesh, shapes.params, shapes.optimizer),
        )

    def _fresh(self) -> TrainState:
        params = self._init(self._key)
        return TrainState(jnp.zeros((), jnp.int32), params, self._optimizer.init(params))


def abstract_batch(shape: Shape) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shapes and types of a planned batch."""
    sides = {"source": (shape.rows, shape.source), "target": (shape.rows, shape.target)}
    return {
        name: jax.ShapeDtypeStruct(size, jnp.int32)
        for name, size in {**sides, "index": (shape.rows,)}.items()
    }
