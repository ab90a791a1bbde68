"""The fields of manifests, held to what Kubernetes and SkyPilot say that they take.

The parts of the schemas that a job may use: {name: type, mapping, list of one}. A name with '!' is
required. https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/,
https://docs.skypilot.co/en/latest/reference/yaml-spec.html
"""

import re

import pytest
import yaml

from seqjax.submission import cloud, kubernetes, tpu

_LABEL = re.compile("[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_VALUE = re.compile("(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_METADATA = {"name!": _LABEL}
_POD = {
    "restartPolicy!": re.compile("Never"),
    "terminationGracePeriodSeconds": int,
    "subdomain": _LABEL,
    "nodeSelector": {...: _VALUE},
    "containers!": [
        {
            "name!": _LABEL,
            "image!": str,
            "command": [str],
            "args": [str],
            "resources": {"limits": {...: int}},
            "volumeMounts": [{"name!": _LABEL, "mountPath!": re.compile("/[^:]+")}],
        }
    ],
    "volumes": [
        {
            "name!": _LABEL,
            "emptyDir": {"medium": re.compile("Memory")},
            "persistentVolumeClaim": {"claimName!": str},
        }
    ],
}
_JOB = {
    "apiVersion!": re.compile("batch/v1"),
    "kind!": re.compile("Job"),
    "metadata!": _METADATA,
    "spec!": {
        "completionMode": re.compile("Indexed"),
        "completions": int,
        "parallelism": int,
        "backoffLimit": int,
        "activeDeadlineSeconds": int,
        "podReplacementPolicy": re.compile("Failed"),
        "podFailurePolicy": {
            "rules!": [
                {
                    "action!": re.compile("FailJob|Ignore|Count"),
                    "onExitCodes": {"operator!": re.compile("In|NotIn"), "values!": [int]},
                    "onPodConditions": [{"type!": str, "status!": re.compile("True|False")}],
                }
            ]
        },
        "template!": {"spec!": _POD},
    },
}
_SERVICE = {
    "apiVersion!": re.compile("v1"),
    "kind!": re.compile("Service"),
    "metadata!": _METADATA,
    "spec!": {
        "clusterIP": re.compile("None"),
        "publishNotReadyAddresses": bool,
        "selector": {...: _VALUE},
    },
}
_TASK = {
    "name!": _LABEL,
    "num_nodes": int,
    "workdir": str,
    "resources": {
        "infra": re.compile("gcp(/[a-z0-9-]+){0,2}"),
        "accelerators": re.compile(r"[\w-]+(:\d+)?"),
        "accelerator_args": {"runtime_version": str},
        "use_spot": bool,
        "job_recovery": {"recover_on_exit_codes": [int]},
    },
    "setup": str,
    "run!": str,
}


def _faults(value, schema, where=""):
    """Returns where a document is otherwise than a schema."""
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return [f"{where}: no mapping"]
        required = {name[:-1] for name in schema if name is not ... and name.endswith("!")}
        found = [f"{where}.{name}: missing" for name in required - value.keys()]
        for name, inner in value.items():
            part = schema.get(name, schema.get(f"{name}!", schema.get(...)))
            inside = f"{where}.{name}"
            found += [f"{inside}: unknown"] if part is None else _faults(inner, part, inside)
        return found
    if isinstance(schema, list):
        if not isinstance(value, list) or not value:
            return [f"{where}: no list"]
        found = (_faults(item, schema[0], f"{where}[{n}]") for n, item in enumerate(value))
        return [fault for faults in found for fault in faults]
    if isinstance(schema, re.Pattern):
        good = isinstance(value, str) and schema.fullmatch(value)
        return [] if good else [f"{where}: {value!r} is not {schema.pattern}"]
    return [] if type(value) is schema else [f"{where}: {value!r} is no {schema.__name__}"]


_ASKED = {
    "pods": {
        "workdir": "/runs/demo",
        "volume": "1e3:/runs",
        "image": "registry.example/seqjax:1",
        "devices": "gpux16",
        "options": ("nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3", "on=no", "x="),
        "nodes": 2,
        "time_limit": "2:00:30",
    },
    "one": {"workdir": "gs://bucket/x", "image": "no"},
    "study": {"workdir": "gs://b/x", "image": "a", "study": True, "storage": "postgresql://h/x"},
}


@pytest.mark.parametrize("name", _ASKED)
def test_kubernetes_takes_each_field(job, name):
    documents = yaml.safe_load_all(kubernetes.submission(job(**_ASKED[name])).files["job.yaml"])
    kinds = {"Job": _JOB, "Service": _SERVICE}
    found = [_faults(document, kinds[document["kind"]]) for document in documents]
    assert found == [[]] * (2 if name == "pods" else 1)


@pytest.mark.parametrize(
    "module, asked",
    [
        (tpu, {"devices": "tpu-v5e-16", "zone": "us-central1-a"}),
        (tpu, {"devices": "tpu-v6e-8", "on_demand": True}),
        (cloud, {"devices": "h100x16", "nodes": 2}),
        (cloud, {}),
        (cloud, {"devices": "l4", "study": True, "storage": "postgresql://me@host/scan"}),
    ],
)
def test_skypilot_takes_each_field(job, module, asked):
    task = yaml.safe_load(module.submission(job("gs://bucket/x", **asked)).files["task.yaml"])
    assert _faults(task, _TASK) == []


def test_a_schema_finds_what_is_wrong():
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "X"}, "spec": {"a": 1}}
    assert _faults(service, _SERVICE) == [
        f".metadata.name: 'X' is not {_LABEL.pattern}",
        ".spec.a: unknown",
    ]
    assert _faults({"name": "x", "num_nodes": True}, _TASK) == [
        ".run: missing",
        ".num_nodes: True is no int",
    ]
