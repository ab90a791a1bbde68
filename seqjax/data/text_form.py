"""The form in which texts are tokenized: Unicode normalization and case."""

import unicodedata
from typing import NamedTuple

NORMALIZATIONS = ("none", "NFC", "NFKC")


class TextForm(NamedTuple):
    """How a text is rewritten before it is tokenized.

    Attributes:
      lowercase: lower-case it.
      normalization: a normalization form of Unicode (Standard Annex #15), 'NFC' or 'NFKC'; 'none'
        leaves texts as they are.
    """

    lowercase: bool = False
    normalization: str = "none"

    def __call__(self, text: str) -> str:
        """Returns the text as it is tokenized."""
        text = self.normalized(text)
        # Some letters have a lower case of two characters.
        return self.normalized(text.lower()) if self.lowercase else text

    def normalized(self, text: str) -> str:
        """Returns the text in its normalization form, in the case that it has."""
        if self.normalization == "none":
            return text
        return unicodedata.normalize(self.normalization, text)
