"""`train`: from a config to a run directory, or on from where a run stopped."""

import argparse
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import ml_collections

from seqjax.fields import save
from seqjax.files import run_path
from seqjax.parallel.processes import is_first

if TYPE_CHECKING:
    from seqjax.training.loop import Training
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
    """Adds `--together`."""
    parser.add_argument(
        "--together",
        metavar="NAME,NAME,...",
        default="",
        help="train these variants of --config as one program, each in WORKDIR/NAME: they may"
        " differ in numbers such as the learning rate, dropout or, with batching.seed, the seed",
    )
    parser.add_argument(
        "--members",
        choices=("loop", "batch"),
        default="loop",
        help="compute those one after the other, or all at once",
    )


def run(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> int:
    """Trains; returns 0 when training is over, 128 + n when signal n stopped it."""
    from seqjax.training.loop import Training

    workdir = run_path(arguments.workdir)
    prepared = _begin(config, workdir)
    _say(_summary(prepared))
    return _finish(Training(config, prepared, workdir), workdir)


def run_together(
    arguments: argparse.Namespace, configs: Mapping[str, ml_collections.ConfigDict]
) -> int:
    """Trains several configs as one program, each in a folder of its own, as `run` does one."""
    from seqjax.training.loop import Training
    from seqjax.training.population import check_members

    check_members(list(configs.values()))
    workdir = run_path(arguments.workdir)
    prepared = [_begin(config, workdir / name) for name, config in configs.items()][0]
    _say(_summary(prepared))
    _say(f"{len(configs)} runs as one program: {', '.join(configs)}")
    batched = arguments.members == "batch"
    return _finish(Training.of_several(configs, prepared, workdir, batched), workdir)


def _begin(config: ml_collections.ConfigDict, workdir: Path) -> "Prepared":
    """Prepares a run and writes down what it is."""
    from seqjax.reporting.environment import record_environment
    from seqjax.training.preparation import has_checkpoint, prepare
    from seqjax.training.trained import refuse_changes

    workdir.mkdir(parents=True, exist_ok=True)
    if has_checkpoint(workdir):
        refuse_changes(config, workdir, _IDENTITY, "choose a new --workdir")
    prepared = prepare(config, workdir)
    if is_first():
        save(config, workdir / "config.json")
    record_environment(workdir)
    return prepared


def _finish(training: "Training", workdir: Path) -> int:
    """Trains and says how to go on."""
    first = training.step
    reason = training.run()
    step = training.step
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
