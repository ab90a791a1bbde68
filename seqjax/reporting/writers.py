"""Where the numbers of a run go: metrics.jsonl always, TensorBoard and W&B when asked for."""

import json
import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seqjax.errors import UserError
from seqjax.files import GrowingFile, absolute, as_path, in_bucket, replace_file
from seqjax.parallel.processes import is_first
from seqjax.reporting import metrics_log

# What a killed run may lose of its TensorBoard events.
_FLUSH_SECONDS = 5


class MetricWriter:
    """Writes the metrics of a run, and continues where an interrupted run left off.

    `metrics.jsonl` holds one JSON object a line, 'step' first. Numbers that JSON cannot express
    are the strings "nan", "inf" and "-inf", which `float()` reads back. Strings (signatures) go to
    `metrics.jsonl` and W&B only. A run killed right after `write` keeps its line, except in a
    bucket; TensorBoard's events follow within seconds.

    With several processes only the first one writes; the others' writers do nothing.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        reporting: ConfigDict,
        first_step: int,
        run_config: Mapping[str, Any],
    ):
        """Opens the files.

        Args:
          workdir: run directory; it is created if need be.
          reporting: the `reporting` part of the config.
          first_step: updates done so far. What an interrupted run wrote about later steps is
            forgotten, since those steps are run again.
          run_config: the whole config as plain values, shown by W&B.

        Raises:
          UserError: W&B is asked for but not installed.
        """
        self._lines = self._events = self._wandb = None
        if not is_first():
            return
        workdir = as_path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        if reporting.wandb_project:
            self._wandb = _start_wandb(workdir, reporting.wandb_project, run_config)
        path = workdir / metrics_log.FILE
        _forget_later_steps(path, first_step)
        self._lines = GrowingFile(path)
        if reporting.tensorboard:
            self._events = _open_events(workdir / "tensorboard", first_step)

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Writes scalars (Python, NumPy or JAX numbers, or strings) measured after `step` updates.

        Raises:
          ValueError: a value is not a scalar.
        """
        if self._lines is None:
            return
        values = {name: _plain(name, value) for name, value in metrics.items()}
        line = {"step": int(step)} | {name: _json_value(value) for name, value in values.items()}
        self._lines.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        if self._events is not None:
            for name, value in values.items():
                if not isinstance(value, str):
                    self._events.add_scalar(name, value, global_step=int(step))
        if self._wandb is not None:
            self._wandb.log({"step": int(step)} | values)

    def close(self) -> None:
        """Closes everything; may be called twice."""
        if self._lines is not None:
            self._lines.close()
        if self._events is not None:
            self._events.close()
        if self._wandb is not None:
            self._wandb.finish()
        self._lines = self._events = self._wandb = None

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


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


def _forget_later_steps(path: Path, first_step: int) -> None:
    if not path.exists():
        return
    before = path.read_bytes()
    lines = before.splitlines(keepends=True)
    after = b"".join(line.rstrip(b"\r\n") + b"\n" for line in lines if _keeps(line, first_step))
    if after != before:
        replace_file(path, after)


def _keeps(line: bytes, first_step: int) -> bool:
    entry = metrics_log.parse_line(line)
    return entry is not None and entry["step"] <= first_step


def _open_events(directory: Path, first_step: int):
    # Imported here: it takes a third of a second and may be switched off.
    from tensorboardX import SummaryWriter

    # tensorboardX names files by the second, so that a quick restart would overwrite one.
    suffix = f".{len(list(directory.glob('*')))}"
    # TensorBoard hides what it has read from purge_step on.
    return SummaryWriter(
        str(directory),
        purge_step=first_step + 1,
        filename_suffix=suffix,
        flush_secs=_FLUSH_SECONDS,
        max_queue=1000,
    )


def _start_wandb(workdir: Path, project: str, run_config: Mapping[str, Any]):
    try:
        import wandb
    except ImportError as error:
        raise UserError(
            f"reporting.wandb_project = {project!r} needs the package wandb:"
            " pip install 'seqjax[wandb]', or leave it empty"
        ) from error

    id_file = workdir / "wandb_id.txt"
    if not id_file.exists():
        id_file.write_text(uuid.uuid4().hex[:8] + "\n")
    run = wandb.init(
        project=project,
        id=id_file.read_text().strip(),
        resume="allow",
        name=absolute(workdir).name,
        dir=None if in_bucket(workdir) else str(workdir),
        config=dict(run_config),
        # A resumed run may differ in fields such as the duration.
        allow_val_change=True,
    )
    # W&B's own counter cannot go back to the step of a checkpoint; ours is a metric like others.
    run.define_metric("step")
    run.define_metric("*", step_metric="step")
    return run
