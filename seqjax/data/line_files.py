"""Corpora in files of lines: two aligned texts, tab-separated columns, JSON objects, patterns.

The lines of a file are indexed when it is opened and read through a memory map, so that its size
does not matter; `.gz` files and those of a bucket are held in memory. Only '\\n' or '\\r\\n' ends a
line: the other separators of Unicode may stand inside a sentence.
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
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np

from seqjax.data.record import Record
from seqjax.errors import UserError, as_user_error
from seqjax.files import absolute, as_path, expanded, in_bucket
from seqjax.stages import stage

_CHUNK_BYTES = 1 << 22
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHITE_SPACE = np.frombuffer(b" \t\n\r\x0b\x0c", np.uint8)


# How a value that is no string is named.
_JSON_TYPES = {
    dict: "an object",
    list: "an array",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


class Lines:
    """Random access to the lines of one UTF-8 file, checked as a whole when opened.

    Attributes:
      path: the file.
      digest: a hash of its contents. Size and time are not enough: a copy that keeps times may
        replace a file by one of equal size.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._bytes = _contents(path)
        begin = len(_BYTE_ORDER_MARK) if self._bytes[:3] == _BYTE_ORDER_MARK else 0
        if len(self._bytes) == begin:
            raise UserError(f"{path}: the file is empty; expected at least one line")
        # Line i lies between starts[i] and starts[i + 1], its end included.
        self._starts, self.digest = self._index(begin)
        self._check_encoding()

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"line {index + 1} of {len(self)} in {self.path}")
        line = self._bytes[self._starts[index] : self._starts[index + 1]]
        return line.removesuffix(b"\n").removesuffix(b"\r").decode()

    def text(self, first: int, last: int) -> str:
        """Returns lines `first` to before `last` as one text, their ends '\\n'."""
        part = self._bytes[self._starts[first] : self._starts[last]]
        return part.replace(b"\r\n", b"\n").decode()

    def blank(self) -> np.ndarray:
        """Returns which lines hold nothing but white space, bool [n]."""
        found = np.empty(len(self), bool)
        first = 0
        with stage(f"looking for blank lines in {self.path.name}", len(self), "lines") as advance:
            while first < len(self):
                last = self._chunk_end(first)
                begin, end = self._starts[first], self._starts[last]
                visible = ~np.isin(np.frombuffer(self._bytes[begin:end], np.uint8), _WHITE_SPACE)
                starts = self._starts[first:last] - begin
                found[first:last] = ~np.logical_or.reduceat(visible, starts)
                advance(last)
                first = last
        return found

    def _chunk_end(self, first: int) -> int:
        """Returns the end of a chunk that begins with line `first` and cuts no line."""
        last = int(np.searchsorted(self._starts, self._starts[first] + _CHUNK_BYTES))
        return min(max(last, first + 1), len(self))

    def _index(self, begin: int) -> tuple[np.ndarray, str]:
        """Returns where lines start, and the digest of the file."""
        starts, size = [np.array([begin])], len(self._bytes)
        digest = hashlib.blake2b(digest_size=16)
        with stage(f"reading {self.path.name}", size >> 20, "MiB") as advance:
            for first in range(begin, size, _CHUNK_BYTES):
                chunk = self._bytes[first : first + _CHUNK_BYTES]
                digest.update(chunk)
                part = np.frombuffer(chunk, np.uint8)
                starts.append(np.flatnonzero(part == ord("\n")) + (first + 1))
                advance(first >> 20)
        if starts[-1].size == 0 or starts[-1][-1] != size:
            starts.append(np.array([size]))
        return np.concatenate(starts), digest.hexdigest()

    def _check_encoding(self):
        first = 0
        while first < len(self):
            # Whole lines only, so that no character is cut.
            last = self._chunk_end(first)
            begin = self._starts[first]
            try:
                self._bytes[begin : self._starts[last]].decode()
            except UnicodeDecodeError as error:
                line = int(np.searchsorted(self._starts, begin + error.start, side="right"))
                utf16 = self._bytes[:2] in (b"\xff\xfe", b"\xfe\xff")
                hint = "; the file begins like UTF-16" if utf16 else ""
                raise UserError(
                    f"{self.path}:{line}: expected UTF-8 ({error.reason}{hint})"
                ) from error
            first = last


class AlignedTexts:
    """Corpus 'text': line i of one file translates line i of the other."""

    def __init__(self, data: ml_collections.ConfigDict, split: str, roles: Sequence[str]):
        self._source = Lines(_path(data, split=split, language=data.source))
        self._target = Lines(_path(data, split=split, language=data.target))
        if len(self._source) != len(self._target):
            raise UserError(
                f"{self._source.path} has {len(self._source):,} lines, {self._target.path} has"
                f" {len(self._target):,}; expected equal numbers, since line i of one translates"
                " line i of the other (only a line feed ends a line)"
            )
        self.fingerprint = _fingerprint("text", self._source, self._target)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Record:
        return {"source": self._source[index], "target": self._target[index]}


class TabSeparated:
    """Corpus 'tsv': columns named in the first line, or zero-based numbers without such a line."""

    def __init__(self, data: ml_collections.ConfigDict, split: str, roles: Sequence[str]):
        self._lines = Lines(_path(data, split=split))
        self._roles = roles
        names = tuple(data[role] for role in roles)
        numbered = [name.isascii() and name.isdigit() for name in names]
        if all(numbered):
            self._columns = [int(name) for name in names]
            self._first = 0
        elif any(numbered):
            given = ", ".join(f"data.{role} = {data[role]!r}" for role in roles)
            raise UserError(f"{given}: expected two column names or two column numbers")
        else:
            self._columns = [self._column(name) for name in names]
            self._first = 1
        if len(self) == 0:
            raise UserError(
                f"{self._lines.path}: expected at least one line after the column names"
            )
        self.fingerprint = _fingerprint("tsv", self._lines, fields=names)

    def __len__(self) -> int:
        return len(self._lines) - self._first

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        values = self._lines[index + self._first].split("\t")
        for column in self._columns:
            if column >= len(values):
                raise UserError(
                    f"{self._lines.path}:{index + self._first + 1}: no column {column}; expected 0"
                    f" to {len(values) - 1}"
                )
        return dict(zip(self._roles, (values[n] for n in self._columns), strict=True))

    def _column(self, name: str) -> int:
        known = self._lines[0].split("\t")
        if name not in known:
            raise UserError(
                f"{self._lines.path}:1: no column {name!r}; expected one of {_listed(known)}, or"
                " numbers from 0 for a file without column names"
            )
        if known.count(name) > 1:
            raise UserError(
                f"{self._lines.path}:1: {known.count(name)} columns {name!r}; expected one"
            )
        return known.index(name)


class JsonLines:
    """Corpus 'jsonl': one JSON object a line; 'a.b' names field b inside field a."""

    def __init__(self, data: ml_collections.ConfigDict, split: str, roles: Sequence[str]):
        self._lines = Lines(_path(data, split=split))
        self._roles = roles
        self._fields = tuple(data[role] for role in roles)
        self._names = {name for field in self._fields for name in (field, *field.split("."))}
        self.fingerprint = _fingerprint("jsonl", self._lines, fields=self._fields)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> Record:
        place = f"{self._lines.path}:{index + 1}"
        try:
            record = json.loads(self._lines[index], object_pairs_hook=self._object)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{place}: expected a JSON object ({error})") from error
        values = (_field(record, field, place) for field in self._fields)
        return dict(zip(self._roles, values, strict=True))

    def _object(self, items: list[tuple[str, Any]]) -> dict[str, Any]:
        """Returns an object; JSON leaves open which value of a repeated name counts."""
        found = dict(items)
        if len(found) < len(items):
            names = [name for name, _ in items]
            for name in self._names & found.keys():
                if names.count(name) > 1:
                    raise ValueError(f"{name!r} occurs {names.count(name)} times in it")
        return found


class PatternLines:
    """Corpus 'pattern': `data.pattern` matches each line, its named groups are the fields."""

    def __init__(self, data: ml_collections.ConfigDict, split: str, roles: Sequence[str]):
        self._lines = Lines(_path(data, split=split))
        self._pattern = re.compile(data.pattern)
        self._roles = roles
        self._groups = tuple(data[role] for role in roles)
        fields = (data.pattern, *self._groups)
        self.fingerprint = _fingerprint("pattern", self._lines, fields=fields)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> Record:
        line = self._lines[index]
        match = self._pattern.fullmatch(line)
        if not match:
            raise UserError(
                f"{self._lines.path}:{index + 1}: {_shortened(line)}; expected a line that matches"
                f" data.pattern = {self._pattern.pattern!r}"
            )
        # A group in an alternative that was not taken holds nothing.
        values = (match[group] or "" for group in self._groups)
        return dict(zip(self._roles, values, strict=True))


def _shortened(line: str) -> str:
    return repr(line if len(line) <= 60 else f"{line[:57]}...")


def _field(record: object, field: str, place: str) -> str:
    # A name that holds a dot itself goes before a path.
    names = [field] if isinstance(record, dict) and field in record else field.split(".")
    value = record
    for name in names:
        if not isinstance(value, dict):
            raise UserError(f"{place}: no field {field!r}; expected an object that has {name!r}")
        if name not in value:
            raise UserError(f"{place}: no field {field!r}; expected one of {_listed(value)}")
        value = value[name]
    if not isinstance(value, str):
        within = f", such as one of {_listed(value)} in it" if isinstance(value, dict) else ""
        kind = _JSON_TYPES[type(value)]
        raise UserError(f"{place}: field {field!r} is {kind}; expected a string{within}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # JSON may escape half of a pair of surrogates.
        raise UserError(f"{place}: field {field!r}: expected Unicode ({error.reason})") from error
    return value


def require_files(data: ml_collections.ConfigDict, split: str, roles: Sequence[str]) -> None:
    """Raises UserError if a file of a split does not exist; reads none."""
    for role in roles:
        _path(data, split=split, language=data[role])


def paths(data: ml_collections.ConfigDict, split: str) -> list[pathlib.Path]:
    """Returns the files of a split: one, or all that match a name with `*`, by name.

    Raises:
      UserError: there are none.
    """
    path = _named(data, split=split)
    try:
        if "*" not in path.name or path.is_file():
            return [_path(data, split=split)]
        found = [entry for entry in path.parent.iterdir() if entry.is_file()]
    except FileNotFoundError:
        found = []
    except OSError as error:
        reason = f"{path.parent}: {error.strerror}; expected a readable folder"
        raise as_user_error(error, reason) from error
    pattern = re.compile(".*".join(re.escape(part) for part in path.name.split("*")), re.DOTALL)
    matching = [entry for entry in found if pattern.fullmatch(entry.name)]
    if not matching:
        raise UserError(
            f"data.files = {data.files!r}: no file matches {path}; expected at least one"
        )
    return sorted(matching, key=lambda entry: entry.name)


def _named(data: ml_collections.ConfigDict, **fills: str) -> pathlib.Path:
    """Returns the path of a file, whether or not it exists."""
    try:
        name = data.files.format(**fills)
    except (KeyError, IndexError, ValueError) as error:
        accepted = " and ".join(f"{{{fill}}}" for fill in fills)
        example = ".".join(f"{{{fill}}}" for fill in fills)
        if "language" not in fills:
            example += ".txt" if data.corpus in ("pattern", "text") else f".{data.corpus}"
        raise UserError(
            f"data.files = {data.files!r}: expected {accepted} and no other braces, as in"
            f" {example!r}, since data.corpus = {data.corpus!r}"
        ) from error
    folder = as_path(expanded(data.directory, f"data.directory = {data.directory!r}"))
    return absolute(folder / name)


def _path(data: ml_collections.ConfigDict, **fills: str) -> pathlib.Path:
    path = _named(data, **fills)
    try:
        if path.is_file():
            return path
        here = path.parent.is_dir()
    except OSError as error:
        raise as_user_error(error, f"{path}: {error.strerror}; expected a readable file") from error
    if not here:
        unset = re.search(r"\$\{?(\w+)", expanded(data.directory, ""), re.ASCII)
        given = f"data.directory = {data.directory!r}"
        if unset:
            raise UserError(f"{given}: expected ${unset[1]} to be set")
        raise UserError(
            f"{given}, data.files = {data.files!r}: expected a file {path}; there is no folder"
        )
    there = sorted(entry.name for entry in path.parent.iterdir() if entry.is_file())
    similar = difflib.get_close_matches(path.name, there, n=5, cutoff=0.4) or there[:5]
    raise UserError(
        f"data.files = {data.files!r}: expected a file {path}; its folder has"
        f" {_listed(similar) or 'no files'}"
    )


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
        reason = getattr(error, "strerror", None) or error
        raise as_user_error(error, f"{path}: {reason}; expected a readable file") from error


def _fingerprint(kind: str, *files: Lines, fields: tuple[str, ...] = ()) -> str:
    state = (kind, [file.digest for file in files], fields)
    return hashlib.sha256(repr(state).encode()).hexdigest()[:16]


def _listed(names) -> str:
    return ", ".join(repr(name) for name in names)
