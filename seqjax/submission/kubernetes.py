"""Kubernetes: an indexed Job, and a service without an address of its own that names its pods.

https://kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication/: of a job NAME whose pods
have the subdomain NAME the first one is found at NAME-0.NAME.
"""

import json
import re
import shlex

from seqjax.errors import UserError
from seqjax.parallel.catalog import ANY_GPU
from seqjax.submission.job import (
    MISTAKE,
    PORT,
    STOPPED,
    Job,
    Submission,
    is_below,
    refuse_tpus,
    require_corpora,
    require_one_node,
    require_storage,
)

OPTIONS = ("devices", "nodes", "time_limit", "option", "image", "volume")

# Seconds that a pod has to save when it must go, and how often each pod is begun anew
# for an error.
_GRACE = 120
_RETRIES = 3
_LABEL = re.compile(r"([\w./-]+)=([\w.-]*)", re.ASCII)
_VOLUME = re.compile(r"([a-z0-9][a-z0-9.-]*):(/.+)")


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
    path = shlex.quote(str(job.folder / "job.yaml"))
    # To apply a Job that has ended runs nothing. One that still runs saves before it is gone.
    command = (
        f"kubectl delete --ignore-not-found --cascade=foreground --filename={path}"
        f" && kubectl create --filename={path}"
    )
    return Submission({"job.yaml": "---\n".join(parts)}, command, program="kubectl")


def _check_gpus(job: Job) -> None:
    """Raises UserError for a kind of GPU, whose name every cluster has in labels of its own."""
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
            f"--volume={job.volume}: expected CLAIM:/PATH, a persistent volume claim and where its"
            " content is to be seen"
        )
    return match[1], match[2]


def _service(job: Job) -> str:
    return f"""\
apiVersion: v1
kind: Service
metadata:
  name: {job.name}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    job-name: {job.name}
"""


def _job(job: Job, claim: str, mounted: str) -> str:
    """Returns the Job itself: as many pods as machines, each with its number."""
    together = job.nodes > 1
    command = job.command()
    if together:
        command += (
            f' --processes={job.nodes} --process="$JOB_COMPLETION_INDEX"'
            f" --coordinator={job.name}-0.{job.name}:{PORT}"
        )
    pod = ["restartPolicy: Never", f"terminationGracePeriodSeconds: {_GRACE}"]
    if together:
        pod.append(f"subdomain: {job.name}")
    if job.options:
        labels = dict(option.split("=") for option in job.options)
        pod.append(f"nodeSelector: {json.dumps(labels)}")
    head = f"""\
apiVersion: batch/v1
kind: Job
metadata:
  name: {job.name}
spec:
  completionMode: Indexed
  completions: {job.nodes}
  parallelism: {job.nodes}
  backoffLimit: {_RETRIES * job.nodes}
"""
    limit = f"  activeDeadlineSeconds: {_seconds(job.time_limit)}\n" if job.time_limit else ""
    return f"""{head}{limit}  podFailurePolicy:
    rules:
      # A mistake in the config; to try again would not help.
      - action: FailJob
        onExitCodes: {{operator: In, values: [{MISTAKE}]}}
      # Told to stop, and saved: the next pod goes on from there.
      - action: Ignore
        onExitCodes: {{operator: In, values: [{STOPPED}]}}
      - action: Ignore
        onPodConditions: [{{type: DisruptionTarget}}]
  template:
    spec:
{_indented(pod, 6)}      containers:
        - name: seqjax
          image: {json.dumps(job.image)}
          # In the shell's place, so that SIGTERM reaches the training.
          command: [bash, -c]
          args:
            - |
{_indented([*job.exports, f"exec {command}"], 14)}{_resources(job)}{_volumes(claim, mounted)}"""


def _resources(job: Job) -> str:
    gpus = job.devices_per_node
    return f"          resources:\n            limits: {{nvidia.com/gpu: {gpus}}}\n" if gpus else ""


def _volumes(claim: str, mounted: str) -> str:
    """Returns what is mounted: memory that GPUs exchange data by, and the claim."""
    mounts = ["- {name: memory, mountPath: /dev/shm}"]
    volumes = ["- {name: memory, emptyDir: {medium: Memory}}"]
    if claim:
        mounts.append(f"- {{name: runs, mountPath: {json.dumps(mounted)}}}")
        volumes.append(f"- {{name: runs, persistentVolumeClaim: {{claimName: {claim}}}}}")
    return (
        f"          volumeMounts:\n{_indented(mounts, 12)}      volumes:\n{_indented(volumes, 8)}"
    )


def _indented(lines: list[str], width: int) -> str:
    return "".join(f"{' ' * width}{line}\n" for text in lines for line in text.split("\n"))


def _seconds(time_limit: str) -> int:
    hours, minutes, seconds = map(int, time_limit.split(":"))
    return 3600 * hours + 60 * minutes + seconds
