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


@pytest.mark.parametrize(
    "asked, told",
    [
        ({"devices": "tpu-v5e-8"}, "--on=tpu takes TPUs"),
        ({"workdir": "runs/x"}, "--workdir=runs/x: expected a bucket"),
        ({"study": True, "nodes": 2}, "--nodes=2: expected 1"),
        ({"study": True}, "--storage=: expected a database such as postgresql://"),
        ({"study": True, "storage": "sqlite:///x.db"}, "--storage=sqlite:///x.db: expected a"),
    ],
)
def test_what_it_cannot_run_is_refused(job, asked, told):
    with pytest.raises(UserError, match=re.escape(told)):
        cloud.submission(job(**({"workdir": "gs://bucket/x"} | asked)))
