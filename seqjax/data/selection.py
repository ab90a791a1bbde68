"""Some pairs of a corpus: one file divided into splits, and filters of training pairs."""

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from seqjax.data.record import Corpus, Record
from seqjax.errors import UserError, did_you_mean
from seqjax.stages import say, stage

SPLITS = ("train", "validation", "test")
# What filters count, in the order in which they are tried.
DROPPED = ("identical_dropped", "duplicates_dropped", "overlap_dropped")


class Selected:
    """The pairs `indices` of another corpus.

    Attributes:
      fingerprint: changes whenever the contents change.
      dropped: counts of the pairs that filters left out, by reason.
    """

    def __init__(
        self,
        corpus: Corpus,
        indices: Sequence[int] | np.ndarray,
        selection: str,
        dropped: dict[str, int] | None = None,
    ):
        self._corpus = corpus
        self._indices = indices
        self.fingerprint = f"{corpus.fingerprint}-{selection}"
        self.dropped = dropped or {}

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._corpus[int(self._indices[index])]


class _Division(NamedTuple):
    """How a corpus is divided."""

    by: str
    seed: int
    validation: float
    test: float


def select_split(corpus: Corpus, data: ConfigDict, split: str) -> Selected:
    """Returns one split of a corpus that is stored as a whole.

    Pairs are ordered by a hash of (`data.split_seed`, line number or source). The first ones are
    the validation split, the next ones the test split, the others are for training; each split is
    in the order of the corpus. With `data.split_by` = 'source' pairs with the same source fall into
    the same split, which may get a few more than its share.

    Raises:
      UserError: no such split, or one without pairs.
    """
    role = role_of(data, split)
    division = _Division(data.split_by, data.split_seed, data.validation_share, data.test_share)
    indices = _divide(_ByContents(corpus), division)[role]
    if not len(indices):
        raise no_share(data, role)
    return Selected(corpus, indices, f"{role}-of-{tuple(division)}")


def role_of(data: ConfigDict, split: str) -> str:
    """Returns which of `SPLITS` a split is, by this or its own name.

    Raises:
      UserError: it is none of them.
    """
    names = dict(zip((data.train, data.validation, data.test), SPLITS, strict=True))
    role = split if split in SPLITS else names.get(split)
    if role is None:
        raise UserError(
            f"split = {split!r}: expected one of {', '.join(SPLITS)}, since data.split_by ="
            f" {data.split_by!r} divides {data.files!r}{did_you_mean(split, SPLITS)}"
        )
    return role


def no_share(data: ConfigDict, role: str) -> UserError:
    """Returns the exception to raise for a split without a share."""
    return UserError(
        f"data.{role}_share = {data[f'{role}_share']}: expected more than 0, so that there is a"
        f" {role} split"
    )


class _ByContents(NamedTuple):
    """A corpus as a key."""

    corpus: Corpus

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByContents) and hash(self) == hash(other)

    def __hash__(self) -> int:
        return hash(self.corpus.fingerprint)


# All splits are opened one after the other.
@functools.lru_cache(maxsize=1)
def _divide(key: _ByContents, division: _Division) -> dict[str, np.ndarray]:
    corpus, count = key.corpus, len(key.corpus)
    if division.by == "source":
        salt = division.seed.to_bytes(8, "little")
        keys = _hashes(corpus, "dividing the pairs by source", lambda pair: pair["source"], salt)
    else:
        keys = np.random.Philox(np.random.SeedSequence(division.seed)).random_raw(count)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]

    def end(begin: int, share: float) -> int:
        """Returns where a split ends: after the last pair with the key that its share ends in."""
        last = begin + max(1, round(share * count)) - 1
        if share == 0 or begin == count:
            return begin
        return int(np.searchsorted(ordered, ordered[min(last, count - 1)], side="right"))

    validation = end(0, division.validation)
    test = end(validation, division.test)
    if test == count:
        raise UserError(
            f"data.validation_share = {division.validation}, data.test_share = {division.test}:"
            f" expected shares that leave some of {count} pairs to train on"
        )
    parts = np.split(order, [validation, test])
    splits = dict(zip(("validation", "test", "train"), map(np.sort, parts), strict=True))
    sizes = ", ".join(f"{name} {len(splits[name]):,}" for name in SPLITS)
    say(f"data: {count:,} pairs divided by {division.by}, seed {division.seed}: {sizes}")
    return splits


def filtered(corpus: Corpus, data: ConfigDict, held_out: Sequence[Corpus]) -> Corpus:
    """Returns the training pairs that the filters of `data` keep, with counts of what they drop.

    `data.drop_identical` drops pairs whose sides are equal, `data.drop_duplicates` those that
    occurred before, `data.drop_overlap` those whose source occurs in one of `held_out`. Texts are
    equal if all their characters are.
    """
    fields = ("drop_identical", "drop_duplicates", "drop_overlap")
    if not any(data[field] for field in fields):
        return corpus
    count, what = len(corpus), "looking for {} among the training pairs"
    left = np.ones(count, bool)
    dropped = {}

    def drop(reason: str, found: np.ndarray) -> None:
        nonlocal left
        dropped[reason] = int((left & found).sum())
        left &= ~found

    if data.drop_identical:
        equal = (_is_identical(pair) for pair in _read(corpus, what.format("equal sides")))
        drop("identical_dropped", np.fromiter(equal, bool, count))
    if data.drop_duplicates:
        keys = _hashes(corpus, what.format("duplicates"), _whole)
        again = np.ones(count, bool)
        again[np.unique(keys, return_index=True)[1]] = False
        drop("duplicates_dropped", again)
    if data.drop_overlap:
        keys = _hashes(corpus, what.format("held-out sources"), lambda pair: pair["source"])
        others = [
            _hashes(other, "reading a held-out split", lambda pair: pair["source"])
            for other in held_out
        ]
        drop("overlap_dropped", np.isin(keys, np.concatenate(others)))
    if not left.any():
        given = ", ".join(f"data.{field} = True" for field in fields if data[field])
        counts = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in dropped.items())
        raise UserError(f"{given}: expected some of {count:,} training pairs to be left ({counts})")
    prints = [other.fingerprint for other in held_out] if data.drop_overlap else []
    selection = repr(([field for field in fields if data[field]], prints))
    return Selected(corpus, np.flatnonzero(left), selection, dropped)


def _is_identical(pair: Record) -> bool:
    # Pairs with an empty side are counted apart.
    return pair["source"] == pair["target"] and bool(pair["source"].strip())


def _whole(record: Record) -> str:
    fields = list(record.values())
    return " ".join([*(str(len(text)) for text in fields[:-1]), "".join(fields)])


def _read(corpus: Corpus, doing: str) -> Iterator[Record]:
    with stage(doing, len(corpus), "pairs") as advance:
        for index in range(len(corpus)):
            advance(index)
            yield corpus[index]


def _hashes(
    corpus: Corpus, doing: str, text: Callable[[Record], str], salt: bytes = b""
) -> np.ndarray:
    """Returns a hash of a text of each pair, uint64 [n]; two of a corpus hardly ever collide."""
    digests = (
        hashlib.blake2b(text(pair).encode(), digest_size=8, key=salt).digest()
        for pair in _read(corpus, doing)
    )
    return np.frombuffer(b"".join(digests), "<u8")
