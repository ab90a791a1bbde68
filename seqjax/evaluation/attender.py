"""Attention weights of given pairs of source and output, for any number of them."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from seqjax.data.buckets import evaluation_plan
from seqjax.data.examples import Sequences
from seqjax.parallel.mesh import by_row, distribute, replicated, row_parts
from seqjax.tasks.text_to_text import TextToText


class Attender:
    """Computes a task's attention weights in batches."""

    def __init__(self, task: TextToText, mesh: Mesh):
        self.task = task
        self.mesh = mesh
        self._attention = jax.jit(
            task.attention,
            in_shardings=(None, by_row(mesh)),
            out_shardings=replicated(mesh),
        )

    def __call__(
        self, params: dict, sources: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Yields (i, weights [H, T, S] of each layer) for every pair, in any order.

        Sources and outputs are rows of ids that end in EOS.
        """
        if not sources:
            return
        sides = {"source": Sequences.of(sources), "target": Sequences.of(outputs)}
        lengths = {name: side.lengths for name, side in sides.items()}
        decode, multiple = self.task.config.decode, self.task.config.batching.multiple
        parts = row_parts(self.mesh)
        for planned in evaluation_plan(lengths, decode.tokens, multiple, decode.shapes, parts):
            batch = {
                name: side.gathered(planned.spans, planned.shape[name])
                for name, side in sides.items()
            }
            layers = jax.device_get(self._attention(params, distribute(self.mesh, batch)))
            for row, i in enumerate(planned.rows):
                if i >= 0:
                    size = (slice(None), slice(len(outputs[i])), slice(len(sources[i])))
                    yield int(i), [weights[row][size] for weights in layers]
