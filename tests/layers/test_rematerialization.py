from types import SimpleNamespace

import jax
import numpy as np
import pytest

from seqjax.config import default_config
from seqjax.tasks.text_to_text import TextToText


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformer", "convolutional"])
def test_layers_are_computed_twice_to_the_same_results(kind, filled):
    config = default_config()
    for stack in (config.model.encoder, config.model.decoder):
        stack.update(kind=kind, layers=2, width=8, heads=2, feed_forward=12, dropout=0.2)
    side = SimpleNamespace(vocabulary_size=9)
    tokens = np.random.RandomState(0).randint(3, 9, (2, 3, 5)).astype(np.int32)
    batch = {"source": tokens[0], "target": tokens[1]}
    found = []
    for again in (False, True):
        for stack in (config.model.encoder, config.model.decoder):
            stack.rematerialize = again
        task = TextToText(config, {"source": side, "target": side})
        params = filled(jax.eval_shape(task.init, jax.random.key(0)))

        def loss(params, task=task):
            return task.loss(params, batch, jax.random.key(1))[0]

        # Without the compiler, which would see that the two are the same.
        traced = jax.jit(jax.value_and_grad(loss)).trace(params)
        assert ("remat" in str(traced.jaxpr)) == again
        found.append(traced.lower().compile()(params))
    one, other = (jax.tree.leaves(x) for x in found)
    assert len(one) == len(other)
    for mine, others in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, others, rtol=1e-5, atol=1e-6)
