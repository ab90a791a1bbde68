"""What only Transformers have: relations of positions, groups of heads, windows."""

import jax
import numpy as np
import pytest

from seqjax.architectures.encoder_decoder import build
from seqjax.config import default_config
from seqjax.data.tokenizer import EOS, PAD

VOCABULARY, ROWS, HYPOTHESES, LENGTH = 13, 3, 3, 6
SOURCE = np.array([[5, 9, 4, 7, EOS], [8, EOS, PAD, PAD, PAD], [6, 6, 10, EOS, PAD]], np.int32)
SOURCES = SOURCE.repeat(HYPOTHESES, axis=0)
# Nine sentences without padding, and nine targets, in which all words of either side occur.
FULL = np.arange(45, dtype=np.int32).reshape(9, 5) * 7 % 12 + 1
TARGETS = np.arange(54, dtype=np.int32).reshape(9, 6) * 5 % 12 + 1
RELATIONS = ("none", "relative", "rotary", "alibi")
OPTIONS = {
    **{kind: {"positions": kind} for kind in RELATIONS},
    "one_key_head": {"key_value_heads": 1},
    "window": {"window": 2},
}


@pytest.fixture(scope="module")
def models(filled):
    """Returns a function that gives a model of some options, and fixed parameters."""
    made = {}

    def make(options):
        if options not in made:
            config = default_config().model
            for stack in (config.encoder, config.decoder):
                stack.update(layers=1, width=8, heads=2, feed_forward=12, dropout=0.0)
                stack.update(OPTIONS[options])
            model = build(config, VOCABULARY, VOCABULARY)
            shapes = jax.eval_shape(model.init, jax.random.key(0), SOURCES, TARGETS)["params"]
            made[options] = model, {"params": filled(shapes)}
        return made[options]

    return make


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("positions", RELATIONS)
def test_positions_are_known_in_a_stack_but_not_in_the_memory(positions, models):
    model, variables = models(positions)
    for stack in ("encoder", "decoder"):
        # One table for all layers.
        names = {path for path in variables["params"][stack] if not path.startswith("block")}
        assert names == {"norm"} | ({"relative"} if positions == "relative" else set())

    @jax.jit
    def encode(source):
        return model.apply(variables, source, method="encode")

    @jax.jit
    def decode(memory, target):
        return model.apply(variables, method=lambda module: module.decoder(memory, target))[0]

    shuffle = np.array([2, 0, 4, 1, 3])
    memory = encode(FULL)
    shuffled = np.asarray(memory.states)[:, shuffle]
    difference = np.abs(encode(FULL[:, shuffle]).states - shuffled).max()
    assert difference < 1e-5 if positions == "none" else difference > 1e-2
    logits = decode(memory, TARGETS)
    close(decode(memory.replace(states=shuffled, values=shuffled), TARGETS), logits)
    # The last position reads those before it in another order.
    last = decode(memory, TARGETS[:, [3, 1, 0, 4, 2, 5]])[:, -1] - logits[:, -1]
    assert np.abs(last).max() < 1e-5 if positions == "none" else np.abs(last).max() > 1e-2


def test_a_window_ends_where_it_says(models):
    model, variables = models("window")
    source, target = FULL.copy(), TARGETS.copy()
    source[:, 0], target[:, 1] = source[:, 0] % 12 + 1, target[:, 1] % 12 + 1

    def changed(one, other):
        return (np.abs(np.asarray(one) - np.asarray(other)).max(axis=(0, 2)) > 1e-6).tolist()

    encode = jax.jit(lambda x: model.apply(variables, x, method="encode").states)
    assert changed(encode(FULL), encode(source)) == [True, True, True, False, False]
    read = jax.jit(model.apply)
    logits = [read(variables, FULL, x) for x in (TARGETS, target)]
    assert changed(*logits) == [False, True, True, True, False, False]


def test_a_search_keeps_the_key_heads_only(models):
    model, variables = models("one_key_head")

    def start():
        memory = model.apply(variables, SOURCE, method="encode")
        return model.apply(variables, memory, 4, 7, method="start")

    for cache in jax.eval_shape(start).fixed["layers"]:
        assert [x.shape for x in cache["cross"]] == [(3, 1, 5, 4)] * 2
        assert (cache["keys"].shape, cache["values"].shape) == ((3, 1, 4, 28), (3, 1, 28, 4))
