"""Streams: blocks of a stream of tokens in their own order, for models that carry state."""

import hashlib

import numpy as np

from seqjax.data.plan import PlannedBatch, Shape, arrays_of, blocks


class Streams:
    """Every batch of a training on N tokens that are read in order, as a pure function of the step.

    The tokens are divided into B parts of equal length, one for each row. Batch t of an epoch holds
    block t of each part, L tokens, so that a model goes on in each row where it was (truncated
    back-propagation through time, Williams and Peng, 1990). An epoch holds every token exactly
    once; in its first batch all rows are fresh.

    See `seqjax.data.plan.Plan` for the attributes.
    """

    def __init__(self, feature: str, tokens: int, length: int, rows: int, row_multiple: int = 1):
        """Plans.

        Args:
          feature: name of what is read.
          tokens: N.
          length: L.
          rows: B, at most N.
          row_multiple: the rows of a batch are filled up to a multiple of it.
        """
        self._count, self._rows = tokens, rows
        self._part = -(-tokens // rows)
        self._length = min(length, self._part)
        self.steps_per_epoch = -(-self._part // self._length)
        padded = -(-rows // row_multiple) * row_multiple
        # One more for the token before.
        self.largest = Shape.of(padded, **{feature: self._length + 1})
        self.shapes, self.steps_per_shape = (self.largest,), (self.steps_per_epoch,)
        self.tokens_per_epoch = tokens
        self.tokens = {feature: tokens}
        self.waste = 1 - tokens / (self.steps_per_epoch * padded * self._length)
        state = ("streams", tokens, self._length, rows)
        self.fingerprint = hashlib.sha256(repr(state).encode()).hexdigest()

    def batch(self, step: int) -> PlannedBatch:
        """Returns the batch of a training step, counted from 0 over all epochs."""
        position = step % self.steps_per_epoch
        begins = np.full(self.largest.rows, self._count)
        parts = np.arange(self._rows) * self._part
        begins[: self._rows] = np.minimum(parts + position * self._length, self._count)
        spans = blocks(begins, self._length, self._count)
        # The last block of a part ends with it.
        ends = np.minimum(parts + self._part, self._count)
        spans[: self._rows, 2] = np.minimum(spans[: self._rows, 2], ends)
        return PlannedBatch(self.largest, spans, np.full(self.largest.rows, position == 0))

    def arrays(self, shape: Shape) -> dict[str, tuple[tuple[int, ...], type]]:
        """Returns size and type of each array of a batch of a shape, by name."""
        return arrays_of(shape) | {"fresh": ((shape.rows,), np.bool_)}
