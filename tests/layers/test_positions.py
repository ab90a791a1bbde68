import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.layers.positions import Positions, sinusoids


def test_sinusoids_golden():
    """Frequencies 1, 1/100, 1/10000: six columns, sines first."""
    angles = np.array([[0, 0, 0], [1, 0.01, 0.0001], [2, 0.02, 0.0002], [3, 0.03, 0.0003]])
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(sinusoids(4, 6), expected, rtol=1e-6, atol=1e-9)
    assert sinusoids(4, 6)[1, 0] == pytest.approx(0.841471)
    assert sinusoids(5, 2).shape == (5, 2)  # One frequency: no division by zero.
    assert np.isfinite(sinusoids(5, 2)).all()


@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
def test_a_later_start_continues_the_same_positions(kind, wave):
    layer = Positions(kind, max_positions=6)
    x = wave(2, 5, 4).astype(np.float32)
    table = jnp.float32(wave(6, 4, seed=2))
    variables = {"params": {"table": table}} if kind == "learned" else {}
    whole = layer.apply(variables, x)
    expected = table[:5] if kind == "learned" else sinusoids(5, 4)
    np.testing.assert_allclose(whole, x + expected, rtol=1e-6, atol=1e-6)

    @jax.jit
    def piece(x, start):
        return layer.apply(variables, x, start=start, capacity=5)

    for start in range(5):
        np.testing.assert_allclose(
            piece(x[:, start : start + 1], start), whole[:, start : start + 1], rtol=1e-6, atol=1e-6
        )


def test_beyond_a_learned_table_its_last_vector_is_repeated(wave):
    table = jnp.float32(wave(3, 4))
    layer, variables = Positions("learned", max_positions=3), {"params": {"table": table}}
    expected = table[jnp.array([0, 1, 2, 2, 2])]
    np.testing.assert_array_equal(layer.apply(variables, jnp.zeros((1, 5, 4)))[0], expected)
    late = layer.apply(variables, jnp.zeros((1, 1, 4)), start=jnp.int32(4), capacity=5)
    np.testing.assert_array_equal(late[0], table[2:])
