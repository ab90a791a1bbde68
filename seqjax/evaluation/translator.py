"""Translation of any number of sources: batched by length, returned in their own order."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from seqjax.data.batching import PlannedBatch, evaluation_plan
from seqjax.data.tokenizer import EOS, PAD
from seqjax.parallel.mesh import by_row, replicated
from seqjax.tasks.text_to_text import TextToText


class Translation(NamedTuple):
    """One hypothesis: its text, normalized score, log probability in nats, and tokens with EOS."""

    text: str
    score: float
    log_probability: float
    length: int


class Translator:
    """Runs a task's search over many sources."""

    def __init__(self, task: TextToText, mesh: Mesh, n_best: int = 1):
        self.task = task
        self.mesh = mesh
        self.n_best = n_best
        self._search = jax.jit(
            lambda params, source: task.search(params, source, n_best),
            in_shardings=(replicated(mesh), by_row(mesh)),
            out_shardings=replicated(mesh),
        )

    def __call__(self, params: dict, sources: Sequence[Sequence[int]]) -> list[list[Translation]]:
        """Translates rows of source ids that end in EOS; returns up to n_best for each, best first.

        A source of EOS alone is an empty line and gets the empty text without a search.
        """
        results: list[list[Translation]] = [[Translation("", 0.0, 0.0, 0)] for _ in sources]
        real = [i for i, ids in enumerate(sources) if list(ids) != [EOS]]
        decode, multiple = self.task.config.decode, self.task.config.batching.multiple
        lengths = np.array([len(sources[i]) for i in real], np.int32)
        if not real:
            return results
        plan = evaluation_plan(
            lengths, lengths, decode.tokens, multiple, decode.shapes, self.mesh.size
        )
        pending = None
        for planned in plan:
            found = self._search(params, _pad(sources, real, planned))
            if pending:  # Read while the device works on the next batch.
                self._collect(*pending, results)
            pending = (found, planned, real)
        self._collect(*pending, results)
        return results

    def _collect(self, found, planned: PlannedBatch, real, results) -> None:
        tokens, scores, log_probabilities, lengths = jax.device_get(
            (found.tokens, found.scores, found.log_probabilities, found.lengths)
        )
        for row, example in enumerate(planned.rows):
            if example < 0:
                continue
            texts = self.task.texts(tokens[row])
            results[real[example]] = [
                Translation(
                    texts[n],
                    float(scores[row, n]),
                    float(log_probabilities[row, n]),
                    int(lengths[row, n]),
                )
                for n in range(len(texts))
                if lengths[row, n] > 0
            ]


def _pad(sources, real, planned: PlannedBatch) -> np.ndarray:
    batch = np.full((planned.shape.rows, planned.shape.source), PAD, np.int32)
    for row, example in enumerate(planned.rows):
        if example >= 0:
            ids = sources[real[example]]
            batch[row, : len(ids)] = ids
    return batch
