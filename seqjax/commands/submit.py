"""`submit`: a run or a study as a job of a scheduler."""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import seqjax
from seqjax.config_files import load_run_config
from seqjax.errors import UserError
from seqjax.fields import flatten
from seqjax.files import check_run_path, expanded, in_bucket, path_option, replace_file
from seqjax.parallel.catalog import find_devices
from seqjax.stages import say
from seqjax.studies.search import Search
from seqjax.studies.study_files import load_study
from seqjax.studies.trial_group import check_vectorize
from seqjax.submission import cloud, kubernetes, local, slurm, tpu
from seqjax.submission.job import Job, Submission, has_password
from seqjax.validation import settled

HELP = (
    "Writes and prints the files of a job that trains a config or sweeps a study, and submits them"
    " with the scheduler's own command. A job that is stopped and started again continues from its"
    " last checkpoint."
)

_SCHEDULERS = {
    "local": local,
    "slurm": slurm,
    "tpu": tpu,
    "cloud": cloud,
    "kubernetes": kubernetes,
}
# Those that do not run the code in this folder.
_ELSEWHERE = (tpu, cloud, kubernetes)
# Those that can be asked for any GPU.
_ANY_GPU = (slurm, kubernetes)
_PASSWORD = (
    "these files hold the password of --storage; without one in the URL, PGPASSWORD or ~/.pgpass of"
    " the machines that run the job is used"
)
_TIME_LIMIT = re.compile(r"\d+:[0-5]\d:[0-5]\d", re.ASCII)
# Bytes of the command line that are no UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")
_ZONE = re.compile(r"[a-z]+-[a-z]+\d+-[a-z]", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--on` and the options of the schedulers."""
    parser.add_argument(
        "--on",
        choices=_SCHEDULERS,
        required=True,
        help="'cloud': GPUs that SkyPilot finds; 'tpu': a slice of Google's",
    )
    parser.add_argument(
        "--study",
        metavar="FILE",
        type=path_option("--study"),
        default="",
        help="Python file with get_study(), instead of --config",
    )
    parser.add_argument(
        "--storage",
        metavar="URL",
        default="",
        help="database that holds the study, as for `sweep`: postgresql://user@host/name; set its"
        " password as PGPASSWORD where the job runs",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=int,
        help="trials of the study to run at a time; with SLURM, jobs of the array",
    )
    parser.add_argument(
        "--vectorize",
        metavar="auto|N|off",
        default="off",
        help="train trials of the study as one program, as for `sweep`",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=path_option("--output"),
        default="",
        help="folder for the files; by default WORKDIR/submit, or runs/NAME/submit if that is not"
        " on this machine",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="print the files, write and submit nothing"
    )
    _add_machines(parser)


def _add_machines(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what it runs on", "each scheduler takes some of these")
    group.add_argument(
        "--devices",
        metavar="NAME",
        default="",
        help="accelerators of all machines together: tpu-v5e-16, h100x8, gpux4 (any GPU); without"
        " it a SLURM job sees at most one GPU, whatever --option=--gres says",
    )
    group.add_argument("--nodes", metavar="N", type=int, help="number of machines")
    group.add_argument("--time_limit", metavar="H:MM:SS", default="")
    group.add_argument(
        "--option",
        metavar="TEXT",
        action="append",
        default=[],
        help="another option of sbatch, --option=--cpus-per-task=16, or of Kubernetes a node label"
        " (LABEL=VALUE); may be repeated",
    )
    group.add_argument(
        "--on_demand",
        action="store_true",
        help="machines that are never preempted, which cost more; by default spot machines",
    )
    group.add_argument("--zone", metavar="ZONE", default="", help="zone of the TPUs")
    group.add_argument("--image", metavar="IMAGE", default="", help="container for Kubernetes")
    group.add_argument(
        "--volume",
        metavar="CLAIM:/PATH",
        default="",
        help="persistent volume claim of Kubernetes, and its mount path",
    )


def run(arguments: argparse.Namespace, overrides: Sequence[tuple[str, str]]) -> int:
    """Prints the files and the command that submits them; without --dry_run also submits them.

    Returns:
      0, or the exit code of the scheduler's command.
    """
    scheduler = _SCHEDULERS[arguments.on]
    _check(arguments, scheduler)
    job = _job(arguments, overrides, scheduler)
    submission = scheduler.submission(job)
    for name, content in submission.files.items():
        print(f"# {job.folder / name}\n{content}")
    print(f"# submitted by\n{submission.command}")
    if submission.otherwise:
        print(f"# or by hand\n{submission.otherwise}")
    notes = [submission.note, _PASSWORD if has_password(job.storage) else ""]
    for note in filter(None, notes):
        print(f"# note: {note}")
    sys.stdout.flush()
    if arguments.dry_run:
        return 0
    job.folder.mkdir(parents=True, exist_ok=True)
    for name, content in submission.files.items():
        replace_file(job.folder / name, content)
        if has_password(job.storage):
            (job.folder / name).chmod(0o600)
    return _submit(submission)


def _submit(submission: Submission) -> int:
    if shutil.which(submission.program) is None:
        otherwise = f", or here: {submission.otherwise}" if submission.otherwise else ""
        say(
            f"{submission.program} is not installed here: run where it is:"
            f" {submission.command}{otherwise}",
            always=True,
        )
        return 0
    return subprocess.run(["bash", "-c", submission.command]).returncode


def _check(arguments: argparse.Namespace, scheduler: ModuleType) -> None:
    """Raises UserError for options that the scheduler does not take, and for wrong values."""
    names = ("devices", "nodes", "time_limit", "option", "on_demand", "zone", "image", "volume")
    for name in names:
        value = getattr(arguments, name)
        if value not in ("", None, [], False) and name not in scheduler.OPTIONS:
            taken = ", ".join(f"--{option}" for option in scheduler.OPTIONS) or "none of its kind"
            raise UserError(f"--{name}: expected no such option; --on={arguments.on} takes {taken}")
    if arguments.nodes is not None and arguments.nodes < 1:
        raise UserError(f"--nodes={arguments.nodes}: expected 1 or more")
    if arguments.time_limit and not _TIME_LIMIT.fullmatch(arguments.time_limit):
        raise UserError(
            f"--time_limit={arguments.time_limit}: expected hours, minutes and seconds, 24:00:00"
        )
    if arguments.zone and not _ZONE.fullmatch(arguments.zone):
        raise UserError(f"--zone={arguments.zone}: expected a zone such as us-east5-a")
    if arguments.study and arguments.config:
        raise UserError("--study and --config: expected one of the two")
    for name, default in (("storage", ""), ("workers", None), ("vectorize", "off")):
        if getattr(arguments, name) != default and not arguments.study:
            raise UserError(f"--{name}={getattr(arguments, name)}: expected --study=FILE with it")
    if arguments.workers is not None and arguments.workers < 1:
        raise UserError(f"--workers={arguments.workers}: expected at least 1")
    if arguments.storage and "://" not in arguments.storage:
        raise UserError(
            f"--storage={arguments.storage}: expected a database such as"
            " postgresql://user@host/name"
        )


def _job(
    arguments: argparse.Namespace, overrides: Sequence[tuple[str, str]], scheduler: ModuleType
) -> Job:
    """Returns the job, after checking the config or those of all trials."""
    workdir = arguments.workdir
    check_run_path(workdir)
    _check_text(arguments, overrides)
    here, program = _code(arguments.on, scheduler)
    options = [f"--config.{field}={text}" for field, text in overrides]
    trials: tuple[str, ...] = ()
    if arguments.study:
        study = load_study(arguments.study)
        configs = [spec.values for spec in study.specs(arguments.study, overrides).values()]
        check_vectorize(arguments.vectorize, isinstance(study, Search))
        if isinstance(study, Search):
            # Its trials are drawn as it runs.
            configs.append(flatten(study.config(overrides)))
        elif arguments.vectorize == "off":
            trials = tuple(study.names)
        file = _inside(arguments.study, "study", here, scheduler)
        more = [f"--storage={arguments.storage}"] if arguments.storage else []
        if arguments.vectorize != "off":
            more.append(f"--vectorize={arguments.vectorize}")
        if arguments.workers and scheduler is not slurm:
            more.append(f"--workers={arguments.workers}")
        command = ("sweep", f"--study={file}", f"--workdir={workdir}", *more, *options)
    else:
        config = settled(load_run_config("submit", arguments.config, workdir), overrides)
        configs = [flatten(config)]
        chosen = []
        if arguments.config:
            chosen = [f"--config={_inside(arguments.config, 'config', here, scheduler)}"]
        command = ("train", *chosen, f"--workdir={workdir}", *options)
    corpora, environment = _corpora(configs)
    # The files cannot lie in a bucket, or in a folder of another machine.
    away = scheduler in _ELSEWHERE or in_bucket(workdir)
    label = _label(workdir, away)
    beside = Path("runs", label) if away else Path(workdir)
    devices = None
    if arguments.devices:
        devices = find_devices(arguments.devices, any_gpu=scheduler in _ANY_GPU)
    return Job(
        name=f"seqjax-{label}",
        arguments=command,
        workdir=workdir,
        folder=Path(arguments.output or beside / "submit").absolute(),
        here=here,
        program=program,
        nodes=arguments.nodes or 1,
        devices=devices,
        time_limit=arguments.time_limit,
        trials=trials,
        workers=arguments.workers or 0,
        storage=arguments.storage,
        corpora=corpora,
        environment=environment,
        wandb=any(values["reporting.wandb_project"] for values in configs),
        options=tuple(arguments.option),
        on_demand=arguments.on_demand,
        zone=arguments.zone,
        image=arguments.image,
        volume=arguments.volume,
    )


def _check_text(arguments: argparse.Namespace, overrides: Sequence[tuple[str, str]]) -> None:
    """Raises UserError for bytes that are no UTF-8, which no file of a job could hold."""
    given = {f"--{name}": value for name, value in vars(arguments).items()}
    given |= {f"--config.{field}": value for field, value in overrides}
    for option, value in given.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and _SURROGATE.search(text):
                raise UserError(f"{option}={os.fsencode(text)!r}: expected UTF-8")


def _corpora(
    configs: Iterable[Mapping[str, Any]],
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Returns the folders of corpora in files or buckets, and the variables that they name.

    `configs` are the values of their fields.
    """
    folders, variables = {}, {}
    corpora = dict.fromkeys((c["data.corpus"], c["data.directory"]) for c in configs)
    for corpus, directory in corpora:
        folder = expanded(directory, f"data.directory = {directory!r}")
        # What TFDS doesn't find in a folder of the machine it prepares there.
        made = corpus.startswith("tfds:") and not in_bucket(folder)
        if corpus.startswith("synthetic:") or made:
            continue
        folders[folder] = None
        for name in re.findall(r"\$\{?(\w+)", directory, re.ASCII):
            if name in os.environ:
                variables[name] = os.environ[name]
    return tuple(folders), tuple(variables.items())


def _label(workdir: str, away: bool) -> str:
    """Returns a short name of a run: the last part of its folder.

    On shared schedulers it ends in a digest of the whole path, since others name jobs there, too.
    """
    workdir = workdir.rstrip("/")
    last = re.sub(r"[^a-z0-9]+", "-", workdir.rpartition("/")[2].lower()).strip("-")
    label = last[:36].rstrip("-") or "run"
    return f"{label}-{hashlib.sha256(workdir.encode()).hexdigest()[:6]}" if away else label


def _code(on: str, scheduler: ModuleType) -> tuple[Path, tuple[str, ...]]:
    """Returns the folder that the job runs in, and the program that runs a verb there."""
    checkout = Path(seqjax.__file__).parents[1]
    launcher = checkout / "launch.py"
    if scheduler in _ELSEWHERE:
        if not launcher.is_file():
            raise UserError(f"--on={on}: expected to be run from a checkout, which has launch.py")
        return checkout, ("python", "launch.py")
    if launcher.is_file():
        return Path.cwd(), (sys.executable, str(launcher))
    return Path.cwd(), (sys.executable, "-m", "seqjax")


def _inside(file: str, option: str, here: Path, scheduler: ModuleType) -> str:
    """Returns the path of a file as the job sees it."""
    if scheduler not in _ELSEWHERE:
        return file
    try:
        return str(Path(file).absolute().relative_to(here))
    except ValueError:
        raise UserError(
            f"--{option}={file}: expected a file below {here}, which is copied to the machines"
        ) from None
