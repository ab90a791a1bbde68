import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.layers.multi_head_attention import MultiHeadAttention, causal_mask, window_mask

BATCH, TARGET, SOURCE, WIDTH, MEMORY_WIDTH = 3, 4, 5, 8, 6
LENGTHS = np.array([5, 2, 3])


@pytest.fixture
def inputs(wave):
    query = wave(BATCH, TARGET, WIDTH).astype(np.float32)
    memory = wave(BATCH, SOURCE, MEMORY_WIDTH, seed=1).astype(np.float32)
    mask = np.arange(SOURCE) < LENGTHS[:, None, None, None]
    return query, memory, mask


def parameters(layer, filled, *inputs):
    return {"params": filled(jax.eval_shape(layer.init, jax.random.key(0), *inputs)["params"])}


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_equals_plain_numpy(heads, inputs, filled, reference):
    query, memory, mask = inputs
    layer = MultiHeadAttention(WIDTH, heads)
    variables = parameters(layer, filled, *inputs)
    output = layer.apply(variables, *inputs)
    for row in range(BATCH):
        expected = reference.attention(
            variables["params"],
            query[row],
            memory[row],
            np.broadcast_to(mask[row, 0], (TARGET, SOURCE)),
            heads,
        )
        np.testing.assert_allclose(output[row], expected, rtol=1e-5, atol=1e-6)


def test_causal_attention_equals_plain_numpy(inputs, filled, reference):
    query = inputs[0]
    layer = MultiHeadAttention(WIDTH, 2)
    variables = parameters(layer, filled, query, query, causal_mask(TARGET))
    output = layer.apply(variables, query, query, causal_mask(TARGET))
    past = np.tri(TARGET)
    for row in range(BATCH):
        expected = reference.attention(variables["params"], query[row], query[row], past, 2)
        np.testing.assert_allclose(output[row], expected, rtol=1e-5, atol=1e-6)


def test_equals_torch_forward_and_backward(torch_layers):
    layer = MultiHeadAttention(WIDTH, 2)
    mask = np.arange(SOURCE) < torch_layers.lengths[:, None, None, None]

    def forward(params, query, key, value):
        def read(module):
            projected = module.project_query(query), *module.project_memory(key, value)
            return module.read(*projected, mask)[0]

        return layer.apply({"params": params}, method=read)

    inputs = ("query_input", "key_input", "value_input")
    torch_layers.check("attention", torch_layers.attention, inputs, forward)


def test_as_many_key_heads_as_heads_are_plain_attention(inputs, filled):
    plain, grouped = MultiHeadAttention(WIDTH, 4), MultiHeadAttention(WIDTH, 4, 4)
    variables = parameters(plain, filled, *inputs)
    np.testing.assert_array_equal(
        grouped.apply(variables, *inputs), plain.apply(variables, *inputs)
    )


@pytest.mark.parametrize("groups", [1, 2])
def test_groups_equal_plain_attention_with_repeated_keys_and_values(groups, inputs, filled):
    heads, size = 4, WIDTH // 4
    plain, grouped = MultiHeadAttention(WIDTH, heads), MultiHeadAttention(WIDTH, heads, groups)
    variables = parameters(grouped, filled, *inputs)
    keys, values = grouped.apply(variables, inputs[1], method="project_memory")
    assert keys.shape == values.shape == (BATCH, groups, SOURCE, size)

    def repeat(leaf):
        split = leaf.reshape(*leaf.shape[:-1], groups, size)
        return split.repeat(heads // groups, axis=-2).reshape(*leaf.shape[:-1], WIDTH)

    params = dict(variables["params"])
    params |= {name: jax.tree.map(repeat, params[name]) for name in ("key", "value")}
    expected = plain.apply({"params": params}, *inputs)
    np.testing.assert_allclose(grouped.apply(variables, *inputs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [0, 1])
def test_own_positions_are_projected_as_others_are(groups, inputs, filled):
    x = inputs[0]
    layer = MultiHeadAttention(WIDTH, 4, groups)
    variables = parameters(layer, filled, x, x, causal_mask(TARGET))
    own = layer.apply(variables, x, method="project_own")
    expected = (
        layer.apply(variables, x, method="project_query"),
        *layer.apply(variables, x, method="project_memory"),
    )
    for ours, theirs in zip(own, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_window_mask_golden():
    assert window_mask(np.arange(4), np.arange(4), 1).astype(int).tolist() == [
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 1, 1, 1],
        [0, 0, 1, 1],
    ]
    assert window_mask(jnp.array([3]), np.arange(6), 2).tolist() == [[False] + [True] * 5]


def test_causal_mask_golden():
    assert causal_mask(3).tolist() == [
        [[[True, False, False], [True, True, False], [True, True, True]]]
    ]


def test_reads_the_mean_where_there_is_nothing_to_read(inputs, filled):
    query, memory, mask = inputs
    layer = MultiHeadAttention(WIDTH, 2)
    variables = parameters(layer, filled, *inputs)
    output = layer.apply(variables, query, memory, np.zeros_like(mask))
    _, values = layer.apply(variables, memory, method="project_memory")
    mean = np.asarray(values).mean(2).reshape(BATCH, 1, WIDTH)
    expected = layer.apply(variables, mean, method=lambda module, x: module.output(x))
    np.testing.assert_allclose(output, np.broadcast_to(expected, output.shape), rtol=1e-5)


def test_large_scores_stay_finite_forward_and_backward(inputs, filled):
    query, memory, mask = inputs
    layer = MultiHeadAttention(WIDTH, 2)
    variables = parameters(layer, filled, *inputs)

    def total(query):
        return jnp.sum(layer.apply(variables, query, memory, mask))

    assert np.isfinite(total(1e6 * query))
    assert np.isfinite(jax.grad(total)(1e6 * query)).all()


def test_dropout_acts_on_the_weights(inputs, filled):
    """Attention to values that are all one gives the share of weights that is left."""
    query, memory, mask = inputs
    layer = MultiHeadAttention(WIDTH, 2, dropout=0.5)
    params = parameters(layer, filled, *inputs)["params"]
    params["value"] = {"kernel": jnp.zeros((MEMORY_WIDTH, WIDTH)), "bias": jnp.ones(WIDTH)}
    params["output"] = {"kernel": jnp.eye(WIDTH), "bias": jnp.zeros(WIDTH)}
    # Queries of zero read all positions alike.
    query, everything = np.zeros((200, TARGET, WIDTH), np.float32), np.ones_like(mask[:1])
    memory = np.broadcast_to(memory[:1], (200, SOURCE, MEMORY_WIDTH))
    output = layer.apply(
        {"params": params | {"query": jax.tree.map(jnp.zeros_like, params["query"])}},
        query,
        memory,
        everything,
        False,
        rngs={"dropout": jax.random.key(0)},
    )
    # Each of five equal weights is 0 or 2/5; the four values of a head share its weights.
    heads = np.asarray(output).reshape(-1, 2, 4)
    np.testing.assert_allclose(heads, heads[..., :1].repeat(4, -1), rtol=1e-6)
    counts = heads[..., 0] * SOURCE / 2
    np.testing.assert_allclose(counts, counts.round(), atol=1e-5)
    assert abs(counts.mean() - SOURCE / 2) < 4 * (SOURCE / 4 / counts.size) ** 0.5
    assert len(np.unique(counts.round())) == SOURCE + 1
