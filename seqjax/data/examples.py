"""A corpus as token ids: tokenized once into memory-mapped arrays, found again by fingerprint.

A cache folder `<data.cache>/<key>` holds one flat array of ids and one of offsets for each feature,
the corpus indices of the kept records, and the counts. It is written under another name and moved
into place, so that a killed or concurrent writer never leaves a part of one.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import regex
import sentencepiece
from ml_collections import ConfigDict

from seqjax.data.record import Corpus
from seqjax.data.selection import DROPPED
from seqjax.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer, Tokenizers
from seqjax.errors import UserError, as_user_error
from seqjax.files import cache_folder
from seqjax.stages import stage

FORMAT = 4  # A cache of another format is never looked at: the format is part of the key.
CHUNK = 10_000  # Records tokenized at a time.
# What is counted besides the records, and the tokens and unknown tokens of each feature.
_KEPT = ("kept", *DROPPED, "empty_dropped", "ratio_dropped", "long_dropped", "long_cut")


class Feature(NamedTuple):
    """Tokens of one field of a record.

    Attributes:
      name: of the field and of the feature.
      longest: most tokens, EOS included; 0 for any number.
      always: whether this holds in evaluation, too, where longer ones are cut.
    """

    name: str
    longest: int = 0
    always: bool = False


class Sequences:
    """Many sequences of token ids, each ending in EOS, in one flat array.

    Attributes:
      tokens: flat ids, uint16 or int32, usually memory-mapped.
      offsets: int64 [n + 1], where each sequence begins, and the end of the last.
      lengths: int32 [n], EOS included.
    """

    def __init__(self, tokens: np.ndarray, offsets: np.ndarray):
        self.tokens = tokens
        self.offsets = offsets
        self.lengths = np.diff(offsets).astype(np.int32)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> np.ndarray:
        """Returns one sequence, int32 [length]."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]].astype(np.int32)

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "Sequences":
        """Returns rows of ids as sequences."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        tokens = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum()))
        return cls(tokens, np.concatenate([[0], np.cumsum(lengths)]))

    def gathered(self, spans: np.ndarray, width: int) -> np.ndarray:
        """Returns spans as int32 [B, width], filled up with PAD.

        Args:
          spans: int [B, 3], see `seqjax.data.plan.PlannedBatch`. A span may run on into the
            sequences that follow.
          width: positions of a row.

        Raises:
          ValueError: a span is longer than `width`.
        """
        rows, begin, end = spans.T
        end = np.where(end < 0, self.lengths[rows], end)
        counts = np.where(rows >= 0, end - begin, 0)
        if counts.max(initial=0) > width:
            raise ValueError(f"A sequence of {counts.max()} tokens does not fit into {width}.")
        columns = np.arange(width)
        inside = columns < counts[:, None]
        places = np.where(inside, (self.offsets[rows] + begin)[:, None] + columns, 0)
        batch = np.where(inside, self.tokens[np.maximum(places, 0)], PAD).astype(np.int32)
        batch[(begin < 0) & (rows >= 0), 0] = BOS
        return batch

    def packed(self, spans: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns tokens, positions and segments, int32 [B, width], of rows of several spans.

        The spans of a row follow each other. Positions count from 0 within each; segments are
        numbered from 1, and PAD, after the last, has segment and position 0.

        Args:
          spans: int [B, P, 3], see `seqjax.data.plan.PlannedBatch`; every end is given.
          width: positions of a row.

        Raises:
          ValueError: the spans of a row are longer than `width`.
        """
        counts = np.where(spans[..., 0] >= 0, spans[..., 2] - spans[..., 1], 0)
        if counts.sum(axis=1).max(initial=0) > width:
            longest = counts.sum(axis=1).max()
            raise ValueError(f"Sequences of {longest} tokens do not fit into {width}.")
        example, begin, _ = spans.reshape(-1, 3).T
        span = np.repeat(np.arange(counts.size), counts.ravel())
        place = np.arange(len(span)) - np.repeat(np.cumsum(counts) - counts.ravel(), counts.ravel())
        row = span // spans.shape[1]
        column = (np.cumsum(counts, axis=1) - counts).ravel()[span] + place
        found = np.maximum(self.offsets[example[span]] + begin[span] + place, 0)
        tokens, position, segment = (np.zeros((len(spans), width), np.int32) for _ in range(3))
        tokens[row, column] = np.where(begin[span] + place < 0, BOS, self.tokens[found])
        position[row, column] = place
        segment[row, column] = span % spans.shape[1] + 1
        return tokens, position, segment


class Examples:
    """Records as token ids, by row.

    Attributes:
      features: the ids of each feature, by name.
      indices: int64 [n], each row's index in the corpus it was made from.
      report: counts of records, tokens and unknown tokens, and of what was dropped or cut.
      digest: equal if all ids are, whatever files they come from.
    """

    def __init__(
        self,
        features: Mapping[str, Sequences],
        indices: np.ndarray,
        report: dict[str, int],
        digest: str = "",
    ):
        self.features = dict(features)
        self.indices = indices
        self.report = report
        self.digest = digest

    @property
    def lengths(self) -> dict[str, np.ndarray]:
        """Tokens of each row, EOS included, int32 [n], by feature."""
        return {name: sequences.lengths for name, sequences in self.features.items()}

    def __len__(self) -> int:
        return len(self.indices)


def tokenize(
    corpus: Corpus,
    tokenizers: Tokenizers,
    data: ConfigDict,
    features: Sequence[Feature],
    training: bool,
    unit: str = "pairs",
) -> Examples:
    """Returns the tokenized corpus, from the cache if it is there.

    For training, records with an empty field are dropped or kept (`data.empty`), those over the
    limits dropped or cut (`data.over_length`), and those of uneven lengths dropped
    (`data.max_length_ratio`). Otherwise nothing is dropped, and only the features that are
    `always` limited are cut.

    Args:
      corpus: what is tokenized.
      tokenizers: that of each feature.
      data: the `data` part of the config.
      features: which fields, and their limits.
      training: see above.
      unit: what a record is called.

    Raises:
      UserError: no record is left, or `data.cache` cannot be written.
    """
    cache = cache_folder(data.cache)
    counts = _Counts(unit, tuple(feature.name for feature in features))
    folder = cache / _key(corpus, tokenizers, data, features, training)
    found = _read(folder, counts)
    if found is not None:
        return found
    partial = folder.with_name(f"{folder.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with _cache_errors(data):
            partial.mkdir(parents=True)
        _write(partial, corpus, tokenizers, data, features, training, counts)
        with _cache_errors(data):
            _move_into_place(partial, folder, counts)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    written = _read(folder, counts)
    if written is None:
        raise RuntimeError(f"The tokenized corpus {folder} was written but can't be read.")
    return written


class _Counts(NamedTuple):
    """What is counted of records of a unit, and of their features."""

    unit: str
    features: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        tokens = [f"{name}_{what}" for what in ("tokens", "unknown") for name in self.features]
        return (self.unit, *_KEPT, *tokens)


def _key(
    corpus: Corpus,
    tokenizers: Tokenizers,
    data: ConfigDict,
    features: Sequence[Feature],
    training: bool,
) -> str:
    # Libraries segment, lower-case and normalize texts by tables of their version.
    versions = [sentencepiece.__version__, regex.__version__, unicodedata.unidata_version]
    parts = [FORMAT, *versions, corpus.fingerprint, tokenizers.fingerprint, training]
    parts += [feature.longest for feature in features if feature.always or training]
    if training:
        parts += [data.over_length, data.empty, data.limit]
        parts.append(data.max_length_ratio)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@contextlib.contextmanager
def _cache_errors(data: ConfigDict) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise as_user_error(
            error,
            f"data.cache = {data.cache!r}: expected a folder that can be written, with room for the"
            f" tokenized corpus ({error.strerror})",
        ) from error


def _read(folder: Path, counts: _Counts) -> Examples | None:
    """Returns what a cache folder holds, or None if it is absent or damaged."""
    try:
        report = json.loads((folder / "report.json").read_text())
        digest = report.pop("digest")
        indices = np.load(folder / "indices.npy", mmap_mode="r")
        features = {}
        for name in counts.features:
            tokens = np.load(folder / f"{name}.npy", mmap_mode="r")
            offsets = np.load(folder / f"{name}_offsets.npy", mmap_mode="r")
            whole = offsets[-1] == len(tokens) == report[f"{name}_tokens"]
            if not whole or len(offsets) != len(indices) + 1:
                return None
            # A plain array over the same map: indexing np.memmap costs several times more.
            features[name] = Sequences(np.asarray(tokens), np.asarray(offsets))
        if set(report) != set(counts.names) or report["kept"] != len(indices):
            return None
        return Examples(features, np.asarray(indices), report, digest)
    except (OSError, ValueError, LookupError, TypeError, EOFError):
        return None


def _move_into_place(partial: Path, folder: Path, counts: _Counts) -> None:
    try:
        os.replace(partial, folder)
        return
    except OSError:
        if not folder.exists():
            raise
    if _read(folder, counts) is not None:
        return  # Another writer was faster; its cache is as good.
    damaged = partial.with_name(f"{partial.name}-damaged")
    os.replace(folder, damaged)
    os.replace(partial, folder)
    shutil.rmtree(damaged, ignore_errors=True)


def _write(
    folder: Path,
    corpus: Corpus,
    tokenizers: Tokenizers,
    data: ConfigDict,
    features: Sequence[Feature],
    training: bool,
    counts: _Counts,
) -> None:
    report = dict.fromkeys(counts.names, 0)
    report |= getattr(corpus, "dropped", {})
    report[counts.unit] = len(corpus) + sum(report[reason] for reason in DROPPED)
    indices = [np.zeros(0, np.int64)]
    with contextlib.ExitStack() as stack:
        with _cache_errors(data):
            writers = {
                name: stack.enter_context(
                    _FeatureWriter(folder, name, tokenizers[name].vocabulary_size)
                )
                for name in counts.features
            }
        advance = stack.enter_context(stage("tokenizing", len(corpus), counts.unit))
        for start in range(0, len(corpus), CHUNK):
            advance(start)
            rows = range(start, min(start + CHUNK, len(corpus)))
            records = [corpus[i] for i in rows]
            ids = {
                name: encode(tokenizers[name], [record[name] for record in records])
                for name in counts.features
            }
            blank = np.array([not all(r[name].strip() for name in ids) for r in records])
            kept, ids = _filter(ids, blank, data, features, training, report)
            indices.append(np.array(rows, np.int64)[kept])
            with _cache_errors(data):
                for name, sequences in ids.items():
                    writers[name].append(sequences)
        for name, writer in writers.items():
            with _cache_errors(data):
                writer.finish()
            report[f"{name}_tokens"] = writer.count
            report[f"{name}_unknown"] = writer.unknown
    rows = np.concatenate(indices)
    report["kept"] = len(rows)
    if not len(rows):
        raise UserError(_nothing_left(data, features, report, counts.unit))
    with _cache_errors(data):
        np.save(folder / "indices.npy", rows)
        digest = "-".join(writer.digest.hexdigest() for writer in writers.values())
        (folder / "report.json").write_text(json.dumps(report | {"digest": digest}))


def _nothing_left(
    data: ConfigDict, features: Sequence[Feature], report: dict[str, int], unit: str
) -> str:
    one = unit.removesuffix("s")
    if not report[unit]:
        return f"data.corpus = {data.corpus!r}: expected at least one {one}"
    dropped = {name: n for name, n in report.items() if name.endswith("_dropped") and n}
    counts = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in dropped.items())
    longest = [
        f"data.max_{feature.name}_length = {feature.longest}"
        for feature in features
        if feature.longest
    ]
    fields = ["data.empty", *longest, f"data.max_length_ratio = {data.max_length_ratio}"]
    return (
        f"data.corpus = {data.corpus!r}: none of {report[unit]:,} training {unit} is left:"
        f" {counts}; see {', '.join(fields[:-1])} and {fields[-1]}"
    )


def unless_blank(text: str) -> str:
    """Returns the text; one of blanks is an empty one, whatever a tokenizer makes of blanks."""
    return text if text.strip() else ""


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Sequence[Sequence[int]]:
    """Turns texts into ids without EOS."""
    texts = [unless_blank(text) for text in texts]
    if hasattr(tokenizer, "encode_batch"):
        return tokenizer.encode_batch(texts)
    return [tokenizer.encode(text) for text in texts]


def _filter(
    ids: Mapping[str, Sequence[Sequence[int]]],
    blank: np.ndarray,
    data: ConfigDict,
    features: Sequence[Feature],
    training: bool,
    report: dict[str, int],
) -> tuple[np.ndarray, dict[str, list[Sequence[int]]]]:
    """Returns which records are kept, bool [n], and their ids by feature; counts in `report`."""
    lengths = {name: np.fromiter(map(len, each), np.int64) + 1 for name, each in ids.items()}
    limits = {f.name: f.longest for f in features if f.longest and (training or f.always)}
    long = np.zeros(len(blank), bool)
    for name, longest in limits.items():
        long |= lengths[name] > longest
    kept = np.ones(len(blank), bool)
    if training:
        if data.empty == "drop":
            kept &= ~blank
            report["empty_dropped"] += int(blank.sum())
        if data.max_length_ratio and len(lengths) > 1:
            sizes = np.array(list(lengths.values()))
            # Without the end of the sentence; a side without tokens counts as one.
            shorter = np.maximum(sizes.min(axis=0) - 1, 1)
            uneven = kept & (sizes.max(axis=0) - 1 > data.max_length_ratio * shorter)
            kept &= ~uneven
            report["ratio_dropped"] += int(uneven.sum())
        long &= kept
        if data.over_length == "drop":
            kept &= ~long
            report["long_dropped"] += int(long.sum())
    report["long_cut"] += int((long & kept).sum())
    return kept, {
        name: [
            each[i][: limits[name] - 1 if name in limits else None] for i in np.flatnonzero(kept)
        ]
        for name, each in ids.items()
    }


class _FeatureWriter:
    """Appends sequences to the arrays of one feature, so that memory holds one chunk of ids."""

    def __init__(self, folder: Path, name: str, vocabulary_size: int):
        self.count = 0
        self.unknown = 0
        self.digest = hashlib.blake2b(digest_size=16)
        self._lengths = [np.zeros(1, np.int64)]
        self._dtype = np.dtype(np.uint16 if vocabulary_size <= 2**16 else np.int32)
        self._offsets_path = folder / f"{name}_offsets.npy"
        self._file = open(folder / f"{name}.npy", "wb")

    def __enter__(self) -> "_FeatureWriter":
        self._write_header()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._file.close()

    def finish(self) -> None:
        """Writes what is known at the end."""
        # NumPy leaves room in the header for the length to grow in place.
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        np.save(self._offsets_path, np.cumsum(np.concatenate(self._lengths)))

    def append(self, sequences: list[Sequence[int]]) -> None:
        lengths = np.fromiter(map(len, sequences), np.int64, len(sequences)) + 1
        ids = chain.from_iterable(chain(sequence, (EOS,)) for sequence in sequences)
        flat = np.fromiter(ids, self._dtype, int(lengths.sum()))
        self._file.write(flat.tobytes())
        # Each sequence ends in EOS, which no text has: the lengths need not be added.
        self.digest.update(flat.tobytes())
        self._lengths.append(lengths)
        self.count += len(flat)
        self.unknown += int((flat == UNK).sum())

    def _write_header(self) -> None:
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.count,)}
        np.lib.format.write_array_header_1_0(self._file, header)
