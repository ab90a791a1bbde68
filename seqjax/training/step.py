"""One update, compiled for one device or many."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from seqjax.parallel.mesh import by_row, replicated
from seqjax.training.state import TrainState

Sums = dict[str, jax.Array]
Loss = Callable[[dict, dict, jax.Array], tuple[jax.Array, Sums]]


def make_train_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    mesh: Mesh,
    accumulate: int = 1,
) -> "CompiledSteps":
    """Returns the update: (state, batch) -> (state, sums to report).

    The gradient is that of the loss summed over the whole batch, divided by its target tokens:
    neither the number of devices nor `accumulate` changes what an update means. The state that
    is passed in is donated.

    Args:
      loss: (params, batch, dropout key) -> (summed loss, sums with `tokens` among them).
      optimizer: what turns gradients into updates.
      key: typed PRNG key of the run.
      mesh: devices; the rows of a batch are divided over its axis `data`.
      accumulate: parts that a batch is split into, one after the other.
    """

    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, Sums]:
        step_key = jax.random.fold_in(key, state.step)
        gradients, sums = _gradients(loss, state.params, batch, step_key, accumulate)
        tokens = jnp.maximum(sums["tokens"], 1.0)
        gradients = jax.tree.map(lambda g: g / tokens, gradients)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        sums["gradient_norm"] = optax.tree.norm(gradients)
        return TrainState(state.step + 1, params, optimizer_state), sums

    everywhere = replicated(mesh)
    jitted = jax.jit(
        train_step,
        in_shardings=(everywhere, by_row(mesh)),
        out_shardings=(everywhere, everywhere),
        donate_argnums=0,
    )
    return CompiledSteps(jitted, accumulate, mesh.size)


class CompiledSteps:
    """A jitted update, compiled ahead of time for each batch shape, so that its cost is known."""

    def __init__(self, train_step: Callable, parts: int = 1, devices: int = 1):
        """Wraps a jitted step that handles a batch in parts, on devices that share each of them."""
        self._train_step = train_step
        self._parts, self._devices = parts, devices
        self._compiled: dict[tuple, tuple[jax.stages.Compiled, float]] = {}

    def __call__(self, state: TrainState, batch: dict) -> tuple[TrainState, Sums]:
        return self.compile(state, batch)(state, batch)

    def compile(self, state: TrainState, batch: dict) -> jax.stages.Compiled:
        """Returns the executable for the shapes of a batch, which may be abstract."""
        return self._known(state, batch)[0]

    def flops(self, state: TrainState, batch: dict) -> float:
        """Returns the FLOPs of an update on all devices, as XLA counts them."""
        return self._known(state, batch)[1]

    def estimated_flops(self, state: TrainState, batch: dict) -> float:
        """Returns about the same without compiling, for a state and a batch that may be abstract.

        The count is of what is asked of XLA, a few percent more than what its optimizer leaves.
        Some backends count only what is compiled, and get it compiled.
        """
        cost = self._train_step.lower(state, batch).cost_analysis()
        if cost is None:
            return self.flops(state, batch)
        return float(cost.get("flops", 0.0)) * self._parts

    def _known(self, state: TrainState, batch: dict) -> tuple[jax.stages.Compiled, float]:
        key = (batch["source"].shape, batch["target"].shape)
        if key not in self._compiled:
            compiled = self._train_step.lower(state, batch).compile()
            cost = compiled.cost_analysis() or {}
            # XLA counts one device, and the body of the loop over the parts of a batch once.
            flops = float(cost.get("flops", 0.0)) * self._parts * self._devices
            self._compiled[key] = compiled, flops
        return self._compiled[key]


def _gradients(loss, params, batch, key, accumulate):
    """Returns the gradient of the summed loss, and the sums, over all parts of the batch."""
    gradient = jax.grad(loss, has_aux=True)
    if accumulate == 1:
        return gradient(params, batch, key)
    # Part i takes rows i, i + n, ...: each device keeps its own rows.
    parts = jax.tree.map(
        lambda x: x.reshape((x.shape[0] // accumulate, accumulate) + x.shape[1:]).swapaxes(0, 1),
        batch,
    )

    def add(total, part_and_index):
        part, index = part_and_index
        new = gradient(params, part, jax.random.fold_in(key, index))
        return jax.tree.map(jnp.add, total, new), None

    shapes = jax.eval_shape(gradient, params, jax.tree.map(lambda x: x[0], parts), key)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, _ = jax.lax.scan(add, zeros, (parts, jnp.arange(accumulate)))
    return total
