"""Plain text as documents: lines, blocks of lines, or whole files.

    line   each line is a document, blank ones, too
    block  documents end with a blank line, or with their file
    file   each file is one document, such as a book, or a stream that is never interrupted

A record is {'text': document}. Between the lines of a document stands '\\n'; the end of a line or
block that is a document itself is not part of it, while a file keeps its last '\\n'.
"""

import hashlib

import ml_collections
import numpy as np

from seqjax.data.corpus_fields import DOCUMENT_KINDS
from seqjax.data.line_files import Lines, paths
from seqjax.data.record import Corpus
from seqjax.data.selection import Selected, no_share, role_of
from seqjax.errors import UserError, did_you_mean


class Documents:
    """Corpus 'text' of plain text: `data.documents` says what a document is.

    `data.files` names one file of each split, or several by `*` in its last part, which are read in
    the order of their names.
    """

    def __init__(self, data: ml_collections.ConfigDict, split: str):
        """Opens and checks the files of a split.

        Raises:
          UserError: a file is missing, empty or not UTF-8, or holds no document.
        """
        if data.documents not in DOCUMENT_KINDS:
            raise UserError(
                f"data.documents = {data.documents!r}: expected one of {', '.join(DOCUMENT_KINDS)}"
                f"{did_you_mean(data.documents, DOCUMENT_KINDS)}"
            )
        self._files = [Lines(path) for path in paths(data, split)]
        parts = [_PARTS[data.documents](lines) for lines in self._files]
        # The documents of file i have numbers from ends[i] to before ends[i + 1].
        self._ends = np.cumsum([0, *map(len, parts)])
        self._parts = np.concatenate(parts)
        if not len(self):
            names = ", ".join(str(lines.path) for lines in self._files)
            raise UserError(f"{names}: only blank lines; expected at least one document")
        self._cut = data.documents != "file"
        state = ("documents", data.documents, [lines.digest for lines in self._files])
        self.fingerprint = hashlib.sha256(repr(state).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> dict[str, str]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        file = int(np.searchsorted(self._ends, index, side="right")) - 1
        text = self._files[file].text(*self._parts[index])
        return {"text": text.removesuffix("\n") if self._cut else text}


def _lines(lines: Lines) -> np.ndarray:
    """Returns the first line and the end of each document, int64 [n, 2]."""
    first = np.arange(len(lines))
    return np.stack([first, first + 1], axis=1)


def _blocks(lines: Lines) -> np.ndarray:
    full = np.concatenate([[0], ~lines.blank(), [0]]).astype(np.int8)
    # +1 where a block begins, -1 after its last line.
    steps = np.diff(full)
    return np.stack([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)], axis=1)


def _whole(lines: Lines) -> np.ndarray:
    return np.array([[0, len(lines)]])


_PARTS = {"line": _lines, "block": _blocks, "file": _whole}


def split_in_order(corpus: Corpus, data: ml_collections.ConfigDict, split: str) -> Corpus:
    """Returns a part of documents that are stored as a whole: `data.split_by` = 'order'.

    The first ones are for training, the next for validation, the last ones the test split. Of n
    there are floor(n (1 - validation - test)) for training and, if there is a test split,
    floor(n validation) for validation, as in nanoGPT and char-rnn. A corpus that is one document is
    divided by its characters.

    Raises:
      UserError: no such split, or one that would be empty.
    """
    role = role_of(data, split)
    text = corpus[0].get("text") if len(corpus) == 1 else None
    count = len(corpus) if text is None else len(text)
    shares = data.validation_share, data.test_share
    # 20 * (1 - 0.05 - 0.05) is a little less than 18.
    train = int(count * (1 - sum(shares)) + 1e-9 * count)
    validation = train + int(count * shares[0] + 1e-9 * count) if shares[1] else count
    begin, end = {
        "train": (0, train),
        "validation": (train, validation if shares[0] else train),
        "test": (validation, count),
    }[role]
    if begin == end:
        if role != "train" and data[f"{role}_share"] == 0:
            raise no_share(data, role)
        what = f"{count} documents" if text is None else f"{count} characters"
        raise UserError(
            f"data.validation_share = {shares[0]}, data.test_share = {shares[1]}: expected shares"
            f" that leave some of {what} for the {role} split"
        )
    name = f"{role}-in-order-{shares}"
    if text is None:
        return Selected(corpus, range(begin, end), name)
    return _Excerpt(text[begin:end], f"{corpus.fingerprint}-{name}")


class _Excerpt:
    """A part of a text as the only document of a corpus."""

    def __init__(self, text: str, fingerprint: str):
        self._text = text
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, str]:
        if index != 0:
            raise IndexError(index)
        return {"text": self._text}
