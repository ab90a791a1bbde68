import pytest

from seqjax.errors import UserError


def test_a_shell_reads_the_command_as_it_is_meant(job):
    assert job().command("--processes=auto") == (
        "python launch.py train --config=configs/demo.py '--config.train.duration=500 steps'"
        " --workdir=runs/demo --processes=auto"
    )


@pytest.mark.parametrize("devices, nodes, each", [("", 2, 0), ("h100x16", 2, 8), ("gpux4", 1, 4)])
def test_machines_share_the_devices(job, devices, nodes, each):
    assert job(devices=devices, nodes=nodes).devices_per_node == each


def test_devices_that_do_not_divide_are_refused(job):
    with pytest.raises(UserError, match="--devices=h100x6: expected a multiple of --nodes=4"):
        _ = job(devices="h100x6", nodes=4).devices_per_node


@pytest.mark.parametrize("workdir, found", [("runs/x", False), ("gs://a/x", True)])
def test_a_bucket_is_known_by_its_address(job, workdir, found):
    assert job(workdir).in_bucket == found
