"""Updates of a tiny translation model: the same on any number of devices and in any parts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax.architectures.encoder_decoder import build
from seqjax.config import default_config
from seqjax.data.tokenizer import EOS, PAD
from seqjax.parallel.mesh import by_row, make_mesh, replicated
from seqjax.training.averages import exponential, moved
from seqjax.training.optimizers import make_optimizer
from seqjax.training.state import TrainState
from seqjax.training.step import make_train_step, train_step_of

ROWS, LENGTH = 16, 5
SIDES = ("source", "target")
DROPOUT, RATE, KEY = 0.3, 0.5, 3


def make_batch(number, rows=ROWS):
    """Rows of one to four tokens and EOS; two rows are empty."""
    random = np.random.default_rng(number)
    batch = {}
    for side in SIDES:
        tokens = random.integers(4, 11, (rows, LENGTH))
        ends = random.integers(1, LENGTH, rows)[:, None]
        columns = np.arange(LENGTH)
        tokens = np.where(columns < ends, tokens, np.where(columns == ends, EOS, PAD))
        tokens[[1, 6]] = PAD
        batch[side] = tokens.astype(np.int32)
    return batch | {"index": np.arange(rows, dtype=np.int32)}


@pytest.fixture(scope="module")
def make(tiny_task, tiny_params):
    """Returns a function that makes the compiled updates of some options, a fresh state, and what
    places a batch. What is compiled is shared by all tests."""

    @functools.cache
    def make_steps(dropout, devices, accumulate):
        task = tiny_task(dropout=dropout)
        config = default_config().optimizer
        config.kind = "sgd"
        optimizer = make_optimizer(config, optax.constant_schedule(RATE))
        mesh = make_mesh(devices)
        steps = make_train_step(task.loss, optimizer, jax.random.key(KEY), mesh, accumulate)
        params = jax.tree.map(np.array, tiny_params(task))
        return steps, TrainState(np.int32(0), params, optimizer.init(params)), mesh

    def make(dropout=0.0, devices=1, accumulate=1):
        steps, start, mesh = make_steps(dropout, devices, accumulate)
        # Copied, since the state that goes into an update is gone afterwards.
        state = jax.device_put(jax.tree.map(np.array, start), replicated(mesh))
        return steps, state, lambda batch: jax.device_put(batch, by_row(mesh))

    return make


@pytest.fixture(scope="module")
def loss_of(tiny_task):
    """Returns a compiled function of (params, batch, key): the summed loss and its gradient."""
    return {
        dropout: jax.jit(jax.value_and_grad(lambda *a, task=task: task.loss(*a)[0]))
        for dropout, task in ((rate, tiny_task(dropout=rate)) for rate in (0.0, DROPOUT))
    }


def run(steps, state, place, count):
    reports = []
    for number in range(count):
        state, sums = steps(state, place(make_batch(number % 3)))
        reports.append({name: float(value) for name, value in sums.items()})
    return state, reports


def assert_same_params(left, right, tolerance=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        left,
        right,
    )


@pytest.mark.slow
def test_the_number_of_devices_changes_nothing_with_dropout_on(make):
    single, alone = run(*make(DROPOUT, devices=1), 10)
    shared, together = run(*make(DROPOUT, devices=8), 10)
    for a, b in zip(alone, together, strict=True):
        assert a["tokens"] == b["tokens"]
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=1e-3)
    assert_same_params(single.params, shared.params, 1e-3)
    assert int(shared.step) == 10
    assert len(jax.tree.leaves(shared.params)[0].sharding.device_set) == 8
    # Batch 0 came at updates 0, 3, 6 and 9, each time under another mask, and was learned from.
    assert together[9]["loss"] < together[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("accumulate, devices", [(2, 8), (4, 1)])
def test_parts_of_a_batch_add_up_to_the_same_update(accumulate, devices, make):
    whole, expected = run(*make(), 2)
    parts, found = run(*make(0.0, devices, accumulate), 2)
    for a, b in zip(expected, found, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    assert_same_params(whole.params, parts.params)


def test_the_gradient_is_per_target_token_of_the_whole_batch(make, loss_of):
    steps, state, place = make()
    batch = make_batch(0)
    tokens = (batch["target"] != PAD).sum()
    before = jax.tree.map(np.array, state.params)
    loss, gradient = loss_of[0.0](before, batch, jax.random.key(9))
    gradient = jax.tree.map(lambda g: np.asarray(g) / tokens, gradient)
    state, sums = steps(state, place(batch))
    assert float(sums["tokens"]) == tokens
    assert float(sums["objective"]) == pytest.approx(float(loss), rel=1e-5)
    # Without label smoothing.
    assert 0 < float(sums["loss"]) != pytest.approx(float(loss), rel=1e-5)
    norm = sum((g**2).sum() for g in jax.tree.leaves(gradient)) ** 0.5
    assert float(sums["gradient_norm"]) == pytest.approx(norm, rel=1e-4)
    share = RATE * min(1.0, 1.0 / norm)  # optimizer.clip is 1
    expected = jax.tree.map(lambda p, g: p - share * g, before, gradient)
    assert_same_params(state.params, expected)


def test_empty_rows_and_a_batch_of_nothing_else_add_nothing(make, loss_of):
    steps, state, place = make()
    before = jax.tree.map(np.array, state.params)
    nothing = {name: np.zeros_like(value) for name, value in make_batch(0).items()}
    state, sums = steps(state, place(nothing))
    zeros = {"loss": 0.0, "objective": 0.0, "tokens": 0.0, "gradient_norm": 0.0}
    assert {name: float(value) for name, value in sums.items()} == zeros
    assert_same_params(state.params, before)

    full, emptied = make_batch(1), make_batch(1)
    for side in SIDES:
        full[side][10:] = full[side][:6]
        emptied[side][10:] = PAD
    key = jax.random.key(0)
    losses = [float(loss_of[0.0](before, batch, key)[0]) for batch in (full, emptied)]
    first = {side: np.where(np.arange(ROWS)[:, None] < 6, full[side], PAD) for side in SIDES}
    assert losses[0] - losses[1] == pytest.approx(
        float(loss_of[0.0](before, full | first, key)[0]), rel=1e-4
    )


@pytest.mark.slow
def test_masks_differ_from_update_to_update_and_from_row_to_row(make):
    batch = make_batch(0)
    losses = []
    for number in range(3):
        steps, state, place = make(DROPOUT)
        _, sums = steps(state.replace(step=state.step + number), place(batch))
        losses.append(float(sums["loss"]))
    assert len(set(losses)) == 3


DROPPING = {
    "transformer": {"attention_dropout": 0.3, "activation_dropout": 0.3},
    "convolutional": {"attention": "dot"},
    "lstm": {"variational": True, "attention": "dot", "direction": "forward"},
    "gru": {"attention": "additive", "attention_order": "attend_first", "recurrent_dropout": 0.3},
    "elman": {"variational": True, "attention": "additive", "input_feeding": True},
    "deep transformer": {"layers": 2, "scan_layers": True, "rematerialize": True},
    "deep convolutional": {"layers": 2, "scan_layers": True, "attention": "additive"},
}

_RARE = ("elman", "convolutional", "deep transformer")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            x, marks=[pytest.mark.slow] * ("deep" in x) + [pytest.mark.thorough] * (x in _RARE)
        )
        for x in DROPPING
    ],
)
def test_parts_of_a_batch_drop_what_the_whole_batch_drops(case, filled):
    config = default_config().model
    for stack in (config.encoder, config.decoder):
        stack.update(kind=case.split()[-1], layers=1, width=8, heads=2, feed_forward=12)
        stack.update(dropout=DROPOUT)
        stack.update({key: value for key, value in DROPPING[case].items() if key in stack})
    config.embedding_dropout = 0.2
    model = build(config, 12, 12)

    def loss(params, batch, key, carry):
        target = batch["target"]
        rngs = {"dropout": key}
        logits = model.apply({"params": params}, batch["source"], target, False, rngs=rngs)
        mask = (target != PAD)[..., None]
        weights = jnp.cos(jnp.arange(logits[0].size) ** 1.3).reshape(logits.shape[1:])
        objective = jnp.sum(jax.nn.log_softmax(logits) * mask * weights)
        return objective, ({"tokens": jnp.sum(mask)}, carry)

    batch = make_batch(0, 12)
    start = (batch["source"], batch["target"])
    params = filled(jax.eval_shape(model.init, jax.random.key(0), *start)["params"])
    optimizer = optax.sgd(RATE)
    state = TrainState(np.int32(0), params, optimizer.init(params))
    key = jax.random.key(KEY)
    whole, parts, other = (
        jax.jit(train_step_of(loss, optimizer, key, n))(state, batch)[0].params
        for key, n in ((key, 1), (key, 3), (jax.random.key(0), 1))
    )
    assert_same_params(whole, parts)
    # What is dropped matters.
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), whole, other)
    assert max(jax.tree.leaves(differences)) > 0.01


def test_the_old_state_is_given_up(make):
    steps, state, place = make()
    old = jax.tree.leaves(state)
    steps(state, place(make_batch(0)))
    assert all(leaf.is_deleted() for leaf in old)


def test_flops_grow_with_the_batch_and_depend_neither_on_devices_nor_on_parts(make):
    def flops(rows, **options):
        steps, state, _ = make(**options)
        batch = make_batch(0, rows)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)
        return steps.flops(state, shapes)

    few, many = flops(ROWS), flops(16 * ROWS)
    assert few > 0
    assert many == 16 * few
    assert flops(16 * ROWS, devices=8) == many
    assert flops(16 * ROWS, accumulate=4) == many


def test_each_shape_is_compiled_once(make):
    steps, state, _ = make()
    first = steps.compile(state, make_batch(0))
    assert steps.compile(state, make_batch(1)) is first
    assert steps.compile(state, make_batch(0, 16 * ROWS)) is not first


def test_the_average_follows_the_parameters():
    average = {"w": np.float32([1.0, 2.0])}
    after = []
    for step, values in enumerate(([3.0, 4.0], [5.0, 6.0])):
        weight = exponential(0.15)(np.int32(step), ())
        average = moved(average, {"w": np.float32(values)}, weight)
        after.append(average["w"])
    # The decay is 1 / 10 first, which is less than 0.15, then 0.15, which is less than 2 / 11.
    np.testing.assert_allclose(after[0], [2.8, 3.8], rtol=1e-6)
    np.testing.assert_allclose(after[1], [0.15 * 2.8 + 0.85 * 5, 0.15 * 3.8 + 0.85 * 6], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_average_changes_no_update(tiny_task, tiny_params, accumulate):
    task = tiny_task()
    optimizer, key = optax.sgd(RATE), jax.random.key(KEY)
    step = train_step_of(task.loss, optimizer, key, accumulate, exponential(0.5))
    params = tiny_params(task)
    plain = TrainState(jnp.int32(9), params, optimizer.init(params))
    kept = plain.replace(average=params)
    batch = make_batch(0)
    (without, _), (with_average, _) = (jax.jit(step)(state, batch) for state in (plain, kept))
    assert without.average is None and without.best is without.params
    jax.tree.map(np.testing.assert_array_equal, with_average.params, without.params)
    middle = jax.tree.map(lambda old, new: (old + new) / 2, params, without.params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        with_average.best,
        middle,
    )
