"""What a corpus holds: records, each a mapping from the names of its fields to what stands in them.

A corpus yields the fields that its task asks for: 'source' and 'target' for translation, 'text' for
a language model.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Record = Mapping[str, Any]


def digest(texts: Sequence[str] | Sequence[Sequence[str]]) -> str:
    """Returns 16 hexadecimal digits that are equal if all texts are, and their borders."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


class Corpus(Protocol):
    """Random access to records."""

    # Changes whenever the contents change.
    fingerprint: str

    def __len__(self) -> int:
        """Returns the number of records."""

    def __getitem__(self, index: int) -> Record:
        """Returns record `index`, which is at least 0 and less than the length."""
