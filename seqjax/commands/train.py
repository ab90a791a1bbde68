"""`train`: from a config to a run directory, or on from where a run stopped."""

import argparse
import contextlib
import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import ml_collections

from seqjax.commands.next_steps import next_steps
from seqjax.errors import UserError
from seqjax.fields import save
from seqjax.files import in_bucket, run_path
from seqjax.invocation import command_line
from seqjax.parallel.processes import is_first
from seqjax.reporting.settings import summarize_changes
from seqjax.reporting.weights_and_biases import require_key, require_wandb
from seqjax.stages import say
from seqjax.training.members import check_members
from seqjax.training.saved import has_checkpoint

if TYPE_CHECKING:
    from seqjax.training.loop import Training
    from seqjax.training.population import Population
    from seqjax.training.preparation import Prepared
    from seqjax.training.profile import Profile

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
    "data.split_",
    "data.validation_share",
    "data.test_share",
    "data.synthetic_size",
    "data.limit",
    "data.max_",
    "data.over_length",
    "data.empty",
    "data.drop_",
    "tokenizer.",
    "batching.",
    "model.",
    "loss.",
    "optimizer.",
    "schedule.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--together`, `--members` and `--profile`."""
    parser.add_argument(
        "--together",
        metavar="NAME,NAME,...",
        help="train these variants of --config as one program, each in WORKDIR/NAME: they may"
        " differ in numbers such as the learning rate, dropout or, with batching.seed, the seed",
    )
    parser.add_argument(
        "--members",
        choices=("loop", "batch", "auto"),
        default="",
        help="compute those one after the other (default), all at once, or as is faster by a short"
        " measurement",
    )
    parser.add_argument(
        "--profile",
        metavar="FIRST:LAST",
        default="",
        help="trace these updates into WORKDIR/profile, for TensorBoard or Perfetto: 100:110",
    )


def run(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> int:
    """Trains; returns 0 when training is over, 128 + n when signal n stopped it."""
    from seqjax.training.loop import Training
    from seqjax.training.preparation import prepare

    if arguments.members:
        raise UserError(f"--members={arguments.members}: expected --together with it")
    _require_wandb(config.reporting.wandb_project)
    workdir = run_path(arguments.workdir)
    profile = _profile(arguments.profile, workdir)
    with _claimed({workdir: config}):
        prepared = prepare(config, workdir)
        # Refuses what cannot be continued: nothing may have been written until then.
        training = Training.of_one(config, prepared, workdir)
        _set_profile(training, profile)
        _write_down(config, workdir, prepared)
        say(summarize_changes(config))
        say(_overview(training, config, prepared))
        return _finish(training, arguments, config)


def run_together(
    arguments: argparse.Namespace, configs: Mapping[str, ml_collections.ConfigDict]
) -> int:
    """Trains several configs as one program, each in a folder of its own, as `run` does one.

    Returns:
      What `run` returns, or 1 when some diverged: they are printed to standard output, as JSON.
    """
    from seqjax.training.loop import Training
    from seqjax.training.population import shared_mesh
    from seqjax.training.preparation import prepare

    check_members(list(configs.values()))
    for config in configs.values():
        _require_wandb(config.reporting.wandb_project)
    workdir = run_path(arguments.workdir)
    profile = _profile(arguments.profile, workdir)
    with _claimed({workdir / name: config for name, config in configs.items()}):
        first = next(iter(configs))
        # Batches are those of a run alone, which would share them among all devices.
        prepared = prepare(configs[first], workdir / first)
        prepared = prepared._replace(mesh=shared_mesh(prepared.mesh, len(configs)))
        population, reason = _population(configs, prepared, arguments.members, workdir / first)
        training = Training.of_several(configs, population, prepared, workdir)
        _set_profile(training, profile)
        for name, config in configs.items():
            _write_down(config, workdir / name, prepared, members=population.way)
        say(_overview(training, configs[first], prepared))
        say(f"{len(configs)} runs as one program: {', '.join(configs)}{reason}")
        code = _finish(training, arguments, configs[first])
    failed = {run.name: run.failure for run in training.runs if run.failure}
    if failed:
        print(json.dumps(failed, indent=2, ensure_ascii=False))
    return code or int(bool(failed))


def _population(
    configs: Mapping[str, ml_collections.ConfigDict],
    prepared: "Prepared",
    way: str,
    first: Path,
) -> tuple["Population", str]:
    """Returns how members are computed, and why where nobody said so."""
    from seqjax.reporting.environment import last_recorded
    from seqjax.training.population import WAYS, Population, faster_population

    members = list(configs.values())
    if way in ("", "auto") and has_checkpoint(first):
        # As before the stop: another way would round otherwise.
        way = last_recorded(first, "members")
    if way == "auto":
        population, reason = faster_population(members, prepared)
        return population, f"; {reason}"
    return Population(members, prepared, way if way in WAYS else WAYS[0]), ""


@contextlib.contextmanager
def _claimed(configs: Mapping[Path, ml_collections.ConfigDict]) -> Iterator[None]:
    """Makes run directories and holds them, or refuses those that are another run's.

    Folders that are still empty at the end go again.
    """
    from seqjax.training.run_lock import locked
    from seqjax.training.trained import refuse_changes

    with contextlib.ExitStack() as stack:
        for workdir, config in configs.items():
            if is_first():
                stack.enter_context(_made(workdir))
                stack.enter_context(locked(workdir))
            if has_checkpoint(workdir):
                refuse_changes(config, workdir, _IDENTITY, "choose a new --workdir")
        yield


@contextlib.contextmanager
def _made(workdir: Path) -> Iterator[None]:
    """Makes a folder; afterwards removes it, and those above that were made for it, if empty."""
    folders = [] if in_bucket(workdir) else [workdir, *workdir.parents]
    new = [folder for folder in folders if not folder.exists()]
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        # A folder that is in use cannot be removed.
        with contextlib.suppress(OSError):
            for folder in new:
                folder.rmdir()


def _write_down(
    config: ml_collections.ConfigDict, workdir: Path, prepared: "Prepared", **facts: str
) -> None:
    """Writes what a run is and what it runs on."""
    from seqjax.data.tokenizer import save_tokenizers
    from seqjax.reporting.environment import record_environment

    if is_first():
        if not has_checkpoint(workdir):
            save_tokenizers(prepared.tokenizers, workdir / "tokenizer")
        save(config, workdir / "config.json")
    record_environment(workdir, facts)


def _require_wandb(project: str) -> None:
    """Raises UserError if metrics are to go to a project and cannot, before any work."""
    require_wandb(project)
    # The first process alone sends them.
    if is_first():
        require_key(project)


def _profile(text: str, workdir: Path) -> "Profile | None":
    """Reads `--profile`, '' for none, before any work."""
    from seqjax.training.profile import Profile

    return Profile(text, workdir) if text else None


def _set_profile(training: "Training", profile: "Profile | None") -> None:
    """Has updates traced if the training comes to them; nothing has been written yet."""
    if profile:
        profile.check(training.step, training.durations.total)
        training.profile = profile


def _overview(training: "Training", config: ml_collections.ConfigDict, prepared: "Prepared") -> str:
    from seqjax.training.overview import overview
    from seqjax.training.state import parameter_count

    parameters = parameter_count(training.program.abstract_member().params)
    return overview(config, prepared, parameters, training.evaluator)


def _finish(
    training: "Training", arguments: argparse.Namespace, config: ml_collections.ConfigDict
) -> int:
    """Trains and prints how to go on."""
    first = training.step
    reason = training.run()
    step = training.step
    workdir = f"--workdir={arguments.workdir}"
    if reason in signal.Signals.__members__:
        where = "" if arguments.processes == "1" else " in each process"
        say(f"{reason}: saved step {step}; continue{where} with")
        say(f"  {command_line(['train', workdir, *_to_continue(arguments)])}")
        return 128 + signal.Signals[reason]
    before = "nothing to do, " if step == first else ""
    say(f"{before}{reason} at step {step}; what comes next:")
    for line in next_steps(arguments.workdir, config, training.example, arguments.together or ""):
        say(f"  {line}")
    return 0


def _to_continue(arguments: argparse.Namespace) -> list[str]:
    """Returns what continuing needs besides the folder: the config of one run lies there."""
    options = []
    if arguments.together:
        options += [f"--config={arguments.config}", f"--together={arguments.together}"]
        options += [f"--config.{path}={value}" for path, value in arguments.overrides]
    if arguments.processes != "1":
        options.append(f"--processes={arguments.processes}")
    if arguments.coordinator:
        options += [f"--coordinator={arguments.coordinator}", f"--process={arguments.process}"]
    return options
