"""Evaluation of a whole split: every example once, in loss and in text."""

import hashlib
import json
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from seqjax.data.batching import evaluation_plan
from seqjax.data.corpus import open_corpus
from seqjax.data.loader import assemble
from seqjax.data.tokens import tokenize
from seqjax.evaluation.metrics import translation_metrics
from seqjax.evaluation.translator import Translator
from seqjax.parallel.mesh import by_row, distribute, replicated, row_parts
from seqjax.tasks.text_to_text import TextToText


class Evaluation(NamedTuple):
    """Metrics of a split and, where it was translated, the texts in corpus order.

    Attributes:
      metrics, sources, references, hypotheses: what their names say.
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
    """Evaluates parameters on one split of the task's corpus."""

    def __init__(self, task: TextToText, mesh: Mesh, split: str, limit: int = -1):
        self.task = task
        self.mesh = mesh
        config = task.config
        corpus = open_corpus(config.data, split)
        self.tokenized = tokenize(corpus, task.tokenizers, config.data, training=False)
        self.count = len(corpus) if limit < 0 else min(limit, len(corpus))
        pairs = [corpus[i] for i in range(self.count)]
        self.sources = [pair.source for pair in pairs]
        self.references = [pair.target for pair in pairs]
        # Equal if what is scored is.
        self.digest = _digest([self.sources, self.references])
        self.plan = evaluation_plan(
            self.tokenized.source_lengths[: self.count],
            self.tokenized.target_lengths[: self.count],
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
        """Returns `loss` (nats per target token), `perplexity`, `accuracy` (percent), and the
        metrics of `config.evaluation.metrics` where `translate` is true.

        Before each batch `check` is called; what it raises ends the evaluation.
        """
        metrics: dict[str, float | str] = dict(self._loss(params, check))
        if not translate:
            return Evaluation(metrics, self.sources, self.references, [])
        rows = [self.tokenized.source(i).tolist() for i in range(self.count)]
        self._translator.compile(params, rows)
        started = time.perf_counter()
        best = [found[0] for found in self._translator(params, rows, check)]
        seconds = time.perf_counter() - started
        hypotheses = [translation.text for translation in best]
        evaluation = self.task.config.evaluation
        # Outputs are in the tokenizer's normalization form: what looks the same is the same.
        normalized = self.task.tokenizers.target.form.normalized
        metrics |= translation_metrics(
            hypotheses,
            [normalized(reference) for reference in self.references],
            evaluation.metrics,
            evaluation.lowercase,
            evaluation.tokenize,
        )
        tokens = sum(translation.length for translation in best)
        return Evaluation(metrics, self.sources, self.references, hypotheses, tokens, seconds)

    def _loss(self, params: dict, check: Callable[[], None]) -> dict[str, float]:
        sums = {"nll": 0.0, "tokens": 0.0, "correct": 0.0}
        pending = None
        for planned in self.plan:
            check()
            batch = assemble(self.tokenized, planned)
            found = self._score(params, distribute(self.mesh, batch))
            if pending:
                _add(sums, pending)
            pending = found
        _add(sums, pending)
        loss = sums["nll"] / sums["tokens"]
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "accuracy": 100.0 * sums["correct"] / sums["tokens"],
        }


def _digest(texts: list[list[str]]) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def _add(sums: dict[str, float], found: dict[str, jax.Array]) -> None:
    for name, values in jax.device_get(found).items():
        sums[name] += float(values.sum(dtype="float64"))
