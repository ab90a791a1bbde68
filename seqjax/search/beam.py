"""Beam search with any decoder, compiled as one loop.

At every position the best 2K continuations of the K live hypotheses of a sentence are candidates.
Those among the best K that end with EOS are finished; the best K that do not end stay alive, so
that there are always K live hypotheses (Ott et al., 2019, fairseq). A sentence is done when no live
hypothesis can still beat the worst of the N finished ones that are kept, so that stopping early
does not change the result; or earlier, after a number of finished hypotheses (`patience`).

Shape suffixes: B batch, K live hypotheses, C candidates, N n-best, L longest output, V vocabulary.
"""

import functools
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp

from seqjax.architectures.contract import Carry, reorder
from seqjax.data.tokenizer import BOS, EOS, PAD
from seqjax.errors import UserError
from seqjax.search.candidates import best_continuations
from seqjax.search.greedy import Step, greedy_search
from seqjax.search.hypotheses import LOWEST, Hypotheses, length_norms


@flax.struct.dataclass
class _Finished:
    """The best finished hypotheses, best first; `slots` holds the live slot that EOS ended."""

    scores: jax.Array  # float32 [B, N]
    log_probabilities: jax.Array  # float32 [B, N]
    lengths: jax.Array  # int32 [B, N]
    slots: jax.Array  # int32 [B, N]


@flax.struct.dataclass
class _State:
    """The state of a search between two positions.

    Hypotheses are never copied: each position records the token and the parent of every slot, and
    the finished hypotheses are traced backwards at the end.
    """

    time: jax.Array  # int32 [], tokens of each live hypothesis
    carry: Any
    log_probabilities: jax.Array  # float32 [B, K], best first
    tokens: jax.Array  # int32 [L, B, K]
    parents: jax.Array  # int32 [L, B, K]
    last: jax.Array  # int32 [B, K]
    finished: _Finished
    count: jax.Array  # int32 [B], hypotheses that finished, also those not kept
    done: jax.Array  # bool [B]


class _Rules(NamedTuple):
    """The constants of a search: its limits, and how hypotheses are scored."""

    norms: jax.Array  # float32 [L + 1], divisor of the score by number of tokens
    limits: jax.Array  # int32 [B], see `beam_search`
    quota: jax.Array  # int32 [], number of finished hypotheses after which a sentence is done
    min_length: int
    unknown: bool


def beam_search(
    step: Step,
    carry: Carry,
    limits_B: jax.Array,
    *,
    max_length: int,
    beam_size: int,
    n_best: int = 1,
    normalization: str = "gnmt",
    penalty: float = 0.6,
    min_length: int = 0,
    unknown: bool = True,
    patience: float = 0.0,
) -> Hypotheses:
    """Finds probable outputs by keeping the K best hypotheses at every position.

    With beam size 1 this is greedy search: the first EOS ends it, whatever the normalization.
    Ties are broken by the better parent, then the lower token, then the shorter hypothesis.

    Args:
      step: maps carry and int32 tokens [B, K] to the next carry and logits [B, K, V].
      carry: the decoder's initial carry, with K = beam_size hypotheses.
      limits_B: int32 [B], largest number of tokens of an output, with EOS. At the limit EOS is
        forced, and its probability counts. A sentence with limit 0 has no output and costs no step.
      max_length: L, no smaller than any limit.
      beam_size: K.
      n_best: number N of outputs for each sentence, at most K.
      normalization: see `length_norms`.
      penalty: see `length_norms`.
      min_length: smallest number of tokens of an output, without EOS, if the limit allows it.
      unknown: whether UNK may be an output.
      patience: a sentence is done when patience * K hypotheses have finished (Kasai et al., 2022).
        1, as in fairseq and CTranslate2, is faster but not exact; 0 is exact.

    Returns:
      Hypotheses, [B, N], best score first.

    Raises:
      UserError: n_best is not between 1 and beam_size, or the normalization is unknown.
    """
    if not 1 <= n_best <= beam_size:
        raise UserError(f"n_best = {n_best}: expected 1 to beam_size = {beam_size}")
    if beam_size == 1:
        return greedy_search(
            step,
            carry,
            limits_B,
            max_length=max_length,
            normalization=normalization,
            penalty=penalty,
            min_length=min_length,
            unknown=unknown,
        )
    limits_B = jnp.minimum(limits_B, max_length).astype(jnp.int32)
    norms = length_norms(normalization, penalty, max_length)
    most = max_length * beam_size
    quota = jnp.where(patience > 0, jnp.clip(patience * beam_size, 1, most), most).astype(jnp.int32)
    rules = _Rules(norms, limits_B, quota, min_length, unknown)

    def unfinished(state):
        return (state.time < max_length) & ~jnp.all(state.done)

    start = _start(carry, limits_B, max_length, beam_size, n_best)
    end = jax.lax.while_loop(unfinished, functools.partial(_extend, step, rules), start)
    return _read(end, limits_B)


def _extend(step: Step, rules: _Rules, state: _State) -> _State:
    """Advances all sentences by one position."""
    beam_size = state.last.shape[1]
    carry, logits_BxKxV = step(state.carry, state.last)
    # Of K + 1 continuations of a hypothesis at most one is EOS, which leaves K others.
    continuations = best_continuations(
        logits_BxKxV,
        beam_size + 1,
        time=state.time,
        limits_B=rules.limits,
        min_length=rules.min_length,
        unknown=rules.unknown,
    )
    candidates = _candidates(state.log_probabilities, *continuations)
    finished, count_B = _finish(state, candidates, rules)
    log_probabilities, parents, last = _continue(candidates, beam_size)
    time = state.time + 1
    # At its limit a sentence has no live hypothesis left, so it is done as well.
    beaten_B = _reachable(log_probabilities[:, 0], time, rules) <= finished.scores[:, -1]
    return _State(
        time=time,
        carry=reorder(carry, parents),
        log_probabilities=log_probabilities,
        tokens=state.tokens.at[state.time].set(last),
        parents=state.parents.at[state.time].set(parents),
        last=last,
        finished=finished,
        count=count_B,
        done=state.done | beaten_B | (count_B >= rules.quota),
    )


def _reachable(log_probability_B, time, rules):
    """Returns the best score that a live hypothesis of `time` tokens can still reach.

    Its log probability can only fall, so the bound is the present one over the largest norm to
    come: the last norm, or the next one if norms decrease.
    """
    next_length = jnp.minimum(time + 1, rules.norms.shape[0] - 1)
    largest_B = jnp.maximum(rules.norms[next_length], rules.norms[rules.limits])
    return jnp.where(log_probability_B > LOWEST / 2, log_probability_B / largest_B, LOWEST)


def _start(carry, limits_B, max_length, beam_size, n_best) -> _State:
    rows = limits_B.shape[0]
    return _State(
        time=jnp.int32(0),
        carry=carry,
        # All slots start with the same empty hypothesis, of which only the first may have children.
        log_probabilities=jnp.full((rows, beam_size), LOWEST).at[:, 0].set(0.0),
        tokens=jnp.zeros((max_length, rows, beam_size), jnp.int32),
        parents=jnp.zeros((max_length, rows, beam_size), jnp.int32),
        last=jnp.full((rows, beam_size), BOS, jnp.int32),
        finished=_Finished(
            scores=jnp.full((rows, n_best), LOWEST),
            log_probabilities=jnp.full((rows, n_best), LOWEST),
            lengths=jnp.zeros((rows, n_best), jnp.int32),
            slots=jnp.zeros((rows, n_best), jnp.int32),
        ),
        count=jnp.zeros(rows, jnp.int32),
        done=limits_B <= 0,
    )


def _candidates(log_probabilities_BxK, best_BxKxC, tokens_BxKxC):
    """Returns log probabilities, parents and tokens [B, 2K], best first."""
    rows, beam_size = log_probabilities_BxK.shape
    totals_BxKxC = log_probabilities_BxK[..., None] + best_BxKxC
    totals, flat = jax.lax.top_k(totals_BxKxC.reshape(rows, -1), 2 * beam_size)
    tokens = jnp.take_along_axis(tokens_BxKxC.reshape(rows, -1), flat, axis=1)
    return totals, flat // best_BxKxC.shape[-1], tokens


def _finish(state, candidates, rules) -> tuple[_Finished, jax.Array]:
    """Merges newly finished hypotheses with earlier ones in sentences that are not done."""
    beam_size = state.last.shape[1]
    totals, parents, tokens = (candidate[:, :beam_size] for candidate in candidates)
    ends = (tokens == EOS) & (totals > LOWEST / 2) & ~state.done[:, None]
    count = state.count[:, None] + jnp.cumsum(ends, axis=1, dtype=jnp.int32)
    ends &= count <= rules.quota
    new = _Finished(
        scores=jnp.where(ends, totals / rules.norms[state.time + 1], LOWEST),
        log_probabilities=jnp.where(ends, totals, LOWEST),
        lengths=jnp.where(ends, state.time + 1, 0),
        slots=parents,
    )
    merged = jax.tree.map(lambda *both: jnp.concatenate(both, axis=1), state.finished, new)
    _, kept = jax.lax.top_k(merged.scores, state.finished.scores.shape[1])
    return jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, kept, axis=1), merged), count[:, -1]


def _continue(candidates, beam_size):
    """Returns log probabilities, parents and tokens [B, K] of the hypotheses that stay alive."""
    totals, parents, tokens = candidates
    log_probabilities, kept = jax.lax.top_k(jnp.where(tokens == EOS, LOWEST, totals), beam_size)
    return (
        log_probabilities,
        jnp.take_along_axis(parents, kept, axis=1),
        jnp.take_along_axis(tokens, kept, axis=1),
    )


def _read(state: _State, limits_B: jax.Array) -> Hypotheses:
    """Traces the finished hypotheses from their ends back to their beginnings."""
    finished = state.finished

    def back(slots_BxN, position):
        time, tokens_BxK, parents_BxK = position
        inside = time < finished.lengths - 1
        token = jnp.where(inside, jnp.take_along_axis(tokens_BxK, slots_BxN, axis=1), PAD)
        token = jnp.where(time == finished.lengths - 1, EOS, token)
        parent = jnp.take_along_axis(parents_BxK, slots_BxN, axis=1)
        return jnp.where(inside, parent, slots_BxN), token

    times = jnp.arange(state.tokens.shape[0])
    _, tokens_LxBxN = jax.lax.scan(
        back, finished.slots, (times, state.tokens, state.parents), reverse=True
    )
    empty_Bx1 = (limits_B <= 0)[:, None]
    return Hypotheses(
        tokens=tokens_LxBxN.transpose(1, 2, 0),
        scores=jnp.where(empty_Bx1, 0.0, finished.scores),
        log_probabilities=jnp.where(empty_Bx1, 0.0, finished.log_probabilities),
        lengths=finished.lengths,
    )
