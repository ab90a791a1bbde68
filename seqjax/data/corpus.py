"""Records by number, wherever they are stored.

`open_corpus` reads the config's `data` part: 'text', 'tsv', 'jsonl' and 'pattern' files,
'tfds:NAME' for any translation data set of TensorFlow Datasets, and
'synthetic:translation' and 'synthetic:sentences', which need no files at all.
"""

import contextlib
import hashlib
import importlib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import ml_collections

from seqjax.data.corpus_fields import CORPORA
from seqjax.data.documents import Documents, split_in_order
from seqjax.data.line_files import (
    AlignedTexts,
    JsonLines,
    PatternLines,
    TabSeparated,
    paths,
    require_files,
)
from seqjax.data.record import Corpus, Record
from seqjax.data.selection import SPLITS, Selected, filtered, select_split
from seqjax.data.synthetic_sentences import SyntheticSentences
from seqjax.errors import UserError, did_you_mean
from seqjax.files import as_path, expanded, in_bucket
from seqjax.stages import stage

__all__ = ["Corpus", "Record", "open_corpus"]

_CHUNK_BYTES = 1 << 20
_KINDS = (*CORPORA, "tfds:NAME")
_FILES = {
    "text": AlignedTexts,
    "tsv": TabSeparated,
    "jsonl": JsonLines,
    "pattern": PatternLines,
}


def open_corpus(
    data: ml_collections.ConfigDict, split: str, roles: Sequence[str] = ("source", "target")
) -> Corpus:
    """Opens one split of the corpus that the config names.

    Args:
      data: the `data` part of the config.
      roles: the fields that each record shall have; `data` says how the corpus names them.
      split: 'train', 'validation' or 'test' for the splits `data` names so, or any other
        split's own name. `data.limit` and the filters `data.drop_...` hold for 'train'.

    Raises:
      UserError: the corpus is unknown, missing or malformed.
    """
    corpus = _split(data, split, roles)
    if split != "train":
        return corpus
    if 0 <= data.limit < len(corpus):
        corpus = Selected(corpus, range(data.limit), f"first-{data.limit}")
    held_out = []
    if data.drop_overlap:
        held_out = [_split(data, name, roles) for name in SPLITS if name != "train"]
    return filtered(corpus, data, held_out)


def look_for(data: ml_collections.ConfigDict, splits: Iterable[str], roles: Sequence[str]) -> None:
    """Looks whether a corpus has these splits; reads their files, but filters nothing.

    Raises:
      UserError: see `open_corpus`.
    """
    for split in splits:
        _split(data, split, roles)


def has_split(data: ml_collections.ConfigDict, split: str, roles: Sequence[str]) -> bool:
    """Returns whether a corpus seems to have a split, by the names of its files; reads none."""
    named = {"train": data.train, "validation": data.validation, "test": data.test}
    name = named.get(split, split)
    try:
        if data.corpus in _FILES and data.split_by:
            role = split if split in SPLITS else {n: s for s, n in named.items()}[split]
            return role == "train" or data[f"{role}_share"] > 0
        if data.corpus == "text" and len(roles) == 1:
            paths(data, name)
        elif data.corpus in _FILES:
            require_files(data, name, roles)
        elif data.corpus.startswith("tfds:"):
            return re.split(r"[\[+]", name)[0] in _prepared_builder(data).info.splits
    except Exception:  # Libraries of buckets and of data sets raise what they like.
        return False
    return True


def _split(data: ml_collections.ConfigDict, split: str, roles: Sequence[str]) -> Corpus:
    named = {"train": data.train, "validation": data.validation, "test": data.test}
    name = named.get(split, split)
    if data.corpus in _FILES:
        if not data.split_by and "{split" not in data.files:
            # Whatever split was asked for, it would be the same file.
            raise UserError(
                f"data.files = {data.files!r}: expected a file name with {{split}}, or"
                " data.split_by = 'line', 'source' or 'order' to divide one file"
            )
        if data.corpus == "text" and len(roles) == 1:
            corpus = Documents(data, name)
        else:
            corpus = _FILES[data.corpus](data, name, roles)
        if data.split_by == "order":
            return split_in_order(corpus, data, split)
        return select_split(corpus, data, split) if data.split_by else corpus
    if data.corpus == "synthetic:translation":
        return _synthetic(data, name)
    if data.corpus == "synthetic:sentences":
        return SyntheticSentences(name, data.synthetic_size)
    if data.corpus.startswith("tfds:") and data.corpus != "tfds:":
        return TensorFlowDataset(data, name, roles)
    hint = did_you_mean(data.corpus, _KINDS)
    raise UserError(f"data.corpus = {data.corpus!r}: expected one of {', '.join(_KINDS)}{hint}")


class _Swapped:
    def __init__(self, corpus: Corpus):
        self._corpus = corpus
        self.fingerprint = f"{corpus.fingerprint}-swapped"

    def __len__(self) -> int:
        return len(self._corpus)

    def __getitem__(self, index: int) -> Record:
        record = self._corpus[index]
        return {"source": record["target"], "target": record["source"]}


def _synthetic(data: ml_collections.ConfigDict, split: str) -> Corpus:
    from seqjax.data.synthetic import SyntheticTranslation

    languages = (data.source, data.target)
    if languages not in (("en", "de"), ("de", "en")):
        raise UserError(
            f"data.source = {languages[0]!r}, data.target = {languages[1]!r}: expected 'en' to 'de'"
            " or 'de' to 'en', which data.corpus = 'synthetic:translation' has"
        )
    corpus = SyntheticTranslation(split, data.synthetic_size)
    return corpus if languages == ("en", "de") else _Swapped(corpus)


class TensorFlowDataset:
    """Corpus 'tfds:NAME': a text data set of TensorFlow Datasets, without TensorFlow.

    It is downloaded and prepared as array_record unless it is already.
    """

    def __init__(self, data: ml_collections.ConfigDict, split: str, roles: Sequence[str]):
        # TFDS prints its progress; standard output is for results only.
        with contextlib.redirect_stdout(sys.stderr):
            builder = _prepared_builder(data)
            known = list(builder.info.features)
            for role in roles:
                name = data[role]
                if name not in known:
                    raise UserError(
                        f"data.{role} = {name!r}: expected one of {', '.join(known)}, the"
                        f" features of {data.corpus}{did_you_mean(name, known)}"
                    )
            try:
                self._examples = builder.as_data_source(split)
            except (ValueError, KeyError) as error:
                splits = ", ".join(builder.info.splits)
                raise UserError(
                    f"split = {split!r}: expected one of {splits}, or a part such as 'train[:90%]',"
                    f" which {data.corpus} has"
                ) from error
        self._name = data.corpus
        self._features = {role: data[role] for role in roles}
        names = tuple(self._features.values())
        self.fingerprint = _tfds_fingerprint(builder, split, len(self), names)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        example = self._examples[index]
        return {role: self._text(example[name], name) for role, name in self._features.items()}

    def _text(self, value: Any, name: str) -> str:
        if not isinstance(value, str | bytes):
            kind = type(value).__name__
            raise UserError(f"{self._name}: feature {name!r} is {kind}; expected a string")
        return value.decode() if isinstance(value, bytes) else value


def _prepared_builder(data: ml_collections.ConfigDict) -> Any:
    # The import takes seconds.
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
        raise UserError(
            f"data.corpus = {data.corpus!r}: expected a data set of TFDS ({_first_line(error)})"
        ) from error
    try:
        if not builder.is_prepared():
            with stage(f"downloading and preparing {name}"):
                builder.download_and_prepare()
    except Exception as error:
        remedy = "check that the host of the download can be reached"
        if isinstance(error, ImportError):
            remedy = "TFDS needs an extra package for it: pip install 'seqjax[tensorflow]'"
        raise UserError(
            f"data.corpus = {data.corpus!r}: expected it in {builder.data_dir}, since it can't be"
            f" prepared ({_first_line(error)}); {remedy}, or set data.directory to a folder that"
            " holds it prepared as array_record"
        ) from error
    return builder


def _register(name: str) -> None:
    # TFDS finds WMT and a few others only once their module has been imported.
    base = name.split("/")[0].split(":")[0]
    module = f"tensorflow_datasets.translate.{base.removesuffix('_translate')}"
    with contextlib.suppress(ImportError):
        importlib.import_module(module)


def _tfds_fingerprint(builder: Any, split: str, length: int, names: tuple[str, ...]) -> str:
    """Returns a hash of what a split is made from: the files themselves, if they are here."""
    digest = hashlib.blake2b(repr((builder.info.full_name, split, length, names)).encode())
    files = sorted(os.fspath(name) for name in _split_files(builder, split))
    with stage(f"reading {builder.info.full_name}", len(files), "files") as advance:
        for count, name in enumerate(files):
            path = as_path(name)
            if not path.is_file():
                continue
            digest.update(path.name.encode())
            if in_bucket(path):
                # Too slow to read twice.
                state = path.stat()
                digest.update(repr((state.length, state.mtime)).encode())
            else:
                with path.open("rb") as file:
                    while chunk := file.read(_CHUNK_BYTES):
                        digest.update(chunk)
            advance(count + 1)
    return digest.hexdigest()[:16]


def _split_files(builder: Any, split: str) -> list[Any]:
    # What reads the split knows its name already.
    with contextlib.suppress(ValueError, KeyError, AttributeError):
        return builder.info.splits[split].filepaths
    return []


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
