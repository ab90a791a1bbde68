"""Where one batch shape ends and the next begins, so that batches hold the fewest positions.

Examples are counted in bins of growing length. A shape takes the examples of consecutive bins, and
its batches are as long as the last of them needs. Rows that do not fill a batch of their shape
share one with their neighbours, so what a boundary costs depends on all others: the search is an
exact one over (boundary, examples left over), which drops what can be no better than the best
solution known.
"""

from typing import NamedTuple

import numpy as np

# Continuations of states that are looked at at once.
_CHUNK = 1 << 20
# States that a first search continues, which is not exact and only bounds the second one.
_BEAM = 256
_FAR = np.int64(1) << 60


class Bins(NamedTuple):
    """What examples cost, by bin.

    Attributes:
      counts: int [B], the examples of each bin, at least one.
      sizes: int [B], positions of one row of a shape that ends with the bin; they only grow.
      rows: int [B], rows of a batch of that shape; they never grow.
    """

    counts: np.ndarray
    sizes: np.ndarray
    rows: np.ndarray


def steps_upwards(counts: np.ndarray, rows: np.ndarray) -> list[int]:
    """Returns the batches of each shape if what does not fill one moves up to the next shape."""
    steps, waiting = [], 0
    for count, row in zip(counts, rows, strict=True):
        full, waiting = divmod(waiting + int(count), int(row))
        steps.append(full)
    steps[-1] += waiting > 0
    return steps


def steps_downwards(counts: np.ndarray, rows: np.ndarray) -> list[int]:
    """Returns the batches of each shape if the last one is filled up from the shapes below."""
    steps, waiting = [], 0
    for count, row in zip(counts[::-1], rows[::-1], strict=True):
        waiting += int(count)
        steps.append(max(-(-waiting // int(row)), 0))
        waiting -= steps[-1] * int(row)
    return steps[::-1]


def best_boundaries(bins: Bins, most: int, downwards: bool = False) -> list[int]:
    """Returns the last bins of at most `most` shapes whose batches have the fewest positions.

    Batches are counted by `steps_upwards`, or `steps_downwards`. Of equally good solutions it is
    one of the fewest shapes.
    """
    search = _Search(bins, downwards)
    fewest = min(most, len(bins.counts))
    search.run(fewest, _BEAM)
    search.run(fewest)
    return search.best


class _Search:
    """Paths over the places between bins, from one end of them to the other.

    A state is a place, the examples left over (upwards: they wait for a larger shape; downwards:
    below zero, those of smaller shapes that are in a batch already) and the positions so far.
    """

    def __init__(self, bins: Bins, downwards: bool):
        self._downwards = downwards
        count = len(bins.counts)
        before = np.concatenate([[0], np.cumsum(bins.counts, dtype=np.int64)])
        sizes, rows = bins.sizes.astype(np.int64), bins.rows.astype(np.int64)
        # A step leads from place i to place j; the shape ends with the bin below the upper one.
        if downwards:
            self._begin, self._end = count, 0
            before, upper = -before, np.arange(count + 1)[:, None] - 1
            # What an example that is not in a batch yet costs at least, by place.
            self._least = np.concatenate([[0], sizes])
        else:
            self._begin, self._end = 0, count
            upper = np.arange(count + 1)[None, :] - 1
            self._least = np.concatenate([sizes, [0]])
        self._counts = before[None, :] - before[:, None]
        self._sizes = np.broadcast_to(sizes[upper], self._counts.shape)
        self._rows = np.broadcast_to(rows[upper], self._counts.shape)
        self._remaining = [np.where(np.arange(count + 1) == self._end, 0, _FAR)]
        self.best: list[int] = []
        self._fewest = int(_FAR)

    def run(self, most: int, beam: int = 0) -> None:
        """Looks for a better solution of at most `most` shapes; of each number `beam` states."""
        self._bound(most)
        places = np.array([self._begin])
        left_over, positions = np.zeros(1, np.int64), np.zeros(1, np.int64)
        history = [(places, np.zeros(1, np.int64))]
        for shapes in range(1, most + 1):
            chunks = len(places) * len(self._counts) // _CHUNK + 1
            found = [
                self._continue(part, places, left_over, positions, history, most - shapes)
                for part in np.array_split(np.arange(len(places)), chunks)
            ]
            parents, *state, bounds = (
                np.concatenate(arrays) for arrays in zip(*found, strict=True)
            )
            places, left_over, positions = state
            # Of states that differ in nothing but their positions the first one wins.
            keys = places * (2 * int(self._rows.max()) + 1) + left_over
            order = np.lexsort((positions, keys))
            chosen = order[np.diff(keys[order], prepend=-1) != 0]
            chosen = chosen[bounds[chosen] < self._fewest]
            if beam:
                chosen = chosen[np.argsort(bounds[chosen], kind="stable")[:beam]]
            if not len(chosen):
                return
            places, left_over, positions = places[chosen], left_over[chosen], positions[chosen]
            history.append((places, parents[chosen]))

    def _bound(self, most: int) -> None:
        """Adds what the rest costs at least from each place, with up to 0, 1, ... `most` shapes.

        As if any number of rows filled a batch.
        """
        allowed = self._counts > 0
        cost = np.where(allowed, self._counts * self._sizes, _FAR)
        while len(self._remaining) <= most:
            longer = np.min(cost + self._remaining[-1][None, :], axis=1)
            self._remaining.append(np.minimum(self._remaining[-1], longer))

    def _continue(self, part, places, left_over, positions, history, shapes_left):
        """Returns where one more shape leads from some states: parents, states, lower bounds."""
        begin = places[part]
        # A wrong direction has no examples.
        row, place = np.nonzero(self._counts[begin] > 0)
        parent = part[row]
        edge = begin[row], place
        rows, total = self._rows[edge], left_over[parent] + self._counts[edge]
        steps = np.maximum(-(-total // rows), 0) if self._downwards else total // rows
        rest = total - steps * rows
        ended = place == self._end
        if not self._downwards:
            steps = steps + (ended & (rest > 0))
        reached = positions[parent] + steps * rows * self._sizes[edge]
        self._complete(np.flatnonzero(ended), parent, reached, history)
        bound = reached + self._remaining[shapes_left][place] + rest * self._least[place]
        kept = ~ended & (bound < self._fewest)
        return parent[kept], place[kept], rest[kept], reached[kept], bound[kept]

    def _complete(self, ended, parent, reached, history) -> None:
        """Takes the best of the solutions that are complete, if it is better than all before."""
        if not len(ended):
            return
        first = ended[np.argmin(reached[ended])]
        if reached[first] >= self._fewest:
            return
        self._fewest = int(reached[first])
        state, path = int(parent[first]), [self._end]
        for places, parents in reversed(history):
            path.append(int(places[state]))
            state = int(parents[state])
        self.best = sorted(place - 1 for place in path if place > 0)
