"""The contract of a task: all that training, evaluation and the verbs know of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from seqjax.data.buckets import Buckets, evaluation_plan
from seqjax.data.examples import Examples, Feature
from seqjax.data.plan import Plan, PlannedBatch
from seqjax.data.tokenizer import Tokenizers
from seqjax.tasks.declared import TASKS, Declared

Batch = dict[str, jax.Array]
Sums = dict[str, jax.Array]


class Task:
    """What is learned: which arrays a batch holds, what is minimized, and what is measured.

    A task is written once for one device and many, for one run and a population, for training and
    for looking ahead: its functions of parameters are pure, and numbers of the config may be traced
    in `loss`. This class has the defaults, which hold for whole examples in buckets of similar
    length and no state between batches.

    Attributes:
      config: the run's config.
      tokenizers: that of each feature.
    """

    def __init__(self, config: ml_collections.ConfigDict, tokenizers: Tokenizers):
        self.config = config
        self.tokenizers = tokenizers

    @property
    def declared(self) -> Declared:
        """What is known of the task before JAX is imported."""
        return TASKS[self.config.task]

    # Data.

    # 1 if BOS comes before each example of a batch, which is a position but no token.
    before = 0

    def features(self) -> list[Feature]:
        """Returns which fields of a record become tokens, and how long they may be."""
        return [Feature(role) for role in self.declared.roles]

    def plan(
        self,
        examples: Examples,
        seed: int,
        row_multiple: int = 1,
        room: Mapping[str, float] | None = None,
    ) -> Plan:
        """Returns the batches of a training; see `Buckets` for the arguments."""
        batching = self.config.batching
        return Buckets(examples.lengths, batching, seed, row_multiple, room, self.before)

    def evaluation_plan(
        self, examples: Examples, count: int, row_multiple: int
    ) -> list[PlannedBatch]:
        """Returns batches that score every token of the first `count` examples exactly once."""
        lengths = {name: each[:count] for name, each in examples.lengths.items()}
        decode, multiple = self.config.decode, self.config.batching.multiple
        return evaluation_plan(
            lengths, decode.tokens, multiple, decode.shapes, row_multiple, self.before
        )

    def check_lengths(self, lengths: Mapping[str, np.ndarray], split: str) -> None:
        """Warns if the examples of a split are longer than what the task can answer with."""

    # Functions of parameters.

    def init(self, key: jax.Array) -> dict:
        """Returns initial parameters."""
        raise NotImplementedError

    def carry(self, rows: int) -> Any:
        """Returns the state of the rows of a batch before the first one; () if there is none."""
        return ()

    def scoring_carry(self, rows: int) -> Any:
        """Returns the state that `score` begins with; by default `carry`."""
        return self.carry(rows)

    def loss(
        self, params: dict, batch: Batch, dropout_key: jax.Array, carry: Any = ()
    ) -> tuple[jax.Array, tuple[Sums, Any]]:
        """Returns the training objective, summed over the batch, sums to report and the next carry.

        Among the sums are `objective`, `loss` (without what only training adds, so that it compares
        with the validation loss), and `tokens`, the divisor of both and of the gradient.
        """
        raise NotImplementedError

    def score(self, params: dict, batch: Batch, carry: Any = ()) -> tuple[Sums, Any]:
        """Returns sums for each row [B], which `measure` takes over all rows, and the next carry.

        Among them are `nll` (nats) and `tokens`.
        """
        raise NotImplementedError

    def log_probabilities(self, params: dict, batch: Batch) -> jax.Array:
        """Returns the log probability of each predicted token, [B, T], in nats; 0 for PAD."""
        raise NotImplementedError

    # Most tokens of a row that are predicted from each other; 0 for any number.
    context = 0

    def ask(self, line: str) -> dict[str, list[int]]:
        """Returns the ids of each feature of a line whose probability is asked for.

        Raises:
          ValueError: the line does not hold them; the message says what was expected.
        """
        raise NotImplementedError

    # Measures.

    @property
    def answers(self) -> bool:
        """Whether there is a search, and outputs to compare with references."""
        return any(measure.answers for measure in self.declared.measures.values())

    def measure(
        self,
        sums: Mapping[str, float],
        texts: Mapping[str, Sequence[str]],
        hypotheses: Sequence[str] | None = None,
    ) -> dict[str, float | str]:
        """Returns the metrics of a split.

        Args:
          sums: of `score`, over all rows.
          texts: the fields of all records, by name.
          hypotheses: an output for each record, if there was a search.
        """
        raise NotImplementedError
