"""Translation of any number of sources: batched by length, returned in their own order."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from seqjax.data.buckets import evaluation_batches, evaluation_shapes
from seqjax.data.examples import Sequences
from seqjax.data.plan import PlannedBatch, Shape
from seqjax.data.tokenizer import EOS, PAD
from seqjax.errors import UserError
from seqjax.parallel.mesh import by_row, distribute, replicated, row_parts
from seqjax.search.hypotheses import Hypotheses
from seqjax.stages import stage
from seqjax.tasks.text_to_text import TextToText


class Translation(NamedTuple):
    """One hypothesis.

    Attributes:
      text: the output.
      score: its normalized log probability.
      log_probability: in nats, of its tokens with EOS.
      tokens: ids with EOS.
      at_limit: whether it is as long as an output of its source may be; EOS was then forced.
    """

    text: str
    score: float
    log_probability: float
    tokens: tuple[int, ...]
    at_limit: bool = False

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.tokens)


class Translator:
    """Runs a task's search over many sources."""

    def __init__(
        self, task: TextToText, mesh: Mesh, n_best: int = 1, expected: int = 0, multiple: int = 1
    ):
        """Prepares to search; nothing is compiled yet.

        Args:
          task, mesh: what is searched, and where.
          n_best: hypotheses of each source, at most `decode.beam_size`.
          expected: batches get room for so many sources, though a call brings fewer.
          multiple: lengths are rounded up to a multiple of it, and of `batching.multiple`.
        """
        self.task = task
        self.mesh = mesh
        self._expected = expected
        self._multiple = math.lcm(multiple, task.config.batching.multiple)
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
        name: str = "translating",
    ) -> list[list[Translation]]:
        """Translates rows of source ids that end in EOS; returns up to n_best for each, best first.

        A source of EOS alone is an empty line; its output is the empty string, without a search.
        `check` is called before each batch; an exception that it raises ends the call. `name` is
        shown with the progress.

        Raises:
          UserError: the model's outputs are not finite.
        """
        results: list[list[Translation]] = [[Translation("", 0.0, 0.0, ())] for _ in sources]
        self.compile(params, sources)
        real, plan = self._plan(sources)
        searched = self._search_all(params, sources, real, plan, check)
        done = 0
        with stage(name, len(real), "sentences") as advance:
            for planned, found in zip(plan, searched, strict=True):
                self._collect(found, planned, sources, real, results)
                done += int(np.sum(planned.rows >= 0))
                advance(done)
        return results

    def compile(self, params: dict, sources: Sequence[Sequence[int]]) -> None:
        """Compiles the search for these sources, so that a clock can start after it.

        A shape is compiled once, for parameters of one kind.
        """
        needed = {planned.shape for planned in self._plan(sources)[1]} - self._compiled
        with stage("compiling the search", len(needed), "batch shapes") as advance:
            # The largest first: it shows at once whether memory suffices.
            largest_first = sorted(needed, key=lambda shape: shape.positions, reverse=True)
            for count, shape in enumerate(largest_first, start=1):
                # Rows of padding end a search before its first step.
                nothing = np.full((shape.rows, shape["source"]), PAD, np.int32)
                source = distribute(self.mesh, {"source": nothing})["source"]
                jax.block_until_ready(self._search(params, source))
                self._compiled.add(shape)
                advance(count)

    def _plan(self, sources: Sequence[Sequence[int]]) -> tuple[list[int], list[PlannedBatch]]:
        """Returns the sources that are not empty, by number, and the batches of them."""
        real = [i for i, ids in enumerate(sources) if list(ids) != [EOS]]
        if not real:
            return [], []
        lengths = np.array([len(sources[i]) for i in real], np.int32)
        return real, evaluation_batches({"source": lengths}, self._shapes_for(lengths))

    def _shapes_for(self, lengths: np.ndarray) -> list[Shape]:
        """Returns the shapes so far, and those that longer sources need."""
        longer = lengths[lengths > (self._shapes[-1]["source"] if self._shapes else 0)]
        if len(longer):
            decode = self.task.config.decode
            longer = np.resize(longer, max(len(longer), self._expected))
            self._shapes += evaluation_shapes(
                {"source": longer},
                decode.tokens,
                self._multiple,
                decode.shapes,
                row_parts(self.mesh),
            )
        return self._shapes

    def _search_all(self, params, sources, real, plan, check) -> Iterator[Hypotheses]:
        """Searches the batches in order; yields what they found, in host memory.

        A CPU gets two at a time, from two threads: a search is a long chain of small operations,
        and one search fills the cores that the other leaves idle. Several devices must all run the
        same program at a time, so they get one. The texts are made meanwhile.
        """

        examples = Sequences.of([sources[i] for i in real])

        def search(planned: PlannedBatch) -> Hypotheses:
            check()
            batch = {"source": examples.gathered(planned.spans, planned.shape["source"])}
            return jax.device_get(self._search(params, distribute(self.mesh, batch)["source"]))

        only_cpu = self.mesh.size == 1 and self.mesh.devices.flat[0].platform == "cpu"
        with ThreadPoolExecutor(2 if only_cpu else 1) as pool:
            yield from pool.map(search, plan)

    def _collect(self, found: Hypotheses, planned: PlannedBatch, sources, real, results) -> None:
        for row, example in enumerate(planned.rows):
            if example < 0:
                continue
            # A beam keeps nothing that is no number, greedy search goes on with it.
            if not found.lengths[row, 0] or not np.isfinite(found.log_probabilities[row, 0]):
                raise UserError("nothing could be found: the model's outputs are not finite")
            texts = self.task.texts(found.tokens[row])
            limit = self.task.max_output(len(sources[real[example]]))
            results[real[example]] = [
                Translation(
                    texts[n],
                    float(found.scores[row, n]),
                    float(found.log_probabilities[row, n]),
                    tuple(found.tokens[row, n, : found.lengths[row, n]].tolist()),
                    bool(found.lengths[row, n] >= limit),
                )
                for n in range(len(texts))
                if found.lengths[row, n] > 0
            ]


class AdaptiveTranslator:
    """Translates calls of any size, from a sentence that somebody types to a file.

    Few sentences share small batches whose lengths are rounded up a lot, so that most calls find
    what they need compiled; many fill batches of equal length.
    """

    # Sentences of a call, at most, and what lengths are rounded up to a multiple of.
    _SIZES = ((8, 16), (64, 8), (512, 4), (10_000, 1))

    def __init__(self, task: TextToText, mesh: Mesh, n_best: int = 1):
        self._arguments = task, mesh, n_best
        self._translators: dict[int, Translator] = {}

    def __call__(
        self, params: dict, sources: Sequence[Sequence[int]], name: str = "translating"
    ) -> list[list[Translation]]:
        """Returns what `Translator` does."""
        count = min(len(sources), self._SIZES[-1][0])
        size, multiple = next(pair for pair in self._SIZES if count <= pair[0])
        if size not in self._translators:
            self._translators[size] = Translator(*self._arguments, size, multiple)
        return self._translators[size](params, sources, name=name)
