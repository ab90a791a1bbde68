"""The update of a run, built from its config: shared by what trains and what only looks ahead."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import ml_collections
import numpy as np
from jax.sharding import Mesh

from seqjax.data.gather import Batch
from seqjax.data.plan import Plan, Shape
from seqjax.parallel.mesh import by_row, distribute, own_rows, replicated
from seqjax.parallel.sharding import parameter_shardings, placed, shardings_like
from seqjax.training.feedback import Feedback
from seqjax.training.recipe import Recipe
from seqjax.training.state import TrainState
from seqjax.training.step import Sums, divided

if TYPE_CHECKING:
    from seqjax.training.preparation import Prepared


class Update:
    """What an update of a run is.

    Attributes:
      rates: learning rate as a function of the update's number, in a list of one.
      step: the compiled update, `divided`.
    """

    def __init__(self, config: ml_collections.ConfigDict, prepared: "Prepared"):
        rows = prepared.plan.largest.rows
        recipe = Recipe.of(config, prepared.task, prepared.durations, rows)
        self.rates = [recipe.rate]
        self._mesh, self._fresh = prepared.mesh, recipe.fresh
        self._shardings = self._divide(prepared.mesh)
        self.step = divided(recipe.step(), prepared.mesh, self._shardings)

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

    def parked(self, state: TrainState) -> TrainState:
        """Returns a state that waits to be joined: as it is."""
        return state

    def best(self, state: TrainState, number: int) -> Any:
        """Returns the parameters that are evaluated."""
        return state.best

    def member(self, state: TrainState, number: int) -> TrainState:
        """Returns the one state."""
        return state

    def informed(self, state: TrainState, number: int, feedback: Feedback) -> TrainState:
        """Returns the state with what the validation has said."""
        return state.replace(feedback=jax.device_put(feedback, self._shardings.feedback))

    def part(self, rows: int) -> slice:
        """Returns which of a batch's rows this process has to have."""
        return own_rows(self._mesh, rows)

    def place(self, batch: Batch, rows: int) -> dict[str, jax.Array]:
        """Returns those rows of a batch of so many on the devices."""
        return distribute(self._mesh, batch, rows)

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
            None if shapes.average is None else parameter_shardings(mesh, shapes.average),
            jax.tree.map(lambda _: by_row(mesh), shapes.carry),
            jax.tree.map(lambda _: replicated(mesh), shapes.feedback),
        )


def abstract_batch(plan: Plan, shape: Shape) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shapes and types of a planned batch."""
    return {
        name: jax.ShapeDtypeStruct(size, dtype)
        for name, (size, dtype) in plan.arrays(shape).items()
    }
