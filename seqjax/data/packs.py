"""Packs: several whole documents in each row, which do not see each other."""

import functools
import hashlib

import numpy as np

from seqjax.data.plan import NOTHING, PlannedBatch, Shape, arrays_of
from seqjax.stages import stage


class Packs:
    """Every batch of a training on packed documents, as a pure function of seed and step.

    A row has 1 + L positions. A document takes one more than it has tokens, for BOS before them; a
    longer one than L tokens is divided into blocks, each of which takes one for the token before.
    Each goes into the row with the least room that holds it, the longest first (best fit, Johnson
    et al., 1974). An epoch holds each token exactly once; it shuffles the rows, B of which are a
    batch. The last one may have empty rows.

    See `seqjax.data.plan.Plan` for the attributes.
    """

    def __init__(
        self,
        feature: str,
        lengths: np.ndarray,
        length: int,
        rows: int,
        seed: int,
        row_multiple: int = 1,
    ):
        """Plans.

        Args:
          feature: name of what is read.
          lengths: int [n], tokens of each document, EOS included.
          length: L.
          rows: B.
          seed: seed of the order.
          row_multiple: the rows of a batch are filled up to a multiple of it.
        """
        self._seed = seed
        with stage("packing documents"):
            self._spans = _packed(_blocks(lengths, length), 1 + length)
        self._rows = min(rows, len(self._spans))
        self.steps_per_epoch = -(-len(self._spans) // self._rows)
        padded = -(-self._rows // row_multiple) * row_multiple
        self.largest = Shape.of(padded, **{feature: 1 + length})
        self.shapes, self.steps_per_shape = (self.largest,), (self.steps_per_epoch,)
        self.tokens_per_epoch = int(np.sum(lengths, dtype=np.int64))
        self.tokens = {feature: self.tokens_per_epoch}
        self.waste = 1 - self.tokens_per_epoch / (self.steps_per_epoch * padded * length)
        digest = hashlib.sha256(repr(("packs", seed, length, self._rows)).encode())
        digest.update(np.ascontiguousarray(self._spans).tobytes())
        self.fingerprint = digest.hexdigest()
        self._epoch = functools.lru_cache(maxsize=2)(self._plan_epoch)

    def batch(self, step: int) -> PlannedBatch:
        """Returns the batch of a training step, counted from 0 over all epochs."""
        epoch, position = divmod(step, self.steps_per_epoch)
        own = self._epoch(epoch)[position * self._rows : (position + 1) * self._rows]
        spans = np.full((self.largest.rows, *self._spans.shape[1:]), NOTHING, np.int64)
        spans[: len(own)] = self._spans[own]
        return PlannedBatch(self.largest, spans)

    def arrays(self, shape: Shape) -> dict[str, tuple[tuple[int, ...], type]]:
        """Returns size and type of each array of a batch of a shape, by name."""
        ((_, length),) = shape.lengths
        places = {name: ((shape.rows, length), np.int32) for name in ("position", "segment")}
        return arrays_of(shape) | places

    def _plan_epoch(self, epoch: int) -> np.ndarray:
        """Returns the order of the rows in an epoch."""
        # Raw random bits are the same in every version of NumPy.
        random = np.random.Philox(np.random.SeedSequence((self._seed, epoch)))
        return np.argsort(random.random_raw(len(self._spans)), kind="stable")


def _blocks(lengths: np.ndarray, length: int) -> np.ndarray:
    """Returns spans [m, 3] of at most L tokens and the one before, of each document in order."""
    counts = -(-lengths.astype(np.int64) // length)
    documents = np.repeat(np.arange(len(lengths)), counts)
    first = np.cumsum(counts) - counts
    begins = (np.arange(len(documents)) - first[documents]) * length
    ends = np.minimum(begins + length, lengths[documents])
    return np.stack([documents, begins - 1, ends], axis=1)


def _packed(spans: np.ndarray, capacity: int) -> np.ndarray:
    """Returns rows of spans [R, P, 3] that have at most `capacity` positions each."""
    sizes = spans[:, 2] - spans[:, 1]
    members: list[list[int]] = []
    # The rows with so much room left.
    with_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    open_rooms = np.zeros(capacity + 1, bool)
    for number in np.argsort(-sizes, kind="stable"):
        size = int(sizes[number])
        room = size + int(np.argmax(open_rooms[size:]))
        if open_rooms[room]:
            row = with_room[room].pop()
            open_rooms[room] = bool(with_room[room])
        else:
            row, room = len(members), capacity
            members.append([])
        members[row].append(int(number))
        left = room - size
        with_room[left].append(row)
        open_rooms[left] = True
    most = max(map(len, members), default=1)
    packed = np.full((len(members), most, 3), NOTHING, np.int64)
    for row, numbers in enumerate(members):
        packed[row, : len(numbers)] = spans[numbers]
    return packed
