"""Continuation of any number of prompts by a language model: batched, returned in their order."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from seqjax.data.examples import Sequences
from seqjax.data.plan import whole
from seqjax.data.tokenizer import EOS
from seqjax.parallel.mesh import by_row, distribute, replicated, row_parts
from seqjax.search.filters import Filters
from seqjax.search.sampling import SampleOptions, sample, sample_keys
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
        decode = task.config.decode
        filters = Filters(
            decode.temperature,
            decode.top_k,
            decode.top_p,
            decode.min_p,
            decode.typical_p,
            decode.repetition_penalty,
        )
        self._options = SampleOptions(filters, decode.min_length, decode.unknown, forced_end=False)
        self._draw = jax.jit(
            self._drawn,
            static_argnums=5,
            in_shardings=(None, by_row(mesh), by_row(mesh), by_row(mesh), by_row(mesh)),
            out_shardings=replicated(mesh),
        )

    def __call__(
        self, params: dict, prompts: Sequence[str], name: str = "sampling"
    ) -> list[list[Continuation]]:
        """Returns N continuations of each prompt, in the order of their indices."""
        ids = [self.task.prompt(text) for text in prompts]
        longest = self.task.config.decode.max_new_tokens
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        results: list[list[Continuation]] = [[] for _ in ids]
        done = 0
        with stage(name, len(ids), "prompts") as advance:
            while done < len(order):
                width = len(ids[order[done]]) + longest
                rows = max(self.task.config.decode.tokens // (width * self._samples), 1)
                part = order[done : done + rows]
                for i, found in zip(part, self._batch(params, [ids[i] for i in part]), strict=True):
                    results[i] = found
                done += len(part)
                advance(done)
        return results

    def _batch(self, params, prompts) -> list[list[Continuation]]:
        """Draws the samples of a batch, in rounds if the context is bounded."""
        parts, context = row_parts(self.mesh), self.task.context
        longest = self.task.config.decode.max_new_tokens
        rows = _power(-(-len(prompts) // parts)) * parts
        # Each sample is a row: after the first round they differ.
        known = [list(prompt) for prompt in prompts for _ in range(self._samples)]
        known += [[EOS]] * (rows * self._samples - len(known))
        drawn: list[list[int]] = [[] for _ in known]
        log_probabilities = np.zeros(len(known))
        width = -(-max(map(len, prompts)) // _MULTIPLE) * _MULTIPLE
        heads = Sequences.of([*prompts, *([[EOS]] * (rows - len(prompts)))])
        seeds = sample_keys(
            self.task.config.decode.seed,
            jnp.asarray(heads.gathered(whole(np.arange(rows)), width)),
            self._samples,
        )
        going = np.arange(len(known)) < len(prompts) * self._samples
        number = 0
        while going.any():
            heads = Sequences.of([_cropped(ids, context) for ids in known])
            spans = whole(np.arange(len(known)))
            width = -(-int(heads.lengths.max()) // _MULTIPLE) * _MULTIPLE
            left = np.array([longest - len(ids) for ids in drawn])
            if context:
                left = np.minimum(left, context - heads.lengths)
            limits = np.where(going, left, 0).astype(np.int32)
            keys = jax.vmap(jax.random.fold_in, (0, None))(seeds.reshape(-1), number)
            batch = distribute(
                self.mesh,
                {
                    "prompt": heads.gathered(spans, width),
                    "length": heads.lengths,
                    "limit": limits,
                    "key": np.asarray(jax.random.key_data(keys)),
                },
            )
            found = jax.device_get(self._draw(params, *batch.values(), _power(int(limits.max()))))
            for row in np.flatnonzero(limits > 0):
                count = int(found.lengths[row, 0])
                tokens = found.tokens[row, 0, :count].tolist()
                drawn[row] += tokens
                known[row] += tokens
                log_probabilities[row] += float(found.log_probabilities[row, 0])
                ended = bool(tokens and tokens[-1] == EOS)
                stopped = self._stopped(self.task.text(drawn[row])) is not None
                going[row] = not ended and not stopped and len(drawn[row]) < longest
            number += 1
        every = [self._continuation(*pair) for pair in zip(drawn, log_probabilities, strict=True)]
        return [every[n * self._samples : (n + 1) * self._samples] for n in range(len(prompts))]

    def _drawn(self, params, prompt, length, limit, key, longest):
        variables = {"params": params}
        model, rows = self.task.model, prompt.shape[0]
        apply = functools.partial(model.apply, variables)
        carry = apply(rows, 1, prompt.shape[1] + longest, method="start")
        carry, logits = apply(carry, prompt, length, method="prefill")
        return sample(
            lambda carry, tokens: apply(carry, tokens, method="step"),
            carry,
            limit,
            jax.random.wrap_key_data(key, impl="threefry2x32")[:, None],
            max_length=longest,
            options=self._options,
            logits_BxNxV=logits,
            prompts_BxP=prompt,
        )

    def _stopped(self, text: str) -> int | None:
        """Returns where the first stop string of a text begins, None if it has none."""
        places = [text.find(stop) for stop in self.task.config.decode.stop]
        return min((place for place in places if place >= 0), default=None)

    def _continuation(self, tokens: list[int], log_probability: float) -> Continuation:
        text = self.task.text(tokens)
        reason = "end" if tokens and tokens[-1] == EOS else "length"
        if (place := self._stopped(text)) is not None:
            text, reason = text[:place], "stop"
        return Continuation(text, float(log_probability), tuple(tokens), reason)


def _cropped(ids: list[int], context: int) -> list[int]:
    """Returns the last half of a context, once there are as many tokens as it has."""
    return ids[-max(context // 2, 1) :] if context and len(ids) >= context else ids


def _power(count: int) -> int:
    """Returns the next power of two, so that few sizes are compiled."""
    return 1 << max(count - 1, 0).bit_length()
