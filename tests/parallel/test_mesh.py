import jax
import numpy as np
import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.parallel.mesh import by_row, check_implementations, is_nvidia, make_mesh, replicated


@pytest.mark.parametrize("asked, given", [(-1, 8), (1, 1), (3, 3), (8, 8)])
def test_takes_as_many_devices_as_asked(asked, given):
    mesh = make_mesh(asked)
    assert mesh.size == given
    assert mesh.axis_names == ("data",)


def test_refuses_more_devices_than_there_are():
    with pytest.raises(UserError, match=r"^parallel.data is 9, but there are 8 cpu devices: .*-1"):
        make_mesh(9)


def test_divides_rows_and_repeats_parameters():
    mesh = make_mesh(4)
    x = np.arange(24).reshape(8, 3)
    rows = jax.device_put(x, by_row(mesh))
    assert [shard.data.shape for shard in rows.addressable_shards] == [(2, 3)] * 4
    whole = jax.device_put(x, replicated(mesh))
    assert [shard.data.shape for shard in whole.addressable_shards] == [(8, 3)] * 4
    np.testing.assert_array_equal(rows, whole)


@pytest.mark.skipif(is_nvidia(jax.devices()[0]), reason="cuDNN is there")
@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_cudnn_needs_an_nvidia_gpu(stack):
    model = default_config().model
    model[stack].update(kind="lstm", implementation="cudnn")
    message = (
        rf"^model.{stack}.implementation = 'cudnn': expected 'scan', which has the same"
        r" parameters, since there is no NVIDIA GPU among the devices \(cpu\)$"
    )
    with pytest.raises(UserError, match=message):
        check_implementations(model, make_mesh())


def test_what_asks_for_no_cudnn_runs_anywhere():
    model = default_config().model
    model.encoder.kind = "lstm"
    # Of an LSTM only: means nothing to a Transformer.
    model.decoder.implementation = "cudnn"
    check_implementations(model, make_mesh())
