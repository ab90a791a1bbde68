import jax
import jax.numpy as jnp
import numpy as np

from seqjax.layers.embedding import Embedding


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
