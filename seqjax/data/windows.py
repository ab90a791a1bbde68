"""Windows: blocks of a stream of tokens in random order."""

import functools
import hashlib

import numpy as np

from seqjax.data.plan import PlannedBatch, Shape, arrays_of, blocks


class Windows:
    """Every batch of a training on a stream of N tokens, as a pure function of seed and step.

    An epoch cuts the stream into blocks of L tokens, beginning at a random one of its first L
    tokens, and shuffles them; B of them are a batch. What is left at either end, less than a block,
    and the blocks that do not fill a batch wait for another epoch. Which blocks share a batch does
    not depend on the devices: if they cannot divide its rows evenly, empty rows are added.

    See `seqjax.data.plan.Plan` for the attributes.
    """

    def __init__(
        self,
        feature: str,
        tokens: int,
        length: int,
        rows: int,
        seed: int,
        row_multiple: int = 1,
    ):
        """Plans.

        Args:
          feature: name of what is read.
          tokens: N.
          length: L, at most (N + 1) / 2, so that each offset has a block.
          rows: B; fewer if an epoch has not as many blocks.
          seed: seed of the order.
          row_multiple: the rows of a batch are filled up to a multiple of it.
        """
        self._count, self._length, self._seed = tokens, length, seed
        # As many as every offset has.
        available = (tokens - length + 1) // length
        self._rows = min(rows, available)
        self.steps_per_epoch = available // self._rows
        # One more for the token before.
        padded = -(-self._rows // row_multiple) * row_multiple
        self.largest = Shape.of(padded, **{feature: length + 1})
        self.shapes, self.steps_per_shape = (self.largest,), (self.steps_per_epoch,)
        self.tokens_per_epoch = self.steps_per_epoch * self._rows * length
        self.tokens = {feature: self.tokens_per_epoch}
        self.waste = 1 - self._rows / self.largest.rows
        state = ("windows", seed, tokens, length, self._rows)
        self.fingerprint = hashlib.sha256(repr(state).encode()).hexdigest()
        self._epoch = functools.lru_cache(maxsize=2)(self._plan_epoch)

    def batch(self, step: int) -> PlannedBatch:
        """Returns the batch of a training step, counted from 0 over all epochs."""
        epoch, position = divmod(step, self.steps_per_epoch)
        begins = self._epoch(epoch)[position * self._rows : (position + 1) * self._rows]
        # Beyond the end: an empty row.
        empty = np.full(self.largest.rows - self._rows, self._count)
        spans = blocks(np.concatenate([begins, empty]), self._length, self._count)
        return PlannedBatch(self.largest, spans)

    def arrays(self, shape: Shape) -> dict[str, tuple[tuple[int, ...], type]]:
        """Returns size and type of each array of a batch of a shape, by name."""
        return arrays_of(shape)

    def _plan_epoch(self, epoch: int) -> np.ndarray:
        """Returns where the blocks of an epoch begin, in their order."""
        # Raw random bits are the same in every version of NumPy.
        random = np.random.Philox(np.random.SeedSequence((self._seed, epoch)))
        first = int(random.random_raw(1)[0] % np.uint64(self._length))
        begins = np.arange(first, self._count - self._length + 1, self._length)
        return begins[np.argsort(random.random_raw(len(begins)), kind="stable")]
