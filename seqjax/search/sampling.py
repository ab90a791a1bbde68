"""Sampling with any decoder: outputs drawn from the model's distribution, token by token.

A sample is a function of (seed, prompt, index): the same alone and in any batch, at any place of
it, with any number of samples, and on any number of devices. For that each random number comes from
a key that holds all of these, and the position:

    key = fold_in(... fold_in(seed, prompt token) ..., end of the prompt), index, position

Only rounding of the logits, which may differ between batch shapes, can move a token that stands at
the edge of a draw. Memory is constant in the number of tokens, apart from the tokens themselves and
whatever the decoder keeps.

Shape suffixes: B batch, N samples of each row, L longest output, P longest prompt, C tokens of a
chunk, V vocabulary, G blocks of the vocabulary, M tokens of a block.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from seqjax.architectures.contract import Carry
from seqjax.data.tokenizer import BOS, EOS, PAD
from seqjax.search.candidates import allowed_tokens
from seqjax.search.filters import Filters, apply_filters, is_constant
from seqjax.search.greedy import Step
from seqjax.search.hypotheses import LOWEST, Hypotheses, length_norms

# Size of the blocks of which one is drawn first.
_BLOCK = 64
# No token has this id.
_END_OF_PROMPT = 0xFFFFFFFF


class SampleOptions(NamedTuple):
    """How tokens are drawn.

    Attributes:
      filters: what changes the distribution before a token is drawn.
      min_length: smallest number of tokens of an output, without EOS, if the limit allows it; an
        int or int32 [B].
      unknown: whether UNK may be drawn.
      forced_end: whether the last token that the limit allows must be EOS, as in other searches, so
        that its probability counts; otherwise outputs may be cut at the limit and lack EOS.
    """

    filters: Filters = Filters()
    min_length: int | jax.Array = 0
    unknown: bool = True
    forced_end: bool = True


_PLAIN = SampleOptions()


def sample_options(decode: ml_collections.ConfigDict, forced_end: bool = True) -> SampleOptions:
    """Returns what `config.decode` says of sampling."""
    filters = Filters(**{name: decode[name] for name in Filters._fields})
    return SampleOptions(filters, decode.min_length, decode.unknown, forced_end)


@flax.struct.dataclass
class Samples:
    """The samples of a batch between two positions.

    Attributes:
      time: int32 [], number of tokens so far.
      carry: the decoder's carry.
      last: int32 [B, N], the last token; PAD after the end of a sample.
      lengths: int32 [B, N], length of a sample that has ended, otherwise 0.
      log_probabilities: float32 [B, N].
      seen: bool [B, N, V], tokens of prompt and sample, for a repetition penalty; otherwise None.
      keys: keys [B, N].
      limits: int32 [B].
    """

    time: jax.Array
    carry: Any
    last: jax.Array
    lengths: jax.Array
    log_probabilities: jax.Array
    seen: jax.Array | None
    keys: jax.Array
    limits: jax.Array

    @property
    def active(self) -> jax.Array:
        """Whether a sample has not ended, bool [B, N]."""
        return (self.lengths == 0) & (self.time < self.limits[:, None])


def sample_keys(
    seed: int | jax.Array, prompts_BxP: jax.Array, samples: int, first: int | jax.Array = 0
) -> jax.Array:
    """Returns the keys [B, N] of samples: functions of seed, prompt and index.

    Args:
      seed: 0 to 2^32 - 1.
      prompts_BxP: int32 token ids, of the source or of what is continued. PAD, wherever it stands,
        does not count. Rows of PAD alone are equal prompts: their samples differ by index only.
      samples: number N of samples of each row.
      first: index of the first sample. `sample_keys(seed, prompts, 2, first=3)` are the last two of
        `sample_keys(seed, prompts, 5)`.
    """
    # Not the default generator: it may be set to another, and has changed between versions of JAX.
    root = jax.random.key(jnp.uint32(seed), impl="threefry2x32")
    fold_in = jax.vmap(jax.random.fold_in)

    def read(keys_B, tokens_B):
        return jnp.where(tokens_B == PAD, keys_B, fold_in(keys_B, tokens_B)), None

    rows = prompts_BxP.shape[0]
    keys_B, _ = jax.lax.scan(read, jnp.broadcast_to(root, (rows,)), prompts_BxP.T)
    # Without an end sample 7 of a prompt would share its key with the prompt that goes on with 7.
    keys_B = fold_in(keys_B, jnp.full(rows, _END_OF_PROMPT, jnp.uint32))
    indices_N = first + jnp.arange(samples, dtype=jnp.uint32)
    return jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(keys_B, indices_N)


def sample_sequences(
    step: Step,
    carry: Carry,
    limits_B: jax.Array,
    keys_BxN: jax.Array,
    *,
    max_length: int,
    options: SampleOptions = _PLAIN,
    logits_BxNxV: jax.Array | None = None,
    prompts_BxP: jax.Array | None = None,
    normalization: str = "none",
    penalty: float = 0.0,
) -> Hypotheses:
    """Samples N outputs for each row, each until EOS or the row's limit.

    With temperature 0 this is greedy search, N times. Log probabilities are those of the model,
    before all filters, and not renormalized over the tokens that are allowed.

    Args:
      step: maps carry and int32 tokens [B, N] to the next carry and logits [B, N, V].
      carry: the decoder's carry with N hypotheses, before BOS is read or after a prompt.
      limits_B: int32 [B], largest number of tokens of an output. A row with limit 0 has none.
      keys_BxN: see `sample_keys`.
      max_length: L, no smaller than any limit.
      options: how tokens are drawn.
      logits_BxNxV: logits of the first token, after a prompt; by default BOS is read first.
      prompts_BxP: int32, tokens that the repetition penalty counts as seen; PAD is none.
      normalization, penalty: of the score, see `length_norms`.

    Returns:
      Hypotheses, [B, N], in the order of the samples, not of their scores.
    """
    limits_B = jnp.minimum(limits_B, max_length)
    norms = length_norms(normalization, penalty, max_length)
    state = begin(step, carry, limits_B, keys_BxN, options, logits_BxNxV, prompts_BxP)
    tokens_LxBxN = jnp.full((max_length, *keys_BxN.shape), PAD, jnp.int32)
    if logits_BxNxV is not None:
        tokens_LxBxN = tokens_LxBxN.at[0].set(state.last)
    state, tokens_LxBxN = _fill(step, state, tokens_LxBxN, 0, options)
    return Hypotheses(
        tokens=tokens_LxBxN.transpose(1, 2, 0),
        scores=state.log_probabilities / norms[state.lengths],
        log_probabilities=state.log_probabilities,
        lengths=state.lengths,
    )


def begin(
    step: Step,
    carry: Carry,
    limits_B: jax.Array,
    keys_BxN: jax.Array,
    options: SampleOptions = _PLAIN,
    logits_BxNxV: jax.Array | None = None,
    prompts_BxP: jax.Array | None = None,
) -> Samples:
    """Returns the state before the first token, or after it if its logits are given.

    The arguments are those of `sample_sequences`.
    """
    seen = None
    last_BxN = jnp.full(keys_BxN.shape, BOS, jnp.int32)
    if not is_constant(options.filters.repetition_penalty, 1):
        shape = jax.eval_shape(step, carry, last_BxN)[1].shape
        seen = jnp.zeros(shape, bool)
        if prompts_BxP is not None:
            seen = seen.at[jnp.arange(shape[0])[:, None], :, prompts_BxP].set(True)
            # A prompt may begin with the end of what was before it, which is no repetition.
            seen = seen.at[..., EOS].set(False)
    state = Samples(
        time=jnp.int32(0),
        carry=carry,
        last=last_BxN,
        lengths=jnp.zeros(keys_BxN.shape, jnp.int32),
        log_probabilities=jnp.zeros(keys_BxN.shape, jnp.float32),
        seen=seen,
        keys=keys_BxN,
        limits=limits_B.astype(jnp.int32),
    )
    return state if logits_BxNxV is None else _drawn(state, logits_BxNxV, options)


def draw_chunk(
    step: Step, state: Samples, count: int, options: SampleOptions = _PLAIN
) -> tuple[Samples, jax.Array]:
    """Samples up to `count` further tokens of each sample.

    Returns:
      The state after them, and the tokens, int32 [B, N, C] with C = count; PAD after the end.
    """
    tokens_CxBxN = jnp.full((count, *state.last.shape), PAD, jnp.int32)
    state, tokens_CxBxN = _fill(step, state, tokens_CxBxN, state.time, options)
    return state, tokens_CxBxN.transpose(1, 2, 0)


def stream(
    advance: Callable[[Samples], tuple[Samples, jax.Array]], state: Samples
) -> Iterator[np.ndarray]:
    """Yields the tokens of samples as they are drawn, int32 [B, N, C], until all have ended.

    The next chunk is drawn while the caller handles the last. A caller who has seen enough, as
    after a stop string, closes the generator.

    Args:
      advance: `draw_chunk` for some step and count, compiled. One token at a time is best for
        reading along, larger chunks are faster.
      state: the result of `begin`.
    """
    if int(state.time):
        yield np.asarray(state.last)[..., None]
    state, tokens = advance(state)
    while True:
        # A chunk after the end of all samples takes no step.
        state, following = advance(state)
        shown = np.asarray(tokens)
        if not shown.any():
            return
        yield shown
        tokens = following


def _fill(step, state, tokens_LxBxN, origin, options) -> tuple[Samples, jax.Array]:
    """Samples tokens until all samples have ended or the array, from time `origin`, is full."""
    end = origin + tokens_LxBxN.shape[0]

    def unfinished(loop):
        return (loop[0].time < end) & jnp.any(loop[0].active)

    def extend(loop):
        state, tokens = loop
        carry, logits_BxNxV = step(state.carry, state.last)
        drawn = _drawn(state.replace(carry=carry), logits_BxNxV, options)
        return drawn, tokens.at[state.time - origin].set(drawn.last)

    return jax.lax.while_loop(unfinished, extend, (state, tokens_LxBxN))


def _drawn(state: Samples, logits_BxNxV: jax.Array, options: SampleOptions) -> Samples:
    """Returns the state after one more token, given its logits."""
    active_BxN, vocabulary = state.active, logits_BxNxV.shape[-1]
    is_last_Bx1 = (state.time + 1 >= state.limits)[:, None]
    allowed = allowed_tokens(
        jnp.arange(vocabulary),
        state.time,
        is_last_Bx1[..., None] & options.forced_end,
        jnp.reshape(options.min_length, (-1, 1, 1)),
        options.unknown,
    )
    # One of the allowed tokens is drawn even if all of them have probability 0.
    possible = jnp.where(allowed, jnp.maximum(logits_BxNxV, LOWEST), -jnp.inf)
    changed = apply_filters(possible, options.filters, state.seen)
    keys_BxN = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)), (0, None))(state.keys, state.time)
    token_BxN = _choose(keys_BxN, changed, options.filters.temperature)
    logit_BxN = jnp.take_along_axis(logits_BxNxV, token_BxN[..., None], axis=-1)[..., 0]
    log_probability_BxN = jnp.maximum(logit_BxN, LOWEST) - jax.nn.logsumexp(logits_BxNxV, axis=-1)
    token_BxN = jnp.where(active_BxN, token_BxN, PAD)
    ends_BxN = active_BxN & ((token_BxN == EOS) | is_last_Bx1)
    seen = state.seen
    if seen is not None:
        seen |= jax.nn.one_hot(token_BxN, vocabulary, dtype=bool)
    return state.replace(
        time=state.time + 1,
        last=token_BxN,
        lengths=jnp.where(ends_BxN, state.time + 1, state.lengths),
        log_probabilities=state.log_probabilities + jnp.where(active_BxN, log_probability_BxN, 0.0),
        seen=seen,
    )


def _choose(keys_BxN, logits_BxNxV, temperature) -> jax.Array:
    """Samples a token of each distribution; at temperature 0 returns the most probable."""
    best_BxN = jnp.argmax(logits_BxNxV, axis=-1)
    if is_constant(temperature, 0):
        return best_BxN
    drawn_BxN = jax.vmap(jax.vmap(draw_token))(keys_BxN, logits_BxNxV)
    return jnp.where(temperature == 0, best_BxN, drawn_BxN)


def draw_token(key: jax.Array, logits_V: jax.Array) -> jax.Array:
    """Samples one token from a distribution.

    By the Gumbel-max trick: argmax_i (l_i + g_i) has the distribution softmax(l) if the g_i are
    independent and standard Gumbel. First a block of tokens is drawn, by the log-sum-exp of each,
    then a token inside it; that takes V / 64 + 64 random numbers in place of V.

    By default JAX makes g = -log(-log u) from uniform numbers of 23 bits, so that -4.5 < g < 16:
    beside a nearly certain token one of probability 1e-9 could never win, and the steps between the
    largest g distort what is a little more probable. Mode 'high' has 46 bits.
    """
    size = min(_BLOCK, logits_V.shape[0])
    missing = -logits_V.shape[0] % size
    blocks_GxM = jnp.pad(logits_V, (0, missing), constant_values=-jnp.inf).reshape(-1, size)
    of_tokens, of_blocks = jnp.split(gumbel_noise(key, size + len(blocks_GxM)), [size])
    block = jnp.argmax(jax.nn.logsumexp(blocks_GxM, axis=-1) + of_blocks)
    return block * size + jnp.argmax(blocks_GxM[block] + of_tokens)


def gumbel_noise(key: jax.Array, count: int) -> jax.Array:
    """Returns independent numbers of the standard Gumbel distribution, float32 [count]."""
    return jax.random.gumbel(key, (count,), jnp.float32, mode="high")
