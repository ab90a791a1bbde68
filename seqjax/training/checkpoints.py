"""Checkpoints of a run: written in the background, the newest and the best kept."""

import contextlib
import functools
import json
import logging
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import ml_collections
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from seqjax.errors import Unavailable, UserError, passes, told
from seqjax.evaluation.metrics import best_is_higher
from seqjax.files import absolute, in_bucket, replace_file, run_path
from seqjax.parallel.processes import barrier, is_first
from seqjax.training.state import TrainState

log = logging.getLogger(__name__)


class Checkpoints:
    """The folder `checkpoints/` of a run, one subfolder for each saved step.

    A checkpoint has the items `params`, `optimizer`, `clock` (what the loop must remember besides
    arrays, as JSON) and, where a moving average is kept, `average`. Evaluation reads the last, or
    else the first.
    """

    def __init__(
        self, workdir: str | Path, config: ml_collections.ConfigDict, read_only: bool = False
    ):
        """Opens the folder; with `read_only`, while a training may be writing to it.

        Raises:
          UserError: the folder does not exist and must not be made.
        """
        self.directory = absolute(run_path(workdir)) / "checkpoints"
        self.metric = config.best_metric
        # The step whose state a training goes on from.
        self._restored = -1
        self.sign = 1.0 if best_is_higher(self.metric) else -1.0
        _hush_late_reads()
        if read_only and not self.directory.is_dir():
            raise UserError(f"no checkpoint in {self.directory}: train first")
        if is_first():
            _forget_unreadable_metrics(self.directory, read_only)
        barrier("unreadable metrics are set aside")
        policy = preservation_policy.AnyPreservationPolicy(
            [
                preservation_policy.LatestN(config.keep_latest),
                preservation_policy.BestN(
                    get_metric_fn=self._rank,
                    n=config.keep_best,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        self.manager = ocp.CheckpointManager(
            self.directory,
            item_names=("params", "optimizer", "average", "clock"),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=self._rank,
                create=not read_only,
                # What looks abandoned may be a checkpoint that is being written.
                cleanup_tmp_directories=not read_only,
            ),
        )

    def _rank(self, metrics: dict) -> float:
        value = metrics.get(self.metric, math.nan)
        return -math.inf if math.isnan(value) else self.sign * value

    def save(self, state: TrainState, clock: dict, metrics: dict[str, float] | None) -> None:
        """Saves in the background, with the metrics of an evaluation at the same step, if any.

        The step that was restored gets them and the clock as they are: it may be the only one, and
        its arrays are not written again. Of any other, what was saved before goes.

        Raises:
          Unavailable: the disk is full, or the network is away; also raised by what comes later.
        """
        step = int(state.step)
        if step == self._restored:
            self._complete(step, clock, metrics)
            return
        arrays = {name: ocp.args.StandardSave(tree) for name, tree in _arrays(state).items()}
        with self._told():
            if step in self.steps():
                self.manager.delete(step)
            self.manager.save(
                step,
                args=ocp.args.Composite(clock=ocp.args.JsonSave(clock), **arrays),
                metrics=metrics,
                force=True,
            )

    def _complete(self, step: int, clock: dict, metrics: dict[str, float] | None) -> None:
        """Adds metrics to a checkpoint, and then the clock that knows of them."""
        if is_first():
            folder = self.directory / str(step)
            if metrics and (in_bucket(folder) or (folder / "metrics").exists()):
                replace_file(folder / "metrics" / "metrics", json.dumps(metrics))
            elif metrics:
                # Whole in one move: Orbax reads what the folder has once there is one.
                partial = folder / f"partial-{time.time_ns()}"
                partial.mkdir()
                replace_file(partial / "metrics", json.dumps(metrics))
                partial.rename(folder / "metrics")
            replace_file(folder / "clock" / "metadata", json.dumps(clock))
        barrier("a checkpoint is complete")
        self.manager.reload()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Raises what a disk or a network raises as what may be tried again, where it may."""
        try:
            yield
        except Exception as error:
            if passes(_underlying(error)):
                message = f"{self.directory}: the checkpoint can't be saved now: {_line(error)}"
                raise Unavailable(message) from error
            raise

    def restore(self, like: TrainState, last: int | None = None) -> tuple[TrainState, dict] | None:
        """Returns the newest state and clock that can be read whole, or None.

        With `last`, none of a later step is looked at. `like` gives structure, shapes and
        shardings. A damaged checkpoint is set aside with a warning that names it, where an older
        one can be read.

        Raises:
          UserError: there are checkpoints, but none can be read, or the disk or the memory fails
            (`Unavailable`, where that may pass): a training is not begun anew for that, nor is a
            checkpoint set aside.
        """
        damaged: list[tuple[int, str]] = []
        for step in reversed(self.steps()):
            if last is not None and step > last:
                continue
            try:
                restored = self.manager.restore(
                    step,
                    args=ocp.args.Composite(
                        clock=ocp.args.JsonRestore(),
                        **{
                            name: ocp.args.StandardRestore(_abstract(tree))
                            for name, tree in _arrays(like).items()
                        },
                    ),
                )
            except Exception as error:  # Orbax raises whatever its storage raised.
                if not _is_damage(error):
                    message = f"checkpoint {self._name(step)} can't be read now: {_line(error)}"
                    raise told(_underlying(error), message) from error
                damaged.append((step, _line(error)))
                continue
            self._set_aside(damaged)
            self._restored = step
            number = jax.device_put(jax.numpy.asarray(step, like.step.dtype), like.step.sharding)
            arrays = {name: restored[name] for name in _arrays(like)}
            return TrainState(number, **arrays), restored.clock
        if damaged:
            raise UserError(
                f"none of the checkpoints {self._steps()} in {self.directory} can be read"
                f" ({damaged[0][1]}): restore them, or start anew with another --workdir"
            )
        return None

    def _set_aside(self, damaged: list[tuple[int, str]]) -> None:
        """Renames checkpoints: the run comes by their steps again and must be able to save."""
        if not damaged:
            return
        if is_first():
            for step, reason in damaged:
                log.warning("skipping damaged checkpoint %s: %s", self._name(step), reason)
                folder = self.directory / str(step)
                folder.rename(folder.with_name(f"damaged-{step}-{time.time_ns()}"))
        barrier("damaged checkpoints are set aside")
        self.manager.reload()

    def restore_params(
        self, which: str, average: int, like: Any, item: str = "params"
    ) -> tuple[Any, int]:
        """Returns parameters and their step.

        Args:
          which: 'best', 'latest' or a step number.
          average: how many checkpoints to average, the chosen one and those before it.
          like: structure, shapes and shardings of the parameters.
          item: 'params', or 'average' for their moving average.

        Raises:
          UserError: there is no such checkpoint, or too few to average, or it can't be read.
        """
        steps = self.chosen(which, average)
        total = None
        for s in steps:
            try:
                params = self.manager.restore(
                    s, args=ocp.args.Composite(**{item: ocp.args.StandardRestore(_abstract(like))})
                )[item]
            except Exception as error:
                others = self._steps(but=s)
                choose = f"choose another with --config.decode.checkpoint, among {others}"
                raise told(
                    _underlying(error),
                    f"checkpoint {self._name(s)} can't be read: {_line(error)};"
                    f" {choose if others else 'there is no other'}",
                ) from error
            total = params if total is None else jax.tree.map(jax.numpy.add, total, params)
        return jax.tree.map(lambda x: x / len(steps), total), steps[-1]

    def chosen(self, which: str, average: int) -> list[int]:
        """Returns the steps that `restore_params` averages, oldest first.

        Raises:
          UserError: there is no such checkpoint, or there are too few to average.
        """
        step = self._find(which)
        steps = [s for s in self.steps() if s <= step][-average:]
        if len(steps) < average:
            raise UserError(
                f"decode.average is {average}, but {self.directory} keeps {len(steps)} checkpoints"
                f" up to step {step}: lower it, or train with a larger checkpoint.keep_latest"
            )
        return steps

    def metrics(self, step: int) -> dict[str, float]:
        """Returns the validation metrics saved with a step, none if it was not evaluated."""
        return dict(self.manager.metrics(step) or {})

    def _find(self, which: str) -> int:
        steps = self.steps()
        if not steps:
            raise UserError(f"no checkpoint in {self.directory}: train first")
        if which == "latest":
            return steps[-1]
        if which == "best":
            best = self.manager.best_step()
            if best is None or self._rank(self.manager.metrics(best) or {}) == -math.inf:
                log.warning("no checkpoint has a %s: the newest is taken for best", self.metric)
                return steps[-1]
            return best
        if int(which) not in steps:
            raise UserError(
                f"decode.checkpoint is {which}, but {self.directory} holds {self._steps()}:"
                " choose one of these, 'best' or 'latest'"
            )
        return int(which)

    def steps(self) -> list[int]:
        """Returns the saved steps, oldest first."""
        return sorted(self.manager.all_steps())

    def _steps(self, but: int | None = None) -> str:
        return ", ".join(str(step) for step in self.steps() if step != but)

    def _name(self, step: int) -> str:
        return str(self.directory / str(step))

    def wait(self) -> None:
        """Returns when all that was saved is on the disk."""
        with self._told():
            self.manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then lets go of the folder."""
        with self._told():
            self.manager.close()


def _arrays(state: TrainState) -> dict[str, Any]:
    """Returns the arrays of a state besides its step, each as an item of a checkpoint."""
    found = {"params": state.params, "optimizer": state.optimizer, "average": state.average}
    return {name: tree for name, tree in found.items() if tree is not None}


def _forget_unreadable_metrics(directory: Path, read_only: bool) -> None:
    """Sets aside metrics that are no JSON: Orbax could not even list the checkpoints."""
    for folder in directory.glob("*/metrics"):
        try:
            json.loads((folder / "metrics").read_text())
        except FileNotFoundError:
            # A checkpoint that a training has just deleted, or has yet to write.
            continue
        except ValueError as error:
            if read_only:
                raise UserError(
                    f"damaged metrics {folder}: {_line(error)}; `train` sets them aside"
                ) from error
            log.warning("skipping damaged metrics %s: %s", folder, _line(error))
            folder.rename(folder.with_name(f"damaged-{time.time_ns()}"))


def _is_damage(error: Exception) -> bool:
    """Tells a broken checkpoint from a disk, a network or a memory that fails."""
    error = _underlying(error)
    if isinstance(error, OSError):
        return isinstance(error, FileNotFoundError)
    return not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error)


def _underlying(error: Exception) -> Exception:
    """Returns the error of the system or the network that TensorStore tells in words, if it is."""
    if isinstance(error, OSError):
        return error
    text = str(error)
    if found := re.search(r"os_error_code='(\d+)'", text):
        number = int(found[1])
        # OSError of a number is one of its kinds, such as FileNotFoundError.
        return OSError(number, os.strerror(number))
    if text.startswith(("UNAVAILABLE", "DEADLINE_EXCEEDED")):
        return TimeoutError(text)
    if text.startswith(("PERMISSION_DENIED", "UNAUTHENTICATED")):
        return PermissionError(text)
    return error


@functools.cache
def _hush_late_reads() -> None:
    """Keeps quiet what is told of reads that end after Orbax has given up a broken checkpoint.

    TensorStore hands their failures to an event loop that is closed by then, with a traceback each.
    """
    before = sys.unraisablehook

    def hook(event):
        late = isinstance(event.exc_value, RuntimeError) and event.object is None
        if not late or str(event.exc_value) != "Event loop is closed":
            before(event)

    sys.unraisablehook = hook


def _abstract(tree: Any) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip()
