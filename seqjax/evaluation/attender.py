"""Attention weights of given pairs of source and output, for any number of them."""

from collections.abc import Iterator, Sequence

import numpy as np
from jax.sharding import Mesh

from seqjax.evaluation.row_wise import RowWise
from seqjax.tasks.text_to_text import TextToText


class Attender:
    """Computes a task's attention weights in batches."""

    def __init__(self, task: TextToText, mesh: Mesh):
        self._attention = RowWise(task, mesh, task.attention, task.config.batching.multiple)

    def __call__(
        self, params: dict, sources: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Yields (i, weights [H, T, S] of each layer) for every pair, in any order.

        Sources and outputs are rows of ids that end in EOS.
        """
        for i, layers in self._attention(params, {"source": sources, "target": outputs}):
            size = (slice(None), slice(len(outputs[i])), slice(len(sources[i])))
            yield i, [weights[size] for weights in layers]
