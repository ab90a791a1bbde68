"""Gated convolutions over a sequence, and encoder and decoder layers built from them.

Shape suffixes: B batch, T positions, S source, K hypotheses, D width, E width of embeddings,
P past positions, H heads.

Sources: Gehring et al., Convolutional sequence to sequence learning (2017), and Kalchbrenner et
al., Neural machine translation in linear time (2016).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.attention import ATTENTIONS, PreparedMemory, sow_weights
from seqjax.layers.dropout import Dropout
from seqjax.layers.weight_normalization import NormalizedDense


def average(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns (x + y) sqrt(1/2), with the variance of x and y if both have the same."""
    return (x + y) * 0.5**0.5


def dilations(layers: int, largest: int) -> list[int]:
    """Returns each layer's dilation: 1, 2, 4, ..., largest, and again (Kalchbrenner et al.)."""
    return [2 ** (i % largest.bit_length()) for i in range(layers)]


class GatedConvolution(nn.Module):
    """A convolution with a gated linear unit (Dauphin et al., 2017; Gehring et al., 2017).

        [a, c] = [x_t1, ..., x_tk] W + b
        y_t = a * sigmoid(c)

    W is weight-normalized, with one length for each output. The positions t1, ..., tk are
    `dilation` apart; t is the last of them in a causal convolution, otherwise the middle one.
    Beyond the ends are zeros. The convolution is computed as one product of all k shifted inputs.

    Attributes:
      width: size D of inputs and outputs.
      kernel: number k of positions read; odd if not causal.
      dilation: distance between them.
      causal: whether later positions are hidden.
      dropout: rate on the inputs.
      dtype: type of the computation.
    """

    width: int
    kernel: int
    dilation: int = 1
    causal: bool = False
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        # Gates near one half reduce the variance to a quarter.
        self.map = NormalizedDense(2 * self.width, gain=4.0, dropout=self.dropout, dtype=self.dtype)
        self.drop = Dropout(self.dropout)

    def __call__(self, x_BxTxD: jax.Array, deterministic: bool = True) -> jax.Array:
        """Maps [B, T, D] to [B, T, D]; padding must be zero."""
        x_BxTxD = self.drop(x_BxTxD, deterministic)
        around = (self.kernel - 1) * self.dilation
        before = around if self.causal else around // 2
        return self._slide(jnp.pad(x_BxTxD, ((0, 0), (before, around - before), (0, 0))))

    def start(self, batch: int, hypotheses: int) -> jax.Array:
        """Returns the past of the first position, zeros [B, K, P, D]."""
        past = (self.kernel - 1) * self.dilation
        return jnp.zeros((batch, hypotheses, past, self.width), self.dtype)

    def step(self, past_BxKxPxD: jax.Array, x_BxKxD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Advances a causal convolution by one position; returns the new past and outputs."""
        seen = jnp.concatenate([past_BxKxPxD, x_BxKxD[:, :, None]], axis=2)
        window_BxKxkD = seen[:, :, :: self.dilation].reshape(*x_BxKxD.shape[:2], -1)
        return seen[:, :, 1:], self._gate(window_BxKxkD)

    def prefill(
        self, past_BxPxD: jax.Array, x_BxTxD: jax.Array, lengths_B: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Reads T positions at once, of which the first `lengths` are kept in the new past."""
        seen = jnp.concatenate([past_BxPxD, x_BxTxD], axis=1)
        kept_BxP = lengths_B[:, None] + jnp.arange(past_BxPxD.shape[1])
        return jnp.take_along_axis(seen, kept_BxP[..., None], axis=1), self._slide(seen)

    def _slide(self, padded: jax.Array) -> jax.Array:
        around = (self.kernel - 1) * self.dilation
        length = padded.shape[1] - around
        shifted = [padded[:, i : i + length] for i in range(0, around + 1, self.dilation)]
        return self._gate(jnp.concatenate(shifted, axis=-1))

    def _gate(self, windows: jax.Array) -> jax.Array:
        values, gates = jnp.split(self.map(windows), 2, axis=-1)
        return values * jax.nn.sigmoid(gates)


class ConvolutionalEncoderLayer(nn.Module):
    """A gated convolution with a residual connection (Gehring et al., 2017, section 3.2).

        y = (GLU(conv(x)) + x) sqrt(1/2)

    The attributes are the same as in `GatedConvolution`.
    """

    width: int
    kernel: int
    dilation: int = 1
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.convolution = GatedConvolution(
            self.width, self.kernel, self.dilation, False, self.dropout, self.dtype
        )

    def __call__(
        self, x_BxSxD: jax.Array, mask_BxS: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Maps [B, S, D] to [B, S, D]; padding counts as zeros, as do positions beyond the ends."""
        real = jnp.where(mask_BxS[..., None], x_BxSxD, 0)
        return average(self.convolution(real, deterministic), x_BxSxD)


class ConvolutionalDecoderLayer(nn.Module):
    """A causal gated convolution with attention to the source (Gehring et al., 2017, section 3.3).

        h = GLU(conv(x))
        c = attention((h W_q + b_q + embedded) sqrt(1/2)) sqrt(m)
        y = ((h + c W_c + b_c) sqrt(1/2) + x) sqrt(1/2)

    `embedded` is the token vector with its position, m the number of real source positions. The
    mean of m independent vectors has 1/m of their variance; the factor sqrt(m) restores it. The
    factors sqrt(1/2) of the query and of h are fairseq's; the paper has plain sums.

    Attributes: as in `GatedConvolution`, and
      embedding_width: size E of embeddings and queries.
      attention: a key of `ATTENTIONS`, or 'none': then y = (h + x) sqrt(1/2).
      attention_width: inner size of the attention.
      heads: number of heads, for 'multi_head' only.
    """

    width: int
    embedding_width: int
    kernel: int
    dilation: int = 1
    attention: str = "dot"
    attention_width: int = 0
    heads: int = 1
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.convolution = GatedConvolution(
            self.width, self.kernel, self.dilation, True, self.dropout, self.dtype
        )
        if self.attention != "none":
            self.query = NormalizedDense(self.embedding_width, dtype=self.dtype)
            self.source = ATTENTIONS[self.attention](
                width=self.embedding_width,
                inner=self.attention_width or self.embedding_width,
                heads=self.heads,
                dtype=self.dtype,
            )
            self.context = NormalizedDense(self.width, dtype=self.dtype)

    def prepare(self, memory: tuple[jax.Array, jax.Array, jax.Array]) -> PreparedMemory | None:
        """Returns the memory prepared for this layer's attention, None without attention.

        The memory consists of states and values [B, S, E] and their mask [B, S].
        """
        return None if self.attention == "none" else self.source.prepare(*memory)

    def __call__(
        self,
        x_BxTxD: jax.Array,
        embedded_BxTxE: jax.Array,
        memory: tuple[jax.Array, jax.Array, jax.Array],
        deterministic: bool = True,
    ) -> jax.Array:
        """Maps [B, T, D] to [B, T, D]; a position depends on itself and the past."""
        hidden_BxTxD = self.convolution(x_BxTxD, deterministic)
        read_BxTxD = self._read(hidden_BxTxD, embedded_BxTxE, self.prepare(memory))
        return average(read_BxTxD, x_BxTxD)

    def start(self, batch: int, hypotheses: int) -> jax.Array:
        """Returns the past of the first position, zeros [B, K, P, D]."""
        return self.convolution.start(batch, hypotheses)

    def step(
        self,
        past_BxKxPxD: jax.Array,
        x_BxKxD: jax.Array,
        embedded_BxKxE: jax.Array,
        memory: PreparedMemory | None,
    ) -> tuple[jax.Array, jax.Array]:
        """Advances K hypotheses by one position; returns their new past and outputs [B, K, D]."""
        past_BxKxPxD, hidden_BxKxD = self.convolution.step(past_BxKxPxD, x_BxKxD)
        return past_BxKxPxD, average(self._read(hidden_BxKxD, embedded_BxKxE, memory), x_BxKxD)

    def prefill(
        self,
        past_BxPxD: jax.Array,
        x_BxTxD: jax.Array,
        embedded_BxTxE: jax.Array,
        memory: PreparedMemory | None,
        lengths_B: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """Reads T positions at once, of which the first `lengths` are kept in the new past."""
        past_BxPxD, hidden_BxTxD = self.convolution.prefill(past_BxPxD, x_BxTxD, lengths_B)
        return past_BxPxD, average(self._read(hidden_BxTxD, embedded_BxTxE, memory), x_BxTxD)

    def _read(self, hidden_BxTxD, embedded_BxTxE, memory):
        if memory is None:
            return hidden_BxTxD
        query_BxTxE = average(self.query(hidden_BxTxD), embedded_BxTxE)
        context, weights_BxHxTxS = self.source(query_BxTxE, memory)
        sow_weights(self, weights_BxHxTxS)
        scale_Bx1x1 = jnp.sqrt(jnp.sum(memory.mask, axis=1, dtype=jnp.float32))[:, None, None]
        context = (context * scale_Bx1x1).astype(self.dtype)
        return average(hidden_BxTxD, self.context(context))
