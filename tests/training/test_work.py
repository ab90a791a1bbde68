import jax
import jax.numpy as jnp
import pytest

from seqjax.layers.cudnn_lstm import run_cudnn
from seqjax.layers.recurrent import RecurrentLayer
from seqjax.parallel.mesh import is_nvidia
from seqjax.training.work import work_of

X, W = jnp.ones((3, 4)), jnp.ones((4, 4))


def work(function, *arguments):
    return work_of(jax.make_jaxpr(function)(*arguments).jaxpr).flops


def test_a_product_is_two_operations_for_each_pair():
    assert work(lambda x, w: x @ w, X, W) == 2 * 3 * 4 * 4
    assert (
        work(lambda x: jnp.einsum("bij,bjk->bik", x, x), jnp.ones((5, 2, 2))) == 2 * 5 * 2 * 2 * 2
    )
    assert work(lambda x: jnp.tanh(x) + 1, X) == 0


def test_a_scan_counts_as_often_as_it_runs_forward_and_backward():
    def walk(x, w, length):
        return jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, None, length=length)[0].sum()

    once = 2 * 3 * 4 * 4
    assert work(lambda x, w: walk(x, w, 7), X, W) == 7 * once
    # Backward, each product has two of its size.
    assert work(jax.grad(lambda x, w: walk(x, w, 7), argnums=(0, 1)), X, W) == 3 * 7 * once


def test_calls_are_looked_into_and_of_branches_the_dearest_counts():
    def branches(x, w):
        return jax.lax.cond(x.sum() > 0, lambda: x @ w @ w, lambda: x @ w)

    assert work(jax.jit(branches), X, W) == 2 * (2 * 3 * 4 * 4)


def test_products_are_counted_as_often_as_they_run():
    def program(x, w):
        x = jax.lax.scan(lambda x, _: (x @ w @ w, None), x, None, length=7)[0]
        return jax.lax.cond(x.sum() > 0, lambda: x @ w @ w, lambda: x @ w) @ w

    assert work_of(jax.make_jaxpr(program)(X, W).jaxpr).products == 7 * 2 + 2 + 1


@pytest.mark.skipif(not is_nvidia(jax.devices()[0]), reason="no NVIDIA GPU: cuDNN can't be traced")
def test_an_lstm_by_cudnn_counts_like_the_scan_forward_and_backward():
    x, mask = jnp.ones((2, 6, 3)), jnp.ones((2, 6), bool)
    counts = []
    for implementation in (None, run_cudnn):
        layer = RecurrentLayer(5, "lstm", implementation=implementation)
        variables = layer.init(jax.random.key(0), x, mask)

        def loss(variables, x, layer=layer):
            return layer.apply(variables, x, mask)[0].sum()

        counts.append((work(loss, variables, x), work(jax.grad(loss, (0, 1)), variables, x)))
    once = 2 * 2 * 6 * (3 + 5) * 20
    assert counts[0] == counts[1] == (once, 3 * once)
