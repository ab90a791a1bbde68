import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.layers.cross_entropy import cross_entropy

VOCABULARY = 11
LOGITS = 4 * np.sin(np.arange(3 * 5 * VOCABULARY) ** 1.3).reshape(3, 5, VOCABULARY)
TARGETS = (np.arange(15).reshape(3, 5) * 7 % VOCABULARY).astype(np.int32)
WEIGHTS = np.cos(np.arange(15.0)).reshape(3, 5)
SMOOTHINGS = [0.0, 0.1, 0.7]


def naive(logits, targets, smoothing):
    """The definition: minus the expected log probability under the smoothed distribution."""
    log_probabilities = logits - jnp.log(jnp.sum(jnp.exp(logits), axis=-1, keepdims=True))
    expected = (1 - smoothing) * jnp.eye(VOCABULARY)[targets] + smoothing / VOCABULARY
    return -jnp.sum(expected * log_probabilities, axis=-1)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_equals_the_definition_in_float64(smoothing):
    exponentials = np.exp(LOGITS)
    log_probabilities = np.log(exponentials / exponentials.sum(-1, keepdims=True))
    expected = (1 - smoothing) * np.eye(VOCABULARY)[TARGETS] + smoothing / VOCABULARY
    loss = cross_entropy(jnp.float32(LOGITS), TARGETS, smoothing)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, -(expected * log_probabilities).sum(-1), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_derivative_equals_that_of_a_naive_version(smoothing):
    def total(function):
        return lambda logits: jnp.sum(function(logits, TARGETS, smoothing) * WEIGHTS)

    logits = jnp.float32(LOGITS)
    ours = jax.jit(jax.grad(total(cross_entropy)))(logits)
    np.testing.assert_allclose(ours, jax.grad(total(naive))(logits), rtol=1e-4, atol=1e-6)
    # Adding a constant to all logits changes nothing.
    np.testing.assert_allclose(np.sum(ours, axis=-1), 0, atol=1e-6)


def test_large_logits_stay_finite():
    logits = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]])
    targets = jnp.array([0, 0])
    np.testing.assert_allclose(cross_entropy(logits, targets), [0.0, 2e4])
    gradient = jax.grad(lambda z: jnp.sum(cross_entropy(z, targets)))(logits)
    np.testing.assert_allclose(gradient, [[0, 0, 0], [-1, 1, 0]], atol=1e-6)


def test_the_smoothed_loss_is_least_at_the_smoothed_distribution():
    best = np.log(np.full(4, 0.2 / 4) + np.array([0, 0.8, 0, 0]))
    gradient = jax.grad(lambda z: cross_entropy(z, jnp.int32(1), 0.2))(jnp.float32(best))
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
