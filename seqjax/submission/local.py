"""This machine: the command itself, which goes on when the terminal is closed."""

import shlex

from seqjax.submission.job import Job, Submission, require_storage, text

OPTIONS = ()


def submission(job: Job) -> Submission:
    """Returns a script and the command that runs it in the background, with a log beside it."""
    require_storage(job)
    script = text(
        "#!/usr/bin/env bash",
        "set -euo pipefail",
        f"cd {shlex.quote(str(job.here))}",
        # Replaces the shell, so that signals reach the training.
        f"exec {job.command()}",
    )
    run, log = (shlex.quote(str(job.folder / name)) for name in ("run.sh", "run.log"))
    return Submission(
        {"run.sh": script}, f"nohup bash {run} >> {log} 2>&1 < /dev/null &", program="nohup"
    )
