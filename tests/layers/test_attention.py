"""Every score by its equation in plain numpy."""

import jax
import numpy as np
import pytest

from seqjax.layers.attention import ATTENTIONS, SOURCE_ATTENTION

ROWS, TARGETS, LENGTH, WIDTH, INNER = 2, 3, 5, 4, 6
MASK = np.arange(LENGTH) < np.array([[5], [3]])
SINGLE = sorted(set(ATTENTIONS) - {"multi_head"})


def wave(*shape, seed):
    return np.sin((np.arange(np.prod(shape)) + 100 * seed) ** 1.3).reshape(shape).astype(np.float32)


QUERY, STATES = wave(ROWS, TARGETS, WIDTH, seed=1), wave(ROWS, LENGTH, WIDTH, seed=2)
VALUES = wave(ROWS, LENGTH, 7, seed=3)
BEFORE = np.exp(wave(ROWS, 1, TARGETS, LENGTH, seed=4)) * MASK[:, None, None]
BEFORE /= BEFORE.sum(-1, keepdims=True)


def attend(kind, filled, values=VALUES, mask=MASK, states=STATES, params=None):
    module = ATTENTIONS[kind](WIDTH, INNER, heads=2)

    def run(module, query, states):
        return module(query, module.prepare(states, values, mask), BEFORE)

    if params is None:
        shapes = jax.eval_shape(
            lambda key: module.init(key, QUERY, states, method=run), jax.random.key(0)
        )
        params = filled(shapes["params"]) if "params" in shapes else {}
    found = module.apply({"params": params}, QUERY, states, method=run)
    return *map(np.asarray, found), jax.tree.map(np.asarray, params)


def score(kind, params, q, m, features):
    """The score of one query and one state; features are those of the location, [F]."""
    if kind == "dot":
        return q @ m
    if kind == "scaled_dot":
        return q @ m / np.sqrt(WIDTH)
    if kind == "general":
        return q @ (m @ params["key"]["kernel"])
    hidden = q @ params["query"]["kernel"] + m @ params["key"]["kernel"]
    if kind != "concat":
        hidden = hidden + params["key"]["bias"]
    if kind == "location":
        hidden = hidden + features @ params["location"]["kernel"]
    vector = params["vector"]
    if kind == "additive_normalized":
        vector = params["scale"] * vector / np.sqrt(np.sum(vector**2))
    return vector @ np.tanh(hidden)


@pytest.mark.parametrize("kind", SINGLE)
def test_weights_and_contexts_are_those_of_the_equations(kind, filled):
    context, weights, params = attend(kind, filled)
    assert weights.shape == (ROWS, 1, TARGETS, LENGTH)
    for b in range(ROWS):
        real = MASK[b].sum()
        for t in range(TARGETS):
            scores = []
            for s in range(real):
                features = None
                if kind == "location":
                    filters = params["filter"]
                    seen = [s + i - len(filters) // 2 for i in range(len(filters))]
                    window = [BEFORE[b, 0, t, j] if 0 <= j < LENGTH else 0.0 for j in seen]
                    features = np.array(window) @ filters
                scores.append(score(kind, params, QUERY[b, t], STATES[b, s], features))
            expected = np.exp(scores) / np.exp(scores).sum()
            np.testing.assert_allclose(weights[b, 0, t, :real], expected, rtol=1e-5, atol=1e-6)
            assert not weights[b, 0, t, real:].any()
            np.testing.assert_allclose(
                context[b, t], expected @ VALUES[b, :real], rtol=1e-5, atol=1e-5
            )


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_what_is_read_may_be_something_else_than_what_is_compared(kind, filled):
    context, weights, params = attend(kind, filled)
    other, same, _ = attend(kind, filled, values=2 * VALUES, params=params)
    np.testing.assert_array_equal(weights, same)
    assert np.abs(other - context).max() > 0.05
    _, changed, _ = attend(kind, filled, states=STATES[:, ::-1], params=params)
    assert np.abs(changed - weights).max() > 0.005


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_an_empty_source_gives_numbers(kind, filled):
    context, weights, _ = attend(kind, filled, mask=np.zeros_like(MASK))
    assert np.isfinite(context).all() and np.isfinite(weights).all()


def test_a_normalized_vectors_scale_starts_at_one_over_the_root_of_its_size():
    module = ATTENTIONS["additive_normalized"](WIDTH, INNER)

    def run(module):
        return module(QUERY, module.prepare(STATES, VALUES, MASK))

    params = module.init(jax.random.key(0), method=run)["params"]
    np.testing.assert_allclose(params["scale"], INNER**-0.5)


def test_the_weights_are_kept_where_they_are_asked_for_only(tiny_task, tiny_params):
    task = tiny_task()
    variables = {"params": tiny_params(task)}
    source = target = np.array([[4, 5, 2]], np.int32)
    assert not isinstance(task.model.apply(variables, source, target), tuple)
    _, found = task.model.apply(variables, source, target, mutable=[SOURCE_ATTENTION])
    assert found.keys() == {SOURCE_ATTENTION}
