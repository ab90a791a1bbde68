"""Random segmentations, the same for the same seed in every process.

SentencePiece samples too, but since 0.2.2 its generator differs from process to
process whatever its seed, and a resumed training would see other segmentations.
Pieces never cross a space, so each word is segmented on its own.
"""

import bisect
import functools
import itertools
import math
import random
from collections.abc import Mapping

from seqjax.data.symbols import UNK

_SPACE = "▁"
# SentencePiece's score of an unknown character: so much less than that of any piece.
_UNKNOWN_PENALTY = 10.0


class UnigramSampler:
    """Draws a segmentation x with probability ~ P(x)^alpha (Kudo, 2018, section 3.2)."""

    def __init__(self, scores: Mapping[str, tuple[int, float]], alpha: float):
        """Takes each piece's id and log probability."""
        self._scores = scores
        self._alpha = alpha
        self._longest = max(map(len, scores))
        self._unknown = min(score for _, score in scores.values()) - _UNKNOWN_PENALTY
        self._word_lattice = functools.lru_cache(maxsize=1 << 16)(self._lattice)

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

    def _lattice(self, word: str) -> list[tuple[list[float], list[tuple[int, int]]]]:
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

    A merge that was skipped may be made at the next step. SentencePiece never comes back to it
    and so splits more for the same probability.
    """

    def __init__(self, scores: Mapping[str, tuple[int, float]], probability: float):
        """Takes each piece's id and the score of the merge that makes it, the first the highest."""
        self._scores = scores
        self._probability = probability

    def sample(self, text: str, seed: int) -> list[int]:
        """Returns the ids of a segmentation, a pure function of (text, seed)."""
        uniform = random.Random(seed).random
        ids = []
        for word in _words(text):
            ids.extend(self._segment(word, uniform))
        return _join_unknown(ids)

    def _segment(self, word, uniform) -> list[int]:
        pieces = list(word)
        while True:
            best, place = -math.inf, -1
            for i, (left, right) in enumerate(itertools.pairwise(pieces)):
                merged = self._scores.get(left + right)
                if merged and uniform() >= self._probability and merged[1] > best:
                    best, place = merged[1], i
            if place < 0:
                return [self._scores.get(piece, (UNK,))[0] for piece in pieces]
            pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]


def _words(text: str) -> list[str]:
    # As SentencePiece reads it: a space before the first word, and each space opens a word.
    return [_SPACE + word for word in text.replace(" ", _SPACE).split(_SPACE)] if text else []


def _join_unknown(ids: list[int]) -> list[int]:
    # SentencePiece gives one id to a run of unknown characters.
    return [piece for i, piece in enumerate(ids) if piece != UNK or ids[i - 1 : i] != [UNK]]
