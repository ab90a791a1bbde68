"""The command line: picks the verb, puts its config together, and reports a user's mistake.

Each verb is a module in `seqjax/commands` with a string `HELP`, `add_arguments(parser)` and
`run(arguments, config) -> exit code`. It imports JAX, and whatever does, inside `run`: `--help` and
mistakes in the config do not wait for it.

The config of every verb comes from `--config=FILE`, if the verb takes one, else from the
config.json in `--workdir`. Overrides are applied, then it is checked. `sweep` and `submit` may have
many configs: they get the overrides, which hold for all of them.
"""

import argparse
import contextlib
import functools
import importlib
import importlib.metadata
import logging
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TextIO

from absl import logging as absl_logging
from ml_collections import ConfigDict

import seqjax
from seqjax.commands.announcement import announced
from seqjax.commands.needs import check_needs
from seqjax.commands.option_parser import Parser
from seqjax.commands.standard_streams import named_output, open_standard_streams
from seqjax.commands.trials import run_folder
from seqjax.config_files import load_config_file, load_run_config
from seqjax.doubts import warn_of_doubts
from seqjax.errors import Unavailable, UserError, did_you_mean, passes
from seqjax.files import in_bucket, path_option
from seqjax.overrides import split_overrides
from seqjax.parallel.host_memory import restart_with_own_allocator
from seqjax.parallel.platform import check_flags, require_platform
from seqjax.parallel.processes import Processes, is_first, joined
from seqjax.stages import say
from seqjax.validation import settled

# Exit codes besides 0: a user's mistake, and what a shell reports for the two signals.
_MISTAKE = 2
# To be tried again: what sysexits.h calls EX_TEMPFAIL.
_AWAY = 75
_INTERRUPTED = 130
_BROKEN_PIPE = 141


class Command(NamedTuple):
    """How a verb is listed, which of the common options it has, and whether it takes studies."""

    summary: str
    takes_config: bool
    needs_workdir: bool
    of_a_study: bool = False


VERBS = {
    "train": Command("train a model, or continue a run", True, True),
    "evaluate": Command("score a split with a trained model", False, True),
    "predict": Command("translate or continue standard input line by line", False, True),
    "score": Command("print the log probability of each token of given lines", False, True),
    "explain": Command("show what a config costs in memory, work and time", True, False),
    "report": Command("show what a run or a sweep has come to", False, False, of_a_study=True),
    "sweep": Command("train and evaluate the trials of a study", False, True, of_a_study=True),
    "submit": Command("hand a config or a study to a scheduler", True, True, of_a_study=True),
}


# Verbs that keep a processor busy for long.
_COMPUTING = ("train", "evaluate", "predict", "score")
# Those of them that measure how good a model is.
_SCORING = ("train", "evaluate")
# Options that name several runs.
_SEVERAL = ("together", "ensemble")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit code: 0 done, 2 a mistake, which is printed in one line.

    Args:
      argv: the verb and its options; None takes those of this process, which is then prepared: its
        standard streams, its allocator, and a line that says what has been started.
    """
    own_process = argv is None
    if argv is None:
        open_standard_streams()
        argv = sys.argv[1:]
        if argv[:1] and argv[0] in _COMPUTING:
            restart_with_own_allocator()
        # Results are UTF-8, as what is read is, whatever the terminal's locale.
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        # Errors only of what XLA says below Python: its warnings are for those who write compilers.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with _warnings_in_one_line():
            code = _run(list(argv), announced if own_process else _unannounced)
        with named_output():
            sys.stdout.flush()
        return code
    except (UserError, KeyboardInterrupt, OSError) as error:
        return _report(error)
    finally:
        if own_process:
            # Work does not fail because its progress cannot be printed.
            _discard_if_broken(sys.stderr)


def _report(error: BaseException) -> int:
    """Prints an error, a mistake in one line; returns the exit code."""
    if isinstance(error, KeyboardInterrupt):
        _complain("interrupted")
        return _INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # The reader went away, as `head` does.
        _discard_output()
        return _BROKEN_PIPE
    if isinstance(error, UserError):
        _complain(f"error: {' '.join(str(error).split())}")
        return _AWAY if isinstance(error, Unavailable) else _MISTAKE
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"error: {where}{error.strerror or error}")
        _discard_output()
        return _AWAY if passes(error) else _MISTAKE
    traceback.print_exception(error)
    return 1


def _complain(message: str) -> None:
    # Standard error may have gone, too.
    with contextlib.suppress(OSError):
        print(f"seqjax: {message}", file=sys.stderr)


def _discard_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        _discard_if_broken(stream)


def _discard_if_broken(stream: TextIO) -> None:
    """Drops what cannot be printed: Python would try once more when it exits, and fail again."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(argv: list[str], announce: Callable[..., AbstractContextManager]) -> int:
    if not argv:
        raise UserError(f"expected a verb: {', '.join(VERBS)} (see seqjax --help)")
    name, *rest = ["--help"] + argv[1:] if argv[0] == "help" else argv
    if name in ("-h", "--help"):
        if not rest:
            print(_overview())
            return 0
        name, rest = rest[0], ["--help"]
    if name in ("-V", "--version", "version"):
        print(_versions())
        return 0
    if name not in VERBS:
        raise UserError(
            f"unknown verb {name!r}: expected {', '.join(VERBS)}{did_you_mean(name, VERBS)}"
        )
    module = importlib.import_module(f"seqjax.commands.{name}")
    others, overrides = split_overrides(rest)
    parser = _verb_parser(name, module.HELP)
    module.add_arguments(parser)
    try:
        arguments = parser.parse_args(others)
    except SystemExit:
        # --help has been printed; a mistake raises UserError.
        return 0
    # For commands that are printed.
    arguments.overrides = overrides
    if VERBS[name].needs_workdir and not arguments.workdir:
        raise UserError("--workdir=: expected the run's folder")
    if arguments.workdir and not in_bucket(arguments.workdir):
        path = Path(arguments.workdir)
        if any(folder.is_file() for folder in (path, *path.parents)):
            raise UserError(f"--workdir={path}: expected a folder")
    with announce(name, arguments):
        return _work(name, module, arguments, overrides)


def _unannounced(*_: object) -> AbstractContextManager:
    return contextlib.nullcontext()


def _work(
    name: str,
    module: ModuleType,
    arguments: argparse.Namespace,
    overrides: Sequence[tuple[str, str]],
) -> int:
    if VERBS[name].of_a_study:
        return module.run(arguments, overrides)
    several = [option for option in _SEVERAL if getattr(arguments, option, None) is not None]
    trial = getattr(arguments, "trial", None)
    if several and trial is not None:
        raise UserError(f"--trial={trial}: expected no --{several[0]} beside it")
    if several:
        configs = _load_several(name, several, arguments, overrides)
        work = functools.partial(getattr(module, f"run_{several[0]}"), arguments, configs)
    else:
        if hasattr(arguments, "trial"):
            arguments.workdir = run_folder(arguments.workdir, trial)
        config = load_run_config(name, getattr(arguments, "config", None), arguments.workdir)
        configs = {"": settled(config, overrides)}
        work = functools.partial(module.run, arguments, configs[""])
    if name in _SCORING:
        check_needs(name, configs.values())
    if name not in _COMPUTING:
        check_flags(os.environ.get("XLA_FLAGS", ""))
        warn_of_doubts(configs.values())
        return work()
    processes = Processes(arguments.processes, arguments.process, arguments.coordinator)
    with joined(processes, _report):
        require_platform()
        if name in _SCORING and is_first():
            warn_of_doubts(configs.values())
        return work()


class _OneLine(logging.Handler):
    """Prints a log record as one line; of several processes the first prints warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        message = " ".join(record.getMessage().split())
        line = f"seqjax: {record.levelname.lower()}: {message}"
        say(line, always=record.levelno >= logging.ERROR)


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Prints the warnings of seqjax, but only errors of Orbax and TFDS, which log through absl."""
    ours, absl = logging.getLogger("seqjax"), absl_logging.get_absl_logger()
    before = absl.level, ours.propagate
    handler = _OneLine(logging.WARNING)
    ours.addHandler(handler)
    ours.propagate = False
    absl.setLevel(logging.ERROR)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.propagate = before[1]
        absl.setLevel(before[0])


def _versions() -> str:
    """Returns the versions that matter, without importing JAX."""
    found = [f"seqjax {seqjax.__version__}", f"Python {platform.python_version()}"]
    for package, name in (("jax", "JAX"), ("jaxlib", "jaxlib"), ("flax", "Flax")):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(package)}")
    return ", ".join(found)


def _overview() -> str:
    verbs = "\n".join(f"  {name:<9} {verb.summary}" for name, verb in VERBS.items())
    return (
        "usage: seqjax VERB [options] [--config.FIELD=VALUE ...]\n\n"
        f"verbs:\n{verbs}\n\n"
        "options:\n"
        "  --help     this text; `seqjax VERB --help` lists the options of a verb\n"
        "  --version  the versions of seqjax, Python and JAX\n\n"
        "Every field of a config is described in docs/CONFIG.md."
    )


def _verb_parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"seqjax {name}",
        description=description,
        epilog="--config.FIELD=VALUE sets a field of the config: --config.model.encoder.layers=4."
        " docs/CONFIG.md describes every field.",
        allow_abbrev=False,
    )
    verb = VERBS[name]
    if verb.takes_config:
        parser.add_argument(
            "--config",
            metavar="FILE[:VARIANT]",
            type=path_option("--config"),
            default="",
            help="Python file with get_config(); by default the config of the run in --workdir",
        )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        type=path_option("--workdir"),
        default="",
        required=verb.needs_workdir,
        help="the run's folder",
    )
    if name in _COMPUTING:
        _add_processes(parser)
    return parser


def _add_processes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("several hosts", "run the same command on each host")
    group.add_argument(
        "--processes",
        metavar="N|auto",
        default="1",
        help="number of processes; 'auto' asks SLURM, Kubernetes, the TPU or Open MPI",
    )
    group.add_argument(
        "--process", metavar="I", type=int, default=-1, help="number of this process, from 0"
    )
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", default="", help="address of process 0"
    )


def _load_several(
    verb: str,
    options: Sequence[str],
    arguments: argparse.Namespace,
    overrides: Sequence[tuple[str, str]],
) -> dict[str, ConfigDict]:
    """Returns the configs that `--together` or `--ensemble` names.

    They are variants of a config file if the verb takes one, else runs in the folder.
    """
    if verb == "train" and arguments.processes != "1":
        raise UserError("--together: expected no --processes, since it trains in one process")
    if len(options) > 1:
        raise UserError(f"--{options[1]}: expected no --{options[0]} beside it")
    text = getattr(arguments, options[0])
    names = text.split(",")
    if "" in names or len(set(names)) < len(names):
        raise UserError(f"--{options[0]}={text}: expected names, each once, as a,b,c")
    if not VERBS[verb].takes_config:
        folders = {name: os.path.join(arguments.workdir, name) for name in names}
        configs = {name: load_run_config(verb, None, path) for name, path in folders.items()}
    elif arguments.config:
        configs = {name: load_config_file(f"{arguments.config}:{name}") for name in names}
    else:
        raise UserError("--together: expected --config=FILE, whose variants it names")
    return {name: settled(config, overrides) for name, config in configs.items()}
