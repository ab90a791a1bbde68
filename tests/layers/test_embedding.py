import jax
import jax.numpy as jnp
import numpy as np

from seqjax.layers.dropout import rows_of_batch
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


def test_dropout_drops_entries_wherever_they_occur():
    layer = Embedding(3000, 4, dropout=0.3)
    variables = {"params": {"table": jnp.ones((3000, 4))}}
    tokens = np.random.default_rng(0).permutation(np.repeat(np.arange(3000), 2)).reshape(2, -1)
    rngs = {"dropout": jax.random.key(1)}
    found = np.asarray(layer.apply(variables, tokens, False, rngs=rngs))
    scales = found[..., 0] / 2
    np.testing.assert_array_equal(found, np.repeat(2 * scales[..., None], 4, axis=2))
    of_entry = np.zeros(3000)
    of_entry[tokens.ravel()] = scales.ravel()
    np.testing.assert_array_equal(of_entry[tokens], scales)
    np.testing.assert_allclose(np.unique(scales), [0, 1 / 0.7], rtol=1e-6)
    assert abs((scales == 0).mean() - 0.3) < 0.03
    # Rows in parts have the entries of the whole batch.
    with rows_of_batch(1, 2):
        part = layer.apply(variables, tokens[1:], False, rngs=rngs)
    np.testing.assert_array_equal(part, found[1:])
    np.testing.assert_array_equal(layer.apply(variables, tokens), 2 * np.ones((2, 3000, 4)))
