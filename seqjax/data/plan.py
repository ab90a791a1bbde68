"""Planned batches: what each one holds, in which shape, before anything is read.

A plan is a pure function of lengths, options, seed and step. Its makers are `seqjax.data.buckets`
(whole examples, those of similar length together), `seqjax.data.packs` (several in a row),
`seqjax.data.windows` (blocks of a stream in random order) and `seqjax.data.streams` (blocks in
their own order, for models that carry state).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

NOTHING = -1


@dataclasses.dataclass(frozen=True)
class Shape:
    """Size of a batch: its rows, and the positions of each feature.

    Attributes:
      rows: number of rows.
      lengths: name and positions of each feature, in order.
    """

    rows: int
    lengths: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, rows: int, **lengths: int) -> "Shape":
        """Returns a shape by the names of its features."""
        return cls(rows, tuple(lengths.items()))

    def __getitem__(self, feature: str) -> int:
        return dict(self.lengths)[feature]

    def __repr__(self) -> str:
        lengths = "".join(f", {name}={length}" for name, length in self.lengths)
        return f"Shape(rows={self.rows}{lengths})"

    def __str__(self) -> str:
        lengths = ",".join(str(length) for _, length in self.lengths)
        return f"{self.rows}x({lengths})"

    @property
    def width(self) -> int:
        """Positions of all features in a row."""
        return sum(length for _, length in self.lengths)

    @property
    def positions(self) -> int:
        """Positions of all features in all rows."""
        return self.rows * self.width


class PlannedBatch(NamedTuple):
    """A batch before it is read.

    Attributes:
      shape: its size.
      spans: int64 [rows, 3], (example, begin, end) for each row: the tokens from `begin` to before
        `end` of an example, counted from its first. `end` is -1 for all to its last one; `begin` is
        -1 where BOS comes before its first token. `example` is -1 for an empty row. If rows hold
        several spans, [rows, P, 3], one after the other, and `example` is -1 after the last.
      fresh: bool [rows], whether a row does not go on from the same row of the batch before; None
        if no row of the plan does.
      unscored: int32 [rows], how many of the first tokens of a row are only read; None for none.
    """

    shape: Shape
    spans: np.ndarray
    fresh: np.ndarray | None = None
    unscored: np.ndarray | None = None

    @property
    def rows(self) -> np.ndarray:
        """The first example of each row, -1 for an empty row."""
        return self.spans.reshape(len(self.spans), -1)[:, 0]


class Plan(Protocol):
    """Every batch of a training, as a pure function of the step.

    Attributes:
      shapes: of batches, from small to large.
      steps_per_shape: batches of each shape in an epoch, the same in every epoch.
      steps_per_epoch: their sum.
      tokens: real tokens of each feature in an epoch.
      tokens_per_epoch: those that are predicted.
      waste: share of padding among the positions of all features.
      largest: the shape with the most positions.
      fingerprint: equal for plans with the same batches, but for empty rows.
    """

    shapes: Sequence[Shape]
    steps_per_shape: Sequence[int]
    steps_per_epoch: int
    tokens: Mapping[str, int]
    tokens_per_epoch: int
    waste: float
    largest: Shape
    fingerprint: str

    def batch(self, step: int) -> PlannedBatch:
        """Returns the batch of a training step, counted from 0 over all epochs."""

    def arrays(self, shape: Shape) -> dict[str, tuple[tuple[int, ...], type]]:
        """Returns size and type of each array of a batch of a shape, by name."""


def arrays_of(shape: Shape) -> dict[str, tuple[tuple[int, ...], type]]:
    """Returns size and type of the arrays that every batch of a shape has."""
    sizes = {name: (shape.rows, length) for name, length in shape.lengths}
    return {name: (size, np.int32) for name, size in {**sizes, "index": (shape.rows,)}.items()}


def whole(examples: np.ndarray, before: int = 0) -> np.ndarray:
    """Returns spans of whole examples [n], -1 for an empty row; with BOS if `before` is 1."""
    spans = np.full((len(examples), 3), NOTHING, np.int64)
    spans[:, 0] = examples
    spans[:, 1] = -before
    return spans


def blocks(begins: np.ndarray, length: int, count: int) -> np.ndarray:
    """Returns spans of a stream of `count` tokens, the concatenation of all examples.

    Each holds the token before its block, or BOS at the beginning of the stream, and the up to
    `length` tokens of the block itself. A block that begins at the end or beyond is empty.

    Args:
      begins: int [n], where blocks begin.
      length: their tokens.
      count: see above.
    """
    ends = np.minimum(begins + length, count)
    spans = np.stack([np.zeros_like(begins), begins - 1, ends], axis=1).astype(np.int64)
    spans[begins >= count] = NOTHING
    return spans
