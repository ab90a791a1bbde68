"""Continuation of any number of prompts by a language model: batched, returned in their order."""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from seqjax.data.examples import Sequences
from seqjax.data.incremental_text import IncrementalText, cut_at_stop
from seqjax.data.plan import whole
from seqjax.data.tokenizer import EOS
from seqjax.parallel.mesh import by_row, distribute, replicated, row_parts
from seqjax.search.hypotheses import Hypotheses
from seqjax.search.sampling import (
    Samples,
    begin,
    draw_chunk,
    sample_keys,
    sample_options,
    sample_sequences,
    stream,
)
from seqjax.stages import stage
from seqjax.tasks.language_model import LanguageModelling

# Prompts are padded to a multiple of it, so that few lengths are compiled.
_MULTIPLE = 16


class Continuation(NamedTuple):
    """A sample that follows a prompt.

    Attributes:
      text: what follows the prompt, up to a stop string.
      log_probability: in nats, of all tokens that were drawn, before any filter.
      tokens: their ids, with EOS if it was drawn.
      reason: why it ends: 'end' of the document, 'stop' string, or 'length'.
    """

    text: str
    log_probability: float
    tokens: tuple[int, ...]
    reason: str


class Generator:
    """Draws samples from a language model as `config.decode` says.

    A Transformer or a convolution that was trained on windows reads no more than
    `batching.length` tokens: when these are full, it goes on from the last half of them.
    """

    def __init__(self, task: LanguageModelling, mesh: Mesh, samples: int = 1):
        """Prepares to sample; nothing is compiled yet.

        Args:
          task, mesh: what is sampled, and where.
          samples: number N of continuations of each prompt.
        """
        self.task, self.mesh, self._samples = task, mesh, samples
        self._options = sample_options(task.config.decode, forced_end=False)
        layout = {"static_argnums": 2, "in_shardings": (None, by_row(mesh))}
        self._draw = jax.jit(self._drawn, out_shardings=replicated(mesh), **layout)
        self._begin = jax.jit(self._begun, **layout)
        self._advance = jax.jit(self._advanced)

    def __call__(
        self, params: dict, prompts: Sequence[str], name: str = "sampling"
    ) -> list[list[Continuation]]:
        """Returns N continuations of each prompt, in the order of their indices."""
        sizes = [len(self.task.prompt(text)) for text in prompts]
        longest = self.task.config.decode.max_new_tokens
        order = sorted(range(len(sizes)), key=lambda i: -sizes[i])
        results: list[list[Continuation]] = [[] for _ in sizes]
        done = 0
        with stage(name, len(sizes), "prompts") as advance:
            while done < len(order):
                width = sizes[order[done]] + longest
                rows = max(self.task.config.decode.tokens // (width * self._samples), 1)
                part = order[done : done + rows]
                found = self._batch(params, [prompts[i] for i in part])
                for i, continuations in zip(part, found, strict=True):
                    results[i] = continuations
                done += len(part)
                advance(done)
        return results

    def stream(self, params: dict, prompt: str) -> Iterator[str]:
        """Yields the text of the first continuation of a prompt, in parts, as it is drawn."""
        decode, rows = self.task.config.decode, row_parts(self.mesh)
        text = IncrementalText(lambda ids: self.task.continuation(prompt, ids), decode.stop)
        known = [self.task.prompt(prompt), *([[EOS]] * (rows - 1))]
        seeds, going = self._seeds(known, 1), np.arange(rows) == 0
        drawn: list[list[int]] = [[] for _ in known]
        for number in itertools.count():
            inputs, limits = self._round(known, drawn, going, seeds, number)
            advance = functools.partial(self._advance, params, inputs["least"])
            with stage("compiling the search"):
                state = self._begin(params, inputs, _power(int(limits[0])))
                if number == 0:
                    jax.block_until_ready(advance(state))
            for part in stream(advance, state):
                tokens = part[0, 0].tolist()
                drawn[0] += tokens
                known[0] = known[0] + tokens
                if shown := text.add(tokens):
                    yield shown
                if text.stopped:
                    return
            if drawn[0][-1] == EOS or len(drawn[0]) >= decode.max_new_tokens:
                break
        if shown := text.end():
            yield shown

    def _batch(self, params: dict, prompts: Sequence[str]) -> list[list[Continuation]]:
        """Draws the samples of a batch, in rounds if the context is bounded."""
        parts, decode = row_parts(self.mesh), self.task.config.decode
        rows = _power(-(-len(prompts) // parts)) * parts
        heads = [self.task.prompt(text) for text in prompts]
        heads += [[EOS]] * (rows - len(prompts))
        seeds = self._seeds(heads, self._samples)
        # Each sample is a row: after the first round they differ.
        known = [list(ids) for ids in heads for _ in range(self._samples)]
        texts = [text for text in prompts for _ in range(self._samples)]
        drawn: list[list[int]] = [[] for _ in known]
        log_probabilities = np.zeros(len(known))
        going = np.arange(len(known)) < len(texts)
        for number in itertools.count():
            if not going.any():
                break
            inputs, limits = self._round(known, drawn, going, seeds, number)
            found = jax.device_get(self._draw(params, inputs, _power(int(limits.max()))))
            for row in np.flatnonzero(limits > 0):
                tokens = found.tokens[row, 0, : found.lengths[row, 0]].tolist()
                drawn[row] += tokens
                known[row] += tokens
                log_probabilities[row] += float(found.log_probabilities[row, 0])
                text = self.task.continuation(texts[row], drawn[row])
                stopped = any(stop in text for stop in decode.stop)
                full = len(drawn[row]) >= decode.max_new_tokens
                going[row] = not (drawn[row][-1] == EOS or stopped or full)
        every = [
            self._continuation(text, ids, float(log_probability))
            for text, ids, log_probability in zip(texts, drawn, log_probabilities, strict=False)
        ]
        return [every[n * self._samples : (n + 1) * self._samples] for n in range(len(prompts))]

    def _seeds(self, heads: Sequence[Sequence[int]], samples: int) -> jax.Array:
        """Returns the keys of the samples of prompts, one after the other."""
        width = _rounded(max(map(len, heads)))
        tokens = Sequences.of(heads).gathered(whole(np.arange(len(heads))), width)
        seed = self.task.config.decode.seed
        return sample_keys(seed, jnp.asarray(tokens), samples).reshape(-1)

    def _round(
        self,
        known: Sequence[list[int]],
        drawn: Sequence[list[int]],
        going: np.ndarray,
        seeds: jax.Array,
        number: int,
    ) -> tuple[dict[str, jax.Array], np.ndarray]:
        """Returns what the next tokens of each row are drawn from, and how many they may be."""
        decode, context = self.task.config.decode, self.task.context
        heads = Sequences.of([_cropped(ids, context) for ids in known])
        counts = np.array([len(ids) for ids in drawn])
        left = decode.max_new_tokens - counts
        if context:
            left = np.minimum(left, context - heads.lengths)
        limits = np.where(going, left, 0).astype(np.int32)
        keys = jax.vmap(jax.random.fold_in, (0, None))(seeds, number)
        width = _rounded(int(heads.lengths.max()))
        inputs = {
            "prompt": heads.gathered(whole(np.arange(len(known))), width),
            "length": heads.lengths,
            "limit": limits,
            "least": np.maximum(decode.min_length - counts, 0).astype(np.int32),
            "key": np.asarray(jax.random.key_data(keys)),
        }
        return distribute(self.mesh, inputs), limits

    def _prefilled(
        self, params: dict, inputs: Mapping[str, jax.Array], longest: int
    ) -> dict[str, Any]:
        """Reads the prompts; returns the arguments that `sample_sequences` and `begin` share."""
        prompt = inputs["prompt"]
        apply = functools.partial(self.task.model.apply, {"params": params})
        carry = apply(prompt.shape[0], 1, prompt.shape[1] + longest, method="start")
        carry, logits = apply(carry, prompt, inputs["length"], method="prefill")
        return {
            "step": functools.partial(apply, method="step"),
            "carry": carry,
            "limits_B": inputs["limit"],
            "keys_BxN": jax.random.wrap_key_data(inputs["key"], impl="threefry2x32")[:, None],
            "options": self._options._replace(min_length=inputs["least"]),
            "logits_BxNxV": logits,
            "prompts_BxP": prompt,
        }

    def _drawn(self, params, inputs, longest) -> Hypotheses:
        return sample_sequences(**self._prefilled(params, inputs, longest), max_length=longest)

    def _begun(self, params, inputs, longest) -> Samples:
        return begin(**self._prefilled(params, inputs, longest))

    def _advanced(self, params, least, state) -> tuple[Samples, jax.Array]:
        step = functools.partial(self.task.model.apply, {"params": params}, method="step")
        return draw_chunk(step, state, 1, self._options._replace(min_length=least))

    def _continuation(self, prompt: str, ids: list[int], log_probability: float) -> Continuation:
        text = self.task.continuation(prompt, ids)
        kept = cut_at_stop(text, self.task.config.decode.stop)
        reason = "end" if ids[-1] == EOS else "length"
        if len(kept) < len(text):
            reason = "stop"
        return Continuation(kept, log_probability, tuple(ids), reason)


def _cropped(ids: list[int], context: int) -> list[int]:
    """Returns the last half of a context, once there are as many tokens as it has."""
    return ids[-max(context // 2, 1) :] if context and len(ids) >= context else ids


def _rounded(length: int) -> int:
    return -(-length // _MULTIPLE) * _MULTIPLE


def _power(count: int) -> int:
    """Returns the next power of two, so that few sizes are compiled."""
    return 1 << max(count - 1, 0).bit_length()
