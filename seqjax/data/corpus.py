"""Sentence pairs by number, wherever they are stored.

`open_corpus` reads the config's `data` part: 'text', 'tsv' and 'jsonl' files,
'tfds:NAME' for any translation data set of TensorFlow Datasets, and
'synthetic:translation', which needs no files at all.
"""

import difflib
from typing import Protocol

import ml_collections

from seqjax.data.line_files import AlignedTexts, JsonLines, TabSeparated
from seqjax.data.pair import Pair
from seqjax.errors import UserError

__all__ = ["Corpus", "Pair", "open_corpus"]

_KINDS = ("synthetic:translation", "text", "tsv", "jsonl", "tfds:NAME")
_FILES = {"text": AlignedTexts, "tsv": TabSeparated, "jsonl": JsonLines}


class Corpus(Protocol):
    """Random access to sentence pairs."""

    # Changes whenever the contents change.
    fingerprint: str

    def __len__(self) -> int:
        """Returns the number of pairs."""

    def __getitem__(self, index: int) -> Pair:
        """Returns pair `index`, which is at least 0 and less than the length."""


def open_corpus(data: ml_collections.ConfigDict, split: str) -> Corpus:
    """Opens one split of the corpus that the config names.

    Args:
      data: the `data` part of the config.
      split: 'train', 'validation' or 'test' for the splits `data` names so, or any other
        split's own name. `data.limit` holds for 'train'.

    Raises:
      UserError: the corpus is unknown, missing or malformed.
    """
    named = {"train": data.train, "validation": data.validation, "test": data.test}
    name = named.get(split, split)
    if data.corpus in _FILES:
        corpus = _FILES[data.corpus](data, name)
    elif data.corpus == "synthetic:translation":
        corpus = _synthetic(data, name)
    elif data.corpus.startswith("tfds:") and data.corpus != "tfds:":
        corpus = TensorFlowDataset(data, name)
    else:
        near = difflib.get_close_matches(data.corpus, _KINDS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UserError(
            f"data.corpus={data.corpus!r} is unknown{hint}; known are {', '.join(_KINDS)}"
        )
    if split == "train" and 0 <= data.limit < len(corpus):
        return _First(corpus, data.limit)
    return corpus


class _First:
    def __init__(self, corpus: Corpus, count: int):
        self._corpus = corpus
        self._count = count
        self.fingerprint = f"{corpus.fingerprint}-first-{count}"

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._corpus[index]


class _Swapped:
    def __init__(self, corpus: Corpus):
        self._corpus = corpus
        self.fingerprint = f"{corpus.fingerprint}-swapped"

    def __len__(self) -> int:
        return len(self._corpus)

    def __getitem__(self, index: int) -> Pair:
        pair = self._corpus[index]
        return Pair(pair.target, pair.source)


def _synthetic(data: ml_collections.ConfigDict, split: str) -> Corpus:
    from seqjax.data.synthetic import SyntheticTranslation

    languages = (data.source, data.target)
    if languages not in (("en", "de"), ("de", "en")):
        raise UserError(
            f"data.source={languages[0]!r}, data.target={languages[1]!r}: synthetic:translation"
            " has 'en' to 'de' and 'de' to 'en'"
        )
    corpus = SyntheticTranslation(split, data.synthetic_size)
    return corpus if languages == ("en", "de") else _Swapped(corpus)


class TensorFlowDataset:
    """Corpus 'tfds:NAME': a data set of TensorFlow Datasets, read without TensorFlow."""

    def __init__(self, data: ml_collections.ConfigDict, split: str):
        raise UserError("soon")
