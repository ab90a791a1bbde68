"""Corpora in files of lines: two aligned texts, tab-separated columns, JSON objects, patterns.

A file is indexed once by the offsets of its lines and read through a memory map,
so its size does not matter; `.gz` files and those of a bucket are held in memory. Only '\\n' (or
'\\r\\n') ends a line: other separators of Unicode may stand inside a sentence.
"""

import difflib
import gzip
import hashlib
import json
import mmap
import os
import pathlib
import re
import zlib

import ml_collections
import numpy as np

from seqjax.data.pair import Pair
from seqjax.errors import UserError, told
from seqjax.files import absolute, as_path, expanded, in_bucket

_CHUNK_BYTES = 1 << 22
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Lines:
    """Random access to the lines of one UTF-8 file, checked as a whole when opened."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._bytes = _contents(path)
        begin = len(_BYTE_ORDER_MARK) if self._bytes[:3] == _BYTE_ORDER_MARK else 0
        if len(self._bytes) == begin:
            raise UserError(f"{path} is empty")
        # Line i lies between starts[i] and starts[i + 1], its end included.
        self._starts = self._line_starts(begin)
        self._check_encoding()

    @property
    def version(self) -> tuple[int | str, ...]:
        """What changes when the file does: its size and time, in a bucket a digest of it."""
        if in_bucket(self.path):
            return (hashlib.sha256(self._bytes).hexdigest(),)
        state = self.path.stat()
        return state.st_size, state.st_mtime_ns

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"line {index + 1} of {len(self)} in {self.path}")
        line = self._bytes[self._starts[index] : self._starts[index + 1]]
        return line.removesuffix(b"\n").removesuffix(b"\r").decode()

    def _line_starts(self, begin: int) -> np.ndarray:
        starts = [np.array([begin])]
        size = len(self._bytes)
        for chunk in range(begin, size, _CHUNK_BYTES):
            part = np.frombuffer(self._bytes[chunk : chunk + _CHUNK_BYTES], np.uint8)
            starts.append(np.flatnonzero(part == ord("\n")) + (chunk + 1))
        if starts[-1].size == 0 or starts[-1][-1] != size:
            starts.append(np.array([size]))
        return np.concatenate(starts)

    def _check_encoding(self):
        first = 0
        while first < len(self):
            # Whole lines only, so that no character is cut.
            last = int(np.searchsorted(self._starts, self._starts[first] + _CHUNK_BYTES))
            last = min(max(last, first + 1), len(self))
            begin = self._starts[first]
            try:
                self._bytes[begin : self._starts[last]].decode()
            except UnicodeDecodeError as error:
                line = int(np.searchsorted(self._starts, begin + error.start, side="right"))
                raise UserError(
                    f"{self.path} line {line}: not UTF-8 ({error.reason}); convert the file"
                ) from error
            first = last


class AlignedTexts:
    """Corpus 'text': line i of one file translates line i of the other."""

    def __init__(self, data: ml_collections.ConfigDict, split: str):
        self._source = Lines(_path(data, split=split, language=data.source))
        self._target = Lines(_path(data, split=split, language=data.target))
        if len(self._source) != len(self._target):
            raise UserError(
                f"{self._source.path} has {len(self._source)} lines but {self._target.path} has"
                f" {len(self._target)}; both sides need the same number"
            )
        self.fingerprint = _fingerprint("text", self._source, self._target)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Pair:
        return Pair(self._source[index], self._target[index])


class TabSeparated:
    """Corpus 'tsv': columns named in the first line, or zero-based numbers without such a line."""

    def __init__(self, data: ml_collections.ConfigDict, split: str):
        self._lines = Lines(_path(data, split=split))
        names = (data.source, data.target)
        numbered = [name.isascii() and name.isdigit() for name in names]
        if all(numbered):
            self._columns = [int(name) for name in names]
            self._first = 0
        elif any(numbered):
            raise UserError(
                f"data.source={names[0]!r} and data.target={names[1]!r}: give two column names or"
                " two column numbers"
            )
        else:
            self._columns = [self._column(name) for name in names]
            self._first = 1
        if len(self) == 0:
            raise UserError(f"{self._lines.path} has no line after the column names")
        self.fingerprint = _fingerprint("tsv", self._lines, fields=names)

    def __len__(self) -> int:
        return len(self._lines) - self._first

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < len(self):
            raise IndexError(index)
        values = self._lines[index + self._first].split("\t")
        for column in self._columns:
            if column >= len(values):
                raise UserError(
                    f"{self._lines.path} line {index + self._first + 1}: no column {column},"
                    f" only 0 to {len(values) - 1}"
                )
        return Pair(*(values[column] for column in self._columns))

    def _column(self, name: str) -> int:
        known = self._lines[0].split("\t")
        if name not in known:
            raise UserError(
                f"{self._lines.path} line 1: no column {name!r}; there are {_listed(known)}"
                " (zero-based numbers do for a file without column names)"
            )
        return known.index(name)


class JsonLines:
    """Corpus 'jsonl': one JSON object a line; 'a.b' names field b inside field a."""

    def __init__(self, data: ml_collections.ConfigDict, split: str):
        self._lines = Lines(_path(data, split=split))
        self._fields = (data.source, data.target)
        self.fingerprint = _fingerprint("jsonl", self._lines, fields=self._fields)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> Pair:
        place = f"{self._lines.path} line {index + 1}"
        try:
            record = json.loads(self._lines[index])
        except ValueError as error:
            raise UserError(f"{place}: not JSON ({error}); each line must be an object") from error
        return Pair(*(_field(record, field, place) for field in self._fields))


class PatternLines:
    """Corpus 'pattern': `data.pattern` matches each line, its named groups are the sides."""

    def __init__(self, data: ml_collections.ConfigDict, split: str):
        self._lines = Lines(_path(data, split=split))
        self._pattern = re.compile(data.pattern)
        self._groups = (data.source, data.target)
        fields = (data.pattern, *self._groups)
        self.fingerprint = _fingerprint("pattern", self._lines, fields=fields)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> Pair:
        line = self._lines[index]
        match = self._pattern.fullmatch(line)
        if not match:
            raise UserError(
                f"{self._lines.path} line {index + 1}: {_shortened(line)} does not match"
                f" data.pattern={self._pattern.pattern!r}"
            )
        # A group in an alternative that was not taken holds nothing.
        return Pair(*(match[group] or "" for group in self._groups))


def _shortened(line: str) -> str:
    return repr(line if len(line) <= 60 else f"{line[:57]}...")


def _field(record: object, field: str, place: str) -> str:
    # A name that holds a dot itself goes before a path.
    names = [field] if isinstance(record, dict) and field in record else field.split(".")
    value = record
    for name in names:
        if not isinstance(value, dict):
            raise UserError(f"{place}: no field {field!r}: what should hold {name!r} is no object")
        if name not in value:
            raise UserError(f"{place}: no field {field!r}; there are {_listed(value)}")
        value = value[name]
    if not isinstance(value, str):
        within = f"; it holds {_listed(value)}" if isinstance(value, dict) else ""
        raise UserError(f"{place}: field {field!r} is no text{within}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # JSON may escape half of a pair of surrogates.
        raise UserError(f"{place}: field {field!r}: no text of Unicode ({error.reason})") from error
    return value


def _path(data: ml_collections.ConfigDict, **fills: str) -> pathlib.Path:
    try:
        name = data.files.format(**fills)
    except (KeyError, IndexError, ValueError) as error:
        accepted = " and ".join(f"{{{fill}}}" for fill in fills)
        example = ".".join(f"{{{fill}}}" for fill in fills)
        if "language" not in fills:
            example += ".txt" if data.corpus == "pattern" else f".{data.corpus}"
        raise UserError(
            f"data.files={data.files!r}: corpus {data.corpus!r} fills in {accepted} only,"
            f" as in {example!r}"
        ) from error
    folder = as_path(expanded(data.directory, f"data.directory = {data.directory!r}"))
    path = absolute(folder / name)
    if path.is_file():
        return path
    if not path.parent.is_dir():
        unset = re.search(r"\$\{?(\w+)", str(folder), re.ASCII)
        if unset:
            raise UserError(f"data.directory={data.directory}: ${unset[1]} is not set")
        raise UserError(
            f"{path} does not exist, nor does its folder; set data.directory and data.files"
        )
    there = sorted(entry.name for entry in path.parent.iterdir() if entry.is_file())
    similar = difflib.get_close_matches(path.name, there, n=5, cutoff=0.4) or there[:5]
    raise UserError(f"{path} does not exist; its folder has {_listed(similar) or 'no files'}")


def _contents(path: pathlib.Path) -> mmap.mmap | bytes:
    try:
        if in_bucket(path):
            content = path.read_bytes()
            return gzip.decompress(content) if path.suffix == ".gz" else content
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, EOFError, zlib.error) as error:
        raise told(error, f"{path} cannot be read: {error}") from error


def _fingerprint(kind: str, *files: Lines, fields: tuple[str, ...] = ()) -> str:
    states = [(str(file.path), *file.version) for file in files]
    return hashlib.sha256(repr((kind, states, fields)).encode()).hexdigest()[:16]


def _listed(names) -> str:
    return ", ".join(repr(name) for name in names)
