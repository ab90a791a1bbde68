"""Checkpoints of a run: written in the background, the newest and the best kept."""

import contextlib
import functools
import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import ml_collections
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from seqjax.errors import Unavailable, UserError, as_user_error, passes
from seqjax.files import absolute, in_bucket, replace_file, run_path
from seqjax.literal_paths import take_paths_literally
from seqjax.parallel.processes import barrier, is_first
from seqjax.tasks.declared import best_is_higher
from seqjax.training.checkpoint_errors import hush_late_reads, in_one_line, is_damage, underlying
from seqjax.training.measured import Measured, changes
from seqjax.training.state import TrainState

log = logging.getLogger(__name__)

_ITEMS = ("params", "optimizer", "average", "carry", "clock")
# Under this name metrics hold what they were measured on.
_MEASURED = "measured"


class Checkpoints:
    """The folder `checkpoints/` of a run, one subfolder for each saved step.

    A checkpoint has the items `params`, `optimizer`, `clock` (what the loop must remember besides
    arrays, as JSON) and, if they are kept, `average` and `carry`. Evaluation reads the last, or
    else the first.

    Until the first save, or `open`, nothing in the folder is changed.

    Attributes:
      measured: what the next metrics are measured on; only metrics that were measured on the same
        count for 'best'.
    """

    def __init__(
        self, workdir: str | Path, config: ml_collections.ConfigDict, read_only: bool = False
    ):
        """Finds the folder; with `read_only` another process may be training there.

        Raises:
          UserError: with `read_only`, there is no folder, or it holds damaged metrics.
        """
        self.directory = absolute(run_path(workdir)) / "checkpoints"
        self.metric = config.best_metric
        self.measured: Measured = {}
        # The step whose state a training continues from.
        self._restored = -1
        self._config, self._read_only = config, read_only
        self._damaged: dict[int, str] = {}
        self.sign = 1.0 if best_is_higher(self.metric) else -1.0
        hush_late_reads()
        take_paths_literally()
        if read_only:
            if not self.directory.is_dir():
                raise UserError(f"{self.directory}: expected a checkpoint; train first")
            _check_metrics(self.directory)
            self.measured = self._last_measured()

    @functools.cached_property
    def manager(self) -> ocp.CheckpointManager:
        """Orbax' view of the folder, with metrics; for a training it makes the folder usable."""
        if not self._read_only:
            self._repair()
        policy = preservation_policy.AnyPreservationPolicy(
            [
                preservation_policy.LatestN(self._config.keep_latest),
                preservation_policy.BestN(
                    get_metric_fn=self._rank,
                    n=self._config.keep_best,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        return ocp.CheckpointManager(
            self.directory,
            item_names=_ITEMS,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=self._rank,
                create=not self._read_only,
                # What looks abandoned may be a checkpoint that is being written.
                cleanup_tmp_directories=not self._read_only,
            ),
        )

    @functools.cached_property
    def _reader(self) -> ocp.CheckpointManager | None:
        """The same without metrics, which changes nothing; None if there is no folder."""
        if not self.directory.is_dir():
            return None
        options = ocp.CheckpointManagerOptions(
            create=False, cleanup_tmp_directories=False, lightweight_initialize=True
        )
        return ocp.CheckpointManager(self.directory, item_names=_ITEMS, options=options)

    @property
    def _current(self) -> ocp.CheckpointManager | None:
        opened = self._read_only or "manager" in self.__dict__
        return self.manager if opened else self._reader

    def open(self) -> None:
        """Prepares the folder for saving: sets aside what is damaged, deletes what is unfinished.

        All processes must call it.
        """
        _ = self.manager

    def _repair(self) -> None:
        # All have read before anything changes.
        barrier("checkpoints are read")
        if reader := self.__dict__.pop("_reader", None):
            reader.close()
        if is_first():
            for step in self._damaged:
                folder = self.directory / str(step)
                folder.rename(folder.with_name(f"damaged-{step}-{time.time_ns()}"))
            _set_metrics_aside(self.directory)
        self._damaged = {}
        barrier("what is damaged is set aside")

    def _rank(self, metrics: dict) -> float:
        """Returns the rank of a checkpoint, -inf if it was measured on something else."""
        value = metrics.get(self.metric, math.nan)
        other = changes(self.metric, metrics.get(_MEASURED, {}), self.measured)
        return -math.inf if math.isnan(value) or other else self.sign * value

    def _last_measured(self) -> Measured:
        """Returns what the newest metrics were measured on."""
        for step in reversed(self.steps()):
            metrics = self.manager.metrics(step) or {}
            if self.metric in metrics:
                return metrics.get(_MEASURED, {})
        return {}

    def save(self, state: TrainState, clock: dict, metrics: dict[str, float] | None) -> None:
        """Saves in the background, with the metrics of an evaluation at the same step, if any.

        At the step that was restored only the metrics and the clock are written: it may be the only
        checkpoint, and its arrays are the same. At any other step an older checkpoint is replaced.

        Raises:
          Unavailable: the disk is full or the network is down; later calls may raise it, too.
        """
        step = int(state.step)
        if metrics:
            metrics = metrics | {_MEASURED: dict(self.measured)}
        if step == self._restored:
            self._complete(step, clock, metrics)
            return
        arrays = {name: ocp.args.StandardSave(tree) for name, tree in _arrays(state).items()}
        with self._storage_errors():
            if step in self.manager.all_steps():
                self.manager.delete(step)
            self.manager.save(
                step,
                args=ocp.args.Composite(clock=ocp.args.JsonSave(clock), **arrays),
                metrics=metrics,
                force=True,
            )

    def _complete(self, step: int, clock: dict, metrics: dict[str, float] | None) -> None:
        """Adds metrics to a checkpoint, then the clock that refers to them."""
        self.open()
        if is_first():
            folder = self.directory / str(step)
            if metrics and (in_bucket(folder) or (folder / "metrics").exists()):
                replace_file(folder / "metrics" / "metrics", json.dumps(metrics))
            elif metrics:
                # Moved as a whole, since Orbax reads the folder as soon as it exists.
                partial = folder / f"partial-{time.time_ns()}"
                partial.mkdir()
                replace_file(partial / "metrics", json.dumps(metrics))
                partial.rename(folder / "metrics")
            replace_file(folder / "clock" / "metadata", json.dumps(clock))
        barrier("a checkpoint is complete")
        self.manager.reload()

    @contextlib.contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Raises `Unavailable` for an error of a disk or a network that may pass."""
        try:
            yield
        except Exception as error:
            if passes(underlying(error)):
                message = (
                    f"{self.directory}: the checkpoint can't be saved now: {in_one_line(error)}"
                )
                raise Unavailable(message) from error
            raise

    def restore(self, like: TrainState, last: int | None = None) -> tuple[TrainState, dict] | None:
        """Returns the newest state and clock that can be read whole, or None.

        With `last`, no later step is considered. `like` gives structure, shapes and shardings. A
        damaged checkpoint is skipped with a warning that names it if an older one can be read;
        `open` sets it aside, since the run will save that step again.

        Raises:
          UserError: there are checkpoints, but none can be read, or the disk or the memory fails
            (`Unavailable` if that may pass): a training must not start from scratch then.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.steps()):
            if last is not None and step > last:
                continue
            try:
                restored = self._current.restore(
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
                if not is_damage(error):
                    message = f"checkpoint {self._name(step)} can't be read now: "
                    raise as_user_error(underlying(error), message + in_one_line(error)) from error
                damaged[step] = in_one_line(error)
                continue
            for other, reason in damaged.items():
                if is_first():
                    log.warning("skipping damaged checkpoint %s: %s", self._name(other), reason)
            self._damaged |= damaged
            self._restored = step
            number = jax.device_put(jax.numpy.asarray(step, like.step.dtype), like.step.sharding)
            arrays = {name: restored[name] for name in _arrays(like)}
            return TrainState(number, **arrays), restored.clock
        if damaged:
            raise UserError(
                f"none of the checkpoints {self._steps()} in {self.directory} can be read"
                f" ({next(iter(damaged.values()))}): restore them, or choose a new"
                " --workdir"
            )
        return None

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
                raise as_user_error(
                    underlying(error),
                    f"checkpoint {self._name(s)} can't be read: {in_one_line(error)};"
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
                f"decode.average = {average}: expected at most {len(steps)}, the checkpoints that"
                f" {self.directory} keeps up to step {step}; to keep more, train with a larger"
                " checkpoint.keep_latest"
            )
        return steps

    def metrics(self, step: int) -> dict[str, float]:
        """Returns the validation metrics saved with a step, none if it was not evaluated."""
        return dict(self.manager.metrics(step) or {})

    def _find(self, which: str) -> int:
        steps = self.steps()
        if not steps:
            raise UserError(f"{self.directory}: expected a checkpoint; train first")
        if which == "latest":
            return steps[-1]
        if which == "best":
            best = self.manager.best_step()
            if best is None or self._rank(self.manager.metrics(best) or {}) == -math.inf:
                log.warning("no checkpoint has a validation %s; taking the newest", self.metric)
                return steps[-1]
            return best
        if int(which) not in steps:
            raise UserError(
                f"decode.checkpoint = {which}: expected 'best', 'latest' or a step in"
                f" {self.directory}: {self._steps()}"
            )
        return int(which)

    def steps(self) -> list[int]:
        """Returns the saved steps, oldest first."""
        if self._current is None:
            return []
        return sorted(set(self._current.all_steps()) - self._damaged.keys())

    def _steps(self, but: int | None = None) -> str:
        return ", ".join(str(step) for step in self.steps() if step != but)

    def _name(self, step: int) -> str:
        return str(self.directory / str(step))

    def wait(self) -> None:
        """Waits until everything that was saved is on the disk."""
        if "manager" in self.__dict__:
            with self._storage_errors():
                self.manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then releases the folder."""
        with self._storage_errors():
            for name in ("manager", "_reader"):
                if opened := self.__dict__.get(name):
                    opened.close()


def _arrays(state: TrainState) -> dict[str, Any]:
    """Returns the arrays of a state besides its step, each as an item of a checkpoint."""
    found = {"params": state.params, "optimizer": state.optimizer, "average": state.average}
    # Most tasks have no carry, and Orbax no empty item.
    found["carry"] = state.carry if jax.tree.leaves(state.carry) else None
    return {name: tree for name, tree in found.items() if tree is not None}


def _damaged_metrics(directory: Path) -> Iterator[tuple[Path, str]]:
    """Yields metrics that are not JSON, and why: Orbax could not even list the checkpoints."""
    for folder in directory.glob("[0-9]*/metrics"):
        try:
            json.loads((folder / "metrics").read_text())
        except FileNotFoundError:
            # A training has just deleted this checkpoint, or has not written it yet.
            continue
        except ValueError as error:
            yield folder, in_one_line(error)


def _check_metrics(directory: Path) -> None:
    for folder, reason in _damaged_metrics(directory):
        raise UserError(f"{folder}: expected JSON ({reason}); `train` sets the file aside")


def _set_metrics_aside(directory: Path) -> None:
    for folder, reason in list(_damaged_metrics(directory)):
        log.warning("skipping damaged metrics %s: %s", folder, reason)
        folder.rename(folder.with_name(f"damaged-{time.time_ns()}"))


def _abstract(tree: Any) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
