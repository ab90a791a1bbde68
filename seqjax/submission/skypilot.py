"""Tasks of SkyPilot: a managed job, which moves to another machine when its own is lost.

https://docs.skypilot.co/en/latest/reference/yaml-spec.html
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from seqjax.errors import UserError
from seqjax.submission.job import AGAIN, Job, Submission, text
from seqjax.submission.manifest import manifest

# The program that runs a verb in the copied checkout.
_PROGRAM = (".venv/bin/python", "launch.py")
_COMMENT = f"Exit codes {AGAIN[0]} and {AGAIN[1]}: saved; the same command goes on from there."
_KEY = "WANDB_API_KEY"
# The extras for buckets and databases, named like the schemes of their URLs.
_ADDRESSES = ("gs", "s3", "postgresql")


def extras(job: Job, hardware: str) -> str:
    """Returns the extras to install with seqjax, 'tpu,gs'.

    Raises:
      UserError: no extra has the driver of the database.
    """
    places = (job.workdir, *job.corpora, job.storage)
    # A database's URL may name its driver after a '+'.
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
    """Returns shell lines that set up `.venv` in a checkout."""
    package = f".[{wanted}]" if wanted else "."
    return [
        'export PATH="$HOME/.local/bin:$PATH"',
        "command -v uv || curl -LsSf https://astral.sh/uv/install.sh | sh",
        "uv venv --allow-existing --python 3.12 .venv",
        f"uv pip install --python .venv/bin/python -c constraints.txt -e '{package}'",
    ]


def command_of(job: Job, *more: str) -> str:
    """Returns the command that one machine runs in the checkout."""
    return job.command(*more, program=_PROGRAM)


def submission(
    job: Job, resources: Mapping[str, Any], setup: Sequence[str], command: Sequence[str]
) -> Submission:
    """Returns the task and the command that launches it.

    Args:
      job: the job.
      resources: the machines that it runs on.
      setup: shell lines that prepare a machine.
      command: shell lines that run the job, on each machine.
    """
    task = {
        "name": job.name,
        "num_nodes": job.nodes,
        "workdir": str(job.here),
        "resources": {
            **resources,
            "use_spot": not job.on_demand,
            "job_recovery": {"recover_on_exit_codes": list(AGAIN)},
        },
        "setup": text(*setup),
        "run": text(*command),
    }
    # The key of Weights & Biases comes from the submitting shell and is in no file.
    key = f"--env {_KEY} " if job.wandb else ""
    note = f"a run reports to Weights & Biases: {_KEY} has to be set" if job.wandb else ""
    # In the folder: SkyPilot splits a path as a shell does, and fails at an apostrophe in it.
    folder = shlex.quote(str(job.folder))
    launch = f"(cd {folder} && sky jobs launch --yes --detach-run {key}task.yaml)"
    files = {"task.yaml": manifest(task, comment=_COMMENT)}
    return Submission(files, launch, program="sky", note=note)
