"""Trainings that differ in numbers only, as one program: one start, one compilation, one loader."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqjax.data.gather import Batch
from seqjax.data.plan import Plan
from seqjax.fields import differing, flatten
from seqjax.parallel.mesh import make_mesh, replicated
from seqjax.parallel.sharding import placed
from seqjax.tasks.declared import task_of
from seqjax.training.feedback import Feedback
from seqjax.training.members import check_members
from seqjax.training.pace import seconds_of_update
from seqjax.training.preparation import Prepared
from seqjax.training.program import Program
from seqjax.training.recipe import Recipe
from seqjax.training.state import TrainState
from seqjax.training.step import CompiledSteps, Sums, shapes_of
from seqjax.training.work import work_of

# A loop equals single runs bit for bit, so a batch must be faster by more than the noise of the
# measurement.
_WORTH = 1.5
# How a device computes its members: one after the other, or all at once (`jax.vmap`).
WAYS = ("loop", "batch")


class Population(Program):
    """The updates of K members, whose states lie on a first axis of one state.

    Every device has as many members. One that is not active keeps its state.

    Its update is (states, active [K], batch) -> (states, sums [K]), its way one of `WAYS`.
    """

    def __init__(
        self,
        configs: Sequence[ml_collections.ConfigDict],
        prepared: Prepared,
        way: str = "loop",
    ):
        """Checks the members and traces nothing yet; `prepared.mesh` is one of `shared_mesh`.

        Raises:
          UserError: they cannot be one program.
        """
        check_members(configs)
        mesh = prepared.mesh
        self._prepared, self.way = prepared, way
        self._flops: dict[tuple, float] = {}
        self._config = configs[0]
        self._everywhere = replicated(mesh)
        own = PartitionSpec(mesh.axis_names)
        self._members = NamedSharding(mesh, own)
        self._values = jax.device_put(_values(configs), self._members)
        self.rates = [self._recipe_of(config).rate for config in configs]
        shared = functools.partial(jax.shard_map, mesh=mesh, check_vma=False)
        self._fresh = shared(self._fresh_all, in_specs=own, out_specs=own)
        update = shared(
            self._update_all, in_specs=(own, own, own, PartitionSpec()), out_specs=(own, own)
        )
        self.step = CompiledSteps(
            jax.jit(
                functools.partial(update, self._values),
                in_shardings=(self._members, self._members, self._everywhere),
                out_shardings=(self._members, self._everywhere),
                donate_argnums=0,
            )
        )
        self._pick = jax.jit(
            lambda states, n: jax.tree.map(lambda x: x[n], states), out_shardings=self._everywhere
        )

    def fresh_state(self) -> TrainState:
        return jax.jit(self._fresh, out_shardings=self._members)(self._values)

    def abstract_member(self) -> TrainState:
        shapes = jax.eval_shape(self._recipe_of(self._config).fresh)
        return placed(shapes, jax.tree.map(lambda _: self._everywhere, shapes))

    def join(self, states: Sequence[TrainState]) -> TrainState:

        def stack(*leaves):
            return jax.device_put(np.stack(jax.device_get(leaves)), self._members)

        return jax.tree.map(stack, *states)

    def parked(self, state: TrainState) -> TrainState:
        return jax.device_get(state)

    def member(self, states: TrainState, number: int) -> TrainState:
        return self._pick(states, number)

    def best(self, states: TrainState, number: int) -> Any:
        return self._pick(states.best, number)

    def informed(self, states: TrainState, number: int, feedback: Feedback) -> TrainState:
        of_all = jax.tree.map(
            lambda all_of, own: jax.device_put(all_of.at[number].set(own), self._members),
            states.feedback,
            feedback,
        )
        return states.replace(feedback=of_all)

    def part(self, rows: int) -> slice:
        return slice(None)

    def place(self, batch: Batch, rows: int) -> dict[str, jax.Array]:
        return jax.device_put(batch, self._everywhere)

    def compile(self, state: TrainState, active: np.ndarray, batch: dict) -> None:
        self.step.compile(state, active, batch)
        # Counted now, while no clock runs.
        self.flops(state, active, batch)

    def flops(self, state: TrainState, active: np.ndarray, batch: dict) -> float:
        shape = shapes_of(batch)
        if shape not in self._flops:
            step = self._recipe_of(self._config).step()
            traced = jax.make_jaxpr(step)(self.abstract_member(), batch)
            self._flops[shape] = work_of(traced.jaxpr).flops
        return self._flops[shape]

    def advance(
        self, state: TrainState, active: np.ndarray, batch: dict
    ) -> tuple[TrainState, list[Callable[[], Sums]]]:
        state, sums = self.step(state, active, batch)
        # Read once for all members, when the first of them asks.
        read = functools.cache(lambda: jax.device_get(sums))

        def share(number: int) -> Sums:
            return {name: values[number] for name, values in read().items()}

        return state, [functools.partial(share, number) for number in range(len(active))]

    def _fresh_all(self, values):
        # One after the other in either way: a batch of orthogonal matrices, two of them at a time,
        # locks the threads of JAX 0.10 on a CPU for ever.
        return jax.lax.map(lambda values: self._recipe_of(self._with(values)).fresh(), values)

    def _update_all(self, values, states, active, batch):
        def update(member):
            values, state, active = member
            recipe = self._recipe_of(self._with(values))
            step = functools.partial(recipe.step(), batch=batch)
            _, sums = jax.eval_shape(step, state)
            nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), sums)
            return jax.lax.cond(active, step, lambda state: (state, nothing), state)

        return self._each(update, (values, states, active))

    def _each(self, function, members):
        if self.way == "batch":
            return jax.vmap(function)(members)
        return jax.lax.map(function, members)

    def _recipe_of(self, config: ml_collections.ConfigDict) -> Recipe:
        prepared = self._prepared
        task = task_of(config, prepared.tokenizers)
        return Recipe.of(config, task, prepared.durations, prepared.plan.largest.rows)

    def _with(self, values: dict[str, jax.Array]) -> ml_collections.ConfigDict:
        """Returns the members' config with the numbers of one, which are traced."""
        config = ml_collections.ConfigDict(self._config.to_dict(), type_safe=False)
        config.update_from_flattened_dict(values)
        return config


def shared_mesh(mesh: Mesh, members: int) -> Mesh:
    """Returns the most devices of a mesh that can have as many members each."""
    count = next(n for n in range(mesh.size, 0, -1) if members % n == 0)
    return make_mesh(count, devices=list(mesh.devices.flat)[:count])


def faster_population(
    configs: Sequence[ml_collections.ConfigDict], prepared: Prepared
) -> tuple[Population, str]:
    """Returns a batch of members if that is much faster than a loop, else a loop, and why.

    Each way computes a few updates of the largest shape. The loop is chosen if a batch does not fit
    into memory. The compiled update of the chosen way is kept.
    """
    seconds, found = {}, {}
    for way in WAYS:
        found[way] = Population(configs, prepared, way)
        seconds[way] = _seconds(found[way], len(configs), prepared.plan)
    best = "batch" if seconds["batch"] * _WORTH < seconds["loop"] else "loop"
    each = ", ".join(
        f"{way} {1e3 * taken:.0f} ms" if math.isfinite(taken) else f"{way} out of memory"
        for way, taken in seconds.items()
    )
    rows = prepared.plan.largest.rows
    return found[best], f"--members={best}: an update of all in batches of {rows} took {each}"


def _seconds(population: Population, count: int, plan: Plan) -> float:
    """Returns the shortest time of an update of all members in seconds, inf if out of memory."""
    try:
        return seconds_of_update(population, count, plan)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return math.inf


def _values(configs: Sequence[ml_collections.ConfigDict]) -> dict[str, np.ndarray]:
    """Returns the fields that members differ in, an array [K] each."""
    flat = [flatten(config) for config in configs]
    return {
        path: np.array(
            [config[path] for config in flat], np.uint32 if path == "seed" else np.float32
        )
        for path in ("seed", *(path for path in differing(configs) if path != "seed"))
    }
