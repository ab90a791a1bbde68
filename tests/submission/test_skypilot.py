"""Tasks as SkyPilot itself reads them, where it is installed."""

import pytest
import yaml

from seqjax.errors import UserError
from seqjax.submission import cloud, tpu

_JOBS = {
    "tpu": (tpu, {"devices": "tpu-v5e-16", "zone": "us-central1-a"}),
    "tpu anywhere": (tpu, {"devices": "tpu-v6e-8"}),
    "gpus": (cloud, {"devices": "h100x16", "nodes": 2}),
    "cpus": (cloud, {}),
    "study": (cloud, {"devices": "l4", "study": True, "storage": "postgresql://me@host/scan"}),
}


def _task(job, name):
    scheduler, asked = _JOBS[name]
    return scheduler.submission(job("gs://bucket/it's", **asked)).files["task.yaml"]


@pytest.mark.parametrize("name", _JOBS)
def test_a_task_has_what_it_needs(job, name):
    task = yaml.safe_load(_task(job, name))
    assert (task["name"], task["workdir"]) == ("seqjax-demo", "/home/me/seqjax")
    assert task["resources"]["use_spot"] is True
    assert task["resources"]["job_recovery"] == {"recover_on_exit_codes": [75, 143]}
    assert "uv pip install" in task["setup"]
    # The shell's quotes survive YAML.
    assert "'--workdir=gs://bucket/it'\"'\"'s'" in task["run"]


def test_a_study_comes_with_the_driver_of_its_database(job):
    task = yaml.safe_load(_task(job, "study"))
    assert task["setup"].endswith("-e '.[cuda,gs,postgresql]'\n")
    assert task["run"].endswith(" --storage=postgresql://me@host/scan\n")
    with pytest.raises(UserError, match="--storage=mysql://host/scan: expected postgresql://"):
        cloud.submission(job("gs://bucket/x", study=True, storage="mysql://host/scan"))


@pytest.mark.parametrize("name", _JOBS)
def test_skypilot_reads_it(job, name, tmp_path, monkeypatch):
    sky = pytest.importorskip("sky", reason="SkyPilot is not installed: pip install 'seqjax[sky]'")
    path = tmp_path / "task.yaml"
    path.write_text(_task(job, name).replace("/home/me/seqjax", str(tmp_path)))
    task = sky.Task.from_yaml(str(path))
    asked = _JOBS[name][1]
    assert (task.name, task.num_nodes) == ("seqjax-demo", asked.get("nodes", 1))
    (resources,) = task.resources
    assert resources.use_spot
    assert resources.job_recovery["recover_on_exit_codes"] == [75, 143]
    found = resources.accelerators and {k.lower(): v for k, v in resources.accelerators.items()}
    wanted = {
        "tpu": {"tpu-v5litepod-16": 1},
        "tpu anywhere": {"tpu-v6e-8": 1},
        "gpus": {"h100": 8},
        "cpus": None,
        "study": {"l4": 1},
    }
    assert found == wanted[name]
