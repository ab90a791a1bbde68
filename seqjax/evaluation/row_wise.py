"""A task's function of rows, computed in batches of similar length for any number of rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from seqjax.data.buckets import evaluation_plan
from seqjax.data.examples import Sequences
from seqjax.parallel.mesh import by_row, distribute, replicated, row_parts
from seqjax.tasks.task import Batch, Task


class RowWise:
    """Computes a function (params, batch) -> arrays [B, ...] for rows of ids."""

    def __init__(
        self, task: Task, mesh: Mesh, function: Callable[[dict, Batch], Any], multiple: int
    ):
        """Prepares to compute; nothing is compiled yet.

        Args:
          task, mesh: whose config gives the sizes of batches, and where they are computed.
          function: what is computed.
          multiple: lengths are rounded up to a multiple of it.
        """
        self._decode, self._mesh, self._multiple = task.config.decode, mesh, multiple
        self._function = jax.jit(
            function, in_shardings=(None, by_row(mesh)), out_shardings=replicated(mesh)
        )

    def __call__(
        self, params: dict, rows: Mapping[str, Sequence[Sequence[int]]]
    ) -> Iterator[tuple[int, Any]]:
        """Yields (i, what the function gives for row i) for every row, in any order.

        Args:
          params: the function's.
          rows: the ids of each row, by feature.
        """
        features = {name: Sequences.of(each) for name, each in rows.items()}
        lengths = {name: each.lengths for name, each in features.items()}
        if not len(next(iter(lengths.values()))):
            return
        decode = self._decode
        plan = evaluation_plan(
            lengths, decode.tokens, self._multiple, decode.shapes, row_parts(self._mesh)
        )
        for planned in plan:
            batch = {
                name: each.gathered(planned.spans, planned.shape[name])
                for name, each in features.items()
            }
            found = jax.device_get(self._function(params, distribute(self._mesh, batch)))
            for row, number in enumerate(planned.rows):
                if number >= 0:
                    yield int(number), jax.tree.map(lambda array, row=row: array[row], found)
