"""Language modelling: each token from those before it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from seqjax.architectures.continuous_cache import WithCache, mixed, without
from seqjax.architectures.contract import Place
from seqjax.architectures.language_model import build_language_model
from seqjax.data.blocks import evaluation_blocks
from seqjax.data.examples import Examples
from seqjax.data.packs import Packs
from seqjax.data.plan import Plan, PlannedBatch
from seqjax.data.streams import Streams
from seqjax.data.tokenizer import BOS, EOS, PAD, Tokenizers
from seqjax.data.windows import Windows
from seqjax.errors import UserError
from seqjax.measures.likelihood import likelihood_metrics
from seqjax.tasks.next_token import NextToken
from seqjax.tasks.output_limits import warn_of_positions
from seqjax.tasks.task import Batch


class LanguageModelling(NextToken):
    """Predicts each token of a text from those before it, by any decoder without a source.

        p(x_1 ... x_n) = product over t of p(x_t | x_1, ..., x_(t-1))

    A batch holds `text` [B, 1 + T]: the token before, or BOS, and T tokens that are predicted.
    `batching.plan` says what these are: blocks of all documents as one stream, in random order
    ('windows') or in their own order ('streams': recurrent models carry their state from batch to
    batch, and `fresh` [B] is true where a row starts anew), whole documents ('buckets'), or several
    of them in a row ('packs'), which `segment` keeps apart and `position` counts within.

    Source: Bengio et al., A neural probabilistic language model (2003); recurrent Mikolov et al.
    (2010).
    """

    before = 1

    def __init__(self, config: ml_collections.ConfigDict, tokenizers: Tokenizers):
        super().__init__(config, tokenizers)
        self._plan = config.batching.plan or self.declared.plans[0]
        self._is_one_document = (config.data.corpus, config.data.documents) == ("text", "file")
        self.model = build_language_model(config.model, tokenizers["text"].vocabulary_size)

    def plan(
        self,
        examples: Examples,
        seed: int,
        row_multiple: int = 1,
        room: Mapping[str, float] | None = None,
    ) -> Plan:
        """Returns the batches of a training.

        Raises:
          UserError: the text is too short for one batch.
        """
        batching = self.config.batching
        if self._plan == "buckets":
            return super().plan(examples, seed, row_multiple, room)
        count, length = len(examples.features["text"].tokens), batching.length
        if self._plan == "windows" and count < 2 * length:
            raise UserError(
                f"batching.length = {length}: expected at most {count // 2}, half of the"
                f" {count:,} tokens of the training split"
            )
        if self._plan == "packs":
            lengths = examples.lengths["text"]
            return Packs("text", lengths, length, self._rows, seed, row_multiple)
        if self._plan == "windows":
            return Windows("text", count, length, self._rows, seed, row_multiple)
        return Streams("text", count, length, min(self._rows, count), row_multiple)

    def evaluation_plan(
        self, examples: Examples, count: int, row_multiple: int
    ) -> list[PlannedBatch]:
        """Returns batches that score every token of the first `count` documents exactly once."""
        if self._plan == "buckets":
            return super().evaluation_plan(examples, count, row_multiple)
        tokens = int(examples.features["text"].offsets[count])
        length = self.config.batching.length
        rows = max(self.config.decode.tokens // length, 1)
        if self._plan in ("streams", "packs"):
            if self._plan == "streams":
                plan: Plan = Streams("text", tokens, length, 1, row_multiple)
            else:
                lengths = examples.lengths["text"][:count]
                plan = Packs("text", lengths, length, rows, 0, row_multiple)
            return [plan.batch(step) for step in range(plan.steps_per_epoch)]
        stride = self.config.evaluation.stride or length
        return evaluation_blocks("text", tokens, length, stride, rows, row_multiple)

    def check_lengths(self, lengths: Mapping[str, Any], split: str) -> None:
        """Warns if documents are longer than the model has positions for."""
        if self._plan == "buckets":
            warn_of_positions(self.model.longest_target(0), lengths["text"], split)

    @property
    def _rows(self) -> int:
        batching = self.config.batching
        by_tokens = max(batching.tokens // batching.length, 1)
        return batching.sentences if batching.kind == "sentences" else by_tokens

    def init(self, key: jax.Array) -> dict:
        """Returns initial parameters."""
        return self.model.init(key, jnp.full((1, 2), BOS, jnp.int32))["params"]

    def carry(self, rows: int) -> Any:
        """Returns the state before a stream: of recurrent models in plan 'streams' alone."""
        if self._plan != "streams":
            return ()
        return self.model.apply({}, rows, method="carry")

    def read(
        self, params: dict, batch: Batch, carry: Any, **arguments: Any
    ) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
        """Returns vectors [B, T, R], the tokens that follow, their weights and the next carry."""
        read, targets = batch["text"][:, :-1], batch["text"][:, 1:]
        counted = targets != PAD
        place = Place(carry=carry, fresh=batch.get("fresh"))
        if self._plan == "packs" and "segment" in batch:
            position, segment = batch["position"], batch["segment"]
            place = Place(position=position[:, :-1], segment=segment[:, :-1])
            # The first token of a document is not predicted from the one before.
            counted &= segment[:, 1:] == segment[:, :-1]
        vectors, following = self.model.apply(
            {"params": params}, read, place=place, method="read", **arguments
        )
        # Rows of other plans do not go on.
        carry = following if self._plan == "streams" else ()
        return vectors, targets, counted.astype(jnp.float32), carry

    def scoring_carry(self, rows: int) -> Any:
        """Returns the carry of `score`, with the cache of `config.evaluation`, if there is one."""
        carry, entries = self.carry(rows), self.config.evaluation.cache
        return WithCache.of(self.model, carry, rows, entries) if entries else carry

    def predict(
        self, params: dict, batch: Batch, carry: Any, **arguments: Any
    ) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
        """Returns logits in place of the vectors of `read`; mixed with a cache, if carried."""
        if not isinstance(carry, WithCache):
            return super().predict(params, batch, carry, **arguments)
        vectors, targets, weights, following = self.read(params, batch, carry.own, **arguments)
        logits = self.model.apply({"params": params}, vectors, method="predict")
        e, cache = self.config.evaluation, without(carry.cache, batch.get("fresh"))
        logits, cache = mixed(logits, vectors, targets, cache, e.cache_share, e.cache_flatness)
        return logits, targets, weights, WithCache(following, cache)

    def ask(self, line: str) -> dict[str, list[int]]:
        """Returns the ids of a document: what stands before it, its tokens, and its end."""
        ids = self.prompt(line)
        # A stream that is never interrupted has no ends.
        return {"text": [EOS, *ids] if self._is_one_document else [*ids, EOS]}

    # Generation.

    @property
    def context(self) -> int:
        """Most tokens that the model has seen or has positions for; 0 for any number.

        A recurrent model may read on for ever, and one of whole documents ends by itself.
        """
        bounded = self._plan in ("windows", "packs") and not self.model.has_state
        longest = self.config.batching.length if bounded else math.inf
        return int(most) if (most := min(longest, self.model.longest_target(0))) < math.inf else 0

    def prompt(self, text: str) -> list[int]:
        """Returns the ids that a continuation of a text goes on from.

        Whole documents begin with BOS. In a stream the end of one document stands before the next,
        unless the stream is a single document.
        """
        ids = self.tokenizers["text"].encode(text)
        if self._plan in ("buckets", "packs"):
            return [BOS, *ids]
        return list(ids) if self._is_one_document and ids else [EOS, *ids]

    def continuation(self, prompt: str, ids: Sequence[int]) -> str:
        """Returns what drawn tokens add to a prompt, with the space that may stand between."""
        tokenizer = self.tokenizers["text"]
        before = tokenizer.encode(prompt)
        start, text = tokenizer.decode(before), tokenizer.decode([*before, *ids])
        return text[len(start) :] if text.startswith(start) else tokenizer.decode(ids)

    def measure(
        self,
        sums: Mapping[str, float],
        texts: Mapping[str, Sequence[str]],
        hypotheses: Sequence[str] | None = None,
    ) -> dict[str, float | str]:
        """Returns `likelihood_metrics`, and `accuracy`: percent of tokens that were foreseen."""
        metrics = likelihood_metrics(sums["nll"], sums["tokens"], texts["text"])
        return metrics | {"accuracy": 100.0 * sums["correct"] / sums["tokens"]}
