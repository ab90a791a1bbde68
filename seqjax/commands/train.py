"""`train`: from a config to a run directory, or on from where a run stopped."""

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import ml_collections

from seqjax.fields import save
from seqjax.parallel.processes import is_first

if TYPE_CHECKING:
    from seqjax.training.preparation import Prepared

HELP = "Trains a model; the same command continues a stopped run."

# What a run is: changing one of these half-way would make its numbers those of no config.
_IDENTITY = (
    "task",
    "seed",
    "data.corpus",
    "data.source",
    "data.target",
    "data.files",
    "data.pattern",
    "data.train",
    "data.synthetic_size",
    "data.limit",
    "data.max_",
    "data.over_length",
    "data.empty",
    "tokenizer.",
    "batching.",
    "model.",
    "loss.",
    "optimizer.",
    "schedule.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing besides `--config` and `--workdir`, which the command line adds."""


def run(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> int:
    """Trains; returns 0 when training is over, 128 + n when signal n stopped it."""
    from seqjax.reporting.environment import record_environment
    from seqjax.training.loop import Training
    from seqjax.training.preparation import has_checkpoint, prepare
    from seqjax.training.trained import refuse_changes

    workdir = Path(arguments.workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    if has_checkpoint(workdir):
        refuse_changes(config, workdir, _IDENTITY, "choose a new --workdir")
    prepared = prepare(config, workdir)
    if is_first():
        save(config, workdir / "config.json")
    record_environment(workdir)
    _say(_summary(prepared))
    training = Training(config, prepared, workdir)
    first = int(training.state.step)
    reason = training.run()
    step = int(training.state.step)
    if reason in signal.Signals.__members__:
        _say(f"{reason}: saved step {step}; continue with")
        _say(f"  python launch.py train --workdir={workdir}")
        return 128 + signal.Signals[reason]
    before = "nothing to do, " if step == first else ""
    _say(f"{before}{reason} at step {step}; evaluate it with")
    _say(f"  python launch.py evaluate --workdir={workdir} --split=test")
    return 0


def _say(line: str) -> None:
    if is_first():
        print(line, file=sys.stderr, flush=True)


def _summary(prepared: "Prepared") -> str:
    plan, report = prepared.plan, prepared.tokenized.report
    counts = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in report.items() if n)
    shapes = ", ".join(f"{rows}x({source},{target})" for rows, source, target in plan.shapes)
    return (
        f"corpus: {counts}\n"
        f"batches: {plan.steps_per_epoch} an epoch, shapes {shapes}, padding {plan.waste:.1%}\n"
        f"training: {prepared.durations.total:,} steps on {prepared.mesh.size} device(s);"
        f" each of {len(plan.shapes)} batch shape(s) is compiled when it first comes"
    )
