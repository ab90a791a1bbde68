"""Ensembles of models."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.architectures.contract import Carry
from seqjax.tasks.task import Batch
from seqjax.tasks.text_to_text import TextToText


class Ensemble(TextToText):
    """Predicts the mean of its members' probabilities at every position.

        p(y_t | y_<t, x) = 1/M sum_m p_m(y_t | y_<t, x)

    Its parameters are a tuple with those of each member. Members may differ in architecture but
    share their tokenizers; the config of the first determines the search. An ensemble cannot be
    trained and has no attention.

    Source: Hansen and Salamon, Neural network ensembles (1990); for translation Sutskever et al.,
    Sequence to sequence learning with neural networks (2014).
    """

    def __init__(self, tasks: Sequence[TextToText]):
        self.tasks = tuple(tasks)
        self.config, self.tokenizers = tasks[0].config, tasks[0].tokenizers

    def max_output(self, source_length: int) -> int:
        """Returns the largest output length that every member allows for a source length."""
        return min(task.max_output(source_length) for task in self.tasks)

    def start(
        self, params: Sequence[dict], source_BxS: jax.Array, hypotheses: int, capacity: int
    ) -> Carry:
        """Returns the carries of all members as one."""
        carries = [
            task.start(own, source_BxS, hypotheses, capacity)
            for task, own in zip(self.tasks, params, strict=True)
        ]
        return _joined(carries)

    def step(
        self, params: Sequence[dict], carry: Carry, tokens_BxK: jax.Array
    ) -> tuple[Carry, jax.Array]:
        """Advances every member by one position; returns logarithms of mean probabilities."""
        carries, logits = [], []
        for number, (task, own) in enumerate(zip(self.tasks, params, strict=True)):
            part = carry.replace(fixed=carry.fixed[number], moving=carry.moving[number])
            following, found = task.step(own, part, tokens_BxK)
            carries.append(following)
            logits.append(found)
        return _joined(carries), _mean(logits)

    def predict(
        self, params: Sequence[dict], batch: Batch, carry: Any, **arguments: Any
    ) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
        """Returns logarithms of mean probabilities [B, T, V], and what else members return."""
        pairs = zip(self.tasks, params, strict=True)
        found = [task.predict(own, batch, carry, **arguments) for task, own in pairs]
        return _mean([logits for logits, *_ in found]), *found[0][1:]


def _joined(carries: Sequence[Carry]) -> Carry:
    return carries[0].replace(
        fixed=tuple(carry.fixed for carry in carries),
        moving=tuple(carry.moving for carry in carries),
    )


def _mean(logits: Sequence[jax.Array]) -> jax.Array:
    """Returns the logarithm of the mean of the probabilities, [..., V]."""
    total = functools.reduce(jnp.logaddexp, map(jax.nn.log_softmax, logits))
    return total - jnp.log(len(logits))
