"""A sentence and its translation, the element of every corpus."""

from typing import NamedTuple


class Pair(NamedTuple):
    """One example: the text that goes in and the text that should come out."""

    source: str
    target: str
