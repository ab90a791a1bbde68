"""Lines of a stream in batches: as many as there are when input pauses."""

import os
import queue
import threading
import time
from collections import deque
from typing import TextIO

from seqjax.errors import UserError

# Seconds without input after which what has come is a batch, and that a batch may take to come
# from a slow but steady stream.
QUIET = 0.1
LONGEST = 1.0
# Bytes read at a time, and how many such blocks may wait: memory stays bounded on any file.
_BLOCK = 1 << 16
_WAITING = 64


class LineInput:
    """Reads UTF-8 lines of a text stream's file in a thread; only a line feed ends a line.

    A byte order mark at the start and a carriage return before a line feed are not part of a line.
    """

    def __init__(self, stream: TextIO | None, name: str = "standard input"):
        """Begins to read.

        Raises:
          UserError: the stream is closed.
        """
        if stream is None or stream.closed:
            raise UserError(f"{name}: expected one sentence a line; it is closed")
        self._name = name
        self._blocks: queue.Queue[bytes | Exception] = queue.Queue(_WAITING)
        self._lines: deque[bytes] = deque()
        self._begun: list[bytes] = []
        self._ended = False
        self._error: Exception | None = None
        self._taken = 0
        # A daemon: it may be waiting for input that never comes when the program leaves.
        threading.Thread(target=self._read, args=(stream,), daemon=True, name=name).start()

    def take(self, most: int, patience: float) -> list[str] | None:
        """Returns up to `most` lines, in order.

        It returns when there are `most`, when nothing has come for `QUIET` seconds, or `LONGEST`
        seconds after the first; without a line within `patience` seconds, an empty list; at the end
        of the stream, None.

        Raises:
          UserError: a line is not UTF-8.
          Exception: what reading the stream raised, once all lines before it are taken.
        """
        if not self._lines:
            self._wait(time.monotonic() + patience)
        if not self._lines:
            if self._error:
                raise self._error
            return None if self._ended else []
        latest = time.monotonic() + LONGEST
        while len(self._lines) < most and self._wait(min(latest, time.monotonic() + QUIET)):
            pass
        return [self._decoded() for _ in range(min(most, len(self._lines)))]

    def _wait(self, until: float) -> bool:
        """Returns whether lines have come before the time, or the stream, is over."""
        before = len(self._lines)
        while len(self._lines) == before and not self._ended:
            try:
                block = self._blocks.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if isinstance(block, Exception):
                self._error, block = block, b""
            self._ended = not block
            first, *others = block.split(b"\n")
            self._begun.append(first)
            for line in others:
                self._lines.append(b"".join(self._begun))
                self._begun = [line]
            if self._ended and any(self._begun):
                self._lines.append(b"".join(self._begun))
        return len(self._lines) > before

    def _decoded(self) -> str:
        line = self._lines.popleft()
        self._taken += 1
        try:
            text = line.decode("utf-8-sig" if self._taken == 1 else "utf-8")
        except UnicodeDecodeError as error:
            where = f"{self._name}:{self._taken}"
            raise UserError(f"{where}: expected UTF-8 ({error.reason})") from error
        return text.removesuffix("\r")

    def _read(self, stream: TextIO) -> None:
        try:
            number = _number(stream)
            while True:
                block = stream.buffer.read1(_BLOCK) if number is None else os.read(number, _BLOCK)
                self._blocks.put(block)
                if not block:
                    return
        except Exception as error:  # Without it, `take` would wait for ever.
            self._blocks.put(error)


def _number(stream: TextIO) -> int | None:
    """Returns the stream's file descriptor: a buffered stream keeps its lock while it waits."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None
