"""Trains and searches with a model of the contests in seqjax, by its usual task and step."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from families import choose_family
from worker import serve, threads

from seqjax.config import default_config
from seqjax.data.tokenizer import BOS, EOS
from seqjax.evaluation.translator import Translator
from seqjax.parallel.mesh import make_mesh
from seqjax.tasks.text_to_text import TextToText
from seqjax.training.optimizers import learning_rate, make_optimizer
from seqjax.training.recipe import GENERATOR
from seqjax.training.state import TrainState, parameter_count
from seqjax.training.step import make_train_step


def config_of(sizes: dict):
    """Returns the config of a contest, with dropout in the same places as `nn.Transformer`."""
    config = default_config()
    choose_family(config, sizes.get("family", "transformer"))
    for stack in (config.model.encoder, config.model.decoder):
        stack.layers = sizes["layers"]
        stack.width = sizes["width"]
        stack.heads = sizes["heads"]
        stack.feed_forward = sizes["feed_forward"]
        stack.dropout = stack.attention_dropout = stack.activation_dropout = sizes.get(
            "dropout", 0.0
        )
    config.loss.label_smoothing = sizes.get("label_smoothing", 0.0)
    config.optimizer.clip = 0.0
    # Exactly `length` steps for every sentence: EOS is forced at the last one and forbidden before.
    config.decode.beam_size = sizes.get("beam_size", 1)
    config.decode.max_length_ratio = 1.0
    config.decode.max_length_extra = 0
    config.decode.min_length = sizes["length"] - 1
    config.decode.tokens = sizes["batch"] * sizes["length"]
    return config


def task_of(config, vocabulary: int) -> TextToText:
    """Returns the task with a vocabulary of numbers written as strings."""
    tokenizer = SimpleNamespace(
        vocabulary_size=vocabulary, decode=lambda ids: " ".join(map(str, ids))
    )
    return TextToText(config, {"source": tokenizer, "target": tokenizer})


def prepare(sizes: dict):
    config = config_of(sizes)
    task = task_of(config, sizes["vocabulary"])
    params = task.init(jax.random.key(0, impl=GENERATOR))
    about = {
        "runs": f"jax {jax.__version__}, jaxlib {jax.lib.__version__}, {threads()} threads",
        "parameters": parameter_count(params),
    }
    work = {"training": _training, "beam": _beam}[sizes["work"]](sizes, config, task, params)
    work(2)
    return about, work


def _training(sizes, config, task, params):
    rate = learning_rate(1e-3, config.schedule, warmup=0, total=1)
    optimizer = make_optimizer(config.optimizer, lambda step: rate(0))
    step = make_train_step(task.loss, optimizer, jax.random.key(1, impl=GENERATOR), make_mesh())
    state = TrainState(jnp.int32(0), params, optimizer.init(params))
    shape = (8, 2, sizes["batch"], sizes["length"])
    generator = np.random.default_rng(0)
    batches = itertools.cycle(generator.integers(4, sizes["vocabulary"], shape, np.int32))

    def train(steps: int) -> dict:
        nonlocal state
        for _ in range(steps):
            source, target = next(batches)
            state, sums = step(state, {"source": source, "target": target})
        jax.block_until_ready(state)
        return {"loss": float(sums["loss"] / sums["tokens"])}

    return train


def _beam(sizes, config, task, params):
    generator = np.random.default_rng(0)
    shape = (sizes["batch"], sizes["length"])
    source = generator.integers(4, sizes["vocabulary"], shape, np.int32)
    target = generator.integers(4, sizes["vocabulary"], shape, np.int32)
    if "model" in sizes:
        _write(sizes["model"], task, params, source, target)
    translator = Translator(task, make_mesh())

    def translate(batches: int) -> dict:
        found = translator(params, source.tolist() * batches)
        # Longer or shorter outputs would be another amount of work.
        assert all(best.length == sizes["length"] for (best,) in found)
        return {}

    return translate


def _write(path, task, params, source, target) -> None:
    """Saves the parameters, and log probabilities of targets for peers to compare with."""
    start = np.full_like(target[:, :1], BOS)
    logits = task.model.apply({"params": params}, source, np.concatenate([start, target], axis=1))
    labels = np.concatenate([target, np.full_like(start, EOS)], axis=1)
    log_probabilities = jnp.take_along_axis(
        jax.nn.log_softmax(logits), jnp.asarray(labels)[..., None], axis=-1
    )[..., 0]
    flat = {
        "/".join(key.key for key in keys): np.asarray(leaf)
        for keys, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    others = {"source": source, "target": target, "log_probabilities": log_probabilities}
    np.savez(path, **flat, **others)


if __name__ == "__main__":
    serve(prepare)
