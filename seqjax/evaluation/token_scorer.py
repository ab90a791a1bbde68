"""Log probabilities of each token of given texts, for any number of them, in their own order."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from seqjax.data.buckets import evaluation_plan
from seqjax.data.examples import Sequences
from seqjax.parallel.mesh import by_row, distribute, replicated, row_parts
from seqjax.stages import stage
from seqjax.tasks.task import Task

# Lengths are padded to a multiple of it, so that few are compiled.
_MULTIPLE = 16


class TokenScorer:
    """Computes what a task's model gives to the tokens of its last feature."""

    def __init__(self, task: Task, mesh: Mesh):
        self.task, self.mesh = task, mesh
        self._scores = jax.jit(
            task.log_probabilities,
            in_shardings=(None, by_row(mesh)),
            out_shardings=replicated(mesh),
        )

    def __call__(
        self, params: dict, asked: Sequence[Mapping[str, Sequence[int]]], name: str = "scoring"
    ) -> list[np.ndarray]:
        """Returns float32 [T] for each of `asked`, results of `Task.ask`.

        T are the tokens that are predicted. A text that is longer than what the task's model has
        seen at once is divided into blocks, each of which begins with the token before it.
        """
        parts = [self._blocks(features) for features in asked]
        rows = [block for blocks in parts for block in blocks]
        found: list[np.ndarray] = [np.zeros(0, np.float32)] * len(rows)
        if not rows:
            return []
        features = {role: Sequences.of([row[role] for row in rows]) for role in rows[0]}
        lengths = {role: each.lengths for role, each in features.items()}
        decode = self.task.config.decode
        plan = evaluation_plan(
            lengths, decode.tokens, _MULTIPLE, decode.shapes, row_parts(self.mesh)
        )
        last, done = list(features)[-1], 0
        with stage(name, len(rows), "rows") as advance:
            for planned in plan:
                batch = {
                    role: each.gathered(planned.spans, planned.shape[role])
                    for role, each in features.items()
                }
                scores = jax.device_get(self._scores(params, distribute(self.mesh, batch)))
                for row, number in enumerate(planned.rows):
                    if number >= 0:
                        count = len(rows[number][last]) - self.task.before
                        found[number] = scores[row, :count]
                        done += 1
                advance(done)
        taken = iter(found)
        return [np.concatenate([next(taken) for _ in blocks]) for blocks in parts]

    def _blocks(self, features: Mapping[str, Sequence[int]]) -> list[Mapping[str, Sequence[int]]]:
        context = self.task.context
        if not context:
            return [features]
        ((role, ids),) = features.items()
        # The first id of a block is only read.
        begins = range(0, max(len(ids) - 1, 1), context)
        return [{role: ids[begin : begin + context + 1]} for begin in begins]
