"""A sentence and its translation, and a corpus of them."""

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Pair(NamedTuple):
    """One example: the text that goes in and the text that should come out."""

    source: str
    target: str


def digest(texts: Sequence[str] | Sequence[Sequence[str]]) -> str:
    """Returns 16 hexadecimal digits that are equal if all texts are, and their borders."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


class Corpus(Protocol):
    """Random access to sentence pairs."""

    # Changes whenever the contents change.
    fingerprint: str

    def __len__(self) -> int:
        """Returns the number of pairs."""

    def __getitem__(self, index: int) -> Pair:
        """Returns pair `index`, which is at least 0 and less than the length."""
