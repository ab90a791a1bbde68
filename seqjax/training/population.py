"""Trainings that differ in numbers only, as one program: one start, one compilation, one loader."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from seqjax.errors import UserError
from seqjax.fields import flatten
from seqjax.parallel.mesh import replicated
from seqjax.parallel.sharding import placed
from seqjax.tasks.text_to_text import TextToText
from seqjax.training.optimizers import learning_rate, make_optimizer
from seqjax.training.preparation import Prepared
from seqjax.training.state import TrainState
from seqjax.training.step import CompiledSteps, Step, Sums, train_step_of
from seqjax.training.update import GENERATOR
from seqjax.training.work import product_flops

# Fields that members may differ in: numbers that enter an update and give no array its shape.
NUMBERS = (
    "seed",
    "optimizer.learning_rate",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.epsilon",
    "optimizer.momentum",
    "optimizer.weight_decay",
    "loss.label_smoothing",
    *(
        f"model.{stack}.{name}"
        for stack in ("encoder", "decoder")
        for name in ("dropout", "attention_dropout", "activation_dropout")
    ),
)


def differing(configs: Sequence[ml_collections.ConfigDict]) -> list[str]:
    """Returns the fields in which configs differ."""
    flat = [flatten(config) for config in configs]
    return [path for path in flat[0] if any(other[path] != flat[0][path] for other in flat)]


def check_members(configs: Sequence[ml_collections.ConfigDict]) -> None:
    """Raises a UserError where configs cannot be trained as one program."""
    for path in differing(configs):
        if path not in NUMBERS:
            raise UserError(
                f"{path} differs among the trials: those that are trained together may differ in"
                f" {', '.join(NUMBERS)}"
            )
    if "seed" in differing(configs) and configs[0].batching.seed == -1:
        raise UserError(
            "seed differs among the trials, and with it their batches: to train them together give"
            " them the same ones by batching.seed, 0 or more"
        )


class Population:
    """The updates of K members, whose states lie on a first axis of one state.

    Every device computes its members one after the other in a loop, or with `batched` all at once
    (`jax.vmap`). A member that is not active keeps its state.

    Attributes:
      rates: the learning rate of each member as a function of the update's number.
      step: the compiled update, (states, active [K], batch) -> (states, sums [K]).
    """

    def __init__(
        self,
        configs: Sequence[ml_collections.ConfigDict],
        prepared: Prepared,
        batched: bool = False,
    ):
        """Checks the members and traces nothing yet.

        Raises:
          UserError: they differ in more than `NUMBERS`, or the devices cannot share them evenly.
        """
        check_members(configs)
        mesh = prepared.mesh
        if len(configs) % mesh.size:
            raise UserError(
                f"{len(configs)} trials cannot be shared evenly by {mesh.size} devices: expected a"
                " multiple, or fewer devices"
            )
        self._prepared, self._batched = prepared, batched
        self._flops: dict[tuple, float] = {}
        self._config = configs[0]
        self._everywhere = replicated(mesh)
        own = PartitionSpec(mesh.axis_names)
        self._members = NamedSharding(mesh, own)
        self._values = jax.device_put(_values(configs), self._members)
        self.rates = [self._rate(config) for config in configs]
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

    def fresh_state(self) -> TrainState:
        """Returns the states before the first update."""
        return jax.jit(self._fresh, out_shardings=self._members)(self._values)

    def abstract_member(self) -> TrainState:
        """Returns shapes, types and places of one member's state, as `member` gives it."""
        values = jax.tree.map(lambda x: x[0], _values([self._config]))
        shapes = jax.eval_shape(self._fresh_one, values)
        return placed(shapes, jax.tree.map(lambda _: self._everywhere, shapes))

    def join(self, states: Sequence[TrainState]) -> TrainState:
        """Returns the states of all members as one."""
        stack = jax.jit(lambda *leaves: jnp.stack(leaves), out_shardings=self._members)
        return jax.tree.map(stack, *states)

    def member(self, states: TrainState, number: int) -> TrainState:
        """Returns the state of one member, on every device."""
        pick = jax.jit(
            lambda states, n: jax.tree.map(lambda x: x[n], states), out_shardings=self._everywhere
        )
        return pick(states, number)

    def compile(self, state: TrainState, active: np.ndarray, batch: dict) -> None:
        """Compiles the update for the shapes of a batch, which may be abstract."""
        self.step.compile(state, active, self._to_all(batch))

    def flops(self, state: TrainState, active: np.ndarray, batch: dict) -> float:
        """Returns the FLOPs of the update of one member."""
        shape = batch["source"].shape, batch["target"].shape
        if shape not in self._flops:
            values = jax.tree.map(lambda x: x[0], _values([self._config]))
            traced = jax.make_jaxpr(self._step_of(values))(self.abstract_member(), batch)
            self._flops[shape] = product_flops(traced.jaxpr)
        return self._flops[shape]

    def advance(
        self, state: TrainState, active: np.ndarray, batch: dict
    ) -> tuple[TrainState, list[Callable[[], Sums]]]:
        """Dispatches the update; returns the next states and what will read each one's sums."""
        state, sums = self.step(state, active, self._to_all(batch))
        # Read once for all members, when the first of them asks.
        read = functools.cache(lambda: jax.device_get(sums))

        def share(number: int) -> Sums:
            return {name: values[number] for name, values in read().items()}

        return state, [functools.partial(share, number) for number in range(len(active))]

    def _to_all(self, batch: dict) -> dict:
        """Returns a batch whole on every device: a loader divides it by row."""
        if isinstance(batch["source"], jax.ShapeDtypeStruct):
            return batch
        return jax.device_put(batch, self._everywhere)

    def _fresh_all(self, values):
        return self._each(self._fresh_one, values)

    def _update_all(self, values, states, active, batch):
        def update(member):
            values, state, active = member
            step = functools.partial(self._step_of(values), batch=batch)
            _, sums = jax.eval_shape(step, state)
            nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), sums)
            return jax.lax.cond(active, step, lambda state: (state, nothing), state)

        return self._each(update, (values, states, active))

    def _each(self, function, members):
        return (jax.vmap(function) if self._batched else functools.partial(jax.lax.map, function))(
            members
        )

    def _fresh_one(self, values) -> TrainState:
        config = self._with(values)
        task = TextToText(config, self._prepared.tokenizers)
        params = task.init(jax.random.key(config.seed, impl=GENERATOR))
        optimizer = make_optimizer(config.optimizer, self._rate(config))
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

    def _step_of(self, values) -> Step:
        config = self._with(values)
        return train_step_of(
            TextToText(config, self._prepared.tokenizers).loss,
            make_optimizer(config.optimizer, self._rate(config)),
            jax.random.key(config.seed, impl=GENERATOR),
            config.optimizer.accumulate,
        )

    def _rate(self, config: ml_collections.ConfigDict) -> optax.Schedule:
        durations = self._prepared.durations
        return learning_rate(
            config.optimizer.learning_rate, config.schedule, durations.warmup, durations.total
        )

    def _with(self, values: dict[str, jax.Array]) -> ml_collections.ConfigDict:
        """Returns the members' config with the numbers of one, which are traced."""
        config = ml_collections.ConfigDict(self._config.to_dict(), type_safe=False)
        for path, value in values.items():
            section, _, name = path.rpartition(".")
            functools.reduce(getattr, section.split(".") if section else (), config)[name] = value
        return config


def _values(configs: Sequence[ml_collections.ConfigDict]) -> dict[str, np.ndarray]:
    """Returns the fields that members differ in, an array [K] each."""
    flat = [flatten(config) for config in configs]
    return {
        path: np.array(
            [config[path] for config in flat], np.uint32 if path == "seed" else np.float32
        )
        for path in ("seed", *(path for path in differing(configs) if path != "seed"))
    }
