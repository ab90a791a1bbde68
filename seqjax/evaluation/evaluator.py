"""Evaluation of a whole split: every example once, in loss and in text."""

import logging
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from seqjax.data.batching import evaluation_plan
from seqjax.data.corpus import open_corpus
from seqjax.data.loader import assemble
from seqjax.data.pair import digest
from seqjax.data.text_form import TextForm
from seqjax.data.tokens import encode, tokenize
from seqjax.evaluation.limits import warn_of_limits
from seqjax.evaluation.metrics import translation_metrics
from seqjax.evaluation.translator import Translator
from seqjax.parallel.mesh import by_row, distribute, replicated, row_parts
from seqjax.stages import stage
from seqjax.tasks.text_to_text import TextToText

log = logging.getLogger(__name__)


class Evaluation(NamedTuple):
    """Metrics of a split and, if it was translated, its texts in corpus order.

    Attributes:
      metrics: see `Evaluator.__call__`.
      sources, references, hypotheses: one string for each example; no hypotheses unless translated.
      output_tokens: tokens of the hypotheses, each with its end of sentence.
      decoding_seconds: search and detokenization, without compiling.
    """

    metrics: dict[str, float | str]
    sources: list[str]
    references: list[str]
    hypotheses: list[str]
    output_tokens: int = 0
    decoding_seconds: float = 0.0


class Evaluator:
    """Evaluates parameters on one split of the task's corpus.

    Attributes:
      count: examples that are evaluated, the first ones of the split.
      available: examples of the split.
      sources_cut: how many of their sources were cut to `data.max_source_length` tokens; references
        are never cut.
    """

    def __init__(self, task: TextToText, mesh: Mesh, split: str, limit: int = -1):
        """Reads and tokenizes the split, and warns of limits of length that it exceeds.

        Args:
          task, mesh: what is evaluated, and where.
          split: 'train', 'validation', 'test' or another name in the corpus.
          limit: the first so many examples only; -1 takes all.
        """
        self.task = task
        self.mesh = mesh
        self.split = split
        config = task.config
        corpus = open_corpus(config.data, split)
        self.tokenized = tokenize(corpus, task.tokenizers, config.data, training=False)
        self.available = len(corpus)
        self.count = len(corpus) if limit < 0 else min(limit, len(corpus))
        pairs = [corpus[i] for i in range(self.count)]
        self.sources = [pair.source for pair in pairs]
        self.references = [pair.target for pair in pairs]
        # Equal if what is scored is.
        self.digest = digest([self.sources, self.references])
        lengths = [
            side[: self.count]
            for side in (self.tokenized.source_lengths, self.tokenized.target_lengths)
        ]
        self.sources_cut = self._warn_of_cut_sources()
        warn_of_limits(task, *lengths, f"the {split} split")
        self.plan = evaluation_plan(
            *lengths,
            config.decode.tokens,
            config.batching.multiple,
            config.decode.shapes,
            row_parts(mesh),
        )
        self._score = jax.jit(
            task.score,
            in_shardings=(None, by_row(mesh)),
            out_shardings=replicated(mesh),
        )
        self._translator = Translator(task, mesh)

    def __call__(
        self, params: dict, translate: bool = True, check: Callable[[], None] = lambda: None
    ) -> Evaluation:
        """Evaluates; `check` is called before each batch, and an exception it raises ends the call.

        The metrics, each over all examples together (a token counts once, whatever its sentence):

            loss        cross entropy of the references, nats per token, EOS counted; without
                        label smoothing and dropout, so that it is lower than a training loss with
                        them
            perplexity  exp(loss)
            accuracy    percent of reference tokens that were the most probable one, given the
                        reference before them

        and, if `translate`, from the best hypothesis of a search as `config.decode` says:

            at_limit    percent of outputs that are as long as they may be: they ended because they
                        had to
            bleu, ...   those of `config.evaluation.metrics`, see `metrics.translation_metrics`
        """
        metrics: dict[str, float | str] = dict(self._loss(params, check))
        if not translate:
            return Evaluation(metrics, self.sources, self.references, [])
        rows = [self.tokenized.source(i).tolist() for i in range(self.count)]
        self._translator.compile(params, rows)
        started = time.perf_counter()
        name = f"translating {self.split}"
        best = [found[0] for found in self._translator(params, rows, check, name)]
        seconds = time.perf_counter() - started
        hypotheses = [translation.text for translation in best]
        metrics["at_limit"] = 100.0 * sum(found.at_limit for found in best) / len(best)
        form = self.task.tokenizers.target.form
        metrics |= text_metrics(hypotheses, self.references, form, self.task.config.evaluation)
        tokens = sum(translation.length for translation in best)
        return Evaluation(metrics, self.sources, self.references, hypotheses, tokens, seconds)

    def _warn_of_cut_sources(self) -> int:
        """Returns how many sources were cut, after a warning if any was."""
        if not self.tokenized.report["long_cut"]:
            return 0
        longest = self.task.config.data.max_source_length
        ids = encode(self.task.tokenizers.source, self.sources)
        cut = sum(len(row) >= longest for row in ids)
        if cut:
            log.warning(
                "data.max_source_length = %d: %d of %d sources of the %s split are cut to it",
                longest,
                cut,
                self.count,
                self.split,
            )
        return cut

    def _loss(self, params: dict, check: Callable[[], None]) -> dict[str, float]:
        sums = {"nll": 0.0, "tokens": 0.0, "correct": 0.0}
        pending = None
        done = 0
        with stage(f"scoring {self.split}", self.count, "sentences") as advance:
            for planned in self.plan:
                check()
                batch = assemble(self.tokenized, planned)
                found = self._score(params, distribute(self.mesh, batch))
                if pending:
                    _add(sums, pending)
                    advance(done)
                pending = found
                done += int(np.sum(planned.rows >= 0))
            _add(sums, pending)
        loss = sums["nll"] / sums["tokens"]
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "accuracy": 100.0 * sums["correct"] / sums["tokens"],
        }


def text_metrics(
    hypotheses: list[str], references: list[str], form: TextForm, evaluation: ConfigDict
) -> dict[str, float | str]:
    """Scores outputs against references in the tokenizer's normalization form, as outputs are."""
    return translation_metrics(
        hypotheses,
        [form.normalized(reference) for reference in references],
        evaluation.metrics,
        evaluation.lowercase,
        evaluation.tokenize,
    )


def _add(sums: dict[str, float], found: dict[str, jax.Array]) -> None:
    for name, values in jax.device_get(found).items():
        sums[name] += float(values.sum(dtype="float64"))
