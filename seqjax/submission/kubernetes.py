"""Kubernetes: an indexed Job, and a headless service that names its pods.

https://kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication/: the first
pod of a job NAME with the subdomain NAME has the address NAME-0.NAME.
"""

import re
import shlex
from typing import Any

from seqjax.errors import UserError
from seqjax.parallel.catalog import ANY_GPU
from seqjax.submission.job import (
    AGAIN,
    MISTAKE,
    PORT,
    Job,
    Submission,
    is_below,
    refuse_tpus,
    require_corpora,
    require_one_node,
    require_storage,
    text,
)
from seqjax.submission.manifest import manifest

OPTIONS = ("devices", "nodes", "time_limit", "option", "image", "volume")

# Seconds that a pod has to save before it is killed, and errors that are retried for each pod.
_GRACE = 120
_RETRIES = 3
_RULES = [
    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [MISTAKE]}},
    {"action": "Ignore", "onExitCodes": {"operator": "In", "values": list(AGAIN)}},
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
]
_COMMENT = f"""\
Exit code {MISTAKE} is a mistake, which ends the job. {AGAIN[0]} (a partner or a disk is away),
{AGAIN[1]} (stopped, and saved) and lost nodes begin a pod anew, as often as it takes; any other
failure counts toward backoffLimit. Kubernetes reads $$ as $."""
_LABEL = re.compile(r"([\w./-]+)=([\w.-]*)", re.ASCII)
_VOLUME = re.compile(r"([a-z0-9][a-z0-9.-]*):(/[^:]+)")


def submission(job: Job) -> Submission:
    """Returns `job.yaml`."""
    refuse_tpus(job, "kubernetes")
    _check_gpus(job)
    require_one_node(job)
    require_storage(job)
    if not job.image:
        raise UserError(
            "--image=: expected a container image, in whose working directory launch.py lies"
        )
    claim, mounted = _volume(job)
    require_corpora(job, mounted)
    if not (job.in_bucket or is_below(job.workdir, mounted)):
        raise UserError(
            f"--workdir={job.workdir}: expected a bucket such as gs://NAME/runs/x, or a folder"
            " below the path of --volume=CLAIM:/PATH, since the disk of a pod goes with it"
        )
    parts = [_job(job, claim, mounted)]
    if job.nodes > 1:
        parts = [_service(job), *parts]
    file = job.folder / "job.yaml"
    # `kubectl apply` of a Job that has ended runs nothing. One that still runs saves first. Read
    # from standard input, since --filename takes a comma for the end of a path.
    path = shlex.quote(str(file))
    command = (
        f"kubectl delete --ignore-not-found --cascade=foreground --filename=- < {path}"
        f" && kubectl create --filename=- < {path}"
    )
    files = {file.name: manifest(*parts, comment=_COMMENT)}
    return Submission(files, command, program="kubectl")


def _check_gpus(job: Job) -> None:
    """Raises UserError for a kind of GPU: each cluster labels its nodes in its own way."""
    if job.devices and job.devices.kind != ANY_GPU:
        raise UserError(
            f"--devices={job.devices.name}: --on=kubernetes expects gpux{job.devices.count}, and"
            " the label of nodes that have the kind, as in"
            " --option=nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3"
        )
    for option in job.options:
        if not _LABEL.fullmatch(option):
            raise UserError(
                f"--option={option}: --on=kubernetes expects a label of nodes, LABEL=VALUE"
            )


def _volume(job: Job) -> tuple[str, str]:
    if not job.volume:
        return "", ""
    match = _VOLUME.fullmatch(job.volume)
    if not match:
        raise UserError(
            f"--volume={job.volume}: expected CLAIM:/PATH, a persistent volume claim and the folder"
            " it is mounted at, without a colon"
        )
    return match[1], match[2]


def _service(job: Job) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": job.name},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"job-name": job.name},
        },
    }


def _job(job: Job, claim: str, mounted: str) -> dict[str, Any]:
    """Returns the Job itself: as many pods as machines, each with its number."""
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": job.nodes,
        "parallelism": job.nodes,
        "backoffLimit": _RETRIES * job.nodes,
    }
    if job.time_limit:
        spec["activeDeadlineSeconds"] = _seconds(job.time_limit)
    # A new pod waits until the old one is gone: two would write one run directory.
    spec["podReplacementPolicy"] = "Failed"
    spec["podFailurePolicy"] = {"rules": _RULES}
    spec["template"] = {"spec": _pod(job, claim, mounted)}
    metadata = {"name": job.name}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _pod(job: Job, claim: str, mounted: str) -> dict[str, Any]:
    """Returns a pod: one container, the memory that GPUs exchange data by, and the claim."""
    pod: dict[str, Any] = {"restartPolicy": "Never", "terminationGracePeriodSeconds": _GRACE}
    if job.nodes > 1:
        pod["subdomain"] = job.name
    if job.options:
        pod["nodeSelector"] = dict(option.split("=") for option in job.options)
    container: dict[str, Any] = {
        "name": "seqjax",
        "image": job.image,
        "command": ["bash", "-c"],
        "args": [_literal(_script(job))],
    }
    if gpus := job.devices_per_node:
        container["resources"] = {"limits": {"nvidia.com/gpu": gpus}}
    container["volumeMounts"] = [{"name": "memory", "mountPath": "/dev/shm"}]
    volumes: list[dict[str, Any]] = [{"name": "memory", "emptyDir": {"medium": "Memory"}}]
    if claim:
        container["volumeMounts"].append({"name": "runs", "mountPath": mounted})
        volumes.append({"name": "runs", "persistentVolumeClaim": {"claimName": claim}})
    return pod | {"containers": [container], "volumes": volumes}


def _script(job: Job) -> str:
    """Returns the shell script that a container runs."""
    command = job.command()
    if job.nodes > 1:
        command += (
            f' --processes={job.nodes} --process="$JOB_COMPLETION_INDEX"'
            f" --coordinator={job.name}-0.{job.name}:{PORT}"
        )
    # Replaces the shell, so that SIGTERM reaches the training.
    return text(*job.exports, f"exec {command}")


def _literal(argument: str) -> str:
    """Returns an argument of a container, escaped so that the kubelet passes it on unchanged.

    The kubelet replaces `$(NAME)` by a variable of the container, and `$$` by `$`.
    """
    return argument.replace("$", "$$")


def _seconds(time_limit: str) -> int:
    hours, minutes, seconds = map(int, time_limit.split(":"))
    return 3600 * hours + 60 * minutes + seconds
