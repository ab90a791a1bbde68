"""A trained model, from its run directory alone."""

import copy
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import jax
import ml_collections
from jax.sharding import Mesh

from seqjax.architectures.ensemble import Ensemble
from seqjax.data.tokenizer import load_tokenizers
from seqjax.errors import UserError
from seqjax.fields import flatten, load
from seqjax.files import run_path
from seqjax.parallel.sharding import parameter_shardings, placed
from seqjax.stages import say, stage
from seqjax.tasks.declared import TASKS, task_of
from seqjax.tasks.next_token import NextToken
from seqjax.tasks.task import Task
from seqjax.training.averages import weight_of
from seqjax.training.checkpoints import Checkpoints
from seqjax.training.devices import mesh_of

log = logging.getLogger(__name__)

# Averaged checkpoints that are further apart than this share of the training are reported: the
# five of Vaswani et al. (2017) came from the last 6 % of it.
_APART = 0.2
# Fields that a trained model is made of: after training they are facts.
_FIXED = ("task", "tokenizer.", "model.", "optimizer.moving_average", "optimizer.average_trigger")


class Trained(NamedTuple):
    """A trained task.

    Attributes:
      task: the task.
      params: its parameters; of an ensemble those of all members.
      step: of the newest checkpoint that they are from.
      mesh: the devices that hold them.
      checkpoints: the steps that were read from each run directory, oldest first; several are
        averaged.
      validation: the metrics that the newest of them had while training; none for an ensemble.
    """

    task: Task
    params: dict
    step: int
    mesh: Mesh
    checkpoints: Mapping[str, Sequence[int]]
    validation: Mapping[str, float] = MappingProxyType({})


def load_trained(workdir: str | Path, config: ml_collections.ConfigDict) -> Trained:
    """Loads the checkpoint that `config.decode` names from a run directory.

    Raises:
      UserError: there is no such checkpoint, or an override changes a field that is fixed after
        training.
    """
    workdir = run_path(workdir)
    # Without dropout a loop over layers changes nothing.
    refuse_changes(config, workdir, _FIXED, "after training it is fixed", but=(".scan_layers",))
    mesh = mesh_of(config)
    tokenizers = load_tokenizers(workdir / "tokenizer", TASKS[config.task].roles)
    task = task_of(config, tokenizers)
    with stage(f"loading {workdir}"):
        shapes = jax.eval_shape(task.init, jax.random.key(0))
        like = placed(shapes, parameter_shardings(mesh, shapes))
        checkpoints = Checkpoints(workdir, config.checkpoint, read_only=True)
        item = "params" if weight_of(config.optimizer) is None else "average"
        steps = checkpoints.chosen(config.decode.checkpoint, config.decode.average)
        if len(steps) > 1:
            _report_average(workdir, checkpoints, steps)
        params, step = checkpoints.restore_params(str(steps[-1]), len(steps), like, item)
        validation = checkpoints.metrics(step)
        checkpoints.close()
    return Trained(task, params, step, mesh, {str(workdir): steps}, validation)


def _report_average(workdir: Path, checkpoints: Checkpoints, steps: Sequence[int]) -> None:
    """Prints which checkpoints are averaged and how each of them did in validation."""
    metric = checkpoints.metric
    values = [checkpoints.metrics(step).get(metric) for step in steps]
    parts = [
        f"{step} (not evaluated)" if value is None else f"{step} ({metric} {value:.4g})"
        for step, value in zip(steps, values, strict=True)
    ]
    say(f"{workdir}: averaging the checkpoints of steps {', '.join(parts)}")
    apart = (steps[-1] - steps[0]) / steps[-1] if steps[-1] else 0.0
    if apart > _APART:
        log.warning(
            "decode.average = %d: the steps from %d to %d are %.0f %% of the training; an average"
            " of checkpoints so far apart is often worse than the best of them (save more often"
            " with checkpoint.every, and keep more with checkpoint.keep_latest)",
            len(steps),
            steps[0],
            steps[-1],
            100 * apart,
        )


def load_ensemble(
    workdirs: Sequence[str | Path], configs: Sequence[ml_collections.ConfigDict]
) -> Trained:
    """Loads several runs as one model.

    Its config is the first run's, with the smallest limits of all. Its step is the largest of its
    members'.

    Raises:
      UserError: as `load_trained`, or two runs do not read and predict the same tokens.
    """
    _refuse_disagreement(workdirs, configs)
    longest = min(config.data.max_source_length for config in configs)
    block = min(config.batching.length for config in configs)
    members = []
    for workdir, config in zip(workdirs, configs, strict=True):
        # They answer as one, on the same devices, from what all of them can read.
        config = config.copy_and_resolve_references()
        config.decode, config.parallel = configs[0].decode, configs[0].parallel
        config.data.max_source_length, config.batching.length = longest, block
        config.evaluation.stride = min(configs[0].evaluation.stride, block)
        members.append(load_trained(workdir, config))
    return Trained(
        ensemble_of([member.task for member in members]),
        Ensemble.joined([member.params for member in members]),
        max(member.step for member in members),
        members[0].mesh,
        {run: steps for member in members for run, steps in member.checkpoints.items()},
    )


def ensemble_of(tasks: Sequence[Task]) -> NextToken:
    """Returns a task that has the models of several as its own.

    Raises:
      UserError: the tasks do not predict tokens.
    """
    task = copy.copy(tasks[0])
    if not isinstance(task, NextToken):
        raise UserError(
            f"task = {task.config.task!r}: expected one that predicts tokens, since an ensemble is"
            " the mean of their probabilities"
        )
    task.model = Ensemble(tuple(each.model for each in tasks))
    return task


def _refuse_disagreement(
    workdirs: Sequence[str | Path], configs: Sequence[ml_collections.ConfigDict]
) -> None:
    """Raises a UserError if two runs differ in which tokens they read or where these stand."""
    first, *others = map(_places, configs)
    for workdir, own in zip(workdirs[1:], others, strict=True):
        for field, value in own.items():
            if value != first[field]:
                raise UserError(
                    f"{field} = {value!r} in {workdir}: expected {first[field]!r}, as in"
                    f" {workdirs[0]}, since members of an ensemble read the same tokens"
                )
        if tokenizer_files(workdir) != tokenizer_files(workdirs[0]):
            raise UserError(
                f"{workdir} has other tokenizers than {workdirs[0]}: expected members of an"
                " ensemble to share them"
            )


def _places(config: ml_collections.ConfigDict) -> dict[str, str]:
    """Returns the fields that say where tokens stand: what is before and between documents."""
    return {
        "task": config.task,
        "batching.plan": config.batching.plan or TASKS[config.task].plans[0],
        "data.documents": config.data.documents,
    }


def tokenizer_files(workdir: str | Path) -> dict[str, bytes]:
    """Returns the content of a run's tokenizers by file."""
    folder = run_path(workdir) / "tokenizer"
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}


def refuse_changes(
    config: ml_collections.ConfigDict,
    workdir: Path,
    fields: tuple[str, ...],
    reason: str,
    but: tuple[str, ...] = (),
) -> None:
    """Raises a UserError where a field that begins like one of `fields` differs from the run's.

    Those that end like one of `but` may differ. How layers are computed (`implementation`,
    `rematerialize`) is no part of what a run is, nor are its devices.
    """
    saved = flatten(load(workdir / "config.json", missing="default"))
    for path, value in flatten(config).items():
        if path.endswith((".implementation", ".rematerialize", *but)):
            continue
        if path.startswith(fields) and saved[path] != value:
            raise UserError(
                f"{path} = {value!r}: expected {saved[path]!r}, as in the run in {workdir};"
                f" {reason}"
            )
