import os
import re
import subprocess

import pytest
import yaml

from seqjax.errors import UserError
from seqjax.submission import kubernetes

_ASKED = {
    "workdir": "/runs/demo",
    "volume": "runs:/runs",
    "image": "registry.example/seqjax:1",
    "devices": "gpux16",
    "options": ("nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3",),
    "nodes": 2,
    "time_limit": "2:00:30",
}


def test_the_manifest_of_a_run_is_the_golden_one(job, same_as_golden):
    same_as_golden(kubernetes.submission(job(**_ASKED)), "kubernetes")


def test_a_job_that_has_ended_is_begun_anew(job):
    """What `kubectl apply` leaves as it is; the pods of the old one are waited for."""
    command = kubernetes.submission(job(**_ASKED)).command
    assert re.fullmatch(
        r"kubectl delete --ignore-not-found --cascade=foreground --filename=- < (\S+)"
        r" && kubectl create --filename=- < \1",
        command,
    )


def _parts(submission):
    return {part["kind"]: part for part in yaml.safe_load_all(submission.files["job.yaml"])}


def test_the_pods_find_each_other(job):
    parts = _parts(kubernetes.submission(job(**_ASKED)))
    # Nothing is asked of the cluster, which would take the package `kubernetes` and an account.
    assert set(parts) == {"Service", "Job"}
    name = parts["Job"]["metadata"]["name"]
    spec = parts["Job"]["spec"]
    assert (spec["parallelism"], spec["completions"], spec["completionMode"]) == (2, 2, "Indexed")
    pod = spec["template"]["spec"]
    # The first one's address, JOB-0.SUBDOMAIN, is that of a service without one of its own.
    service = parts["Service"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": name}
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert spec["activeDeadlineSeconds"] == 7230
    # A policy for failures goes with pods that are not started again in their place.
    assert pod["restartPolicy"] == "Never" and len(spec["podFailurePolicy"]["rules"]) == 3


def test_lost_partners_and_stops_do_not_count_as_failures(job):
    spec = _parts(kubernetes.submission(job(**_ASKED)))["Job"]["spec"]
    mistake, again, lost = spec["podFailurePolicy"]["rules"]
    assert mistake == {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}}
    assert again == {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [75, 143]}}
    assert lost == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    # Whatever else happens counts, for each pod.
    assert spec["backoffLimit"] == 6 and spec["podReplacementPolicy"] == "Failed"


def test_each_pod_gives_its_own_number(job, kubelet):
    """The container's command, run with a program that prints its arguments."""
    asked = job(**_ASKED, program=("printf", "%s\\n"))
    (container,) = _parts(kubernetes.submission(asked))["Job"]["spec"]["template"]["spec"][
        "containers"
    ]
    done = subprocess.run(
        kubelet(container),
        env={"PATH": os.environ["PATH"], "JOB_COMPLETION_INDEX": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-3:] == [
        "--processes=2",
        "--process=1",
        "--coordinator=seqjax-demo-0.seqjax-demo:8476",
    ]


def test_one_pod_needs_no_others(job):
    asked = {"workdir": "gs://bucket/x", "image": "seqjax", "study": True}
    asked["storage"] = "postgresql://me@host/scan"
    parts = _parts(kubernetes.submission(job(**asked)))
    assert set(parts) == {"Job"}
    (container,) = parts["Job"]["spec"]["template"]["spec"]["containers"]
    assert "launch.py sweep" in container["args"][0] and "--processes" not in container["args"][0]
    assert "resources" not in container


@pytest.mark.parametrize(
    "asked, reported",
    [
        ({"devices": "tpu-v5e-8"}, "--on=tpu takes TPUs"),
        ({"devices": "h100x16"}, "h100x16: --on=kubernetes expects gpux16, and the label"),
        ({"options": ("--a",)}, "--option=--a: --on=kubernetes expects a label of nodes"),
        ({"image": ""}, "--image=: expected a container image"),
        ({"volume": "runs"}, "--volume=runs: expected CLAIM:/PATH"),
        ({"volume": "runs:/a:b"}, "--volume=runs:/a:b: expected CLAIM:/PATH"),
        ({"volume": ""}, "--workdir=/runs/demo: expected a bucket such as"),
        ({"workdir": "/runs2/demo"}, "--workdir=/runs2/demo: expected a bucket such as"),
        ({"study": True}, "--nodes=2: expected 1"),
        ({"study": True, "nodes": 1, "workdir": "gs://bucket/x"}, "--storage=: expected"),
    ],
)
def test_what_it_cannot_run_is_refused(job, asked, reported):
    with pytest.raises(UserError, match=re.escape(reported)):
        kubernetes.submission(job(**(_ASKED | asked)))
