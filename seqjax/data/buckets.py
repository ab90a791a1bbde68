"""Batches of whole examples: those of similar length share one, so that there is little padding.

Batches have a few fixed shapes, so that little is compiled. A plan needs only the lengths, not the
corpus: an int array [n] for each feature, by name.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from seqjax.data.boundaries import Bins, best_boundaries, steps_upwards
from seqjax.data.plan import NOTHING, PlannedBatch, Shape, arrays_of, whole
from seqjax.stages import stage

MAX_BINS = 512  # Ranges of lengths; boundaries between shapes lie between them.

Lengths = Mapping[str, np.ndarray]


class Buckets:
    """Every batch of a training, as a pure function of lengths, options, seed and step.

    An epoch holds each example exactly once. Examples are shuffled within their shape; those that
    do not fill a batch move up to the next larger shape, so that at most one batch of an epoch has
    empty rows. Then the batches are shuffled. Which examples share a batch does not depend on the
    devices: if they cannot divide its rows evenly, empty rows are added.

    See `seqjax.data.plan.Plan` for the attributes; lengths of shapes only grow. The tokens that are
    predicted are those of the last feature.
    """

    def __init__(
        self,
        lengths: Lengths,
        batching: ConfigDict,
        seed: int,
        row_multiple: int = 1,
        room: Mapping[str, float] | None = None,
        before: int = 0,
    ):
        """Plans over the tokens of each example, EOS included.

        Args:
          lengths: int [n] for each feature.
          batching: the `batching` part of the config.
          seed: seed of the order.
          row_multiple: the rows of a batch are filled up to a multiple of it.
          room: factors by which features may grow (`SubwordSampling.room`); no batch gets longer
            than the longest sequence.
          before: 1 if BOS comes before each example, which is a position but no token; otherwise 0.
        """
        rows_of = _rows_rule(batching, _count(lengths))
        grown = {
            name: _grown(each, (room or {}).get(name, 1.0)) + before
            for name, each in lengths.items()
        }
        with stage("planning batches"):
            filled, self._shape_of = _group(grown, rows_of, batching.multiple, batching.shapes)
        counts = np.bincount(self._shape_of, minlength=len(filled))
        self._filled = [shape.rows for shape in filled]
        self.steps_per_shape = tuple(steps_upwards(counts, self._filled))
        self.shapes = tuple(dataclasses.replace(s, rows=_up(s.rows, row_multiple)) for s in filled)
        self.steps_per_epoch = sum(self.steps_per_shape)
        self.tokens = {name: int(np.sum(each, dtype=np.int64)) for name, each in lengths.items()}
        self.tokens_per_epoch = list(self.tokens.values())[-1]
        real = sum(self.tokens.values())
        self.waste = 1 - real / _positions(self.shapes, self.steps_per_shape)
        self.largest = max(self.shapes, key=lambda s: (s.positions, s.width))
        self._seed, self._before = seed, before
        digest = hashlib.sha256(repr((seed, filled, self.steps_per_shape)).encode())
        digest.update(self._shape_of.tobytes())
        self.fingerprint = digest.hexdigest()
        self._epoch = functools.lru_cache(maxsize=2)(self._plan_epoch)

    def batch(self, step: int) -> PlannedBatch:
        """Returns the batch of a training step, counted from 0 over all epochs."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order, blocks = self._epoch(epoch)
        shape, block = order[position]
        return PlannedBatch(self.shapes[shape], whole(blocks[shape][block], self._before))

    def arrays(self, shape: Shape) -> dict[str, tuple[tuple[int, ...], type]]:
        """Returns size and type of each array of a batch of a shape, by name."""
        return arrays_of(shape)

    def _plan_epoch(self, epoch: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Returns each step's (shape, block), and for each shape its ids [blocks, rows]."""
        random = np.random.Philox(np.random.SeedSequence((self._seed, epoch)))
        # One sort groups by shape and shuffles within. Raw random bits, unlike
        # `Generator.permutation`, are the same in every version of NumPy; the example
        # in the lowest bits makes keys unique, so any sorting algorithm gives the same.
        mask = np.uint64((1 << len(self._shape_of).bit_length()) - 1)
        keys = (random.random_raw(len(self._shape_of)) >> np.uint64(4)) & ~mask
        keys |= self._shape_of.astype(np.uint64) << np.uint64(60)
        keys |= np.arange(len(keys), dtype=np.uint64)
        keys.sort()
        examples = (keys & mask).astype(np.int32)
        ends = np.cumsum(np.bincount(self._shape_of, minlength=len(self.shapes)))
        blocks, taken = [], 0
        groups = zip(self.shapes, self._filled, self.steps_per_shape, ends, strict=True)
        for shape, rows, steps, end in groups:
            members = examples[taken : min(end, taken + steps * rows)]
            taken += len(members)
            block = np.full(steps * rows, -1, np.int32)
            block[: len(members)] = members
            empty = ((0, 0), (0, shape.rows - rows))
            blocks.append(np.pad(block.reshape(steps, rows), empty, constant_values=-1))
        order = np.array([(s, b) for s, n in enumerate(self.steps_per_shape) for b in range(n)])
        return order[np.argsort(random.random_raw(len(order)), kind="stable")], blocks


def evaluation_plan(
    lengths: Lengths,
    tokens: int,
    multiple: int,
    shapes: int = 6,
    row_multiple: int = 1,
    before: int = 0,
) -> list[PlannedBatch]:
    """Returns batches that hold each example exactly once, the longest first.

    See `evaluation_shapes` for the arguments, `Buckets` for `before` and `evaluation_batches` for
    the order.
    """
    lengths = {name: np.asarray(each) + before for name, each in lengths.items()}
    planned = evaluation_shapes(lengths, tokens, multiple, shapes, row_multiple)
    return evaluation_batches(lengths, planned, before)


def evaluation_shapes(
    lengths: Lengths, tokens: int, multiple: int, shapes: int, row_multiple: int
) -> tuple[Shape, ...]:
    """Returns at most `shapes` shapes that hold these examples, from small to large.

    `tokens` bounds the padded tokens of the longest feature. Lengths are rounded up to `multiple`,
    rows to `row_multiple`.
    """

    def rows_of(length: int) -> int:
        return _rows_within(tokens, length, row_multiple, _count(lengths))

    return _group(lengths, rows_of, multiple, shapes, downwards=True)[0]


def evaluation_batches(
    lengths: Lengths, shapes: Sequence[Shape], before: int = 0
) -> list[PlannedBatch]:
    """Returns batches that hold each example exactly once, in the first shape that it fits.

    The largest shape comes first, so that it is compiled and found too large for the device at
    once; within a shape, examples go from long to short, by the first feature and then the next
    ones. Only the last batch has empty rows. Shapes go from small to large.
    """
    features = {name: np.asarray(each) for name, each in lengths.items()}
    shape_of = np.max(
        [np.searchsorted([s[name] for s in shapes], each) for name, each in features.items()],
        axis=0,
    )
    order = np.lexsort((*(-each for each in reversed(features.values())), -shape_of))
    batches, taken = [], 0
    while taken < len(order):
        shape = shapes[shape_of[order[taken]]]
        members = order[taken : taken + shape.rows]
        rows = np.full(shape.rows, NOTHING)
        rows[: len(members)] = members
        batches.append(PlannedBatch(shape, whole(rows, before)))
        taken += len(members)
    return batches


def _count(lengths: Lengths) -> int:
    return len(next(iter(lengths.values())))


def _grown(lengths: np.ndarray, factor: float) -> np.ndarray:
    return np.minimum(np.ceil(lengths * factor), lengths.max(initial=0)).astype(np.int32)


def _rows_rule(batching: ConfigDict, examples: int) -> Callable[[int], int]:
    """Returns the rule that gives the rows of a shape by the length of its longest feature."""
    if batching.kind == "tokens":
        return lambda length: _rows_within(batching.tokens, length, 1, examples)
    rows = min(batching.sentences, examples)
    return lambda length: rows


def _rows_within(tokens: int, length: int, row_multiple: int, examples: int) -> int:
    """Returns the rows of a given length within a token budget, at least `row_multiple`."""
    rows = tokens // length
    unit = math.lcm(8, row_multiple)  # Eight rows fill the vector units of every device.
    if rows < unit:
        unit = row_multiple
    # A corpus smaller than a batch would be mostly empty rows.
    return max(min(rows // unit * unit, _up(examples, row_multiple)), row_multiple)


def _group(
    lengths: Lengths,
    rows_of: Callable[[int], int],
    multiple: int,
    most: int,
    downwards: bool = False,
) -> tuple[tuple[Shape, ...], np.ndarray]:
    """Returns at most `most` shapes, and for each example the first one it fits, int8 [n].

    Shapes are those whose batches have the fewest positions of all features, padding and empty rows
    included, among all ways to cut a histogram of the longest feature's length into ranges (of
    `multiple` lengths each, or of more if there were over `MAX_BINS`). A shape is as long in each
    feature as the longest example of its range or those before. Rows that do not fill a batch move
    up to the next shape, as in training, or with `downwards` are filled up from the shape below, as
    in evaluation (`seqjax.data.boundaries`).
    """
    features = {name: np.asarray(each) for name, each in lengths.items()}
    if not _count(features):
        raise ValueError("No examples to plan batches of.")
    longer = np.max(list(features.values()), axis=0)
    width = multiple * math.ceil(int(longer.max()) / (multiple * MAX_BINS))
    bin_of = ((longer - 1) // width).astype(np.intp)
    counts = np.bincount(bin_of)
    used = np.flatnonzero(counts)
    # Bounds only grow, so that whatever fits a shape fits every larger one.
    bounds = {
        name: _running_bounds(each, bin_of, multiple)[used] for name, each in features.items()
    }
    sizes = np.array(list(bounds.values()))
    rows = np.array([rows_of(int(length)) for length in sizes.max(axis=0)])
    best = best_boundaries(Bins(counts[used], sizes.sum(axis=0), rows), most, downwards)
    if not downwards:
        # A shape that never fills a batch only hands its examples on.
        steps = steps_upwards(np.diff(np.cumsum(counts[used])[best], prepend=0), rows[best])
        best = [b for b, count in zip(best, steps, strict=True) if count]
    shapes = tuple(
        Shape.of(int(rows[b]), **{name: int(each[b]) for name, each in bounds.items()})
        for b in best
    )
    shape_of = np.searchsorted(used[best], np.arange(len(counts))).astype(np.int8)
    return shapes, shape_of[bin_of]


def _running_bounds(lengths: np.ndarray, bin_of: np.ndarray, multiple: int) -> np.ndarray:
    """Returns for each bin the longest length in it and the bins before, rounded up."""
    longest = np.zeros(int(bin_of.max()) + 1, lengths.dtype)
    np.maximum.at(longest, bin_of, lengths)
    return _up(np.maximum.accumulate(longest), multiple)


def _positions(shapes: Sequence[Shape], steps: Sequence[int]) -> int:
    return sum(n * shape.positions for n, shape in zip(steps, shapes, strict=True))


def _up(number, multiple: int):
    """Returns a number or an array rounded up to a multiple."""
    return -(-number // multiple) * multiple
