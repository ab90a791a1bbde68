"""The display of a sweep: a table of running trials on a terminal, plain lines elsewhere."""

import logging
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from seqjax.files import GrowingFile, in_bucket
from seqjax.reporting.terminal import start_live
from seqjax.stages import say

log = logging.getLogger(__name__)

_LOG = "log.txt"
# What the sweep's own lines say, too: how a process begins and fails; and the commands by which a
# run would go on if the sweep did not see to that.
_DOUBLE = re.compile(
    r"seqjax [\w.+]+: (train|evaluate)\b|seqjax: error: |.*; (what comes next:|continue with)$"
    r"|  (.*(launch\.py|-m seqjax) |tensorboard )"
)
# Progress is shown of every trial: without it, a long stage would look like a halt.
_PROGRESS = re.compile(r": .*( so far| left|done in .*)$")


class Line(NamedTuple):
    """A running trial: its phase, its step, and the objective now and at its best."""

    name: str
    phase: str
    step: str
    now: str
    best: str


class Board:
    """Shows events and the running trials on standard error.

    Events are lines. The output of a trial's processes goes to `log.txt` in its folder. Without a
    terminal it is also shown, after the trial's name if several run at a time; a line that another
    trial has printed, such as a warning or the size of the corpus, is not shown again.
    """

    def __init__(self, several: bool, objective: str, stream: TextIO | None = None):
        """Starts the display.

        Args:
          several: whether more than one trial runs at a time.
          objective: the metric that is watched.
          stream: standard error unless given.
        """
        self._several, self._objective = several, objective
        stream = sys.stderr if stream is None else stream
        self._lock = threading.Lock()
        self._logs: dict[Path, GrowingFile] = {}
        self._unkept: set[Path] = set()
        # The trials that printed each line first.
        self._shown: dict[str, Sequence[Path]] = {}
        self._live = start_live(stream)

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._logs.values():
            file.close()
        self._logs.clear()
        if self._live is not None:
            self._live.update("", refresh=True)
            self._live.stop()
            self._live = None

    def say(self, line: str) -> None:
        """Shows an event."""
        if self._live is None:
            say(line)
        else:
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def said(self, folders: Sequence[Path], line: str) -> None:
        """Logs a line from the process of some trials, and shows it if there is no terminal."""
        with self._lock:
            for folder in folders:
                if folder not in self._unkept:
                    self._try_to_keep(folder, f"{line}\n")
            if self._live is None and self._is_news(folders, line):
                others = f" + {len(folders) - 1}" if len(folders) > 1 else ""
                say(f"{folders[0].name}{others}: {line}" if self._several else line)

    def _is_news(self, folders: Sequence[Path], line: str) -> bool:
        if _PROGRESS.search(line):
            return True
        first = self._shown.setdefault(line, folders)
        return first == folders and not _DOUBLE.match(line)

    def _try_to_keep(self, folder: Path, line: str) -> None:
        """Keeps a line; a log that cannot be written costs its lines, not the trial."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._keep(folder, line)
        except OSError as error:
            self._unkept.add(folder)
            log.warning("%s: not written (%s)", folder / _LOG, error.strerror or error)

    def _keep(self, folder: Path, line: str) -> None:
        if in_bucket(folder):
            # It is written as a whole, and again and again.
            if folder not in self._logs:
                self._logs[folder] = GrowingFile(folder / _LOG)
            self._logs[folder].write(line)
            return
        with (folder / _LOG).open("a", encoding="utf-8") as file:
            file.write(line)

    def show(self, title: str, lines: Sequence[Line]) -> None:
        """Shows the running trials, on a terminal."""
        if self._live is None:
            return
        if not lines:
            self._live.update("", refresh=True)
            return
        from rich.table import Table

        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        objective = self._objective.replace("_", " ")
        for head in ("trial", "", "step", f"{objective} now", "best"):
            table.add_column(
                head, no_wrap=True, justify="left" if head in ("trial", "") else "right"
            )
        for line in lines:
            table.add_row(*line)
        self._live.update(table, refresh=True)
