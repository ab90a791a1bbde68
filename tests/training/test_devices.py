import jax
import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.parallel.mesh import is_nvidia
from seqjax.training.devices import mesh_of


@pytest.mark.parametrize(
    "field, reported",
    [
        ("heads", r"^parallel.model = 4: expected a divisor of model.encoder.heads = 2$"),
        ("feed_forward", r"^parallel.model = 4: .* model.encoder.feed_forward = 2$"),
        ("key_value_heads", r"^parallel.model = 4: .* model.encoder.key_value_heads = 2$"),
    ],
)
def test_devices_that_cannot_share_a_model(field, reported):
    config = default_config()
    config.parallel.update(data=1, model=4)
    config.model.encoder[field] = 2
    with pytest.raises(UserError, match=reported):
        mesh_of(config)


def test_devices_that_can():
    config = default_config()
    config.parallel.update(data=1, model=4)
    config.model.encoder.kind = "lstm"
    # Of a Transformer only.
    config.model.encoder.heads = 3
    assert mesh_of(config).shape["model"] == 4


@pytest.mark.skipif(is_nvidia(jax.devices()[0]), reason="cuDNN is there")
@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_cudnn_needs_an_nvidia_gpu(stack):
    config = default_config()
    config.model[stack].update(kind="lstm", implementation="cudnn")
    message = (
        rf"^model.{stack}.implementation = 'cudnn': expected 'scan', which has the same"
        r" parameters, since there is no NVIDIA GPU among the devices \(cpu\)$"
    )
    with pytest.raises(UserError, match=message):
        mesh_of(config)


def test_what_asks_for_no_cudnn_runs_anywhere():
    config = default_config()
    config.model.encoder.kind = "lstm"
    # Of an LSTM only: means nothing to a Transformer.
    config.model.decoder.implementation = "cudnn"
    mesh_of(config)
