"""What stands before the first update: corpus, tokenizers, tokens, plan, devices, task."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import ml_collections
from jax.sharding import Mesh

from seqjax.data.corpus import Corpus, open_corpus
from seqjax.data.examples import Examples, tokenize
from seqjax.data.loader import SubwordSampling
from seqjax.data.plan import Plan
from seqjax.data.tokenizer import Tokenizers, load_tokenizers, train_tokenizers
from seqjax.duration import parse_duration
from seqjax.errors import UserError
from seqjax.parallel.mesh import row_parts
from seqjax.tasks.declared import TASKS, task_of
from seqjax.tasks.task import Task
from seqjax.training.devices import mesh_of
from seqjax.training.durations import Durations, durations_of
from seqjax.training.pace import steps_within
from seqjax.training.saved import has_checkpoint, saved_clock

# Of updates that are timed before it is known how many there will be.
_PROVISIONAL = Durations(total=1000, warmup=100, evaluate=0, save=0, report=0)


class Prepared(NamedTuple):
    """What a training needs besides parameters."""

    corpus: Corpus
    tokenizers: Tokenizers
    examples: Examples
    sampling: SubwordSampling | None
    plan: Plan
    mesh: Mesh
    task: Task
    durations: Durations


def prepare(
    config: ml_collections.ConfigDict,
    workdir: Path | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Prepared:
    """Reads the corpus, trains or loads tokenizers, and plans the batches.

    Args:
      config: a validated config.
      workdir: run directory; if it holds a checkpoint, its tokenizers and what its durations
        meant are read, else the tokenizers are trained. Nothing is written to it.
      devices: those there are, by default all of JAX.
    """
    mesh = mesh_of(config, devices)
    if devices is not None and parse_duration(config.train.duration)[1] == "seconds":
        raise UserError(
            f"train.duration = {config.train.duration!r}: expected steps, epochs or tokens for"
            " devices that are not here, since a time is measured"
        )
    declared = TASKS[config.task]
    corpus = open_corpus(config.data, "train", declared.roles)
    if parse_duration(config.evaluation.every)[0]:
        # Raises before any work if it is not there.
        open_corpus(config.data, "validation", declared.roles)
    tokenizers = _tokenizers(config, corpus, workdir)
    task = task_of(config, tokenizers)
    examples = tokenize(
        corpus, tokenizers, config.data, task.features(), training=True, unit=declared.unit
    )
    seed = config.seed if config.batching.seed == -1 else config.batching.seed
    sampling = None
    if config.tokenizer.sampling:
        sampling = SubwordSampling(corpus, tokenizers, examples, seed, task.before)
    plan = task.plan(
        examples,
        seed,
        row_multiple=row_parts(mesh) * config.optimizer.accumulate,
        room=sampling.room() if sampling else None,
    )
    task.check_lengths(examples.lengths, "the training split")
    clock = saved_clock(workdir) if workdir else {}
    prepared = Prepared(corpus, tokenizers, examples, sampling, plan, mesh, task, _PROVISIONAL)
    durations = durations_of(
        config,
        plan.steps_per_epoch,
        plan.tokens_per_epoch,
        clock,
        steps_within=lambda seconds: steps_within(seconds, config, prepared),
    )
    return prepared._replace(durations=durations)


def _tokenizers(config, corpus, workdir) -> Tokenizers:
    if workdir and has_checkpoint(workdir):
        return load_tokenizers(workdir / "tokenizer", TASKS[config.task].roles)
    return train_tokenizers(config.tokenizer, corpus, TASKS[config.task].roles)
