import functools
import itertools
import logging
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from seqjax.config_files import load_config_file
from seqjax.errors import UserError
from seqjax.layers.adaptive import AdaptiveEmbedding, AdaptiveSoftmax
from seqjax.parallel.mesh import distribute, make_mesh, replicated
from seqjax.parallel.sharding import (
    RULES,
    parameter_shardings,
    path_name,
    rule_of,
    shardings_like,
)
from seqjax.tasks.text_to_text import TextToText
from seqjax.training.optimizers import make_optimizer
from seqjax.training.state import TrainState
from seqjax.training.step import make_train_step

CLASSICS = Path(__file__).parents[2] / "configs" / "classics.py"
VARIANTS = (
    ("sutskever2014", "cho2014", "bahdanau2015", "luong2015", "gehring2017", "vaswani2017")
    + ("chen2018",)
)  # fmt: skip
OPTIONS = {
    "vaswani2017": (
        {},
        {"normalization": "pre", "positions": "relative", "activation": "swiglu", "norm": "rms"},
        {"positions": "learned", "key_value_heads": 2},
    ),
    "gehring2017": ({}, {"attention": "multi_head"}),
    "bahdanau2015": (
        {},
        {"cell_normalization": True, "attention": "location"},
        {"past_attention": "additive"},
    ),
    "chen2018": (
        {},
        {"adaptive_cutoffs": "9,16", "tie_output": False},
        {"adaptive_cutoffs": "9,16", "adaptive_inputs": True, "tie_output": True},
    ),
}
LAYOUTS = {
    "data": {"data": 8},
    "fsdp": {"data": 1, "fsdp": 4},
    "model": {"data": 1, "model": 4},
    "mixed": {"data": 2, "fsdp": 2, "model": 2},
}
TOKENS = 24


def task_of(variant, options=None, width=16, layers=1):
    config = load_config_file(f"{CLASSICS}:{variant}")
    for stack in (config.model.encoder, config.model.decoder):
        stack.update(width=width, layers=layers, heads=4, feed_forward=32, dropout=0.1)
        stack.update({name: x for name, x in (options or {}).items() if name in stack})
    config.model.share_embeddings = False
    config.model.update({name: x for name, x in (options or {}).items() if name in config.model})
    side = SimpleNamespace(vocabulary_size=TOKENS)
    return TextToText(config, {"source": side, "target": side})


def shapes_of(task):
    return jax.eval_shape(task.init, jax.random.key(0))


def specs(tree):
    return {
        path_name(path): sharding.spec
        for path, sharding in jax.tree_util.tree_leaves_with_path(tree)
    }


@functools.cache
def paths_of(variant):
    return [
        path_name(path)
        for options in OPTIONS.get(variant, ({},))
        for path, _ in jax.tree_util.tree_leaves_with_path(shapes_of(task_of(variant, options)))
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_matches_exactly_one_rule(variant):
    for path in paths_of(variant):
        assert rule_of(path) in RULES, path


def test_every_rule_is_some_parameters():
    used = {rule_of(path) for variant in VARIANTS for path in paths_of(variant)}
    unused = {rule.path for rule in set(RULES) - used}
    # With an embedding of another size only.
    assert unused == {r"decoder/output/project/(kernel|bias)"}


def test_an_unknown_parameter_is_replicated_with_a_warning(caplog):
    path = "decoder/surprise/kernel"
    with caplog.at_level(logging.WARNING, logger="seqjax"):
        assert rule_of(path).dimension is None
    assert f"{path} matches no rule" in caplog.text


def test_layers_are_divided_by_heads_and_units_and_what_is_left_by_fsdp():
    mesh = make_mesh(data=2, fsdp=2, model=2)
    found = specs(parameter_shardings(mesh, shapes_of(task_of("vaswani2017"))))
    block = "encoder/block_0"
    assert found[f"{block}/attention/query/kernel"] == P("fsdp", "model")
    assert found[f"{block}/attention/query/bias"] == P("model")
    assert found[f"{block}/attention/output/kernel"] == P("model", "fsdp")
    assert found[f"{block}/inner/inner/kernel"] == P("fsdp", "model")
    assert found[f"{block}/inner/outer/kernel"] == P("model", "fsdp")
    assert found[f"{block}/inner/outer/bias"] == P(None)
    assert found["source_embedding/table"] == P("model", "fsdp")


def test_what_does_not_divide_stays_whole_and_the_next_dimension_is_taken():
    mesh = make_mesh(data=1, fsdp=5)
    found = specs(parameter_shardings(mesh, shapes_of(task_of("sutskever2014", width=15))))
    assert found["source_embedding/table"] == P(None, "fsdp")
    mesh = make_mesh(data=1, fsdp=7)
    found = specs(parameter_shardings(mesh, shapes_of(task_of("sutskever2014", width=15))))
    assert set(found["source_embedding/table"]) == {None}
    # 24 tokens are not divided by 5 and stay whole; 32 units must divide.
    with pytest.raises(
        UserError, match="parallel.model = 5: expected a divisor of 16, a dimension of "
    ):
        parameter_shardings(make_mesh(data=1, model=5), shapes_of(task_of("vaswani2017")))


def test_moments_lie_where_their_parameters_lie():
    mesh = make_mesh(data=1, fsdp=2, model=2)
    task = task_of("vaswani2017")
    params = shapes_of(task)
    optimizer = make_optimizer(task.config.optimizer, lambda step: 1e-3)
    state = jax.eval_shape(optimizer.init, params)
    found = specs(shardings_like(mesh, params, state))
    own = specs(parameter_shardings(mesh, params))
    for moment in ("mu", "nu"):
        ends = {p.split(f"/{moment}/")[1]: s for p, s in found.items() if f"/{moment}/" in p}
        assert ends == own
    assert {s for p, s in found.items() if p.endswith("count")} == {P()}


@functools.cache
def train(variant, **layout):
    """Returns the losses of 20 updates and the parameters after them."""
    task = task_of(variant)
    mesh = make_mesh(**layout)
    # Plain gradient descent: Adam divides by what may be rounding alone.
    task.config.optimizer.update(kind="sgd", clip=1.0)
    optimizer = make_optimizer(task.config.optimizer, lambda step: 0.1)
    params = shapes_of(task)
    where = TrainState(
        replicated(mesh),
        parameter_shardings(mesh, params),
        shardings_like(mesh, params, jax.eval_shape(optimizer.init, params)),
    )

    def fresh():
        params = task.init(jax.random.key(0, impl="threefry2x32"))
        return TrainState(jnp.int32(0), params, optimizer.init(params))

    state = jax.jit(fresh, out_shardings=where)()
    key = jax.random.key(1, impl="threefry2x32")
    step = make_train_step(task.loss, optimizer, key, mesh, accumulate=2, state=where)
    random = np.random.RandomState(0)
    losses = []
    for _ in range(20):
        tokens = random.randint(3, TOKENS, (2, 16, 6)).astype(np.int32)
        tokens[:, ::3, 4:] = 0
        batch = {"source": tokens[0], "target": tokens[1]}
        state, sums = step(state, distribute(mesh, batch))
        losses.append(float(sums["loss"] / sums["tokens"]))
    return losses, jax.tree.map(np.asarray, state.params)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant, name",
    [
        *(("vaswani2017", name) for name in LAYOUTS),
        # Of these only the vocabulary is divided over `model`, and `mixed` has all axes.
        ("gehring2017", "mixed"),
        *(
            pytest.param(*case, marks=pytest.mark.thorough)
            for case in itertools.product(
                ["sutskever2014", "bahdanau2015", "gehring2017"], ["fsdp", "mixed"]
            )
            if case != ("gehring2017", "mixed")
        ),
    ],
)
def test_any_layout_trains_what_one_device_does(variant, name):
    alone_losses, alone = train(variant, data=1)
    losses, params = train(variant, **LAYOUTS[name])
    np.testing.assert_allclose(losses, alone_losses, rtol=2e-5)
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5)


def test_an_adaptive_softmax_has_the_losses_of_one_device_on_all_axes(filled):
    fields = {"vocabulary": TOKENS, "width": 8, "cutoffs": (8, 16), "factor": 2}
    stem, head = AdaptiveEmbedding(**fields), AdaptiveSoftmax(**fields)
    # Rare words alone: a tail has more of them than are computed at once.
    tokens = np.random.RandomState(0).randint(12, TOKENS, (8, 6)).astype(np.int32)
    key, vectors = jax.random.key(0), jax.ShapeDtypeStruct((8, 6, 8), jnp.float32)
    shapes = {
        "embedding": jax.eval_shape(stem.init, key, tokens)["params"],
        "decoder": {"output": jax.eval_shape(head.init, key, vectors)["params"]},
    }

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def derive(params, tokens):
        vectors = stem.apply({"params": params["embedding"]}, tokens)
        output = {"params": params["decoder"]["output"]}
        losses = head.apply(output, vectors, tokens[:, ::-1], method="losses")
        return losses.sum(), losses

    mesh, params = make_mesh(**LAYOUTS["mixed"]), filled(shapes)
    where = parameter_shardings(mesh, shapes)
    assert specs(where)["decoder/output/words_0/kernel"] == P("fsdp", "model")
    assert specs(where)["embedding/cluster_2/table"] == P("model", "fsdp")
    batch = distribute(mesh, {"tokens": tokens})
    found = derive(jax.device_put(params, where), batch["tokens"])
    alone = derive(params, tokens)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6),
        alone,
        found,
    )
