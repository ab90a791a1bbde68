"""Trains the recurrent layers of the contest in seqjax."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from worker import serve, threads

from seqjax.architectures.recurrent import RecurrentEncoder
from seqjax.training.state import parameter_count


def prepare(sizes: dict):
    width, mask = sizes["width"], jnp.ones((sizes["batch"], sizes["length"]), bool)
    stack = RecurrentEncoder(
        kind=sizes["cell"], layers=sizes["layers"], width=width, direction="forward"
    )
    generator = np.random.default_rng(0)
    shape = (8, 2, sizes["batch"], sizes["length"], width)
    batches = itertools.cycle(generator.standard_normal(shape, np.float32))
    params = stack.init(jax.random.key(0), next(batches)[0], mask)["params"]
    optimizer = optax.adam(1e-3)

    def loss_of(params, inputs, goal):
        outputs = stack.apply({"params": params}, inputs, mask).states
        return jnp.mean(jnp.square(outputs - goal))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state, inputs, goal):
        params, moments = state
        loss, gradients = jax.value_and_grad(loss_of)(params, inputs, goal)
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(params, updates), moments), loss

    state = params, optimizer.init(params)

    def train(steps: int) -> dict:
        nonlocal state
        for _ in range(steps):
            state, loss = update(state, *next(batches))
        jax.block_until_ready(state)
        return {"loss": float(loss)}

    train(2)
    return {
        "runs": f"jax {jax.__version__}, jaxlib {jax.lib.__version__}, {threads()} threads",
        "parameters": parameter_count(params),
    }, train


if __name__ == "__main__":
    serve(prepare)
