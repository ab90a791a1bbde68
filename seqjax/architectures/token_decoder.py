"""Decoders of tokens: a stem, the stack of any family, and a head."""

import flax.linen as nn
import jax
import ml_collections

from seqjax.architectures.contract import BEGINNING, Carry, Memory, Place, PyTree, for_all
from seqjax.architectures.families import build_decoder
from seqjax.architectures.heads import build_head, losses


class TokenDecoder(nn.Module):
    """A decoder that reads tokens and predicts the next one.

    Attributes:
      embedding: the stem; maps tokens [...] to vectors [..., E].
      stack: maps vectors [..., E] to vectors [..., R], given a memory. Its parameters stand beside
        the head's.
      output: the head; maps vectors [..., R] to float32 logits [..., V].
    """

    embedding: nn.Module
    stack: nn.Module
    output: nn.Module

    def setup(self):
        nn.share_scope(self, self.stack)

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
        self, x_BxTxR: jax.Array, targets_BxT: jax.Array, label_smoothing: float | jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the cross entropy [B, T] of targets with and without smoothing, in nats.

        The arguments are the stack's vectors and the tokens after them. No gradient flows through
        the second result.
        """
        return losses(self.output, x_BxTxR, targets_BxT, label_smoothing)

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
    return TokenDecoder(stem, build_decoder(model), build_head(model, stem, vocabulary))
