import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax.config import default_config
from seqjax.training.optimizers import learning_rate, make_optimizer

RATE = 0.1


def schedule(kind, final=0.0):
    config = default_config().schedule
    config.update(kind=kind, final=final)
    return config


# kind, final, warm-up, total -> {update: share of the peak}
TABLE = [
    ("constant", 0.0, 0, 100, {0: 1, 50: 1, 99: 1}),
    ("constant", 0.0, 4, 100, {0: 1 / 4, 1: 2 / 4, 2: 3 / 4, 3: 1, 4: 1, 99: 1}),
    ("inverse_sqrt", 0.0, 4, 100, {0: 1 / 4, 3: 1, 4: (4 / 5) ** 0.5, 15: 1 / 2, 63: 1 / 4}),
    ("inverse_sqrt", 0.0, 0, 100, {0: 1, 3: 1 / 2, 99: 1 / 10}),
    ("inverse_sqrt", 0.0, 1, 100, {0: 1, 1: 0.5**0.5, 3: 1 / 2}),
    ("cosine", 0.0, 0, 100, {0: 1, 25: (1 + 0.5**0.5) / 2, 50: 1 / 2, 75: (1 - 0.5**0.5) / 2}),
    ("cosine", 0.2, 20, 100, {9: 1 / 2, 19: 1, 20: 1, 60: 0.6, 100: 0.2, 500: 0.2}),
    ("linear", 0.0, 0, 100, {0: 1, 25: 3 / 4, 50: 1 / 2, 99: 1 / 100}),
    ("linear", 0.1, 20, 100, {0: 1 / 20, 19: 1, 20: 1, 60: 0.55, 100: 0.1, 500: 0.1}),
    # The whole training is warm-up.
    ("cosine", 0.0, 10, 10, {0: 1 / 10, 9: 1}),
    ("linear", 0.0, 10, 10, {0: 1 / 10, 9: 1}),
]


def test_zaremba_halves_the_rate_after_each_epoch_from_the_fourth_on():
    found = default_config().schedule
    found.update(kind="step", factor=0.5)
    epoch = 10
    rate = learning_rate(1.0, found, 0, 13 * epoch, hold=4 * epoch, interval=epoch)
    rates = jax.vmap(rate)(jnp.arange(13 * epoch)).reshape(13, epoch)
    expected = np.array([1, 1, 1, 1, *(0.5**n for n in range(1, 10))])
    np.testing.assert_allclose(rates, np.repeat(expected[:, None], epoch, axis=1))
    # A warm-up is a part of what is held.
    rate = learning_rate(1.0, found, 4, 13 * epoch, hold=4 * epoch, interval=epoch)
    np.testing.assert_allclose(
        [rate(t) for t in (0, 3, 39, 40, 49, 50)], [0.25, 1, 1, 0.5, 0.5, 0.25]
    )


@pytest.mark.parametrize("kind, final, warmup, total, shares", TABLE)
def test_learning_rate_table(kind, final, warmup, total, shares):
    rate = learning_rate(RATE, schedule(kind, final), warmup, total)
    found = [float(rate(jnp.int32(t))) for t in shares]
    np.testing.assert_allclose(found, RATE * np.array(list(shares.values())), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kind", ["constant", "inverse_sqrt", "cosine", "linear"])
@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_the_rate_rises_to_the_peak_then_never_rises_again(kind, warmup):
    rates = np.array(jax.vmap(learning_rate(RATE, schedule(kind), warmup, 40))(jnp.arange(40)))
    assert rates.max() == pytest.approx(RATE)
    peak = max(warmup - 1, 0)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) <= 1e-9).all()
    assert (rates > 0).all()


PARAMS = {
    "matrix": np.sin(np.arange(6.0) ** 1.3).reshape(2, 3) + 1.5,
    "bias": np.array([0.5, -2.0, 0.0]),
}
GRADIENTS = [jax.tree.map(lambda p, k=k: np.cos(3 * p + k), PARAMS) for k in range(3)]


def optimizer_config(kind, **changes):
    config = default_config().optimizer
    config.update(kind=kind, clip=0.0, beta1=0.8, beta2=0.9, epsilon=1e-3, momentum=0.7)
    config.update(changes)
    return config


def run(config, rate=RATE, gradients=GRADIENTS, params=PARAMS):
    """Returns the parameters after each update."""
    optimizer = make_optimizer(config, optax.constant_schedule(rate))
    params = jax.tree.map(jnp.float32, params)
    state, history = optimizer.init(params), []
    update = jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(jax.tree.map(jnp.float32, gradient), state, params)
        params = optax.apply_updates(params, updates)
        history.append(params)
    return history


def adam_by_hand(name, decay):
    """Algorithm 1 of Kingma and Ba (2015), with the decay of Loshchilov and Hutter (2019)."""
    p, m, v = PARAMS[name].copy(), 0.0, 0.0
    for t, gradients in enumerate(GRADIENTS, start=1):
        g = gradients[name]
        m = 0.8 * m + 0.2 * g
        v = 0.9 * v + 0.1 * g**2
        step = m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.9**t)) + 1e-3)
        p = p - RATE * (step + decay * p)
    return p


@pytest.mark.parametrize("kind, decay", [("adam", 0.0), ("adamw", 0.0), ("adamw", 0.3)])
def test_adam_equals_its_algorithm_and_adamw_decays_matrices_only(kind, decay):
    found = run(optimizer_config(kind, weight_decay=decay))[-1]
    np.testing.assert_allclose(found["matrix"], adam_by_hand("matrix", decay), rtol=1e-5)
    np.testing.assert_allclose(found["bias"], adam_by_hand("bias", 0.0), rtol=1e-5, atol=1e-6)


def test_of_weight_normalized_matrices_the_lengths_decay():
    params = {"map": {"kernel": np.ones((2, 3)), "scale": np.ones(3), "bias": np.ones(3)}}
    gradients = [jax.tree.map(np.zeros_like, params)]
    found = run(optimizer_config("adamw", weight_decay=0.5), 0.1, gradients, params)[-1]["map"]
    for name, left in (("kernel", 1.0), ("scale", 0.95), ("bias", 1.0)):
        np.testing.assert_allclose(found[name], left, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_sgd_has_momentum_and_a_decay_outside_of_it(decay):
    found = run(optimizer_config("sgd", weight_decay=decay))[-1]
    for name, share in (("matrix", decay), ("bias", 0.0)):
        p, velocity = PARAMS[name].copy(), 0.0
        for gradients in GRADIENTS:
            velocity = 0.7 * velocity + gradients[name]
            p = p - RATE * (velocity + share * p)
        np.testing.assert_allclose(found[name], p, rtol=1e-5, atol=1e-6)


def test_adafactor_moves_against_the_gradient_by_a_share_of_the_parameter():
    # Large enough a matrix to be factored into rows and columns.
    params = {"matrix": 1 + 0.5 * np.sin(np.arange(128.0 * 130) ** 1.3).reshape(128, 130)}
    gradient = jax.tree.map(lambda p: 100 * np.cos(3 * p), params)
    before, after = params["matrix"], run(optimizer_config("adafactor"), 0.01, [gradient], params)
    moved = np.asarray(after[0]["matrix"]) - before
    assert (np.sign(moved) == -np.sign(gradient["matrix"])).mean() > 0.99
    # The relative step of Shazeer and Stern, section 8: rate * RMS(parameters) * RMS(1).
    rms = math.sqrt((moved**2).mean() / (before**2).mean())
    assert rms == pytest.approx(0.01, rel=0.05)
    decayed = run(optimizer_config("adafactor", weight_decay=0.5), 0.01, [gradient], params)
    np.testing.assert_allclose(
        decayed[0]["matrix"], after[0]["matrix"] - 0.01 * 0.5 * before, rtol=1e-5
    )


@pytest.mark.parametrize("clip, share", [(0.0, 1.0), (1e3, 1.0), (0.5, None)])
def test_clips_all_gradients_together_to_a_global_norm(clip, share):
    norm = math.sqrt(sum((g**2).sum() for g in GRADIENTS[0].values()))
    share = share or clip / norm
    found = run(optimizer_config("sgd", clip=clip), gradients=GRADIENTS[:1])[0]
    for name, p in PARAMS.items():
        np.testing.assert_allclose(
            found[name], p - RATE * share * GRADIENTS[0][name], rtol=1e-5, atol=1e-6
        )
