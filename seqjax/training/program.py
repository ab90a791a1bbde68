"""What a training repeats: the update of one run, or of several, and where its arrays lie."""

import abc
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import ml_collections
import numpy as np
import optax
from jax.sharding import Mesh

from seqjax.data.gather import Batch
from seqjax.data.plan import Plan, Shape
from seqjax.parallel.mesh import by_row, distribute, own_rows, replicated
from seqjax.parallel.sharding import parameter_shardings, placed, shardings_like
from seqjax.training.feedback import Feedback
from seqjax.training.recipe import Recipe
from seqjax.training.state import TrainState
from seqjax.training.step import CompiledSteps, Sums, divided

if TYPE_CHECKING:
    from seqjax.training.preparation import Prepared


class Program(abc.ABC):
    """The states of one run or of several, and the update that advances them.

    The loop drives a program, whatever it is of: `Single` is one run, whose arrays its devices
    share; `Population` has runs that differ in numbers only, several on each device.

    Attributes:
      rates: the learning rate of each run as a function of the update's number.
      step: the compiled update.
      way: how several runs are computed, '' for one.
    """

    rates: list[optax.Schedule]
    step: CompiledSteps
    way: str = ""

    @abc.abstractmethod
    def fresh_state(self) -> TrainState:
        """Returns the state before the first update, on the devices."""

    @abc.abstractmethod
    def abstract_member(self) -> TrainState:
        """Returns shapes, types and places of one run's state, which a checkpoint holds."""

    @abc.abstractmethod
    def join(self, states: Sequence[TrainState]) -> TrainState:
        """Returns the states of all runs as one."""

    @abc.abstractmethod
    def parked(self, state: TrainState) -> TrainState:
        """Returns a run's state while it waits to be joined with others."""

    @abc.abstractmethod
    def member(self, state: TrainState, number: int) -> TrainState:
        """Returns the state of one run."""

    @abc.abstractmethod
    def best(self, state: TrainState, number: int) -> Any:
        """Returns the parameters of one run that are evaluated."""

    @abc.abstractmethod
    def informed(self, state: TrainState, number: int, feedback: Feedback) -> TrainState:
        """Returns the state after the validation of one run has said something."""

    @abc.abstractmethod
    def part(self, rows: int) -> slice:
        """Returns which of a batch's rows this process has to have."""

    @abc.abstractmethod
    def place(self, batch: Batch, rows: int) -> dict[str, jax.Array]:
        """Returns those rows of a batch of so many on the devices."""

    @abc.abstractmethod
    def compile(self, state: TrainState, active: np.ndarray, batch: dict) -> None:
        """Compiles the update for the shapes of a batch, which may be abstract."""

    @abc.abstractmethod
    def flops(self, state: TrainState, active: np.ndarray, batch: dict) -> float:
        """Returns the FLOPs of the update of one run."""

    @abc.abstractmethod
    def advance(
        self, state: TrainState, active: np.ndarray, batch: dict
    ) -> tuple[TrainState, list[Callable[[], Sums]]]:
        """Dispatches the update of the runs that are active.

        Returns the next state, and for each run what will read its sums.
        """


class Single(Program):
    """The program of one run, whose state and batches the devices of a mesh share."""

    def __init__(self, config: ml_collections.ConfigDict, prepared: "Prepared"):
        rows = prepared.plan.largest.rows
        recipe = Recipe.of(config, prepared.task, prepared.durations, rows)
        self.rates = [recipe.rate]
        self._mesh, self._fresh = prepared.mesh, recipe.fresh
        self._shardings = self._divide(prepared.mesh)
        self.step = divided(recipe.step(), prepared.mesh, self._shardings)

    def fresh_state(self) -> TrainState:
        return jax.jit(self._fresh, out_shardings=self._shardings)()

    def abstract_member(self) -> TrainState:
        return placed(jax.eval_shape(self._fresh), self._shardings)

    def join(self, states: Sequence[TrainState]) -> TrainState:
        (state,) = states
        return state

    def parked(self, state: TrainState) -> TrainState:
        return state

    def best(self, state: TrainState, number: int) -> Any:
        return state.best

    def member(self, state: TrainState, number: int) -> TrainState:
        return state

    def informed(self, state: TrainState, number: int, feedback: Feedback) -> TrainState:
        return state.replace(feedback=jax.device_put(feedback, self._shardings.feedback))

    def part(self, rows: int) -> slice:
        return own_rows(self._mesh, rows)

    def place(self, batch: Batch, rows: int) -> dict[str, jax.Array]:
        return distribute(self._mesh, batch, rows)

    def compile(self, state: TrainState, active: np.ndarray, batch: dict) -> None:
        self.step.compile(state, batch)

    def flops(self, state: TrainState, active: np.ndarray, batch: dict) -> float:
        return self.step.flops(state, batch)

    def advance(
        self, state: TrainState, active: np.ndarray, batch: dict
    ) -> tuple[TrainState, list[Callable[[], Sums]]]:
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
