"""Trains and samples from a language model in seqjax, by its usual task, update and generator."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from worker import serve, threads

from seqjax.config import default_config
from seqjax.evaluation.generator import Generator
from seqjax.parallel.mesh import make_mesh
from seqjax.tasks.language_model import LanguageModelling
from seqjax.training.optimizers import make_optimizer
from seqjax.training.recipe import GENERATOR
from seqjax.training.state import TrainState, parameter_count
from seqjax.training.step import make_train_step

# Ids below are PAD, BOS, EOS and UNK.
FIRST = 4


def config_of(sizes: dict):
    """Returns the config of a contest, with dropout in the same places as in torch."""
    config = default_config()
    config.task = "language_model"
    config.loss.label_smoothing = 0.0
    config.optimizer.clip = 0.0
    decoder = config.model.decoder
    decoder.update(layers=sizes["layers"], width=sizes["width"], dropout=sizes["dropout"])
    if sizes["model"] == "lstm":
        config.batching.plan = "streams"
        config.model.tie_output = False
        decoder.update(kind="lstm", readout="state")
    else:
        decoder.update(kind="transformer", heads=sizes["heads"], feed_forward=4 * sizes["width"])
        decoder.update(positions="learned", max_positions=1024, activation="gelu")
        decoder.attention_dropout = sizes["dropout"]
    if "prompt" in sizes:
        # A context that holds all, and outputs of exactly one length.
        config.batching.length = sizes["prompt"] + sizes["length"] + 1
        config.decode.max_new_tokens = config.decode.min_length = sizes["length"]
        config.decode.tokens = sizes["batch"] * config.batching.length
    return config


def prepare(sizes: dict):
    tokenizer = SimpleNamespace(
        vocabulary_size=sizes["vocabulary"],
        encode=lambda text: list(map(int, text.split())),
        decode=lambda ids: " ".join(map(str, ids)),
    )
    task = LanguageModelling(config_of(sizes), {"text": tokenizer})
    params = task.init(jax.random.key(0, impl=GENERATOR))
    about = {
        "runs": f"jax {jax.__version__}, jaxlib {jax.lib.__version__}, {threads()} threads",
        "parameters": parameter_count(params),
    }
    work = {"training": _training, "sampling": _sampling}[sizes["work"]](sizes, task, params)
    work(2)
    return about, work


def _training(sizes, task, params):
    optimizer = make_optimizer(task.config.optimizer, lambda step: 1e-3)
    step = make_train_step(task.loss, optimizer, jax.random.key(1, impl=GENERATOR), make_mesh())
    carry = task.carry(sizes["batch"])
    state = TrainState(jnp.int32(0), params, optimizer.init(params), carry=carry)
    shape = (8, sizes["batch"], 1 + sizes["length"])
    draw = np.random.default_rng(0)
    batches = itertools.cycle(draw.integers(FIRST, sizes["vocabulary"], shape, np.int32))

    def train(steps: int) -> dict:
        nonlocal state
        for _ in range(steps):
            state, sums = step(state, {"text": next(batches)})
        jax.block_until_ready(state)
        return {"loss": float(sums["loss"] / sums["tokens"])}

    return train


def _sampling(sizes, task, params):
    draw = np.random.default_rng(0)
    ids = draw.integers(FIRST, sizes["vocabulary"], (sizes["batch"], sizes["prompt"] - 1))
    prompts = [" ".join(map(str, row)) for row in ids.tolist()]
    generator = Generator(task, make_mesh())

    def generate(batches: int) -> dict:
        for _ in range(batches):
            found = generator(params, prompts)
            # Longer or shorter outputs would be another amount of work.
            assert all(len(one.tokens) == sizes["length"] for (one,) in found)
        return {}

    return generate


if __name__ == "__main__":
    serve(prepare)
