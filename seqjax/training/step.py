"""One update, compiled for one device or many."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from seqjax.layers.dropout import rows_of_batch
from seqjax.parallel.mesh import by_row, replicated
from seqjax.training.averages import Weight, moved
from seqjax.training.state import TrainState
from seqjax.training.work import Work, work_of

Sums = dict[str, jax.Array]
Loss = Callable[[dict, dict, jax.Array, Any], tuple[jax.Array, tuple[Sums, Any]]]
Step = Callable[[TrainState, dict], tuple[TrainState, Sums]]


def train_step_of(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    accumulate: int = 1,
    weight: Weight | None = None,
) -> Step:
    """Returns the update as a pure function, (state, batch) -> (state, sums to report).

    The gradient is that of the loss summed over the whole batch, divided by its target tokens:
    neither the number of devices nor `accumulate` changes what an update means.

    Args:
      loss: (params, batch, dropout key, carry) -> (summed loss, (sums with `tokens` among them,
        next carry)), as `Task.loss`.
      optimizer: what turns gradients into updates.
      key: typed PRNG key of the run.
      accumulate: parts that a batch is split into, one after the other.
      weight: of the parameters in their average, if the state has one.
    """

    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, Sums]:
        step_key = jax.random.fold_in(key, state.step)
        gradients, (sums, carry) = _gradients(
            loss, state.params, batch, step_key, state.carry, accumulate
        )
        tokens = jnp.maximum(sums["tokens"], 1.0)
        gradients = jax.tree.map(lambda g: g / tokens, gradients)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        if state.feedback:
            updates = jax.tree.map(lambda u: u * state.feedback.scale, updates)
        params = optax.apply_updates(state.params, updates)
        sums["gradient_norm"] = optax.tree.norm(gradients)
        average = None
        if state.average is not None:
            average = moved(state.average, params, weight(state.step, state.feedback))
        following = state.replace(
            step=state.step + 1,
            params=params,
            optimizer=optimizer_state,
            average=average,
            carry=carry,
        )
        return following, sums

    return train_step


def make_train_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    mesh: Mesh,
    accumulate: int = 1,
    state: Any = None,
) -> "CompiledSteps":
    """Returns the update of `train_step_of`, `divided` among the devices of a mesh."""
    return divided(train_step_of(loss, optimizer, key, accumulate), mesh, state)


def divided(step: Step, mesh: Mesh, state: Any = None) -> "CompiledSteps":
    """Returns an update as it is compiled; the state that is passed in is donated.

    Args:
      step: what `train_step_of` returns.
      mesh: devices, among which the rows of a batch are divided.
      state: shardings of the state's arrays; by default every device holds them whole.
    """
    everywhere = replicated(mesh)
    state = everywhere if state is None else state
    jitted = jax.jit(
        step,
        in_shardings=(state, by_row(mesh)),
        out_shardings=(state, everywhere),
        donate_argnums=0,
    )
    return CompiledSteps(jitted)


class CompiledSteps:
    """A jitted update, compiled ahead of time for each batch shape, so that its work is known.

    Its last argument is the batch.
    """

    def __init__(self, train_step: Callable):
        self._train_step = train_step
        self._compiled: dict[tuple, tuple[jax.stages.Compiled, float]] = {}

    def __call__(self, *arguments: Any) -> tuple[TrainState, Sums]:
        return self.compile(*arguments)(*arguments)

    def knows(self, batch: dict) -> bool:
        """Returns whether the update is compiled for the shapes of a batch."""
        return shapes_of(batch) in self._compiled

    def compile(self, *arguments: Any) -> jax.stages.Compiled:
        """Returns the executable for the shapes of a batch, which may be abstract."""
        return self._known(*arguments)[0]

    def flops(self, *arguments: Any) -> float:
        """Returns the FLOPs of the products of an update on all devices; all may be abstract."""
        key = shapes_of(arguments[-1])
        return self._compiled[key][1] if key in self._compiled else self.work(*arguments).flops

    def work(self, *arguments: Any) -> Work:
        """Returns the products of an update on all devices; all arguments may be abstract."""
        return work_of(self._train_step.trace(*arguments).jaxpr.jaxpr)

    def _known(self, *arguments: Any) -> tuple[jax.stages.Compiled, float]:
        key = shapes_of(arguments[-1])
        if key not in self._compiled:
            traced = self._train_step.trace(*arguments)
            flops = work_of(traced.jaxpr.jaxpr).flops
            self._compiled[key] = traced.lower().compile(), flops
        return self._compiled[key]


def shapes_of(batch: dict) -> tuple:
    """Returns the shapes of all arrays of a batch: an update is compiled once for each."""
    return tuple((name, batch[name].shape) for name in sorted(batch))


def _gradients(loss, params, batch, key, carry, accumulate):
    """Returns the gradient of the summed loss, and (sums, next carry), over the whole batch."""
    gradient = jax.grad(loss, has_aux=True)
    if accumulate == 1:
        return gradient(params, batch, key, carry)
    # Part i takes rows i, i + n, ...: each device keeps its own rows.
    parts, carries = jax.tree.map(
        lambda x: x.reshape((x.shape[0] // accumulate, accumulate) + x.shape[1:]).swapaxes(0, 1),
        (batch, carry),
    )

    def add(total, inputs):
        part, carry, index = inputs
        with rows_of_batch(index, accumulate):
            new, (sums, carry) = gradient(params, part, key, carry)
        return jax.tree.map(jnp.add, total, (new, sums)), carry

    first = jax.tree.map(lambda x: x[0], (parts, carries))
    new, (sums, _) = jax.eval_shape(gradient, params, first[0], key, first[1])
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (new, sums))
    (total, sums), carries = jax.lax.scan(add, zeros, (parts, carries, jnp.arange(accumulate)))
    carry = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape((-1,) + x.shape[2:]), carries)
    return total, (sums, carry)
