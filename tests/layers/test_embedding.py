import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.layers.embedding import Embedding, Positions, sinusoids


def test_embeds_and_attends_with_one_table(wave):
    table = wave(7, 4).astype(np.float32)
    variables = {"params": {"table": table}}
    layer = Embedding(7, 4)
    tokens = np.array([[3, 0], [6, 3]])
    np.testing.assert_allclose(layer.apply(variables, tokens), 2 * table[tokens], rtol=1e-6)
    x = wave(2, 3, 4, seed=1).astype(np.float32)
    np.testing.assert_allclose(
        layer.apply(variables, x, method="attend"), x @ table.T, rtol=1e-5, atol=1e-6
    )


def test_both_directions_start_at_unit_scale():
    layer = Embedding(2000, 64)
    variables = layer.init(jax.random.key(0), jnp.zeros((1,), int))
    vectors = layer.apply(variables, jnp.arange(2000))
    logits = layer.apply(variables, jax.random.normal(jax.random.key(1), (50, 64)), method="attend")
    assert 0.97 < vectors.std() < 1.03
    assert 0.95 < logits.std() < 1.05


def test_xavier_starts_smaller_in_proportion_to_the_vocabulary():
    layer = Embedding(2000, 64, initializer="xavier")
    table = layer.init(jax.random.key(0), jnp.zeros((1,), int))["params"]["table"]
    assert 0.98 < table.std() / (2 / (2000 + 64)) ** 0.5 < 1.02
    assert abs(table).max() <= (6 / (2000 + 64)) ** 0.5


def test_bfloat16_vectors_come_from_a_float32_table_and_logits_are_float32():
    layer = Embedding(5, 4, jnp.bfloat16)
    variables = layer.init(jax.random.key(0), jnp.zeros((1,), int))
    assert variables["params"]["table"].dtype == jnp.float32
    vectors = layer.apply(variables, jnp.arange(5))
    assert vectors.dtype == jnp.bfloat16
    assert layer.apply(variables, vectors, method="attend").dtype == jnp.float32


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
