"""Random segmentations, the same for the same seed in every process.

SentencePiece samples too, but since 0.2.2 its generator differs from process to
process whatever its seed, and a resumed training would see other segmentations.
Pieces never cross a space, so each word is segmented on its own.
"""

import bisect
import heapq
import itertools
import math
import random
import sys
from collections.abc import Callable, Mapping

from seqjax.data.symbols import UNK

_SPACE = "▁"
# SentencePiece's score of an unknown character is this much less than the least of all pieces.
_UNKNOWN_PENALTY = 10.0
# Lattices are kept for words of so many characters at most, and for so many characters in all:
# about 0.4 KiB each. Words repeat; sentences without spaces are long words that do not.
_KEPT_LENGTH = 32
_KEPT_CHARACTERS = 1 << 17


# For each place in a word the pieces that end there: cumulative weights, and (start, id).
_Lattice = list[tuple[list[float], list[tuple[int, int]]]]


class UnigramSampler:
    """Draws a segmentation x with probability ~ P(x)^alpha (Kudo, 2018, section 3.2)."""

    def __init__(self, scores: Mapping[str, tuple[int, float]], alpha: float):
        """Takes each piece's id and log probability."""
        self._scores = scores
        self._alpha = alpha
        self._longest = max(map(len, scores))
        self._unknown = min(score for _, score in scores.values()) - _UNKNOWN_PENALTY
        self._kept: dict[str, _Lattice] = {}
        self._room = _KEPT_CHARACTERS

    def sample(self, text: str, seed: int) -> list[int]:
        """Returns the ids of a segmentation, a pure function of (text, seed)."""
        uniform = random.Random(seed).random
        ids = []
        for word in _words(text):
            lattice = self._word_lattice(word)
            end, backwards = len(word), []
            while end:
                cumulative, choices = lattice[end]
                start, piece = choices[bisect.bisect(cumulative, uniform() * cumulative[-1])]
                backwards.append(piece)
                end = start
            ids.extend(reversed(backwards))
        return _join_unknown(ids)

    def _word_lattice(self, word: str) -> _Lattice:
        """Returns `_lattice(word)`, from memory if it was asked for lately."""
        lattice = self._kept.get(word)
        if lattice is None:
            lattice = self._lattice(word)
            if len(word) <= _KEPT_LENGTH:
                self._room -= len(word)
                if self._room < 0:
                    # Frequent words are back soon. A new dictionary: other threads read the old.
                    self._kept, self._room = {}, _KEPT_CHARACTERS - len(word)
                self._kept[word] = lattice
        return lattice

    def _lattice(self, word: str) -> _Lattice:
        """Returns the pieces that end at each place: cumulative weights and (start, id)."""
        forward = [0.0]
        lattice = [([], [])]
        for end in range(1, len(word) + 1):
            logits, choices = [], []
            for start in range(max(0, end - self._longest), end):
                piece, score = self._scores.get(word[start:end], (UNK, self._unknown))
                if piece != UNK or start == end - 1:
                    logits.append(forward[start] + self._alpha * score)
                    choices.append((start, piece))
            top = max(logits)
            cumulative = list(itertools.accumulate(math.exp(logit - top) for logit in logits))
            forward.append(top + math.log(cumulative[-1]))
            lattice.append((cumulative, choices))
        return lattice


class BpeDropout:
    """Skips each possible merge with a probability (Provilkov et al., 2020, algorithm 1).

    At each step every pair that can be merged is dropped with probability p, and the best of the
    others is merged; segmentation ends when all are dropped. Dropping is drawn anew at each step,
    as in subword-nmt: a pair that was dropped may be merged at the next one. SentencePiece draws
    once for each pair, never comes back to a dropped one, and so splits more for the same p.

    Each step takes the pair of rank k, P(k) = p^k (1 - p), instead of drawing for every pair: the
    distribution is the same, and n characters take about n log(n) / (1 - p) operations.
    """

    def __init__(self, scores: Mapping[str, tuple[int, float]], probability: float):
        """Takes each piece's id and the score of the merge that makes it, the first the highest."""
        self._scores = scores
        self._log_probability = math.log(probability)

    def sample(self, text: str, seed: int) -> list[int]:
        """Returns the ids of a segmentation, a pure function of (text, seed)."""
        uniform = random.Random(seed).random
        ids = []
        for word in _words(text):
            ids.extend(self._segment(word, uniform))
        return _join_unknown(ids)

    def _segment(self, word: str, uniform: Callable[[], float]) -> list[int]:
        # The piece that begins at each place, '' where none does any more, and its neighbours.
        pieces = list(word)
        before = list(range(-1, len(word) - 1))
        after = list(range(1, len(word) + 1))
        # Pairs that can be merged, the best first, of equal ones the first in the word.
        pairs: list[tuple[float, int, str, str]] = []

        def offer(left: int) -> None:
            right = after[left]
            if right < len(word):
                known = self._scores.get(pieces[left] + pieces[right])
                if known:
                    heapq.heappush(pairs, (-known[1], left, pieces[left], pieces[right]))

        for place in range(len(word) - 1):
            offer(place)
        while True:
            # The logarithm of 0 would be none.
            rank = int(math.log(uniform() or sys.float_info.min) / self._log_probability)
            dropped = []
            while pairs:
                pair = heapq.heappop(pairs)
                left = pair[1]
                right = after[left]
                # Pairs whose pieces were merged with others stay behind.
                if right < len(word) and pair[2:] == (pieces[left], pieces[right]):
                    if len(dropped) == rank:
                        break
                    dropped.append(pair)
            else:
                return [self._scores.get(piece, (UNK,))[0] for piece in pieces if piece]
            for pair in dropped:
                heapq.heappush(pairs, pair)
            pieces[left] += pieces[right]
            pieces[right] = ""
            after[left] = after[right]
            if after[left] < len(word):
                before[after[left]] = left
            if before[left] >= 0:
                offer(before[left])
            offer(left)


def _words(text: str) -> list[str]:
    # As SentencePiece reads it: a space before the first word, and each space opens a word.
    return [_SPACE + word for word in text.replace(" ", _SPACE).split(_SPACE)] if text else []


def _join_unknown(ids: list[int]) -> list[int]:
    # SentencePiece gives one id to a run of unknown characters.
    return [piece for i, piece in enumerate(ids) if piece != UNK or ids[i - 1 : i] != [UNK]]
