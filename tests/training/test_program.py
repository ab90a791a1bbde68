import jax
import numpy as np
import pytest

from seqjax.config import default_config
from seqjax.data.gather import gather
from seqjax.overrides import apply_overrides, split_overrides
from seqjax.training.preparation import prepare
from seqjax.training.program import Single, abstract_batch


@pytest.fixture(scope="module")
def configured(tiny):
    config = default_config()
    apply_overrides(config, split_overrides(tiny())[1])
    return config, prepare(config)


def test_an_abstract_member_has_the_shapes_of_a_fresh_one(configured):
    program = Single(*configured)
    fresh, abstract = program.fresh_state(), program.abstract_member()
    assert jax.tree.structure(fresh) == jax.tree.structure(abstract)
    for leaf, shape in zip(jax.tree.leaves(fresh), jax.tree.leaves(abstract), strict=True):
        assert (leaf.shape, leaf.dtype) == (shape.shape, shape.dtype)
    assert int(fresh.step) == 0


def test_the_average_lies_where_the_parameters_lie(tiny):
    config = default_config()
    fields = {"parallel.data": 1, "parallel.fsdp": 2, "optimizer.moving_average": 0.9}
    apply_overrides(config, split_overrides(tiny(fields))[1])
    state = Single(config, prepare(config)).abstract_member()
    places = [
        [(leaf.shape, leaf.sharding) for leaf in jax.tree.leaves(tree)]
        for tree in (state.params, state.average)
    ]
    assert places[0] == places[1]
    assert any("fsdp" in sharding.spec for _, sharding in places[0])


def test_a_fresh_state_is_a_function_of_the_seed(configured):
    config, prepared = configured
    one, same = Single(config, prepared).fresh_state(), Single(config, prepared).fresh_state()
    jax.tree.map(np.testing.assert_array_equal, one, same)
    other = config.copy_and_resolve_references()
    other.seed = 1
    embeddings = [
        state.params["source_embedding"]["table"]
        for state in (one, Single(other, prepared).fresh_state())
    ]
    assert not np.array_equal(*embeddings)


def test_an_abstract_batch_is_that_of_the_loader(configured):
    _, prepared = configured
    planned = prepared.plan.batch(0)
    batch = gather(prepared.examples, planned)
    abstract = abstract_batch(prepared.plan, planned.shape)
    assert {name: (a.shape, a.dtype) for name, a in batch.items()} == {
        name: (a.shape, a.dtype) for name, a in abstract.items()
    }
