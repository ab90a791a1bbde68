import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax.config import default_config
from seqjax.data.tokenizer import save_tokenizers
from seqjax.errors import UserError
from seqjax.fields import save
from seqjax.parallel.mesh import is_nvidia
from seqjax.tasks.text_to_text import TextToText
from seqjax.training.checkpoints import Checkpoints
from seqjax.training.state import TrainState
from seqjax.training.trained import load_ensemble, load_trained


@pytest.fixture
def by_cudnn(tiny_task, tiny_params, tmp_path):
    """A run of an LSTM by cuDNN: its folder, its config and its parameters."""
    task = tiny_task()
    config = task.config
    config.model.encoder.kind = "lstm"
    params = tiny_params(TextToText(config, task.tokenizers))
    config.model.encoder.implementation = "cudnn"
    save(config, tmp_path / "config.json")
    save_tokenizers(task.tokenizers, tmp_path / "tokenizer")
    checkpoints = Checkpoints(tmp_path, config.checkpoint)
    optimizer = optax.sgd(0.1, momentum=0.9).init(params)
    checkpoints.save(TrainState(jnp.int32(1), params, optimizer), {}, {"loss": 1.0})
    checkpoints.close()
    return tmp_path, config, params


def test_what_computes_a_trained_model_can_change(by_cudnn):
    workdir, config, params = by_cudnn
    config.model.encoder.implementation = "scan"
    trained = load_trained(workdir, config)
    jax.tree.map(np.testing.assert_array_equal, trained.params, params)
    source = np.array([[4, 5, 6, 2]] * trained.mesh.size, np.int32)
    batch = {"source": source, "target": source}
    scored, _ = jax.jit(trained.task.score)(trained.params, batch)
    assert np.all(np.asarray(scored["nll"]) > 0)


def test_the_moving_average_is_what_was_trained(by_cudnn, tmp_path):
    other, config, params = by_cudnn
    workdir = tmp_path / "averaged"
    shutil.copytree(other / "tokenizer", workdir / "tokenizer")
    config.model.encoder.implementation = "scan"
    config.optimizer.moving_average = 0.9
    average = jax.tree.map(lambda leaf: leaf + 1, params)
    save(config, workdir / "config.json")
    checkpoints = Checkpoints(workdir, config.checkpoint)
    state = TrainState(jnp.int32(2), params, optax.sgd(0.1).init(params), average)
    checkpoints.save(state, {}, {"loss": 0.5})
    checkpoints.close()
    jax.tree.map(np.testing.assert_array_equal, load_trained(workdir, config).params, average)
    config.optimizer.moving_average = 0.0
    with pytest.raises(
        UserError, match=r"^optimizer.moving_average = 0.0: expected 0\.\d+, as in the run in "
    ):
        load_trained(workdir, config)


@pytest.mark.skipif(is_nvidia(jax.devices()[0]), reason="cuDNN is there")
def test_cudnn_is_not_replaced_unasked(by_cudnn):
    with pytest.raises(UserError, match="^model.encoder.implementation = 'cudnn': expected 'scan'"):
        load_trained(*by_cudnn[:2])


def test_what_a_trained_model_is_made_of_cannot_change(by_cudnn):
    workdir, config, _ = by_cudnn
    config.model.encoder.width = 16
    message = (
        "^model.encoder.width = 16: expected 8, as in the run in .*; after training it is fixed$"
    )
    with pytest.raises(UserError, match=message):
        load_trained(workdir, config)


@pytest.mark.parametrize(
    ("task", "field", "values"),
    [
        ("language_model", "batching.plan", ("streams", "windows")),
        ("language_model", "data.documents", ("file", "line")),
        ("text_to_text", "task", ("language_model", "text_to_text")),
    ],
)
def test_members_of_an_ensemble_read_the_same_tokens(task, field, values, tmp_path):
    configs = []
    for value in values:
        config = default_config()
        config.task = task
        config.update_from_flattened_dict({field: value})
        configs.append(config)
    folders = [tmp_path / name for name in "ab"]
    message = f"{field} = '{values[1]}' in {folders[1]}: expected '{values[0]}', as in {folders[0]}"
    with pytest.raises(UserError, match=re.escape(message)):
        load_ensemble(folders, configs)
    # The first plan of a task is the same by its name and without.
    if field == "batching.plan":
        configs[0].batching.plan = ""
        with pytest.raises(UserError, match=f"{folders[0]}: expected a trained run|no such|exist"):
            load_ensemble(folders, configs)
