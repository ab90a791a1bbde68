"""A trace of some updates, which TensorBoard and Perfetto open."""

import logging
import re
from pathlib import Path

import jax

from seqjax.errors import UserError
from seqjax.files import in_bucket
from seqjax.parallel.processes import is_first
from seqjax.stages import say, stage

log = logging.getLogger(__name__)


class Profile:
    """Traces the updates FIRST to LAST of a training into a folder.

    Attributes:
      first, last: updates, counted from 1.
      folder: where the trace is written.
    """

    def __init__(self, text: str, workdir: Path):
        """Reads `FIRST:LAST`.

        Raises:
          UserError: it is something else, or the run directory is in a bucket.
        """
        found = re.fullmatch(r"([0-9]{1,10}):([0-9]{1,10})", text, re.ASCII)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UserError(
                f"--profile={text}: expected FIRST:LAST, the first and the last update to trace,"
                " such as 100:110"
            )
        if in_bucket(workdir):
            raise UserError(f"--profile={text}: expected a --workdir on this machine")
        self._text, self._running = text, False
        self.first, self.last = int(found[1]), int(found[2])
        self.folder = workdir / "profile"

    def check(self, done: int, total: int) -> None:
        """Raises UserError if the training has no such updates after the first `done` ones."""
        if self.first <= done or self.last > total:
            rest = f"updates between {done + 1:,} and {total:,}" if done < total else "none"
            raise UserError(
                f"--profile={self._text}: expected {rest}, since step {done:,} of {total:,} is done"
            )

    def start(self) -> None:
        """Begins the trace; without a folder for it the training goes on untraced."""
        if not is_first():
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(self.folder)
        except (OSError, RuntimeError) as error:
            self._warn(error)
            return
        self._running = True

    def stop(self) -> None:
        """Writes the trace, if one has begun, and prints how to open it."""
        if not self._running:
            return
        self._running = False
        try:
            with stage("writing the profile"):
                jax.profiler.stop_trace()
        except (OSError, RuntimeError) as error:
            self._warn(error)
            return
        say(
            f"profile: {self.folder}; open it with 'tensorboard --logdir={self.folder}' (needs the"
            " package xprof), or its .trace.json.gz in Perfetto"
        )

    def _warn(self, error: Exception) -> None:
        log.warning("%s: not written (%s); training continues", self.folder, error)
