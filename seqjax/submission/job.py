"""A job as every scheduler module takes it, and the submission that they return."""

import dataclasses
import os
import shlex
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from seqjax.errors import UserError
from seqjax.files import in_bucket
from seqjax.parallel.catalog import Devices

# Exit codes of `train` after which the same command goes on: what may pass later, such as a partner
# or a disk that is away, and SIGTERM, once it has saved.
AGAIN = (75, 143)
# Its exit code for a user's mistake, which no second try mends.
MISTAKE = 2
# The port at which the other processes find process 0.
PORT = 8476


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to run, and on what.

    Attributes:
      name: the job's name: small letters, digits and '-', a letter first.
      arguments: the verb and its options, ('train', '--config=configs/demo.py', ...).
      workdir: the folder of the run or study, which may be a bucket's.
      folder: where the job's files lie on this machine.
      here: the folder that relative paths in `arguments` start from.
      program: what runs a verb here, ('python', 'launch.py').
      nodes: machines, with one process each.
      devices: accelerators of all machines together; None for none.
      time_limit: hours, minutes and seconds, '24:00:00'; '' for the scheduler's own.
      trials: the names of a study's trials if they are known; empty for a single run.
      workers: trials of a study that run at a time; 0 for the default.
      storage: URL of the database that holds a study; '' for SQLite in its folder.
      corpora: the folders of the configs' corpora, with this machine's variables expanded.
      environment: these variables, by name and value.
      wandb: whether a run reports to Weights & Biases.
      options: options of sbatch, '--partition=gpu', or Kubernetes node labels, 'LABEL=VALUE'.
      on_demand: whether cloud machines must not be preempted, which costs more.
      zone: the Google Cloud zone of the TPUs.
      image: the container image for Kubernetes, with seqjax in it.
      volume: 'CLAIM:/PATH', a persistent volume claim of Kubernetes and its mount path.
    """

    name: str
    arguments: tuple[str, ...]
    workdir: str
    folder: Path
    here: Path
    program: tuple[str, ...] = ("python", "launch.py")
    nodes: int = 1
    devices: Devices | None = None
    time_limit: str = ""
    trials: tuple[str, ...] = ()
    workers: int = 0
    storage: str = ""
    corpora: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    wandb: bool = False
    options: tuple[str, ...] = ()
    on_demand: bool = False
    zone: str = ""
    image: str = ""
    volume: str = ""

    def command(self, *more: str, program: tuple[str, ...] = ()) -> str:
        """Returns the command of one process as a shell reads it."""
        return shlex.join([*(program or self.program), *self.arguments, *more])

    @property
    def devices_per_node(self) -> int:
        """The number of devices of one machine.

        Raises:
          UserError: the machines do not divide the devices.
        """
        if self.devices is None:
            return 0
        each, rest = divmod(self.devices.count, self.nodes)
        if rest:
            raise UserError(
                f"--devices={self.devices.name}: expected a multiple of --nodes={self.nodes}"
            )
        return each

    @property
    def is_study(self) -> bool:
        """Whether the job is a study, with many runs."""
        return self.arguments[0] == "sweep"

    @property
    def exports(self) -> list[str]:
        """Shell lines that set the variables on other machines."""
        return [f"export {name}={shlex.quote(value)}" for name, value in self.environment]

    @property
    def in_bucket(self) -> bool:
        """Whether the run's folder is in a bucket, which every machine can reach."""
        return in_bucket(self.workdir)


class Submission(NamedTuple):
    """The files for a scheduler and how they are submitted.

    Attributes:
      files: the contents of files by their names in the job's folder.
      command: the shell command that submits them.
      program: the program that this command needs.
      otherwise: a command that does the same by hand, '' for none.
      note: what the user must check before, '' for nothing.
    """

    files: Mapping[str, str]
    command: str
    program: str
    otherwise: str = ""
    note: str = ""


def refuse_tpus(job: Job, scheduler: str) -> None:
    """Raises UserError if TPUs are asked for."""
    if job.devices and job.devices.is_tpu:
        raise UserError(
            f"--devices={job.devices.name}: --on={scheduler} expects GPUs such as h100x8;"
            " --on=tpu takes TPUs"
        )


def require_one_node(job: Job) -> None:
    """Raises UserError if each trial of a study would run on several machines."""
    if job.is_study and job.nodes > 1:
        raise UserError(f"--nodes={job.nodes}: expected 1, since a trial runs on one machine")


def require_bucket(job: Job, where: str) -> None:
    """Raises UserError if the run's folder would be lost with the machine."""
    if not job.in_bucket:
        raise UserError(
            f"--workdir={job.workdir}: expected a bucket such as gs://NAME/runs/x, since {where}"
        )


def is_below(folder: str, parent: str) -> bool:
    """Returns whether a path is another one or lies below it; nothing lies below ''."""
    return bool(parent) and f"{folder}/".startswith(f"{parent.rstrip('/')}/")


def require_corpora(job: Job, mounted: str | None = None) -> None:
    """Raises UserError for a corpus that other machines cannot reach.

    Args:
      job: the job.
      mounted: the mount path of a volume there, '' for none; None if there can be none.
    """
    for folder in job.corpora:
        in_checkout = not (os.path.isabs(folder) or "$" in folder or ".." in Path(folder).parts)
        if not (in_bucket(folder) or in_checkout or is_below(folder, mounted or "")):
            more = "" if mounted is None else ", a folder below the path of --volume=CLAIM:/PATH,"
            raise UserError(
                f"data.directory={folder}: expected a bucket such as gs://NAME/corpus{more} or a"
                " relative path in the checkout, since the machines have no other; of $VARIABLES"
                " they get the values that are set here"
            )


def require_storage(job: Job) -> None:
    """Raises UserError if a study would be kept in a bucket by SQLite, which cannot."""
    if job.is_study and job.in_bucket and job.storage.partition(":")[0] in ("", "sqlite"):
        raise UserError(
            f"--storage={job.storage}: expected a database such as postgresql://user@host/name,"
            f" since SQLite can't keep one in the bucket of --workdir={job.workdir}"
        )


def has_password(url: str) -> bool:
    """Returns whether the URL of a database holds a password."""
    try:
        return bool(urllib.parse.urlsplit(url).password)
    except ValueError:
        # What stands before an '@' may be one.
        return "@" in url


def text(*lines: str) -> str:
    """Returns lines as the text of a file."""
    return "\n".join(lines) + "\n"
