"""Log probabilities of given pairs, for any number of them, in their own order."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from seqjax.data.buckets import evaluation_plan
from seqjax.data.examples import Sequences
from seqjax.parallel.mesh import by_row, distribute, replicated, row_parts
from seqjax.stages import stage
from seqjax.tasks.text_to_text import TextToText


class Score(NamedTuple):
    """How probable a model finds a target.

    Attributes:
      log_probability: log p(target | source) in nats, the end of the sentence counted; not
        divided by the length.
      length: target tokens, the end of the sentence counted.
      correct: how many of them were the most probable one, given the tokens before.
    """

    log_probability: float
    length: int
    correct: int


class Scorer:
    """Computes the scores of a task's pairs in batches."""

    def __init__(self, task: TextToText, mesh: Mesh):
        self.task = task
        self.mesh = mesh
        self._score = jax.jit(
            lambda params, batch: task.score(params, batch)[0],
            in_shardings=(None, by_row(mesh)),
            out_shardings=replicated(mesh),
        )

    def __call__(
        self, params: dict, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
    ) -> list[Score]:
        """Returns the score of each pair of rows of ids that end in EOS."""
        scores: list[Score] = [Score(0.0, 0, 0)] * len(sources)
        if not sources:
            return scores
        sides = {"source": Sequences.of(sources), "target": Sequences.of(targets)}
        lengths = {name: side.lengths for name, side in sides.items()}
        decode, multiple = self.task.config.decode, self.task.config.batching.multiple
        plan = evaluation_plan(
            lengths, decode.tokens, multiple, decode.shapes, row_parts(self.mesh)
        )
        done = 0
        with stage("scoring", len(sources), "pairs") as advance:
            for planned in plan:
                batch = {
                    name: side.gathered(planned.spans, planned.shape[name])
                    for name, side in sides.items()
                }
                found = jax.device_get(self._score(params, distribute(self.mesh, batch)))
                for row, i in enumerate(planned.rows):
                    if i >= 0:
                        sums = (found[name][row] for name in ("nll", "tokens", "correct"))
                        nll, tokens, correct = map(float, sums)
                        scores[i] = Score(-nll, int(tokens), int(correct))
                        done += 1
                advance(done)
        return scores
