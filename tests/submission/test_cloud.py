import re

import pytest
import yaml

from seqjax.errors import UserError
from seqjax.submission import cloud


def test_the_task_of_a_run_is_the_golden_one(job, same_as_golden):
    asked = job("gs://bucket/runs/demo", devices="a100-80gbx16", nodes=2)
    same_as_golden(cloud.submission(asked), "cloud")


def test_one_machine_has_no_others_to_join(job):
    task = yaml.safe_load(cloud.submission(job("gs://bucket/x")).files["task.yaml"])
    assert task["num_nodes"] == 1 and "--processes" not in task["run"]
    assert "accelerators" not in task["resources"]
    assert task["setup"].endswith("-e '.[gs]'\n")


def test_machines_that_are_not_taken_away_are_asked_for(job):
    for on_demand in (True, False):
        asked = job("gs://bucket/x", on_demand=on_demand)
        task = yaml.safe_load(cloud.submission(asked).files["task.yaml"])
        assert task["resources"]["use_spot"] == (not on_demand)


def test_what_reports_to_weights_and_biases_has_it_and_the_key(job):
    found = cloud.submission(job("gs://bucket/x", wandb=True))
    assert "-e '.[gs,wandb]'\n" in found.files["task.yaml"]
    assert " --env WANDB_API_KEY " in found.command and "WANDB_API_KEY" in found.note
    assert "WANDB_API_KEY" not in found.files["task.yaml"]


@pytest.mark.parametrize(
    "asked, reported",
    [
        ({"devices": "tpu-v5e-8"}, "--on=tpu takes TPUs"),
        ({"workdir": "runs/x"}, "--workdir=runs/x: expected a bucket"),
        ({"study": True, "nodes": 2}, "--nodes=2: expected 1"),
        ({"study": True}, "--storage=: expected a database such as postgresql://"),
        ({"study": True, "storage": "sqlite:///x.db"}, "--storage=sqlite:///x.db: expected a"),
    ],
)
def test_what_it_cannot_run_is_refused(job, asked, reported):
    with pytest.raises(UserError, match=re.escape(reported)):
        cloud.submission(job(**({"workdir": "gs://bucket/x"} | asked)))
