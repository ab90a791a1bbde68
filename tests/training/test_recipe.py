"""An update whose numbers enter the program is that of a program with these numbers in it."""

import functools

import jax
import ml_collections
import numpy as np
import pytest

from seqjax.data.tokenizer import EOS, PAD
from seqjax.fields import flatten
from seqjax.tasks.text_to_text import TextToText
from seqjax.training.durations import Durations
from seqjax.training.members import NUMBERS
from seqjax.training.recipe import Recipe

TOKENS = np.array([[5, 9, 4, EOS], [8, 6, EOS, PAD]], np.int32)
BATCH = {"source": TOKENS, "target": TOKENS[:, ::-1].copy()}
VALUES = {
    "seed": 7,
    "optimizer.learning_rate": 0.03,
    "optimizer.beta1": 0.7,
    "optimizer.beta2": 0.93,
    # Larger than gradients that are rounding alone.
    "optimizer.epsilon": 0.01,
    "optimizer.momentum": 0.6,
    "optimizer.weight_decay": 0.02,
    "loss.label_smoothing": 0.2,
    "loss.activation": 0.3,
    "loss.temporal_activation": 0.4,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, schedule",
    [pytest.param("adamw", "linear", marks=pytest.mark.thorough), ("sgd", "cosine")],
)
def test_a_number_of_the_program_is_that_of_the_config(kind, schedule, tiny_task):
    tokenizers = tiny_task().tokenizers
    config = tiny_task().config
    config.optimizer.kind, config.schedule.kind = kind, schedule
    values = VALUES | {path: 0.3 for path in NUMBERS if path.endswith("dropout")}
    assert values.keys() == set(NUMBERS)
    assert all(flatten(config)[path] != value for path, value in values.items())

    def two_updates(values):
        own = ml_collections.ConfigDict(config.to_dict(), type_safe=False)
        own.update_from_flattened_dict(values)
        recipe = Recipe.of(own, TextToText(own, tokenizers), Durations(10, 2, 0, 0, 0), 2)
        step = recipe.step()
        # A loop: the update is compiled once.
        state = jax.lax.fori_loop(0, 2, lambda _, state: step(state, BATCH)[0], recipe.fresh())
        return state.params

    fixed = jax.jit(lambda: two_updates(values))()
    given = {path: np.float32(value) for path, value in values.items()} | {"seed": np.uint32(7)}
    traced = jax.jit(two_updates)(given)
    for path, leaf in jax.tree.leaves_with_path(fixed):
        own = functools.reduce(lambda tree, key: tree[key.key], path, traced)
        np.testing.assert_allclose(own, leaf, rtol=1e-4, atol=1e-5, err_msg=str(path))
