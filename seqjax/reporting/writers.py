"""Metrics of a run: `metrics.jsonl` always, TensorBoard and Weights & Biases if asked for.

`tensorboard --logdir=RUN` shows the curves, the config (HPARAMS) and sample outputs (TEXT) of a
run, `tensorboard --logdir=FOLDER` compares the runs in a folder.
"""

import contextlib
import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seqjax.errors import as_user_error
from seqjax.fields import flatten
from seqjax.files import GrowingFile, as_path, rewrite_file
from seqjax.parallel.processes import is_first
from seqjax.reporting import metrics_log
from seqjax.reporting.event_files import EventFile
from seqjax.reporting.weights_and_biases import WandbRun, require_wandb

log = logging.getLogger(__name__)


class MetricWriter:
    """Writes the metrics of a run, and continues where an interrupted run left off.

    `metrics.jsonl` holds one JSON object a line, 'step' first. Numbers that JSON cannot express
    are the strings "nan", "inf" and "-inf", which `float()` reads back. Strings (signatures) go to
    `metrics.jsonl` and W&B only. A run killed right after `write` keeps its line, except in a
    bucket.

    TensorBoard and W&B are extras: if one fails, that is one warning, and training continues
    without it. `metrics.jsonl` is the record: if it fails, training is to save and stop.

    With several processes only the first one writes; the others' writers do nothing.

    Attributes:
      failure: why `metrics.jsonl` cannot be written, None if it can.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        reporting: ConfigDict,
        first_step: int,
        run_config: Mapping[str, Any],
        unwritten: str = "",
    ):
        """Opens the files.

        Args:
          workdir: run directory; it is created if need be.
          reporting: the `reporting` part of the config.
          first_step: updates done so far. What an interrupted run wrote about later steps is
            removed, since those steps are run again.
          run_config: the whole config as plain values, shown by W&B.
          unwritten: lines that an earlier session could not write.

        Raises:
          UserError: W&B is asked for and not installed.
        """
        self.failure: Exception | None = None
        self._unwritten: list[str] = []
        self._lines: GrowingFile | None = None
        self._extras: dict[str, EventFile | WandbRun] = {}
        if not is_first():
            return
        workdir = as_path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        self._path = workdir / metrics_log.FILE
        kept = _forget_later_steps(self._path, first_step)
        self._lines = GrowingFile(self._path)
        for line in unwritten.splitlines(keepends=True):
            # It may have been written after all, when the file was closed.
            if line.encode() not in kept:
                self._add(line)
        if reporting.tensorboard:
            folder = workdir / "tensorboard"
            self._open(f"{folder}", lambda: _events(folder, first_step, run_config))
        if project := reporting.wandb_project:
            require_wandb(project)
            self._open("Weights & Biases", lambda: WandbRun(workdir, project, run_config))

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Writes scalars (Python, NumPy or JAX numbers, or strings) measured after `step` updates.

        Raises:
          ValueError: a value is not a scalar.
        """
        if self._lines is None:
            return
        values = {name: _plain(name, value) for name, value in metrics.items()}
        line = {"step": int(step)} | {name: _json_value(value) for name, value in values.items()}
        self._add(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        self._try(lambda extra: extra.write(int(step), values))

    def text(self, step: int, name: str, text: str) -> None:
        """Shows a text, such as sample outputs, in TensorBoard (as Markdown) and W&B.

        It is no metric: `metrics.jsonl` does not have it.
        """
        self._try(lambda extra: extra.text(int(step), name, text))

    @property
    def unwritten(self) -> str:
        """The lines that could not be written; the next session is to be given them."""
        return "".join(self._unwritten)

    def check(self) -> None:
        """Raises UserError (`Unavailable` if it may pass) if `metrics.jsonl` cannot be written."""
        if self.failure is not None:
            reason = getattr(self.failure, "strerror", None) or self.failure
            message = f"{self._path}: {reason}; what it lacks is kept with the saved step"
            raise as_user_error(self.failure, message) from self.failure

    def close(self) -> None:
        """Closes everything; may be called twice."""
        self._try(lambda extra: extra.close())
        self._extras = {}
        lines, self._lines = self._lines, None
        if lines is not None:
            try:
                lines.close()
            except Exception:
                # Known already, and written in the next session.
                if self.failure is None:
                    raise

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _add(self, line: str) -> None:
        """Writes a line; once that has failed, keeps it."""
        if self.failure is None:
            try:
                self._lines.write(line)
                return
            # Not only OSError: the packages for buckets have exceptions of their own.
            except Exception as error:
                self.failure = error
        self._unwritten.append(line)

    def _open(self, name: str, make: Callable[[], "EventFile | WandbRun"]) -> None:
        try:
            self._extras[name] = make()
        except Exception as error:
            _warn(name, error)

    def _try(self, do: Callable[["EventFile | WandbRun"], None]) -> None:
        """Does something with each extra; one that fails is left out from then on."""
        for name, extra in list(self._extras.items()):
            try:
                do(extra)
            except Exception as error:
                _warn(name, error)
                del self._extras[name]
                with contextlib.suppress(Exception):
                    extra.close()


def _events(folder: Path, first_step: int, run_config: Mapping[str, Any]) -> EventFile:
    """Opens an event file and writes the config into it."""
    events = EventFile(folder, first_step)
    metrics = run_config.get("evaluation", {}).get("metrics", ())
    names = [f"validation/{name}" for name in ("loss", "accuracy", *metrics)]
    events.hyperparameters(flatten(ConfigDict(run_config)), names)
    return events


def _warn(name: str, error: Exception) -> None:
    reason = getattr(error, "strerror", None) or error or type(error).__name__
    log.warning(
        "%s: %s; training continues without it, %s has every metric", name, reason, metrics_log.FILE
    )


def _plain(name: str, value: Any) -> int | float | str:
    if hasattr(value, "item"):
        if value.size != 1:
            raise ValueError(f"metric {name!r} is not a scalar: its shape is {value.shape}")
        value = value.item()
    if not isinstance(value, int | float | str):
        raise ValueError(f"metric {name!r} is not a scalar: {value!r}")
    return value


def _json_value(value: int | float | str) -> int | float | str:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _forget_later_steps(path: Path, first_step: int) -> set[bytes]:
    """Removes the lines of steps after `first_step` and broken ones; returns those that stay."""
    if not path.exists():
        return set()
    before = path.read_bytes()
    lines = before.splitlines(keepends=True)
    kept = [line.rstrip(b"\r\n") + b"\n" for line in lines if _keeps(line, first_step)]
    rewrite_file(path, before, b"".join(kept))
    return set(kept)


def _keeps(line: bytes, first_step: int) -> bool:
    entry = metrics_log.parse_line(line)
    return entry is not None and entry["step"] <= first_step
