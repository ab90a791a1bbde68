"""Tasks of SkyPilot: a managed job, which moves on to another machine when it loses its own.

https://docs.skypilot.co/en/latest/reference/yaml-spec.html
"""

import json
import shlex
from collections.abc import Sequence

from seqjax.errors import UserError
from seqjax.submission.job import STOPPED, Job, Submission, text

# What runs a verb where the code was copied to.
_PROGRAM = (".venv/bin/python", "launch.py")
_KEY = "WANDB_API_KEY"
# The extras for buckets and databases, called like the beginnings of their addresses.
_ADDRESSES = ("gs", "s3", "postgresql")


def extras(job: Job, hardware: str) -> str:
    """Returns what is installed with seqjax, 'tpu,gs'.

    Raises:
      UserError: the driver of a database is not among it.
    """
    places = (job.workdir, *job.corpora, job.storage)
    # Behind a '+' a database's address may name its driver.
    schemes = {place.partition("://")[0].partition("+")[0] for place in places}
    if job.storage and "postgresql" not in schemes:
        raise UserError(
            f"--storage={job.storage}: expected postgresql://user@host/name, whose driver the"
            " machines get"
        )
    wanted = [hardware, *(extra for extra in _ADDRESSES if extra in schemes)]
    wanted += ["wandb"] if job.wandb else []
    return ",".join(filter(None, wanted))


def install(wanted: str) -> list[str]:
    """Returns the lines of a shell that set up `.venv` in a checkout."""
    package = f".[{wanted}]" if wanted else "."
    return [
        'export PATH="$HOME/.local/bin:$PATH"',
        "command -v uv || curl -LsSf https://astral.sh/uv/install.sh | sh",
        "uv venv --allow-existing --python 3.12 .venv",
        f"uv pip install --python .venv/bin/python -c constraints.txt -e '{package}'",
    ]


def run(job: Job, *more: str) -> str:
    """Returns the command that one machine runs in the checkout."""
    return job.command(*more, program=_PROGRAM)


def submission(
    job: Job, resources: Sequence[str], setup: Sequence[str], command: Sequence[str]
) -> Submission:
    """Returns the task and the command that launches it.

    Args:
      job: what runs.
      resources: the lines that say what it runs on.
      setup: the shell's lines that make a machine ready.
      command: those that run the job, on each machine.
    """
    task = text(
        f"name: {job.name}",
        f"num_nodes: {job.nodes}",
        # A quoted text of JSON is one of YAML, too.
        f"workdir: {json.dumps(str(job.here))}",
        "resources:",
        *(f"  {line}" for line in resources),
        f"  use_spot: {'false' if job.on_demand else 'true'}",
        "  job_recovery:",
        # A training that was told to stop has saved, and goes on from there.
        f"    recover_on_exit_codes: [{STOPPED}]",
        "setup: |",
        *(f"  {line}" for line in setup),
        "run: |",
        *(f"  {line}" for line in "\n".join(command).split("\n")),
    )
    path = shlex.quote(str(job.folder / "task.yaml"))
    # The key of Weights & Biases is that of the shell it is submitted from, and stands in no file.
    key = f"--env {_KEY} " if job.wandb else ""
    note = f"a run reports to Weights & Biases: {_KEY} has to be set" if job.wandb else ""
    launch = f"sky jobs launch --yes --detach-run {key}{path}"
    return Submission({"task.yaml": task}, launch, program="sky", note=note)
