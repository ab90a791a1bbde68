"""The embedded corpus of a language model: the English sentences of the embedded translations."""

from seqjax.data.record import Record
from seqjax.data.synthetic import SyntheticTranslation


class SyntheticSentences:
    """Corpus 'synthetic:sentences': each document is a sentence of a grammar.

    It needs no download. Splits and sizes are those of `SyntheticTranslation`, which keeps each
    English sentence in one split; 'test_long' has longer sentences than any other, and each of
    'test_composition' has a pair of words that occurs together in no other.

    Raises:
        UserError: the split is unknown.
    """

    def __init__(self, split: str, size: int = 100_000):
        self._translations = SyntheticTranslation(split, size)
        given = self._translations.fingerprint
        self.fingerprint = given.replace("synthetic:translation", "synthetic:sentences")

    def __len__(self) -> int:
        return len(self._translations)

    def __getitem__(self, index: int) -> Record:
        """Returns document `index`; raises IndexError for one out of range."""
        return {"text": self._translations[index]["source"]}
