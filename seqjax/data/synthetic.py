"""The embedded translation corpus: English and German from a synchronous grammar.

It needs no download, and its test score means something: the grammar
(`seqjax.data.grammar`) spans far more sentences than any training split shows, each
source has one reference, and what a split may hold is decided by the sentence itself.
"""

import hashlib

from seqjax.data.grammar.productions import Draw
from seqjax.data.grammar.sentences import LONG_SENTENCE, SENTENCE, Sentence
from seqjax.data.record import Record
from seqjax.errors import UserError, did_you_mean

SPLITS = ("train", "validation", "test", "test_long", "test_composition")

# Goes into the fingerprint, so it must change with any sentence of any split.
_VERSION = 1

# Fewest and most words of a sentence, on either side: of test_long, and of all other splits.
LENGTHS = (3, 18)
LONG_LENGTHS = (22, 40)

_TEST_SIZE = 1000
# Of 256 sentences that the grammar draws, this many belong to validation, and as many to test.
_SHARE = 16


class SyntheticTranslation:
    """English-German sentence pairs; example i is a pure function of the split and i.

    Splits:
        train: `size` examples, a few of them twice.
        validation, test: 1000 examples that occur in no other split.
        test_long: 1000 examples of three or four clauses, longer than any training sentence.
        test_composition: 1000 examples, each with a pair of adjective and noun, or of verb and
            object, that occurs in no other split; all its words do.

    Raises:
        UserError: the split is unknown.
    """

    def __init__(self, split: str, size: int = 100_000):
        if split not in SPLITS:
            raise UserError(
                f"split = {split!r}: expected one of {', '.join(SPLITS)}, which the synthetic"
                f" corpus has{did_you_mean(split, SPLITS)}"
            )
        self._split = split
        self._size = size if split == "train" else _TEST_SIZE
        self._grammar = LONG_SENTENCE if split == "test_long" else SENTENCE
        self.fingerprint = f"synthetic:translation/{split}/version {_VERSION}/{self._size}"

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Record:
        """Returns example `index`, from 0 to `len(self) - 1`; raises IndexError for any other."""
        if not 0 <= index < self._size:
            raise IndexError(f"example {index} of {self._size} in split {self._split}")
        attempt = 0
        while True:
            key = f"{self._split}/{index}/{attempt}".encode()
            draw = Draw(int.from_bytes(hashlib.blake2b(key).digest(), "little"))
            sentence = self._grammar.draw(draw)
            if split_of(sentence) == self._split:
                return {"source": sentence.english, "target": sentence.german}
            attempt += 1


def split_of(sentence: Sentence) -> str | None:
    """Returns the one split that may hold a sentence, or None if none may.

    This is what keeps the splits disjoint: it depends on nothing but the sentence.
    """
    lengths = (sentence.english.count(" ") + 1, sentence.german.count(" ") + 1)
    shortest, longest = min(lengths), max(lengths)
    if longest > LENGTHS[1]:
        is_long = LONG_LENGTHS[0] <= shortest and longest <= LONG_LENGTHS[1]
        return "test_long" if is_long and not sentence.novel else None
    if shortest < LENGTHS[0]:
        return None
    if sentence.novel:
        return "test_composition"
    drawn = hashlib.blake2b(sentence.english.encode(), digest_size=1).digest()[0]
    if drawn < _SHARE:
        return "validation"
    return "test" if drawn < 2 * _SHARE else "train"
