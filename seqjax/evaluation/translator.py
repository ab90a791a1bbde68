"""Translation of any number of sources: batched by length, returned in their own order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from seqjax.data.batching import PlannedBatch, Shape, evaluation_batches, evaluation_shapes, padded
from seqjax.data.tokenizer import EOS, PAD
from seqjax.errors import UserError
from seqjax.parallel.mesh import by_row, distribute, replicated, row_parts
from seqjax.search.hypotheses import Hypotheses
from seqjax.tasks.text_to_text import TextToText


class Translation(NamedTuple):
    """One hypothesis.

    Attributes:
      text: the output.
      score: its normalized log probability.
      log_probability: in nats, of its tokens with EOS.
      tokens: ids with EOS.
    """

    text: str
    score: float
    log_probability: float
    tokens: tuple[int, ...]

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.tokens)


class Translator:
    """Runs a task's search over many sources."""

    def __init__(self, task: TextToText, mesh: Mesh, n_best: int = 1):
        self.task = task
        self.mesh = mesh
        self._shapes: list[Shape] = []
        self._compiled: set[Shape] = set()
        self._search = jax.jit(
            lambda params, source: task.search(params, source, n_best),
            in_shardings=(None, by_row(mesh)),
            out_shardings=replicated(mesh),
        )

    def __call__(
        self,
        params: dict,
        sources: Sequence[Sequence[int]],
        check: Callable[[], None] = lambda: None,
    ) -> list[list[Translation]]:
        """Translates rows of source ids that end in EOS; returns up to n_best for each, best first.

        A source of EOS alone is an empty line and gets the empty text without a search. Before each
        batch `check` is called; what it raises ends all.

        Raises:
          UserError: nothing could be found, since the model's outputs are no numbers.
        """
        results: list[list[Translation]] = [[Translation("", 0.0, 0.0, ())] for _ in sources]
        real, plan = self._plan(sources)
        searched = self._search_all(params, sources, real, plan, check)
        for planned, found in zip(plan, searched, strict=True):
            self._collect(found, planned, real, results)
        return results

    def compile(self, params: dict, sources: Sequence[Sequence[int]]) -> None:
        """Compiles what translating these sources needs, so that a clock can start after it.

        A shape is compiled once, for parameters of one kind.
        """
        for shape in {planned.shape for planned in self._plan(sources)[1]} - self._compiled:
            # Rows of padding end a search before its first step.
            nothing = np.full((shape.rows, shape.source), PAD, np.int32)
            source = distribute(self.mesh, {"source": nothing})["source"]
            jax.block_until_ready(self._search(params, source))
            self._compiled.add(shape)

    def _plan(self, sources: Sequence[Sequence[int]]) -> tuple[list[int], list[PlannedBatch]]:
        """Returns the sources that are not empty, by number, and the batches of them."""
        real = [i for i, ids in enumerate(sources) if list(ids) != [EOS]]
        if not real:
            return [], []
        lengths = np.array([len(sources[i]) for i in real], np.int32)
        return real, evaluation_batches(lengths, lengths, self._shapes_for(lengths))

    def _shapes_for(self, lengths: np.ndarray) -> list[Shape]:
        """Returns the shapes so far, which are compiled, and such as longer sources need."""
        longer = lengths[lengths > (self._shapes[-1].source if self._shapes else 0)]
        if len(longer):
            decode, multiple = self.task.config.decode, self.task.config.batching.multiple
            self._shapes += evaluation_shapes(
                longer, longer, decode.tokens, multiple, decode.shapes, row_parts(self.mesh)
            )
        return self._shapes

    def _search_all(self, params, sources, real, plan, check) -> Iterator[Hypotheses]:
        """Searches the batches in order, on the host's memory when they arrive.

        A CPU gets two at a time, from two threads: a search is a long chain of small operations,
        and what one leaves idle of the cores the other fills. Several devices must all run the
        same program at a time, so they get one. The texts are made meanwhile.
        """

        examples = [sources[i] for i in real]

        def search(planned: PlannedBatch) -> Hypotheses:
            check()
            batch = {"source": padded(examples, planned.rows, planned.shape.source)}
            return jax.device_get(self._search(params, distribute(self.mesh, batch)["source"]))

        only_cpu = self.mesh.size == 1 and self.mesh.devices.flat[0].platform == "cpu"
        with ThreadPoolExecutor(2 if only_cpu else 1) as pool:
            yield from pool.map(search, plan)

    def _collect(self, found: Hypotheses, planned: PlannedBatch, real, results) -> None:
        for row, example in enumerate(planned.rows):
            if example < 0:
                continue
            # A beam keeps nothing that is no number, greedy search goes on with it.
            if not found.lengths[row, 0] or not np.isfinite(found.log_probabilities[row, 0]):
                raise UserError("nothing could be found: the model's outputs are not finite")
            texts = self.task.texts(found.tokens[row])
            results[real[example]] = [
                Translation(
                    texts[n],
                    float(found.scores[row, n]),
                    float(found.log_probabilities[row, n]),
                    tuple(found.tokens[row, n, : found.lengths[row, n]].tolist()),
                )
                for n in range(len(texts))
                if found.lengths[row, n] > 0
            ]
