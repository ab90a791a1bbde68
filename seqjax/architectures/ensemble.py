"""Ensembles: several models as one."""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.architectures.contract import Carry, Place, PyTree
from seqjax.layers.cross_entropy import objective_and_loss


class Ensemble(nn.Module):
    """Predicts the mean of its members' probabilities at every position.

        p(y_t | y_<t, x) = 1/M sum_m p_m(y_t | y_<t, x)

    Members map the same inputs to the same vocabulary, and may differ in anything else. They are
    all language models, or all models of source and target: encoder-decoders, decoder-only models
    or both. Vectors, memories and carries are tuples with one entry for each member.

    Source: Hansen and Salamon, Neural network ensembles (1990); for translation Sutskever et al.,
    Sequence to sequence learning with neural networks (2014).

    Attributes:
      members: the models; the parameters of the first are under `members_0`.
    """

    members: tuple[nn.Module, ...]

    @staticmethod
    def joined(params: Sequence[dict]) -> dict:
        """Returns the parameters of an ensemble, given those of each member."""
        return {f"members_{number}": own for number, own in enumerate(params)}

    def __call__(self, *inputs: jax.Array, **arguments: Any) -> tuple[jax.Array, PyTree]:
        """Returns log probabilities [B, T, V] of the next tokens, and a carry."""
        vectors, carry = self.read(*inputs, **arguments)
        return self.predict(vectors), carry

    def read(
        self, *inputs: jax.Array, place: Place | None = None, **arguments: Any
    ) -> tuple[tuple[jax.Array, ...], PyTree]:
        """Returns what each member's logits are made of, and a carry.

        The arguments are those of the members' `read`; a place has the carry of the ensemble.
        """
        places: list[dict[str, Place]] = [{} for _ in self.members]
        if place is not None:
            carries = place.carry or ((),) * len(self.members)
            places = [{"place": place._replace(carry=carry)} for carry in carries]
        found = [
            member.read(*inputs, **own, **arguments)
            for member, own in zip(self.members, places, strict=True)
        ]
        vectors, carries = zip(*found, strict=True)
        return vectors, carries

    def predict(self, vectors: Sequence[jax.Array]) -> jax.Array:
        """Returns the logarithms of mean probabilities [..., V], given what `read` returned."""
        pairs = zip(self.members, vectors, strict=True)
        return _log_mean([member.predict(own) for member, own in pairs])

    def losses(
        self,
        vectors: Sequence[jax.Array],
        targets: jax.Array,
        label_smoothing: float | jax.Array = 0.0,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the cross entropy of targets with and without smoothing, in nats."""
        return objective_and_loss(self.predict(vectors), targets, label_smoothing)

    def encode(self, source: jax.Array, deterministic: bool = True) -> tuple[Any, ...]:
        """Returns what each member's `encode` returns."""
        return tuple(member.encode(source, deterministic) for member in self.members)

    def carry(self, rows: int) -> tuple[PyTree, ...]:
        """Returns the carry of `read` before the first of a sequence's blocks."""
        return tuple(member.carry(rows) for member in self.members)

    def start(self, memory: Any, hypotheses: int, max_length: int) -> Carry:
        """Returns the carry of K hypotheses, before their first token.

        Args:
          memory: the result of `encode`; the number of rows if the members are language models.
          hypotheses: K.
          max_length: largest number of tokens that are read.
        """
        memories = memory if isinstance(memory, tuple) else (memory,) * len(self.members)
        pairs = zip(self.members, memories, strict=True)
        return _joined([member.start(own, hypotheses, max_length) for member, own in pairs])

    def step(self, carry: Carry, tokens_BxK: jax.Array) -> tuple[Carry, jax.Array]:
        """Advances every member by one token; returns logarithms of mean probabilities."""
        pairs = zip(self.members, _of_members(carry), strict=True)
        return _next([member.step(own, tokens_BxK) for member, own in pairs])

    def prefill(
        self, carry: Carry, prompt_BxP: jax.Array, lengths_B: jax.Array
    ) -> tuple[Carry, jax.Array]:
        """Has every member read a prompt for each row, see `LanguageModel.prefill`."""
        pairs = zip(self.members, _of_members(carry), strict=True)
        return _next([member.prefill(own, prompt_BxP, lengths_B) for member, own in pairs])

    def longest_target(self, source_length: int) -> float:
        """Returns the largest number of target tokens that every member can read."""
        return min(member.longest_target(source_length) for member in self.members)

    @property
    def has_state(self) -> bool:
        """Whether all members carry a state, so that none is bound to a context."""
        return all(member.has_state for member in self.members)


def _joined(carries: Sequence[Carry]) -> Carry:
    """Returns the carries of all members as one.

    Each keeps its position: a decoder-only model counts the source, too.
    """
    return carries[0].replace(
        fixed=tuple((carry.fixed, carry.position) for carry in carries),
        moving=tuple(carry.moving for carry in carries),
    )


def _of_members(carry: Carry) -> list[Carry]:
    pairs = zip(carry.fixed, carry.moving, strict=True)
    return [Carry(fixed, moving, position) for (fixed, position), moving in pairs]


def _next(found: Sequence[tuple[Carry, jax.Array]]) -> tuple[Carry, jax.Array]:
    carries, logits = zip(*found, strict=True)
    return _joined(carries), _log_mean(logits)


def _log_mean(logits: Sequence[jax.Array]) -> jax.Array:
    """Returns the logarithm of the mean of the probabilities, [..., V]."""
    total = functools.reduce(jnp.logaddexp, map(jax.nn.log_softmax, logits))
    return total - jnp.log(len(logits))
