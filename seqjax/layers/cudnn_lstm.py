"""An LSTM layer computed by NVIDIA's cuDNN, with the same parameters as the scan.

Shape suffixes: B batch, T time, I inputs, H hidden units, G blocks of gates, 4 H.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.experimental import rnn

from seqjax.layers.recurrent import State

# The parameters of a `RecurrentLayer`: kernel [I, G], recurrent matrix [H, G], bias [G]. cuDNN has
# the same order of gates.
Weights = tuple[jax.Array, jax.Array, jax.Array]


def run_cudnn(
    weights: Weights,
    x_BxTxI: jax.Array,
    mask_BxT: jax.Array,
    state: State,
    reverse: bool,
    operation: Callable[..., tuple[jax.Array, ...]] = rnn.lstm,
) -> tuple[jax.Array, State]:
    """Runs a layer over whole sequences in one operation (Appleyard et al., 2016), in float32.

    Returns outputs [B, T, H], zero at padding, and the states after the last real position. cuDNN
    needs the padding at the end. Products are not rounded to TF32.

    Args:
      weights: the layer's parameters.
      x_BxTxI: inputs.
      mask_BxT: true at real positions.
      state: hidden state and cell before the first position.
      reverse: runs from the last real position to the first.
      operation: cuDNN's, or one with the same arguments and results.
    """
    kernel_IxG, recurrent_HxG, _ = weights
    real_BxTx1 = mask_BxT[..., None]
    lengths_B = jnp.sum(mask_BxT, axis=1, dtype=jnp.int32)
    # Drops the gradient that cuDNN leaves at padding; its outputs there are dropped below.
    x_BxTxI = jnp.where(real_BxTx1, x_BxTxI, 0.0)
    if reverse:
        x_BxTxI = _flip(x_BxTxI, lengths_B)
    outputs_BxTxH, *last = operation(
        x_BxTxI,
        *(part[None] for part in state),
        pack(weights),
        # cuDNN fails on empty rows (github.com/jax-ml/jax/issues/17966).
        jnp.maximum(lengths_B, 1),
        kernel_IxG.shape[0],
        recurrent_HxG.shape[0],
        1,  # Layers.
        0.0,  # Dropout.
        False,  # Both directions.
        jax.lax.Precision.HIGHEST,
    )
    if reverse:
        outputs_BxTxH = _flip(outputs_BxTxH, lengths_B)
    filled_Bx1 = lengths_B[:, None] > 0
    last = (jnp.where(filled_Bx1, new[0], old) for new, old in zip(last, state, strict=True))
    return jnp.where(real_BxTx1, outputs_BxTxH, 0.0), tuple(last)


def pack(weights: Weights) -> jax.Array:
    """Returns the weights in cuDNN's format, one vector [(I + H + 2) G].

    The transposed matrices come first, then two biases that cuDNN adds; the second is zero.
    """
    kernel_IxG, recurrent_HxG, bias_G = weights
    parts = (kernel_IxG.T.ravel(), recurrent_HxG.T.ravel(), bias_G, jnp.zeros_like(bias_G))
    return jnp.concatenate(parts)


def _flip(x_BxTxI: jax.Array, lengths_B: jax.Array) -> jax.Array:
    """Reverses the real part of each row; padding stays in place."""
    positions_T = jnp.arange(x_BxTxI.shape[1])
    lengths_Bx1 = lengths_B[:, None]
    turned_BxT = jnp.where(positions_T < lengths_Bx1, lengths_Bx1 - 1 - positions_T, positions_T)
    return jnp.take_along_axis(x_BxTxI, turned_BxT[..., None], axis=1)
