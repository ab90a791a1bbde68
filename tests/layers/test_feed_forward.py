import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.layers.feed_forward import ACTIVATIONS, FeedForward


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_equals_plain_numpy(activation, filled, reference, wave):
    layer = FeedForward(6, 10, activation)
    x = 2 * wave(2, 3, 6).astype(np.float32)
    params = filled(jax.eval_shape(layer.init, jax.random.key(0), x)["params"])
    np.testing.assert_allclose(
        layer.apply({"params": params}, x),
        reference.feed_forward(params, x, activation),
        rtol=1e-5,
        atol=1e-6,
    )


def test_dropout_acts_between_the_projections():
    layer = FeedForward(1, 2000, dropout=0.25)
    kernel = {"kernel": jnp.ones((1, 2000)), "bias": jnp.zeros(2000)}
    params = {"inner": kernel, "outer": {"kernel": jnp.ones((2000, 1)), "bias": jnp.zeros(1)}}
    x = jnp.ones((20, 1))
    rngs = {"dropout": jax.random.key(0)}
    kept = np.asarray(layer.apply({"params": params}, x, False, rngs=rngs)) * 0.75 / 2000
    np.testing.assert_allclose(kept, 0.75, atol=5 * (0.75 * 0.25 / 2000) ** 0.5)
    assert kept.std() > 0.003
