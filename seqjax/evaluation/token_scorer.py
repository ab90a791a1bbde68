"""Log probabilities of each token of given texts, for any number of them, in their own order."""

from collections.abc import Mapping, Sequence

import numpy as np
from jax.sharding import Mesh

from seqjax.evaluation.row_wise import RowWise
from seqjax.stages import stage
from seqjax.tasks.task import Task

# Lengths are padded to a multiple of it, so that few are compiled.
_MULTIPLE = 16


class TokenScorer:
    """Computes what a task's model gives to the tokens of its last feature."""

    def __init__(self, task: Task, mesh: Mesh):
        self.task = task
        self._scores = RowWise(task, mesh, task.log_probabilities, _MULTIPLE)

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
        features = {role: [row[role] for row in rows] for role in rows[0]}
        last = list(features)[-1]
        with stage(name, len(rows), "rows") as advance:
            for done, (number, scores) in enumerate(self._scores(params, features), start=1):
                found[number] = scores[: len(rows[number][last]) - self.task.before]
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
