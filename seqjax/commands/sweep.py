"""`sweep`: trains and evaluates the trials of a study, and writes their table."""

import argparse
import os
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from seqjax.commands.needs import check_corpora, check_needs
from seqjax.doubts import warn_of_doubts
from seqjax.errors import UserError
from seqjax.files import path_option, run_path
from seqjax.invocation import command_line
from seqjax.stages import say, stage
from seqjax.studies.gpu_shares import gpu_shares
from seqjax.studies.launcher import Launcher
from seqjax.studies.page import PAGE
from seqjax.studies.results import best, grouped
from seqjax.studies.search import Search
from seqjax.studies.study import chosen
from seqjax.studies.study_files import load_study
from seqjax.studies.sweep import Sweep
from seqjax.studies.tables import TABLE
from seqjax.studies.trial_group import check_vectorize
from seqjax.training.members import program_key_of

HELP = (
    "Trains and evaluates the trials of a study, each in WORKDIR/TRIAL and in its own process, and"
    " writes WORKDIR/results.md, results.csv and results.html. A trial that fails does not stop the"
    " others. The same command continues a stopped sweep, and tries failed trials again; started"
    " several times, on one machine or with one --storage on several, it shares the work. A larger"
    " --config.train.duration trains every trial further; any other change of a trial that has"
    " begun needs another --workdir."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--study`, `--trial`, `--workers`, `--vectorize`, `--storage` and others."""
    parser.add_argument(
        "--study",
        metavar="FILE",
        type=path_option("--study"),
        required=True,
        help="Python file with get_study()",
    )
    parser.add_argument(
        "--trial",
        metavar="NAME",
        action="append",
        default=[],
        help="run this trial only, or those that match a pattern such as 'dut-*'; may be repeated",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=int,
        default=1,
        help="trials to run at a time, each on its own share of this machine's NVIDIA GPUs",
    )
    parser.add_argument(
        "--vectorize",
        metavar="auto|N|off",
        default="off",
        help="train trials that differ only in numbers as one program: up to N of them, or with"
        " 'auto' as many as leave work for each worker here, up to 16; 'off' is the default",
    )
    parser.add_argument(
        "--storage",
        metavar="URL",
        default="",
        help="database by which machines share the study, as postgresql://user@host/name, whose"
        " password is best set as PGPASSWORD or in ~/.pgpass; by default WORKDIR/study.db",
    )
    parser.add_argument(
        "--lost_after",
        metavar="SECONDS",
        type=int,
        default=120,
        help="silence after which a worker is considered dead (default 120)",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="print what would run, and run nothing"
    )


def run(arguments: argparse.Namespace, overrides: Sequence[tuple[str, str]]) -> int:
    """Runs the trials and prints their table; `overrides` hold for each of them.

    Returns:
      0 when all of them are done, 1 when some failed, 128 + n when signal n ended it.
    """
    for option, least in (("workers", 1), ("lost_after", 2)):
        number = getattr(arguments, option)
        if number < least:
            raise UserError(f"--{option}={number}: expected at least {least}")
    with stage(f"reading {arguments.study}"):
        study = load_study(arguments.study)
    names = chosen(study, arguments.trial)
    vectorize = arguments.vectorize
    check_vectorize(vectorize, isinstance(study, Search))
    with Launcher(gpu_shares(arguments.workers)) as launch:
        sweep = Sweep(
            study,
            arguments.study,
            arguments.workdir,
            overrides,
            launch,
            arguments.workers,
            arguments.storage,
            arguments.lost_after,
            vectorize,
            names,
        )
        if arguments.dry_run:
            if hint := sweep.vectorize_hint(names):
                say(hint)
            _print_plan(sweep, names)
            return 0
        configs = list(_to_run(sweep, names, overrides))
        check_needs("sweep", configs)
        check_corpora(configs, study.splits)
        warn_of_doubts(configs)
        code = sweep.run(names)
        print((run_path(arguments.workdir) / TABLE).read_text(encoding="utf-8"), end="")
        say(f"page: {os.path.join(arguments.workdir, PAGE)}")
        if not launch.signal:
            _print_next_step(sweep, arguments.workdir)
        return code


def _print_next_step(sweep: Sweep, workdir: str) -> None:
    """Prints how the best trial is scored on the test split, or used if that is done."""
    study = sweep.study
    groups = grouped(study.higher, study.grouping, sweep.results())
    found = [trial.name for g in groups if (trial := best(study.higher, g.results)) is not None]
    if not found:
        return
    trial = "best" if len(found) == 1 else found[0]
    which = "the best trial" if len(found) == 1 else "the best trial of a group"
    if "test" in study.splits:
        say(f"{which} answers your own lines, read from standard input, with")
        words = ["predict"]
    else:
        say(f"score {which} on the test split with")
        words = ["evaluate", "--split=test"]
    say(f"  {command_line([words[0], f'--workdir={workdir}', f'--trial={trial}', *words[1:]])}")


def _to_run(
    sweep: Sweep, names: Sequence[str], overrides: Sequence[tuple[str, str]]
) -> Iterator[ConfigDict]:
    """Yields the configs of the trials that are left; of a search at least its own.

    Of trials that differ only in numbers such as the learning rate, the first stands for all.
    """
    if isinstance(sweep.study, Search):
        yield sweep.study.config(overrides)
    seen = set()
    for name in names:
        if name in sweep.specs and sweep.trial(name).state().startswith("to "):
            kind = program_key_of(sweep.specs[name].values)
            if kind not in seen:
                yield sweep.specs[name].config
            seen.add(kind)


def _print_plan(sweep: Sweep, names: Sequence[str]) -> None:
    """Prints what would run: the space of a search, and the commands of the trials known."""
    study = sweep.study
    if isinstance(study, Search):
        judged = "" if study.pruner == "none" else f", pruned by {study.pruner}"
        extreme = "highest" if study.higher else "lowest"
        print(f"{study.name}: {len(study.names)} trials by {study.sampler}{judged},")
        print(f"for the {extreme} {study.objective} in")
        for field, domain in study.space.items():
            print(f"  {field}: {domain}")
    groups = {group[0]: group for group in sweep.groups(names)}
    others = {name for group in groups.values() for name in group[1:]}
    for name in names:
        if name in sweep.specs and name not in others:
            trial, group = sweep.trial(name), groups.get(name, [name])
            together = " as one program" if len(group) > 1 else ""
            print(f"{', '.join(group)}: {trial.state()}{together}")
            if trial.state().startswith("to "):
                for command in (sweep.group(group) if together else trial).commands():
                    print(f"  {command_line(command)}")
