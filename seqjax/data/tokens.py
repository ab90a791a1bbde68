"""A corpus as token ids: tokenized once into memory-mapped arrays, found again by fingerprint.

A cache folder `<data.cache>/<key>` holds one flat array of ids and one of offsets for each side,
the corpus indices of the kept pairs, and the counts. It is written under another name and moved
into place, so that a killed or concurrent writer never leaves a part of one.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import regex
import sentencepiece
from ml_collections import ConfigDict

from seqjax.data.corpus import Corpus
from seqjax.data.selection import DROPPED
from seqjax.data.tokenizer import EOS, PAD, UNK, Tokenizer, Tokenizers
from seqjax.errors import UserError, as_user_error
from seqjax.files import cache_folder
from seqjax.stages import stage

FORMAT = 4  # A cache of another format is never looked at: the format is part of the key.
CHUNK = 10_000  # Pairs tokenized at a time.
SIDES = ("source", "target")
COUNTS = (
    "pairs",
    "kept",
    *DROPPED,
    "empty_dropped",
    "ratio_dropped",
    "long_dropped",
    "long_cut",
    "source_tokens",
    "target_tokens",
    "source_unknown",
    "target_unknown",
)


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

    def padded(self, rows: np.ndarray, width: int) -> np.ndarray:
        """Returns sequences `rows` [B] as int32 [B, width], filled up with PAD; -1 is an empty row.

        Raises ValueError if a sequence is longer than `width`.
        """
        lengths = np.where(rows >= 0, self.lengths[rows], 0)
        if lengths.max(initial=0) > width:
            raise ValueError(f"A sequence of {lengths.max()} tokens does not fit into {width}.")
        columns = np.arange(width)
        inside = columns < lengths[:, None]
        positions = np.where(inside, self.offsets[rows][:, None] + columns, 0)
        return np.where(inside, self.tokens[positions], PAD).astype(np.int32)


class TokenizedCorpus:
    """Sentence pairs as token ids, by row.

    Attributes:
      sources, targets: the ids of both sides.
      indices: int64 [n], each row's index in the corpus it was made from.
      report: counts of pairs, tokens and unknown tokens, and of what was dropped or cut.
      digest: equal if all ids are, whatever files they come from.
    """

    def __init__(
        self,
        sources: Sequences,
        targets: Sequences,
        indices: np.ndarray,
        report: dict[str, int],
        digest: str = "",
    ):
        self.sources = sources
        self.targets = targets
        self.indices = indices
        self.report = report
        self.digest = digest

    @property
    def source_lengths(self) -> np.ndarray:
        return self.sources.lengths

    @property
    def target_lengths(self) -> np.ndarray:
        return self.targets.lengths

    def __len__(self) -> int:
        return len(self.indices)

    def source(self, row: int) -> np.ndarray:
        """Returns the source of a row, int32 [length], EOS included."""
        return self.sources[row]

    def target(self, row: int) -> np.ndarray:
        """Returns the target of a row, int32 [length], EOS included."""
        return self.targets[row]


def tokenize(
    corpus: Corpus, tokenizers: Tokenizers, data: ConfigDict, training: bool
) -> TokenizedCorpus:
    """Returns the tokenized corpus, from the cache if it is there.

    For training, pairs with an empty side are dropped or kept (`data.empty`) and
    pairs over the limits dropped or cut (`data.over_length`), and pairs of uneven lengths dropped
    (`data.max_length_ratio`). Otherwise nothing is dropped: sources that are too long are cut,
    targets never.

    Raises UserError if no pair is left or `data.cache` cannot be written.
    """
    cache = cache_folder(data.cache)
    folder = cache / _key(corpus, tokenizers, data, training)
    found = _read(folder)
    if found is not None:
        return found
    partial = folder.with_name(f"{folder.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with _cache_errors(data):
            partial.mkdir(parents=True)
        _write(partial, corpus, tokenizers, data, training)
        with _cache_errors(data):
            _move_into_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    written = _read(folder)
    if written is None:
        raise RuntimeError(f"The tokenized corpus {folder} was written but can't be read.")
    return written


def _key(corpus: Corpus, tokenizers: Tokenizers, data: ConfigDict, training: bool) -> str:
    # Libraries segment, lower-case and normalize texts by tables of their version.
    versions = [sentencepiece.__version__, regex.__version__, unicodedata.unidata_version]
    parts = [FORMAT, *versions, corpus.fingerprint, tokenizers.fingerprint, training]
    parts.append(data.max_source_length)
    if training:
        parts += [data.max_target_length, data.over_length, data.empty, data.limit]
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


def _read(folder: Path) -> TokenizedCorpus | None:
    """Returns what a cache folder holds, or None if it is absent or damaged."""
    try:
        report = json.loads((folder / "report.json").read_text())
        digest = report.pop("digest")
        indices = np.load(folder / "indices.npy", mmap_mode="r")
        sides = []
        for side in SIDES:
            tokens = np.load(folder / f"{side}.npy", mmap_mode="r")
            offsets = np.load(folder / f"{side}_offsets.npy", mmap_mode="r")
            whole = offsets[-1] == len(tokens) == report[f"{side}_tokens"]
            if not whole or len(offsets) != len(indices) + 1:
                return None
            # A plain array over the same map: indexing np.memmap costs several times more.
            sides.append(Sequences(np.asarray(tokens), np.asarray(offsets)))
        if set(report) != set(COUNTS) or report["kept"] != len(indices):
            return None
        return TokenizedCorpus(*sides, np.asarray(indices), report, digest)
    except (OSError, ValueError, LookupError, TypeError, EOFError):
        return None


def _move_into_place(partial: Path, folder: Path) -> None:
    try:
        os.replace(partial, folder)
        return
    except OSError:
        if not folder.exists():
            raise
    if _read(folder) is not None:
        return  # Another writer was faster; its cache is as good.
    damaged = partial.with_name(f"{partial.name}-damaged")
    os.replace(folder, damaged)
    os.replace(partial, folder)
    shutil.rmtree(damaged, ignore_errors=True)


def _write(
    folder: Path, corpus: Corpus, tokenizers: Tokenizers, data: ConfigDict, training: bool
) -> None:
    report = dict.fromkeys(COUNTS, 0)
    report |= getattr(corpus, "dropped", {})
    report["pairs"] = len(corpus) + sum(report[reason] for reason in DROPPED)
    indices = [np.zeros(0, np.int64)]
    with contextlib.ExitStack() as stack:
        with _cache_errors(data):
            writers = [
                stack.enter_context(_SideWriter(folder, side, tokenizer.vocabulary_size))
                for side, tokenizer in zip(
                    SIDES, (tokenizers.source, tokenizers.target), strict=True
                )
            ]
        advance = stack.enter_context(stage("tokenizing", len(corpus), "pairs"))
        for start in range(0, len(corpus), CHUNK):
            advance(start)
            rows = range(start, min(start + CHUNK, len(corpus)))
            pairs = [corpus[i] for i in rows]
            sources = encode(tokenizers.source, [pair.source for pair in pairs])
            targets = encode(tokenizers.target, [pair.target for pair in pairs])
            blank = np.array([not (p.source.strip() and p.target.strip()) for p in pairs])
            kept, sides = _filter(sources, targets, blank, data, training, report)
            indices.append(np.array(rows, np.int64)[kept])
            with _cache_errors(data):
                for writer, sequences in zip(writers, sides, strict=True):
                    writer.append(sequences)
        for side, writer in zip(SIDES, writers, strict=True):
            with _cache_errors(data):
                writer.finish()
            report[f"{side}_tokens"] = writer.count
            report[f"{side}_unknown"] = writer.unknown
    rows = np.concatenate(indices)
    report["kept"] = len(rows)
    if not len(rows):
        raise UserError(_nothing_left(data, report))
    with _cache_errors(data):
        np.save(folder / "indices.npy", rows)
        digest = "-".join(writer.digest.hexdigest() for writer in writers)
        (folder / "report.json").write_text(json.dumps(report | {"digest": digest}))


def _nothing_left(data: ConfigDict, report: dict[str, int]) -> str:
    if not report["pairs"]:
        return f"data.corpus = {data.corpus!r}: expected at least one pair"
    dropped = {name: n for name, n in report.items() if name.endswith("_dropped") and n}
    counts = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in dropped.items())
    return (
        f"data.corpus = {data.corpus!r}: none of {report['pairs']:,} training pairs is left:"
        f" {counts}; see data.empty, data.max_source_length = {data.max_source_length},"
        f" data.max_target_length = {data.max_target_length} and data.max_length_ratio ="
        f" {data.max_length_ratio}"
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
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    blank: np.ndarray,
    data: ConfigDict,
    training: bool,
    report: dict[str, int],
) -> tuple[np.ndarray, list[list[Sequence[int]]]]:
    """Returns which pairs are kept, bool [n], and their ids on both sides; counts in `report`."""
    source_lengths = np.fromiter(map(len, sources), np.int64, len(sources)) + 1
    target_lengths = np.fromiter(map(len, targets), np.int64, len(targets)) + 1
    long = source_lengths > data.max_source_length
    kept = np.ones(len(sources), bool)
    if training:
        long |= target_lengths > data.max_target_length
        if data.empty == "drop":
            kept &= ~blank
            report["empty_dropped"] += int(blank.sum())
        if data.max_length_ratio:
            shorter = np.minimum(source_lengths, target_lengths)
            longer = np.maximum(source_lengths, target_lengths)
            # Without the end of the sentence; a side without tokens counts as one.
            uneven = kept & (longer - 1 > data.max_length_ratio * np.maximum(shorter - 1, 1))
            kept &= ~uneven
            report["ratio_dropped"] += int(uneven.sum())
        long &= kept
        if data.over_length == "drop":
            kept &= ~long
            report["long_dropped"] += int(long.sum())
    report["long_cut"] += int((long & kept).sum())
    limits = (data.max_source_length - 1, data.max_target_length - 1 if training else None)
    return kept, [
        [side[i][:limit] for i in np.flatnonzero(kept)]
        for side, limit in zip((sources, targets), limits, strict=True)
    ]


class _SideWriter:
    """Appends sequences to the arrays of one side, so that memory holds one chunk of ids."""

    def __init__(self, folder: Path, side: str, vocabulary_size: int):
        self.count = 0
        self.unknown = 0
        self.digest = hashlib.blake2b(digest_size=16)
        self._lengths = [np.zeros(1, np.int64)]
        self._dtype = np.dtype(np.uint16 if vocabulary_size <= 2**16 else np.int32)
        self._offsets_path = folder / f"{side}_offsets.npy"
        self._file = open(folder / f"{side}.npy", "wb")

    def __enter__(self) -> "_SideWriter":
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
