"""Recurrent cells, and a layer that runs a cell over a sequence in either direction.

Shape suffixes: B batch, T time, I inputs, H hidden units, G gates.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.dense import Dense, add_bias, intercepted, kernel_gradient, matmul
from seqjax.layers.dropout import Dropout
from seqjax.layers.normalization import NORM_EPSILON

# The arrays [B, H] of a cell's state; the first is its output. State and gates are float32 whatever
# the type of the computation: in bfloat16 a large sum ignores small summands, and a gate near 1
# rounds to 1.
State = tuple[jax.Array, ...]


def elman(inputs: jax.Array, recurrent: jax.Array, state: State) -> State:
    """Simple recurrent network (Elman, 1990): h = tanh(x W + h' U + b)."""
    return (jnp.tanh(inputs + recurrent),)


def lstm(inputs: jax.Array, recurrent: jax.Array, state: State) -> State:
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).

        i, f, g, o = x W + h' U + b
        c = sigmoid(f) * c' + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)

    The order of the gates is torch's.
    """
    gates = inputs + recurrent
    # XLA divides one sigmoid over all blocks among CPU cores; its third block is not used.
    i, f, _, o = jnp.split(jax.nn.sigmoid(gates), 4, axis=-1)
    cell = f * state[1] + i * jnp.tanh(jnp.split(gates, 4, axis=-1)[2])
    return o * jnp.tanh(cell), cell


def gru(inputs: jax.Array, recurrent: jax.Array, state: State) -> State:
    """Gated recurrent unit (Cho et al., 2014) with the reset gate after the product, as in cuDNN.

        r, z = sigmoid(x W_rz + h' U_rz + b_rz)
        n = tanh(x W_n + b_n + r * (h' U_n + d_n))
        h = (1 - z) * n + z * h'

    The order of the gates is torch's.
    """
    reset, update, _ = jnp.split(jax.nn.sigmoid(inputs + recurrent), 3, axis=-1)
    input_n, n = (jnp.split(x, 3, axis=-1)[2] for x in (inputs, recurrent))
    return ((1 - update) * jnp.tanh(input_n + reset * n) + update * state[0],)


class Cell(NamedTuple):
    """A cell as a layer uses it.

    Attributes:
      function: (inputs [B, G H], recurrent [B, G H], state) -> state, for one position.
      blocks: sizes of the groups of blocks that are normalized together; they sum to G.
      states: number of arrays in the state.
      own_bias: whether the last block of the recurrent product needs a separate bias.
      forget_gate: index of the forget gate's block, None without one.
    """

    function: Callable[[jax.Array, jax.Array, State], State]
    blocks: tuple[int, ...]
    states: int
    own_bias: bool = False
    forget_gate: int | None = None

    @property
    def gates(self) -> int:
        """The number G of blocks in each product."""
        return sum(self.blocks)


CELLS = {
    "elman": Cell(elman, blocks=(1,), states=1),
    "lstm": Cell(lstm, blocks=(4,), states=2, forget_gate=1),
    "gru": Cell(gru, blocks=(2, 1), states=1, own_bias=True),
}


class RecurrentLayer(nn.Module):
    """A cell run over a sequence or for a single position.

    All inputs are multiplied at once, before the recurrence. The gradient of the recurrent matrix
    is one product as well, after it.

    Attributes:
      size: number H of hidden units.
      cell: a key of `CELLS`.
      reverse: runs from the end of the sequence to its beginning.
      normalize: applies layer normalization to each of the two products (Ba et al., 2016), in a
        GRU to the gates and the candidate separately. Ba et al. normalize the sum of both products
        in Elman's network, and in an LSTM the cell as well.
      dtype: type of the products and outputs.
      forget_bias: initial value of b in an LSTM's forget gates; other biases start at 0. With 0 the
        gates start at 1/2 and a cell forgets within a few positions; with 1 they start at 0.73 and
        long dependencies can be learned (Gers et al., 2000; Jozefowicz et al., 2015).
      implementation: function that runs a whole sequence instead of the scan, such as `run_cudnn`.
      dropout: rate at which entries of the recurrent matrix are zero, the same for all rows and
        positions (DropConnect: Wan et al., 2013; in recurrences Merity et al., 2018).
    """

    size: int
    cell: str
    reverse: bool = False
    normalize: bool = False
    dtype: jnp.dtype = jnp.float32
    forget_bias: float = 1.0
    implementation: Callable[..., tuple[jax.Array, State]] | None = None
    dropout: float = 0.0

    def setup(self):
        kind = CELLS[self.cell]
        width = kind.gates * self.size
        self.inputs = Dense(width, self.dtype, bias_init=self._initial_bias)
        init = _orthogonal_blocks(kind.gates)
        self.recurrent = self.param("recurrent", init, (self.size, width), jnp.float32)
        self.drop = Dropout(self.dropout, by_row=False)
        if kind.own_bias:
            init = nn.initializers.zeros
            self.recurrent_bias = self.param("recurrent_bias", init, (self.size,), jnp.float32)
        if self.normalize:
            init = nn.initializers.ones
            self.input_scale = self.param("input_scale", init, (width,), jnp.float32)
            self.recurrent_scale = self.param("recurrent_scale", init, (width,), jnp.float32)

    def start(self, rows: int) -> State:
        """Returns a state of zeros, arrays [B, H]."""
        return (jnp.zeros((rows, self.size), jnp.float32),) * CELLS[self.cell].states

    def __call__(
        self,
        x_BxTxI: jax.Array,
        mask_BxT: jax.Array,
        state: State | None = None,
        deterministic: bool = True,
    ) -> tuple[jax.Array, State]:
        """Returns outputs [B, T, H], zero at padding, and the state after the last position.

        Masked positions leave the state unchanged. With padding at the end, the result is the state
        after the last real position, and a reverse layer starts at this position.
        """
        state = self.start(x_BxTxI.shape[0]) if state is None else as_state(state)
        dropped = self.dropped(deterministic)
        recurrent_HxG = self.recurrent if dropped is None else dropped
        if self.implementation and not intercepted():
            kernel_IxG, bias_G = self.inputs.weights(x_BxTxI.shape[-1])
            weights = (kernel_IxG, recurrent_HxG, bias_G)
            return self.implementation(weights, x_BxTxI, mask_BxT, state, self.reverse)
        inputs_TxBxG = self.project(x_BxTxI).swapaxes(0, 1)
        mask_TxBx1 = mask_BxT.T[..., None]
        if intercepted():
            outputs_TxBxH, state = self._advance_all(inputs_TxBxG, mask_TxBx1, state, dropped)
        else:
            cell = (self.cell, self.reverse)
            outputs_TxBxH, state = _recur(
                cell, recurrent_HxG, self._adjustment(), inputs_TxBxG, mask_TxBx1, state
            )
        return outputs_TxBxH.swapaxes(0, 1) * mask_BxT[..., None].astype(self.dtype), state

    def project(self, x: jax.Array) -> jax.Array:
        """Returns the products [..., G H] of inputs [..., I], which do not depend on the state."""
        if not self.normalize:
            return self.inputs(x)
        _, bias = self.inputs.weights(x.shape[-1])
        found = self.inputs.multiply(x)
        return add_bias(normalize(found, self.input_scale, self.cell), bias)

    def dropped(self, deterministic: bool) -> jax.Array | None:
        """Returns the recurrent matrix [H, G] with entries dropped, None if none are."""
        if deterministic or self.dropout == 0.0:
            return None
        return self.drop(self.recurrent, deterministic)

    def advance(
        self, inputs: jax.Array, state: State, recurrent_HxG: jax.Array | None = None
    ) -> State:
        """Returns the state after one more position, given the products of its input.

        Args:
          inputs: the result of `project`.
          state: the state before.
          recurrent_HxG: the result of `dropped`, which all positions share.
        """
        matrix_HxG = self.recurrent if recurrent_HxG is None else recurrent_HxG
        recurrent = matmul(state[0], matrix_HxG, self.dtype, self.dtype)
        return _advance(self.cell, self._adjustment(), inputs, recurrent, state)

    def _advance_all(self, inputs_TxBxG, mask_TxBx1, state, recurrent_HxG):
        """Runs `_recur` with plain products and derivatives."""

        def step(layer, state, seen):
            inputs, mask = seen
            new = layer.advance(inputs, state, recurrent_HxG)
            state = tuple(jnp.where(mask, *pair) for pair in zip(new, state, strict=True))
            return state, state[0].astype(layer.dtype)

        walk = nn.scan(
            step, variable_broadcast="params", split_rngs={"params": False}, reverse=self.reverse
        )
        state, outputs_TxBxH = walk(self, state, (inputs_TxBxG, mask_TxBx1))
        return outputs_TxBxH, state

    def _initial_bias(self, key: jax.Array, shape: tuple[int], dtype: jnp.dtype) -> jax.Array:
        """Returns the initial b [G H]."""
        forget = CELLS[self.cell].forget_gate
        bias_GxH = jnp.zeros((CELLS[self.cell].gates, self.size), dtype)
        if forget is not None:
            bias_GxH = bias_GxH.at[forget].set(self.forget_bias)
        return bias_GxH.reshape(shape)

    def _adjustment(self) -> dict[str, jax.Array]:
        """Returns the parameters applied to the recurrent product: `scale` and `bias`, if any."""
        found = {}
        if self.normalize:
            found["scale"] = self.recurrent_scale
        if CELLS[self.cell].own_bias:
            before = jnp.zeros(self.recurrent.shape[1] - self.size)
            found["bias"] = jnp.concatenate([before, self.recurrent_bias])
        return found


def as_state(arrays: Sequence[jax.Array]) -> State:
    """Returns the state of a cell made of arrays [B, H]."""
    return tuple(array.astype(jnp.float32) for array in arrays)


def _advance(
    cell: str,
    adjustment: dict[str, jax.Array],
    inputs: jax.Array,
    recurrent: jax.Array,
    state: State,
) -> State:
    if "scale" in adjustment:
        recurrent = normalize(recurrent, adjustment["scale"], cell)
    recurrent = recurrent.astype(jnp.float32)
    if "bias" in adjustment:
        recurrent = add_bias(recurrent, adjustment["bias"])
    return CELLS[cell].function(inputs.astype(jnp.float32), recurrent, state)


def _advance_where(cell, adjustment, inputs, recurrent, mask, state):
    new = _advance(cell, adjustment, inputs, recurrent, state)
    return tuple(jnp.where(mask, *pair) for pair in zip(new, state, strict=True))


def normalize(x: jax.Array, scale: jax.Array, cell: str) -> jax.Array:
    """Normalizes a product [..., G H] of a cell without a bias; statistics are float32."""
    blocks = CELLS[cell].blocks
    size = x.shape[-1] // sum(blocks)
    ends = [size * end for end in itertools.accumulate(blocks)]
    parts = jnp.split(x.astype(jnp.float32), ends[:-1], axis=-1)
    normal = [_standardize(part) for part in parts]
    return (jnp.concatenate(normal, axis=-1) * scale).astype(x.dtype)


def _standardize(x: jax.Array) -> jax.Array:
    centered = x - x.mean(-1, keepdims=True)
    return centered / jnp.sqrt(jnp.square(centered).mean(-1, keepdims=True) + NORM_EPSILON)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recur(
    cell: tuple[str, bool],
    kernel_HxG: jax.Array,
    adjustment: dict[str, jax.Array],
    inputs_TxBxG: jax.Array,
    mask_TxBx1: jax.Array,
    state: State,
) -> tuple[jax.Array, State]:
    """Runs a cell over time; returns the outputs [T, B, H] and the last state.

    The derivative of a plain scan would add to the gradient of the recurrent matrix at every step.
    Here the steps only collect the gradients of their products; the gradient of the matrix is then
    one product of all hidden states with all of these.
    """
    (outputs, *_), state = _scan(cell, kernel_HxG, adjustment, inputs_TxBxG, mask_TxBx1, state)
    return outputs, state


def _scan(cell, kernel, adjustment, inputs, mask, state):
    """Returns (outputs, recurrent products, previous states) of all positions, and the last."""
    name, reverse = cell
    kernel = kernel.astype(inputs.dtype)

    def step(state, inputs_and_mask):
        inputs, mask = inputs_and_mask
        recurrent = state[0].astype(inputs.dtype) @ kernel
        new = _advance_where(name, adjustment, inputs, recurrent, mask, state)
        return new, (new[0].astype(inputs.dtype), recurrent, state)

    last, seen = jax.lax.scan(step, state, (inputs, mask), reverse=reverse)
    return seen, last


def _forward(cell, kernel, adjustment, inputs, mask, state):
    (outputs, products, states), last = _scan(cell, kernel, adjustment, inputs, mask, state)
    return (outputs, last), (kernel, adjustment, inputs, mask, products, states)


def _backward(cell, kept, gradients):
    kernel, adjustment, inputs, mask, products, states = kept
    name, reverse = cell
    kernel_HxG = kernel.astype(inputs.dtype)

    def step(carry, seen):
        state_gradient, adjustment_gradient = carry
        output_gradient, inputs, mask, recurrent, state = seen
        _, derivative = jax.vjp(
            lambda a, i, r, s: _advance_where(name, a, i, r, mask, s),
            adjustment,
            inputs,
            recurrent,
            state,
        )
        first, *others = state_gradient
        added, inputs, recurrent, state = derivative((first + output_gradient, *others))
        state_gradient = (
            state[0] + _multiply_transposed(recurrent, kernel_HxG),
            *state[1:],
        )
        carry = state_gradient, jax.tree.map(jnp.add, adjustment_gradient, added)
        return carry, (inputs, recurrent)

    output_gradients, last_gradient = gradients
    start = last_gradient, jax.tree.map(jnp.zeros_like, adjustment)
    seen = (output_gradients, inputs, mask, products, states)
    (state_gradient, adjustment_gradient), (input_gradients, product_gradients) = jax.lax.scan(
        step, start, seen, reverse=not reverse
    )
    hidden_NxH = states[0].reshape(-1, kernel.shape[0]).astype(product_gradients.dtype)
    gradient = kernel_gradient(hidden_NxH, product_gradients.reshape(-1, kernel.shape[1]))
    return gradient.astype(kernel.dtype), adjustment_gradient, input_gradients, None, state_gradient


_recur.defvjp(_forward, _backward)


def _multiply_transposed(x_BxG: jax.Array, kernel_HxG: jax.Array) -> jax.Array:
    contract = (((1,), (1,)), ((), ()))
    return jax.lax.dot_general(x_BxG, kernel_HxG, contract, preferred_element_type=jnp.float32)


def _orthogonal_blocks(blocks: int) -> nn.initializers.Initializer:
    """Returns an initializer of [H, G H] with an orthogonal matrix for each gate."""
    orthogonal = nn.initializers.orthogonal()

    def init(key, shape, dtype=jnp.float32):
        size = (shape[0], shape[1] // blocks)
        parts = [orthogonal(part, size, dtype) for part in jax.random.split(key, blocks)]
        return jnp.concatenate(parts, axis=1)

    return init
