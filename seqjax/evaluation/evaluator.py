"""Evaluation of a whole split: every example once, in loss and in text."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from seqjax.data.corpus import open_corpus
from seqjax.data.examples import encode, tokenize
from seqjax.data.gather import gather
from seqjax.data.record import digest
from seqjax.evaluation.translator import Translator
from seqjax.parallel.mesh import by_row, distribute, replicated, row_parts
from seqjax.stages import stage
from seqjax.tasks.task import Task

log = logging.getLogger(__name__)


class Evaluation(NamedTuple):
    """Metrics of a split and its texts, in corpus order.

    Attributes:
      metrics: see `Evaluator.__call__`.
      texts: the fields of all examples, by name.
      hypotheses: an output for each example; empty without a search.
      output_tokens: tokens of the hypotheses, each with its end of sentence.
      decoding_seconds: search and detokenization, without compiling.
    """

    metrics: dict[str, float | str]
    texts: Mapping[str, Sequence[str]]
    hypotheses: list[str]
    output_tokens: int = 0
    decoding_seconds: float = 0.0

    @property
    def sources(self) -> Sequence[str]:
        """The first field of each example."""
        return next(iter(self.texts.values()))

    @property
    def references(self) -> Sequence[str]:
        """The last field of each example."""
        return list(self.texts.values())[-1]


class Evaluator:
    """Evaluates parameters on one split of the task's corpus.

    Attributes:
      count: examples that are evaluated, the first ones of the split.
      available: examples of the split.
      texts: the fields of these examples, by name.
      cut: how many of them were cut to their limit, by name.
      digest: equal if what is scored is.
    """

    def __init__(self, task: Task, mesh: Mesh, split: str, limit: int = -1):
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
        declared, features = task.declared, task.features()
        corpus = open_corpus(config.data, split, declared.roles)
        self.examples = tokenize(
            corpus, task.tokenizers, config.data, features, training=False, unit=declared.unit
        )
        self.available = len(corpus)
        self.count = len(corpus) if limit < 0 else min(limit, len(corpus))
        records = [corpus[i] for i in range(self.count)]
        self.texts = {role: [record[role] for record in records] for role in declared.roles}
        self.digest = digest(list(self.texts.values()))
        self.cut = self._warn_of_cuts({f.name: f.longest for f in features if f.always})
        lengths = {name: each[: self.count] for name, each in self.examples.lengths.items()}
        task.check_lengths(lengths, f"the {split} split")
        self.plan = task.evaluation_plan(self.examples, self.count, row_parts(mesh))
        self._score = jax.jit(
            task.score,
            in_shardings=(None, by_row(mesh), by_row(mesh)),
            out_shardings=(replicated(mesh), by_row(mesh)),
        )
        self._translator = Translator(task, mesh) if task.answers else None

    def __call__(
        self, params: dict, translate: bool = True, check: Callable[[], None] = lambda: None
    ) -> Evaluation:
        """Evaluates; `check` is called before each batch, and an exception it raises ends the call.

        The metrics are those of the task (`measure`). If `translate` and the task has a search,
        those of its best outputs are among them, and

            at_limit    percent of outputs that are as long as they may be: they ended because they
                        had to
        """
        sums = self._sums(params, check)
        if not (translate and self._translator):
            return Evaluation(self.task.measure(sums, self.texts), self.texts, [])
        # What is known before the search.
        metrics = self.task.measure(sums, self.texts)
        sources = self.examples.features["source"]
        rows = [sources[i].tolist() for i in range(self.count)]
        self._translator.compile(params, rows)
        started = time.perf_counter()
        name = f"translating {self.split}"
        best = [found[0] for found in self._translator(params, rows, check, name)]
        seconds = time.perf_counter() - started
        hypotheses = [translation.text for translation in best]
        metrics["at_limit"] = 100.0 * sum(found.at_limit for found in best) / len(best)
        metrics |= self.task.measure(sums, self.texts, hypotheses)
        tokens = sum(translation.length for translation in best)
        return Evaluation(metrics, self.texts, hypotheses, tokens, seconds)

    def _warn_of_cuts(self, limits: Mapping[str, int]) -> dict[str, int]:
        """Returns how many texts of each limited field were cut, after a warning if any was."""
        found = dict.fromkeys(limits, 0)
        if not self.examples.report["long_cut"]:
            return found
        for name, longest in limits.items():
            ids = encode(self.task.tokenizers[name], self.texts[name])
            found[name] = sum(len(row) >= longest for row in ids)
            if found[name]:
                log.warning(
                    "data.max_%s_length = %d: %d of %d %ss of the %s split are cut to it",
                    name,
                    longest,
                    found[name],
                    self.count,
                    name,
                    self.split,
                )
        return found

    def _carry(self, rows: int) -> Any:
        """Returns the task's carry before the first batch, on the devices."""

        def place(leaf: jax.Array) -> jax.Array:
            return distribute(self.mesh, {"carry": np.asarray(leaf)})["carry"]

        return jax.tree.map(place, self.task.scoring_carry(rows))

    def _sums(self, params: dict, check: Callable[[], None]) -> dict[str, float]:
        """Returns the sums of the task's scores over all rows."""
        sums: dict[str, float] = {}
        pending = None
        done = 0
        carry: Any = None
        total = sum(int(np.sum(planned.rows >= 0)) for planned in self.plan)
        unit = "sentences" if self.task.declared.unit == "pairs" else "rows"
        with stage(f"scoring {self.split}", total, unit) as advance:
            for planned in self.plan:
                check()
                batch = distribute(self.mesh, gather(self.examples, planned))
                carry = self._carry(planned.shape.rows) if carry is None else carry
                found, carry = self._score(params, batch, carry)
                if pending:
                    _add(sums, pending)
                    advance(done)
                pending = found
                done += int(np.sum(planned.rows >= 0))
            _add(sums, pending)
        return sums


def _add(sums: dict[str, float], found: dict[str, jax.Array]) -> None:
    for name, values in jax.device_get(found).items():
        sums[name] = sums.get(name, 0.0) + float(values.sum(dtype="float64"))
