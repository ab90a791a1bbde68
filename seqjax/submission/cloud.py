"""GPUs of any cloud, or of a Kubernetes cluster, by a managed job of SkyPilot."""

from seqjax.submission import skypilot
from seqjax.submission.job import (
    PORT,
    Job,
    Submission,
    refuse_tpus,
    require_bucket,
    require_corpora,
    require_one_node,
    require_storage,
)

OPTIONS = ("devices", "nodes", "on_demand")


def submission(job: Job) -> Submission:
    """Returns `task.yaml` for SkyPilot."""
    refuse_tpus(job, "cloud")
    require_bucket(job, "the disk of a spot machine goes with it")
    require_one_node(job)
    require_storage(job)
    require_corpora(job)
    count = job.devices_per_node
    resources = {"accelerators": f"{job.devices.kind.upper()}:{count}"} if count else {}
    join = []
    if job.nodes > 1:
        join = [
            'first=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)',
            f'join=(--processes={job.nodes} --process="$SKYPILOT_NODE_RANK"'
            f' --coordinator="$first:{PORT}")',
        ]
    command = skypilot.command_of(job) + (' "${join[@]}"' if join else "")
    install = skypilot.install(skypilot.extras(job, "cuda" if count else ""))
    return skypilot.submission(job, resources, install, [*job.exports, *join, command])
