"""The adaptive softmax and adaptive embeddings, beside NumPy and numbers of torch."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.layers.adaptive import (
    AdaptiveEmbedding,
    AdaptiveSoftmax,
    TiedAdaptiveSoftmax,
    expected_share,
)

VOCABULARY, WIDTH, CUTOFFS, FACTOR = 13, 8, (5, 9), 2
ENDS = (0, 5, 9, 13)
FIELDS = {"vocabulary": VOCABULARY, "width": WIDTH, "cutoffs": CUTOFFS, "factor": FACTOR}
# Few words of a tail, as Zipf's law expects, and more than are computed at once.
TARGETS = {
    "few": [[0, 1, 9, 2, 3, 4], [1, 5, 0, 2, 3, 2]],
    "some": [[0, 5, 8, 6, 7, 5], [12, 6, 4, 8, 7, 11]],
    "all": [[9, 10, 11, 12, 9, 12], [11, 12, 10, 9, 9, 10]],
    "none": [[0, 1, 2, 3, 4, 4], [2, 1, 0, 1, 4, 3]],
}


@pytest.fixture(scope="module")
def inputs(wave):
    return wave(2, 6, WIDTH, seed=3).astype(np.float32)


class Tied(nn.Module):
    """A tied head with its embedding."""

    def setup(self):
        self.embedding = AdaptiveEmbedding(**FIELDS)
        self.head = TiedAdaptiveSoftmax(VOCABULARY, CUTOFFS, self.embedding)

    def __call__(self, x):
        return self.head(x)

    def losses(self, x, targets):
        return self.head.losses(x, targets)


@pytest.fixture(scope="module")
def heads(filled, inputs):
    """Each head as a function, its parameters, and its losses with their gradients."""

    def make(module):
        params = filled(jax.eval_shape(module.init, jax.random.key(0), inputs)["params"])
        weights = np.cos(np.arange(12.0)).reshape(2, 6)

        def by_losses(params, x, targets):
            losses = module.apply({"params": params}, x, targets, method="losses")
            return jnp.sum(losses * weights), losses

        def by_distribution(params, x, targets):
            found = module.apply({"params": params}, x)
            losses = -jnp.take_along_axis(found, targets[..., None], axis=-1)[..., 0]
            return jnp.sum(losses * weights), losses

        derived = [
            jax.jit(jax.grad(function, argnums=(0, 1), has_aux=True))
            for function in (by_losses, by_distribution)
        ]
        return jax.jit(lambda x: module.apply({"params": params}, x)), params, derived

    return {"untied": make(AdaptiveSoftmax(**FIELDS)), "tied": make(Tied())}


def matrices(name, params):
    """Returns the matrix of the first softmax, and the two of each tail, as NumPy arrays."""
    if name == "untied":
        first = params["choose"]["kernel"]
        tails = [(params[f"narrow_{i}"]["kernel"], params[f"words_{i}"]["kernel"]) for i in (0, 1)]
    else:
        table = [params["embedding"][f"cluster_{i}"]["table"] for i in range(3)]
        widen = [params["embedding"][f"widen_{i}"]["kernel"] for i in range(2)]
        first = np.concatenate([table[0].T, params["head"]["choose"]["kernel"]], axis=1)
        tails = [(widen[i].T, table[i + 1].T) for i in range(2)]
    return np.float64(first), [tuple(map(np.float64, both)) for both in tails]


def softmax(logits):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


both = pytest.mark.parametrize("name", ["untied", "tied"])


@both
def test_the_distribution_is_that_of_numpy_and_sums_to_one(name, heads, inputs):
    head, params, _ = heads[name]
    first, tails = matrices(name, params)
    chosen = softmax(np.float64(inputs) @ first)
    parts = [chosen[..., :5]]
    for i, (narrow, words) in enumerate(tails):
        parts.append(chosen[..., 5 + i, None] * softmax(np.float64(inputs) @ narrow @ words))
    found = np.asarray(head(inputs))
    assert found.shape == (2, 6, VOCABULARY) and found.dtype == np.float32
    np.testing.assert_allclose(found, np.log(np.concatenate(parts, axis=-1)), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(np.exp(found).sum(-1), 1.0, rtol=1e-5)
    # Neither is uniform.
    assert found.max() - found.min() > 1


@both
@pytest.mark.parametrize("case", TARGETS)
def test_losses_and_their_gradients_are_those_of_the_distribution(name, case, heads, inputs):
    _, params, derived = heads[name]
    targets = np.array(TARGETS[case], np.int32)
    ours, exact = (derive(params, inputs, targets) for derive in derived)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6), ours, exact
    )
    if case == "some":
        for path, gradient in jax.tree.leaves_with_path(ours[0][0]):
            assert (np.abs(gradient) > 1e-6).mean() > 0.7, path


@pytest.mark.parametrize("way", [jax.vmap, lambda f: functools.partial(jax.lax.map, f)])
def test_members_of_a_population_have_the_losses_that_each_has_alone(way, heads, inputs):
    """They have parameters of their own, and the tokens of a batch together."""
    _, params, (derive, _) = heads["untied"]
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, -0.5 * leaf, 2 * leaf]), params)

    @jax.jit
    def together(members, targets):
        return way(lambda own: derive(own, inputs, targets))(members)

    for case in ("few", "all"):
        targets = np.array(TARGETS[case], np.int32)
        found = together(members, targets)
        for n in range(3):
            alone = derive(jax.tree.map(lambda leaf, n=n: leaf[n], members), inputs, targets)
            jax.tree.map(
                lambda one, other, n=n: np.testing.assert_allclose(
                    one, other[n], rtol=2e-5, atol=2e-6
                ),
                alone,
                found,
            )


def sizes(jaxpr):
    """Yields the number of entries of each array of a program, those of inner ones included."""
    for equation in jaxpr.eqns:
        yield from (np.prod(out.aval.shape) for out in equation.outvars)
        for inner in jax.tree.leaves(
            equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from sizes(inner)


def test_training_keeps_few_logits_even_if_a_tail_has_all_tokens():
    fields = {"vocabulary": 2000, "width": 4, "cutoffs": (10, 200), "factor": 2}
    head = AdaptiveSoftmax(**fields)
    x, targets = jnp.ones((40, 50, 4)), jnp.zeros((40, 50), jnp.int32)
    params = jax.eval_shape(head.init, jax.random.key(0), x)["params"]

    def loss(params, x):
        return head.apply({"params": params}, x, targets, method="losses").sum()

    largest = max(sizes(jax.make_jaxpr(jax.grad(loss))(params, x).jaxpr))
    room = np.ceil(2 * expected_share(200, 2000, 2000) * 2000)
    assert 0.55 < room / 2000 < 0.65
    assert largest == room * 1800


def test_embeddings_are_those_of_their_cluster_widened(wave, filled):
    layer = AdaptiveEmbedding(**FIELDS)
    tokens = np.array([[0, 4, 5, 8], [9, 12, 1, 5]])
    params = filled(jax.eval_shape(layer.init, jax.random.key(0), tokens)["params"])
    assert [params[f"cluster_{i}"]["table"].shape for i in range(3)] == [(5, 8), (4, 4), (4, 2)]
    whole = [params["cluster_0"]["table"]]
    for i in (1, 2):
        whole.append(params[f"cluster_{i}"]["table"] @ params[f"widen_{i - 1}"]["kernel"])
    expected = 8**0.5 * np.concatenate(whole)[tokens]
    found = layer.apply({"params": params}, tokens)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda p: jnp.sum(jnp.sin(layer.apply({"params": p}, tokens))))(params)
    read = [np.abs(gradient[f"cluster_{i}"]["table"]).max(1) > 0 for i in range(3)]
    assert np.flatnonzero(np.concatenate(read)).tolist() == [0, 1, 4, 5, 8, 9, 12]


def test_vectors_of_every_cluster_start_at_a_like_scale_and_are_dropped_whole():
    layer = AdaptiveEmbedding(3000, 64, (1000, 2000), 4, dropout=0.3)
    tokens = jnp.arange(3000)[None]
    variables = layer.init(jax.random.key(0), tokens)
    vectors = np.asarray(layer.apply(variables, tokens))[0]
    for part in np.split(vectors, 3):
        assert 0.9 < part.std() < 1.5
    dropped = layer.apply(variables, tokens, False, rngs={"dropout": jax.random.key(1)})
    scales = np.asarray(dropped)[0] / vectors
    np.testing.assert_allclose(scales, np.repeat(scales[:, :1], 64, axis=1), rtol=1e-4)
    assert abs((scales[:, 0] == 0).mean() - 0.3) < 0.03
    half = AdaptiveEmbedding(3000, 64, (1000, 2000), 4, jnp.bfloat16)
    assert half.apply(variables, tokens).dtype == jnp.bfloat16


def test_zipfs_law_shares_all_tokens():
    shares = [expected_share(*each, 10_000) for each in ((0, 100), (100, 2000), (2000, 10_000))]
    assert sum(shares) == pytest.approx(1)
    harmonic = np.cumsum(1 / np.arange(1, 10_001))
    assert shares[2] == pytest.approx(1 - harmonic[1999] / harmonic[-1], rel=0.08)
