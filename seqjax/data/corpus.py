"""Sentence pairs by number, wherever they are stored.

`open_corpus` reads the config's `data` part: 'text', 'tsv', 'jsonl' and 'pattern' files,
'tfds:NAME' for any translation data set of TensorFlow Datasets, and
'synthetic:translation', which needs no files at all.
"""

import contextlib
import difflib
import hashlib
import importlib
import os
import sys
from typing import Any, Protocol

import ml_collections

from seqjax.data.line_files import AlignedTexts, JsonLines, PatternLines, TabSeparated
from seqjax.data.pair import Pair
from seqjax.errors import UserError
from seqjax.files import expanded

__all__ = ["Corpus", "Pair", "open_corpus"]

_KINDS = ("synthetic:translation", "text", "tsv", "jsonl", "pattern", "tfds:NAME")
_FILES = {
    "text": AlignedTexts,
    "tsv": TabSeparated,
    "jsonl": JsonLines,
    "pattern": PatternLines,
}


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
    """Corpus 'tfds:NAME': a translation data set of TensorFlow Datasets, without TensorFlow.

    It is downloaded and prepared as array_record where it is not yet.
    """

    def __init__(self, data: ml_collections.ConfigDict, split: str):
        # TFDS prints its progress; standard output is for results only.
        with contextlib.redirect_stdout(sys.stderr):
            builder = _prepared_builder(data)
            known = list(builder.info.features)
            for field, name in (("data.source", data.source), ("data.target", data.target)):
                if name not in known:
                    raise UserError(
                        f"{field}={name!r}: {data.corpus} has the features {', '.join(known)}"
                    )
            try:
                self._examples = builder.as_data_source(split)
            except (ValueError, KeyError) as error:
                splits = ", ".join(builder.info.splits)
                raise UserError(
                    f"{data.corpus} has no split {split!r}; there are {splits}"
                ) from error
        self._name = data.corpus
        self._sides = (data.source, data.target)
        self.fingerprint = _tfds_fingerprint(builder, split, len(self), self._sides)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < len(self):
            raise IndexError(index)
        example = self._examples[index]
        return Pair(*(self._text(example[side], side) for side in self._sides))

    def _text(self, value: Any, side: str) -> str:
        if not isinstance(value, str | bytes):
            raise UserError(f"{self._name}: feature {side!r} is no text")
        return value.decode() if isinstance(value, bytes) else value


def _prepared_builder(data: ml_collections.ConfigDict) -> Any:
    # Takes seconds, so only where it is needed.
    import tensorflow_datasets as tfds

    name = data.corpus.removeprefix("tfds:")
    _register(name)
    given = f"data.directory = {data.directory!r}"
    directory = expanded(data.directory, given) or None
    if directory is None and "TFDS_DATA_DIR" not in os.environ:
        # TFDS takes a folder there, and makes one that is called '~' if there is none.
        expanded("~", given)
    try:
        builder = tfds.builder(name, file_format="array_record", data_dir=directory)
    except Exception as error:  # Whatever TFDS raises, the name is what the user can change.
        raise UserError(f"data.corpus={data.corpus!r}: {_first_line(error)}") from error
    try:
        if not builder.is_prepared():
            builder.download_and_prepare()
    except Exception as error:
        remedy = "see that the download's host can be reached"
        if isinstance(error, ImportError):
            remedy = "`pip install seqjax[tensorflow]` brings what TFDS needs for it"
        raise UserError(
            f"data.corpus={data.corpus!r} is not in {builder.data_dir} and could not be prepared:"
            f" {_first_line(error)}; {remedy}, or set data.directory to where it is prepared as"
            " array_record"
        ) from error
    return builder


def _register(name: str) -> None:
    # TFDS finds WMT and a few others only once their module has been imported.
    base = name.split("/")[0].split(":")[0]
    module = f"tensorflow_datasets.translate.{base.removesuffix('_translate')}"
    with contextlib.suppress(ImportError):
        importlib.import_module(module)


def _tfds_fingerprint(builder: Any, split: str, length: int, sides: tuple[str, str]) -> str:
    info = os.path.join(builder.data_dir, "dataset_info.json")
    prepared = os.stat(info).st_mtime_ns if os.path.exists(info) else 0
    state = (builder.info.full_name, str(builder.data_dir), prepared, split, length, sides)
    return hashlib.sha256(repr(state).encode()).hexdigest()[:16]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
