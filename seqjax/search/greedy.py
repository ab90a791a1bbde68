"""Greedy search: the most probable token at every position.

Shape suffixes: B batch, K hypotheses (here 1), L longest output, V vocabulary.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.architectures.contract import Carry
from seqjax.data.tokenizer import BOS, EOS, PAD
from seqjax.search.candidates import best_continuations
from seqjax.search.hypotheses import Hypotheses, length_norms

Step = Callable[[Carry, jax.Array], tuple[Carry, jax.Array]]


def greedy_search(
    step: Step,
    carry: Carry,
    limits_B: jax.Array,
    *,
    max_length: int,
    normalization: str = "gnmt",
    penalty: float = 0.6,
    min_length: int = 0,
    unknown: bool = True,
) -> Hypotheses:
    """Extends one hypothesis for each sentence by its most probable token until EOS.

    The arguments are the same as for `beam_search`; the carry has one hypothesis for each sentence.
    Among equally probable tokens the lowest id wins.
    """
    limits_B = jnp.minimum(limits_B, max_length).astype(jnp.int32)
    norms = length_norms(normalization, penalty, max_length)

    def unfinished(state):
        time, _, _, _, lengths_B, _ = state
        return (time < max_length) & jnp.any(_active(time, lengths_B, limits_B))

    def extend(state):
        time, carry, last_B, tokens_LxB, lengths_B, log_probabilities_B = state
        carry, logits_Bx1xV = step(carry, last_B[:, None])
        best_Bx1x1, chosen_Bx1x1 = best_continuations(
            logits_Bx1xV, 1, time=time, limits_B=limits_B, min_length=min_length, unknown=unknown
        )
        chosen_B = chosen_Bx1x1[:, 0, 0]
        active_B = _active(time, lengths_B, limits_B)
        token_B = jnp.where(active_B, chosen_B, PAD)
        return (
            time + 1,
            carry,
            token_B,
            tokens_LxB.at[time].set(token_B),
            jnp.where(active_B & (chosen_B == EOS), time + 1, lengths_B),
            log_probabilities_B + jnp.where(active_B, best_Bx1x1[:, 0, 0], 0.0),
        )

    rows = limits_B.shape[0]
    *_, tokens_LxB, lengths_B, log_probabilities_B = jax.lax.while_loop(
        unfinished,
        extend,
        (
            jnp.int32(0),
            carry,
            jnp.full(rows, BOS, jnp.int32),
            jnp.full((max_length, rows), PAD, jnp.int32),
            jnp.zeros(rows, jnp.int32),
            jnp.zeros(rows, jnp.float32),
        ),
    )
    return Hypotheses(
        tokens=tokens_LxB.T[:, None],
        scores=(log_probabilities_B / norms[lengths_B])[:, None],
        log_probabilities=log_probabilities_B[:, None],
        lengths=lengths_B[:, None],
    )


def _active(time, lengths_B, limits_B):
    return (lengths_B == 0) & (time < limits_B)
