"""Decoders of tokens: a stem, the stack of any family, and a head."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from seqjax.architectures.contract import BEGINNING, Carry, Memory, Place, PyTree, for_all
from seqjax.architectures.families import build_decoder
from seqjax.architectures.families_fields import is_recurrent
from seqjax.architectures.heads import build_head, losses
from seqjax.layers.dropout import Dropout


class TokenDecoder(nn.Module):
    """A decoder that reads tokens and predicts the next one.

    Attributes:
      embedding: the stem; maps tokens [...] to vectors [..., E].
      stack: maps vectors [..., E] to vectors [..., R], given a memory. Its parameters stand beside
        the head's.
      output: the head; maps vectors [..., R] to float32 logits [..., V].
      output_dropout: rate at which values of the stack's vectors are zero when they are trained.
      variational: whether all positions of a row share that mask (Gal and Ghahramani, 2016).
    """

    embedding: nn.Module
    stack: nn.Module
    output: nn.Module
    output_dropout: float = 0.0
    variational: bool = False

    def setup(self):
        nn.share_scope(self, self.stack)
        self.drop_output = Dropout(self.output_dropout, shared=(1,) if self.variational else ())

    def __call__(
        self,
        memory: Memory,
        tokens_BxT: jax.Array,
        deterministic: bool = True,
        place: Place = BEGINNING,
    ) -> tuple[jax.Array, PyTree]:
        """Returns logits [B, T, V] and the carry for the tokens that follow.

        The logits at t depend only on the carry of the place and on tokens up to t.
        """
        x_BxTxR, carry = self.read(memory, tokens_BxT, deterministic, place)
        return self.predict(x_BxTxR), carry

    def read(
        self,
        memory: Memory,
        tokens_BxT: jax.Array,
        deterministic: bool = True,
        place: Place = BEGINNING,
    ) -> tuple[jax.Array, PyTree]:
        """Returns the stack's vectors [B, T, R] and its carry, without logits."""
        inputs_BxTxE = self.embedding(tokens_BxT, deterministic)
        return self.stack(memory, inputs_BxTxE, deterministic, place)

    def predict(self, x_BxTxR: jax.Array) -> jax.Array:
        """Returns the logits [..., V] of the token after each of the stack's vectors [..., R]."""
        return self.output(x_BxTxR)

    def losses(
        self,
        x_BxTxR: jax.Array,
        targets_BxT: jax.Array,
        label_smoothing: float | jax.Array = 0.0,
        activation: float | jax.Array = 0.0,
        temporal_activation: float | jax.Array = 0.0,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the training objective of each position and its cross entropy, [B, T], in nats.

            objective[t] = cross entropy of target t with label smoothing, given m * x[t]
                           + activation mean((m * x[t])^2)
                           + temporal_activation mean((x[t] - x[t - 1])^2)

        with m the mask of the output dropout, means over the R values of a vector, and no last term
        at t = 0 (activation regularization and temporal activation regularization: Merity et al.,
        2017). No gradient flows through the second result.

        Args:
          x_BxTxR: the vectors of the stack.
          targets_BxT: the tokens after them.
          label_smoothing, activation, temporal_activation: weights of the terms.
        """
        dropped_BxTxR = self.drop_output(x_BxTxR, deterministic=not self.has_rng("dropout"))
        objective, loss = losses(self.output, dropped_BxTxR, targets_BxT, label_smoothing)
        if _counts(activation):
            objective += activation * _mean_square(dropped_BxTxR)
        if _counts(temporal_activation):
            change_BxT = _mean_square(x_BxTxR[:, 1:] - x_BxTxR[:, :-1])
            objective += temporal_activation * jnp.pad(change_BxT, ((0, 0), (1, 0)))
        return objective, loss

    def carry(self, memory: Memory) -> PyTree:
        """Returns the carry of the parallel view before the first token; () if there is none."""
        return self.stack.carry(memory)

    def start(self, memory: Memory, hypotheses: int, max_length: int) -> Carry:
        """Returns the carry of K hypotheses before the first of at most `max_length` tokens."""
        return self.stack.start(memory, hypotheses, max_length)

    def step(self, carry: Carry, tokens_BxK: jax.Array) -> tuple[Carry, jax.Array]:
        """Reads one token for each hypothesis; returns the next carry and logits [B, K, V]."""
        carry, x_BxKxR = self.stack.step(carry, self.embedding(tokens_BxK))
        return carry, self.output(x_BxKxR)

    def prefill(
        self, carry: Carry, prompt_BxP: jax.Array, lengths_B: jax.Array
    ) -> tuple[Carry, jax.Array]:
        """Reads a prompt for each row into all its hypotheses, see `LanguageModel.prefill`."""
        hypotheses = jax.tree.leaves(carry.moving)[0].shape[1]
        carry, x_Bx1xR = self.stack.prefill(carry, self.embedding(prompt_BxP), lengths_B)
        return carry, for_all(self.output(x_Bx1xR), hypotheses)


def build_token_decoder(
    model: ml_collections.FrozenConfigDict, stem: nn.Module, vocabulary: int
) -> TokenDecoder:
    """Returns the decoder of `config.model` with its head, given its stem."""
    stack = model.decoder
    return TokenDecoder(
        stem,
        build_decoder(model),
        build_head(model, stem, vocabulary),
        stack.output_dropout,
        is_recurrent(stack) and stack.variational,
    )


def _counts(weight: float | jax.Array) -> bool:
    # Weights are traced if trainings that differ in them share one program.
    return isinstance(weight, jax.Array) or weight > 0


def _mean_square(x: jax.Array) -> jax.Array:
    return jnp.mean(jnp.square(x.astype(jnp.float32)), axis=-1)
