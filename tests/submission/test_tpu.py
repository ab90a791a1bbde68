import re

import pytest
import yaml

from seqjax.errors import UserError
from seqjax.submission import tpu


def test_the_files_of_a_run_are_the_golden_ones(job, same_as_golden):
    asked = job("gs://bucket/runs/demo", devices="tpu-v5e-16", zone="us-east5-a")
    same_as_golden(tpu.submission(asked), "tpu")


@pytest.mark.parametrize(
    "devices, accelerators, runtime",
    [
        ("tpu-v3-8", "tpu-v3-8", "tpu-ubuntu2204-base"),
        ("tpu-v4-32", "tpu-v4-32", "tpu-ubuntu2204-base"),
        ("tpu-v5e-4", "tpu-v5litepod-4", "v2-alpha-tpuv5-lite"),
        ("tpu-v5p-8", "tpu-v5p-8", "v2-alpha-tpuv5"),
        ("tpu-v6e-16", "tpu-v6e-16", "v2-alpha-tpuv6e"),
    ],
)
def test_a_slice_is_called_as_google_calls_it(job, devices, accelerators, runtime):
    found = tpu.submission(job("gs://bucket/x", devices=devices))
    resources = yaml.safe_load(found.files["task.yaml"])["resources"]
    assert (resources["infra"], resources["accelerators"]) == ("gcp", accelerators)
    assert resources["accelerator_args"] == {"runtime_version": runtime}
    made = f"--accelerator-type={accelerators.removeprefix('tpu-')} --version={runtime} --spot"
    assert made in found.files["gcloud.sh"]
    # Without a zone the recipe asks for one.
    assert 'ZONE="${ZONE:?' in found.files["gcloud.sh"]
    assert found.otherwise.startswith("ZONE=us-east5-a bash ")


def test_a_study_takes_one_machine(job):
    storage = "postgresql://me@host/scan"
    found = tpu.submission(job("gs://bucket/x", devices="tpu-v5e-8", study=True, storage=storage))
    assert "launch.py sweep --study=" in found.files["task.yaml"]
    assert "--processes" not in found.files["task.yaml"]


@pytest.mark.parametrize(
    "asked, told",
    [
        ({}, "--devices=: --on=tpu expects a slice such as tpu-v5e-16"),
        ({"devices": "h100x8"}, "--devices=h100x8: --on=tpu expects a slice"),
        ({"devices": "tpu-v5e-8", "workdir": "runs/x"}, "--workdir=runs/x: expected a bucket"),
        ({"devices": "tpu-v5e-16", "study": True}, "--storage=: expected a database"),
        (
            {"devices": "tpu-v5e-16", "study": True, "storage": "postgresql://me@host/scan"},
            "expected one machine, as tpu-v5e-8 is",
        ),
    ],
)
def test_what_it_cannot_run_is_refused(job, asked, told):
    with pytest.raises(UserError, match=re.escape(told)):
        tpu.submission(job(**({"workdir": "gs://bucket/x"} | asked)))
