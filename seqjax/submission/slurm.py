"""SLURM: one task for each node; for a study an array with a job for each trial or worker.

A job that reaches its time limit or is preempted saves, exits with 143 and is queued again; the
same command continues.
"""

import re
import shlex

from seqjax.errors import UserError
from seqjax.parallel.catalog import ANY_GPU
from seqjax.submission.job import (
    AGAIN,
    Job,
    Submission,
    refuse_tpus,
    require_one_node,
    require_storage,
    text,
)

OPTIONS = ("devices", "nodes", "time_limit", "option")

_NOTE = (
    "the jobs share study.db in WORKDIR: SQLite needs a file system that keeps locks between"
    " machines, which not every NFS or Lustre does; --storage=postgresql://user@host/name is safe"
)
# The largest array under SLURM's default MaxArraySize.
_LARGEST_ARRAY = 1000
# Seconds before the time limit at which a training gets SIGTERM, to save.
_NOTICE = 120


def submission(job: Job) -> Submission:
    """Returns the scripts of a run, or of a study's trials and its table."""
    refuse_tpus(job, "slurm")
    require_one_node(job)
    require_storage(job)
    for option in job.options:
        if not option.startswith("-") or "\n" in option:
            raise UserError(f"--option={option}: expected an option of sbatch, --partition=gpu")
    if set("\n\\") & set(str(job.folder)):
        raise UserError(
            f"--output={job.folder}: expected a folder without a backslash or a line break in its"
            " path, which sbatch reads for itself"
        )
    if not job.trials and job.workers < 2:
        command = job.command() if job.is_study else job.command("--processes=auto")
        script = _script(job, "%j", command)
        path = shlex.quote(str(job.folder / "job.sbatch"))
        return Submission({"job.sbatch": script}, f"sbatch {path}", program="sbatch")
    if job.trials:
        trial = f'{job.command()} --trial="${{trials[$SLURM_ARRAY_TASK_ID]}}"'
        array = f"#SBATCH --array=0-{len(job.trials) - 1}"
        array += f"%{job.workers}" if job.workers else ""
        names = [f"trials=({shlex.join(job.trials)})"]
    else:
        # A search, or trials trained together: a free worker takes the next one.
        trial, names = job.command(), []
        array = f"#SBATCH --array=0-{job.workers - 1}"
    files = {
        "trials.sbatch": _script(job, "%A-%a", trial, head=[array], before=names),
        # Tries failed trials again, and writes the table.
        "table.sbatch": _script(job, "%j", job.command()),
        "submit.sh": text(
            "#!/usr/bin/env bash",
            "set -euo pipefail",
            'cd "$(dirname "${BASH_SOURCE[0]}")"',
            "trials=$(sbatch --parsable trials.sbatch)",
            'table=$(sbatch --parsable --dependency="afterany:${trials%%;*}" table.sbatch)',
            'echo "trials: job $trials; table: job $table"',
        ),
    }
    path = shlex.quote(str(job.folder / "submit.sh"))
    notes = [] if job.storage else [_NOTE]
    if len(job.trials) > _LARGEST_ARRAY:
        notes.append(f"an array of {len(job.trials)} jobs needs a larger MaxArraySize of SLURM")
    note = "; ".join(notes)
    return Submission(files, f"bash {path}", program="sbatch", note=note)


def _script(
    job: Job, log: str, command: str, head: list[str] | None = None, before: list[str] | None = None
) -> str:
    """Returns the script of a job, or of each job of an array."""
    gpus = job.devices_per_node
    options = [
        f"--job-name={job.name}",
        # sbatch replaces % and a letter by a number or a name.
        _word(f"--output={str(job.folder).replace('%', '%%')}/{log}.log"),
        # A requeued job appends to the same log.
        "--open-mode=append",
        f"--nodes={job.nodes}",
        "--ntasks-per-node=1",
        *([f"--gpus-per-node={_gpus(job, gpus)}"] if gpus else []),
        *([f"--time={job.time_limit}"] if job.time_limit else []),
        "--requeue",
        f"--signal=TERM@{_NOTICE}",
        *map(_words, job.options),
    ]
    visible = []
    if gpus:
        # By default JAX gives a SLURM task one GPU.
        visible = [f"export JAX_LOCAL_DEVICE_IDS={','.join(map(str, range(gpus)))}"]
    again = " || ".join(f'[ "$code" = {code} ]' for code in AGAIN)
    return text(
        "#!/usr/bin/env bash",
        *(f"#SBATCH {option}" for option in options),
        *(head or []),
        "set -uo pipefail",
        "",
        f"cd {shlex.quote(str(job.here))} || exit",
        *visible,
        *job.exports,
        *(before or []),
        # Since SLURM 22.05 srun does not take the CPUs of a task from sbatch. Signals go to the
        # processes that srun starts, not to this script.
        f"srun ${{SLURM_CPUS_PER_TASK:+--cpus-per-task=$SLURM_CPUS_PER_TASK}} {command}",
        "code=$?",
        f"# {AGAIN[0]} and {AGAIN[1]}: saved; the same command goes on from there.",
        f"if {again}; then",
        '  scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        'exit "$code"',
    )


def _gpus(job: Job, count: int) -> str:
    """Returns SLURM's value for GPUs; clusters name the types themselves."""
    return str(count) if job.devices.kind == ANY_GPU else f"{job.devices.kind}:{count}"


def _words(option: str) -> str:
    """Returns an option given as `--name=value`, or as `--name value`, in a line of #SBATCH."""
    name, space, value = option.partition(" ")
    if space and "=" not in name:
        return f"{name} {_word(value.strip())}"
    return _word(option)


def _word(argument: str) -> str:
    """Returns an argument as sbatch reads it in a line of #SBATCH.

    That is no shell: in double quotes a backslash, a quote and, before SLURM 14, '#' are escaped.
    """
    if re.fullmatch(r"[\w%+,./:=@-]+", argument, re.ASCII):
        return argument
    escaped = re.sub(r'([\\"#])', r"\\\1", argument)
    return f'"{escaped}"'
