"""Log probabilities of given pairs, for any number of them, in their own order."""

from collections.abc import Sequence
from typing import NamedTuple

from jax.sharding import Mesh

from seqjax.evaluation.row_wise import RowWise
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
        self._sums = RowWise(
            task,
            mesh,
            lambda params, batch: task.score(params, batch)[0],
            task.config.batching.multiple,
        )

    def __call__(
        self, params: dict, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
    ) -> list[Score]:
        """Returns the score of each pair of rows of ids that end in EOS."""
        scores: list[Score] = [Score(0.0, 0, 0)] * len(sources)
        found = self._sums(params, {"source": sources, "target": targets})
        with stage("scoring", len(sources), "pairs") as advance:
            for done, (i, sums) in enumerate(found, start=1):
                nll, tokens, correct = (float(sums[name]) for name in ("nll", "tokens", "correct"))
                scores[i] = Score(-nll, int(tokens), int(correct))
                advance(done)
        return scores
