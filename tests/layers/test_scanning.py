"""Layers in a loop compute what layers one by one compute, and are traced once."""

from types import SimpleNamespace

import flax.linen as nn
import jax
import numpy as np
import pytest

from seqjax.config import default_config
from seqjax.layers.dropout import Dropout
from seqjax.layers.scanning import scanned
from seqjax.tasks.text_to_text import TextToText

_TOKENS = np.random.RandomState(0).randint(3, 9, (2, 3, 5)).astype(np.int32)
BATCH = {"source": _TOKENS[0], "target": _TOKENS[1]}


# Additive attention prepares the memory by parameters of each layer.
FAMILIES = {
    "transformer": {"positions": "relative"},
    "convolutional": {"positions": "learned", "attention": "additive"},
}


def make(scan, family="transformer", layers=2, rematerialize=False):
    config = default_config()
    for stack in (config.model.encoder, config.model.decoder):
        fields = {key: value for key, value in FAMILIES[family].items() if key in stack}
        stack.update(kind=family, layers=layers, width=8, heads=2, feed_forward=12, **fields)
        stack.update(scan_layers=scan, rematerialize=rematerialize, dropout=0.0)
    side = SimpleNamespace(vocabulary_size=9)
    return TextToText(config, {"source": side, "target": side})


def gradient(task):
    return jax.value_and_grad(lambda params, key: task.loss(params, BATCH, key)[0])


@pytest.mark.slow
@pytest.mark.parametrize("rematerialize", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_results_and_gradients_are_the_same(family, rematerialize, filled):
    tasks = [make(scan, family, rematerialize=rematerialize) for scan in (False, True)]
    shapes = [jax.eval_shape(task.init, jax.random.key(0)) for task in tasks]
    assert shapes[0] == shapes[1]
    params = filled(shapes[0])

    def outputs(task):
        # One program compiles sooner than three.
        @jax.jit
        def compute(params, key):
            both = gradient(task)(params, key), task.score(params, BATCH)[0]["nll"]
            return *both, task.attention(params, BATCH)

        return compute(params, jax.random.key(1))

    (one, score, maps), (other, scanned_score, scanned_maps) = map(outputs, tasks)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one, other)
    np.testing.assert_allclose(score, scanned_score, rtol=1e-5)
    assert len(scanned_maps) == 2
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), maps, scanned_maps)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_depth_adds_nothing_to_compile(family):
    def products(scan, layers):
        task = make(scan, family, layers)
        params = jax.eval_shape(task.init, jax.random.key(0))
        return str(jax.make_jaxpr(gradient(task))(params, jax.random.key(1))).count("dot_general")

    assert products(True, 2) == products(True, 3) < products(False, 3)
    assert products(False, 2) < products(False, 3)


class Dropping(nn.Module):
    """Layers that do nothing but to drop units."""

    def setup(self):
        self.block = [Gate() for _ in range(2)]

    def __call__(self, x):
        if self.is_initializing():
            return self.block[1](self.block[0](x))
        return scanned(self.block, x)


class Gate(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Dropout(0.5)(x * self.param("scale", nn.initializers.ones, ()), False)


def test_each_layer_drops_units_of_its_own():
    x = np.ones((100, 100), np.float32)
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = Dropping().init(rngs, x)
    found = Dropping().apply(variables, x, rngs={"dropout": jax.random.key(2)})
    # With one mask for both, half of the units would be left.
    assert np.mean(found != 0) == pytest.approx(0.25, abs=0.02)
    assert set(np.unique(found)) == {0.0, 4.0}
