import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from seqjax.data.buckets import Buckets, evaluation_plan
from seqjax.data.plan import PlannedBatch, Shape

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)


def options(kind="tokens", tokens=256, sentences=8, shapes=4, multiple=4) -> ConfigDict:
    return ConfigDict(
        dict(kind=kind, tokens=tokens, sentences=sentences, shapes=shapes, multiple=multiple)
    )


def realistic_lengths(examples: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Lengths like those of sentence pairs: log-normal, correlated, a few very long ones."""
    random = np.random.default_rng(seed)
    source = np.clip(random.lognormal(3.0, 0.55, examples), 1, 256).astype(np.int32)
    target = np.clip(source * random.lognormal(0.05, 0.2, examples), 1, 256).astype(np.int32)
    return {"source": source, "target": target}


def both(lengths: np.ndarray) -> dict[str, np.ndarray]:
    return {"source": lengths, "target": lengths}


@st.composite
def corpora(draw):
    longest = draw(st.sampled_from([1, 9, 60, 400]))
    lengths = st.integers(1, longest)
    pairs = draw(st.lists(st.tuples(lengths, lengths), min_size=1, max_size=150))
    source, target = np.array(pairs, np.int32).T
    return {"source": source, "target": target}


@st.composite
def plans(draw):
    lengths = draw(corpora())
    row_multiple = draw(st.sampled_from([1, 2, 3, 8, 16]))
    batching = options(
        draw(st.sampled_from(["tokens", "sentences"])),
        draw(st.integers(1, 1500)),
        draw(st.integers(1, 100)),
        draw(st.integers(1, 12)),
        draw(st.sampled_from([1, 4, 8])),
    )
    seed = draw(st.integers(0, 2**32))
    return lengths, batching, seed, row_multiple


def epoch_of(plan: Buckets, epoch: int) -> list[PlannedBatch]:
    return [plan.batch(epoch * plan.steps_per_epoch + i) for i in range(plan.steps_per_epoch)]


def examples_of(batches: list[PlannedBatch]) -> np.ndarray:
    rows = np.concatenate([batch.rows for batch in batches])
    return rows[rows >= 0]


def assert_sound(batches, lengths, multiple, row_multiple, shapes):
    """Each example once, in a shape it fits; few shapes, lengths and rows as multiples."""
    assert sorted(examples_of(batches)) == list(range(len(lengths["source"])))
    assert len({batch.shape for batch in batches}) <= shapes
    for batch in batches:
        shape, rows = batch.shape, batch.rows
        assert len(rows) == shape.rows
        assert shape.rows % row_multiple == 0
        members = rows[rows >= 0]
        assert len(members)
        for name, each in lengths.items():
            assert shape[name] % multiple == 0
            assert each[members].max() <= shape[name]


@SETTINGS
@given(plans())
def test_an_epoch_is_sound_and_within_budget(drawn):
    lengths, batching, seed, row_multiple = drawn
    plan = Buckets(*drawn)
    for epoch in (0, 3):
        batches = epoch_of(plan, epoch)
        assert_sound(batches, lengths, batching.multiple, row_multiple, batching.shapes)
        assert {batch.shape for batch in batches} <= set(plan.shapes)
        most = {
            shape: max((b.rows >= 0).sum() for b in batches if b.shape == shape)
            for shape in plan.shapes
        }
        with_empty_rows = [b for b in batches if (b.rows >= 0).sum() < most[b.shape]]
        assert len(with_empty_rows) <= 1
        for batch in with_empty_rows:
            assert batch.shape == plan.shapes[-1]
        for shape, rows in most.items():
            # The only batch of the last shape may be the one that has empty rows.
            full = shape != plan.shapes[-1] or plan.steps_per_shape[-1] > 1
            assert rows <= shape.rows and (shape.rows < rows + row_multiple or not full)
            if batching.kind == "sentences":
                assert rows <= batching.sentences
            else:
                assert rows * max(shape["source"], shape["target"]) <= batching.tokens or rows == 1


@SETTINGS
@given(plans())
def test_which_examples_share_a_batch_depends_on_no_devices(drawn):
    lengths, batching, seed, row_multiple = drawn
    alone, shared = (Buckets(lengths, batching, seed, n) for n in (1, row_multiple))
    assert alone.fingerprint == shared.fingerprint
    assert alone.steps_per_epoch == shared.steps_per_epoch
    for step in range(2 * alone.steps_per_epoch):
        rows, others = alone.batch(step).rows, shared.batch(step).rows
        np.testing.assert_array_equal(rows, others[: len(rows)])
        assert (others[len(rows) :] == -1).all()


@SETTINGS
@given(plans())
def test_counts_and_waste_equal_brute_force(drawn):
    source, target = drawn[0].values()
    plan = Buckets(*drawn)
    for epoch in (0, 1):
        batches = epoch_of(plan, epoch)
        positions = sum(b.shape.rows * (b.shape["source"] + b.shape["target"]) for b in batches)
        assert plan.waste == pytest.approx(1 - (source.sum() + target.sum()) / positions)
        for shape, steps in zip(plan.shapes, plan.steps_per_shape, strict=True):
            assert steps > 0
            assert sum(batch.shape == shape for batch in batches) == steps
    assert plan.tokens_per_epoch == target.sum()
    assert plan.tokens == {"source": source.sum(), "target": target.sum()}
    assert plan.steps_per_epoch == sum(plan.steps_per_shape)
    assert plan.largest.positions == max(shape.positions for shape in plan.shapes)


@SETTINGS
@given(plans(), st.data())
def test_a_batch_is_a_function_of_its_step(drawn, data):
    plan = Buckets(*drawn)
    in_order = [plan.batch(step) for step in range(4 * plan.steps_per_epoch)]
    steps = data.draw(st.lists(st.integers(0, len(in_order) - 1), max_size=6))
    fresh = Buckets(*drawn)
    for step in steps:
        batch = fresh.batch(step)
        assert batch.shape == in_order[step].shape
        np.testing.assert_array_equal(batch.rows, in_order[step].rows)


def test_epochs_and_seeds_differ_in_members_and_order():
    lengths = realistic_lengths(2000)
    plan = Buckets(lengths, options(tokens=1024), seed=1)
    other = Buckets(lengths, options(tokens=1024), seed=2)
    first, second, third = epoch_of(plan, 0), epoch_of(plan, 1), epoch_of(other, 0)
    sets = [{frozenset(batch.rows.tolist()) for batch in batches} for batches in (first, second)]
    assert len(sets[0] & sets[1]) < len(first) / 20
    shapes = [[batch.shape for batch in batches] for batches in (first, second, third)]
    assert shapes[0] != shapes[1] and shapes[0] != shapes[2]
    assert not np.array_equal(examples_of(first), examples_of(third))


def test_examples_that_fill_no_batch_do_not_always_move_up_alone():
    """Over epochs, every short example stands in a batch of its own shape at some time."""
    lengths = realistic_lengths(3000)
    plan = Buckets(lengths, options(tokens=2048), seed=0)
    smallest = plan.shapes[0]
    short = np.flatnonzero(
        (lengths["source"] <= smallest["source"]) & (lengths["target"] <= smallest["target"])
    )
    seen = [b.rows for e in range(8) for b in epoch_of(plan, e) if b.shape == smallest]
    assert set(short) <= set(np.concatenate(seen))


def test_golden_batch():
    """Batches are the same on every machine and version: raw Philox bits, unique keys."""
    lengths = np.array([3, 9, 4, 8, 2, 9, 4, 3, 7, 1], np.int32)
    plan = Buckets(both(lengths), options(tokens=24, shapes=2), seed=7)
    assert plan.shapes == (Shape.of(6, source=4, target=4), Shape.of(2, source=12, target=12))
    rows = [batch.rows.tolist() for batch in epoch_of(plan, 2)]
    assert rows == [[3, 5], [1, 8], [0, 4, 9, 2, 6, 7]]


@pytest.mark.parametrize(("shapes", "bound"), [(1, 0.92), (4, 0.39), (6, 0.29), (12, 0.19)])
def test_waste_on_realistic_lengths_is_low(shapes, bound):
    lengths = realistic_lengths(50_000)
    plan = Buckets(lengths, options(tokens=4096, shapes=shapes), seed=0)
    assert len(plan.shapes) == shapes
    assert plan.waste < bound


def test_boundaries_are_the_best_ones():
    """Two shapes for three lengths: 8 and 12 share one, 40 stands alone (12 and 40 would not)."""
    lengths = np.repeat([8, 12, 40], 240).astype(np.int32)
    plan = Buckets(both(lengths), options(tokens=480, shapes=2), seed=0)
    assert [(shape["source"], shape["target"]) for shape in plan.shapes] == [(12, 12), (40, 40)]


def test_bounds_shrink_to_the_members():
    source = np.array([5, 6, 7, 30, 31, 29] * 64, np.int32)
    target = np.array([2, 3, 4, 11, 12, 10] * 64, np.int32)
    plan = Buckets({"source": source, "target": target}, options(shapes=2), seed=0)
    assert [(shape["source"], shape["target"]) for shape in plan.shapes] == [(8, 4), (32, 12)]


def test_room_for_growth_makes_batches_longer_but_not_beyond_the_longest():
    lengths = realistic_lengths(2000)
    plan = Buckets(lengths, options(tokens=2048), seed=0, room={"source": 1.5, "target": 1.0})
    source, target = lengths.values()
    for batch in epoch_of(plan, 0):
        shape, members = batch.shape, batch.rows[batch.rows >= 0]
        needed = np.minimum(np.ceil(source[members] * 1.5), source.max())
        assert needed.max() <= shape["source"] <= source.max() + 3
        assert target[members].max() <= shape["target"]
    assert plan.tokens_per_epoch == target.sum()


def test_a_corpus_smaller_than_a_batch_has_one_batch_without_empty_rows():
    lengths = np.array([3, 5, 4], np.int32)
    plan = Buckets(both(lengths), options(tokens=4096), seed=0)
    assert plan.steps_per_epoch == 1
    assert sorted(plan.batch(5).rows) == [0, 1, 2]
    two_devices = Buckets(both(lengths), options(tokens=4096), seed=0, row_multiple=2)
    assert sorted(two_devices.batch(0).rows) == [-1, 0, 1, 2]


def test_an_example_over_the_budget_is_its_own_batch():
    lengths = np.array([10] * 40 + [900], np.int32)
    plan = Buckets(both(lengths), options(tokens=100, shapes=2), seed=0)
    alone = [batch.rows.tolist() for batch in epoch_of(plan, 0) if batch.shape["source"] >= 900]
    assert alone == [[40]]


def test_rows_are_multiples_of_eight_where_there_are_eight():
    lengths = realistic_lengths(5000)
    plan = Buckets(lengths, options(tokens=1024, shapes=6), seed=0)
    assert all(shape.rows % 8 == 0 or shape.rows < 8 for shape in plan.shapes)
    assert any(shape.rows >= 8 for shape in plan.shapes)


def test_sentences_that_devices_cannot_share_are_filled_up_with_empty_rows():
    lengths = np.ones(12, np.int32)
    plan = Buckets(both(lengths), options("sentences", sentences=6), 0, row_multiple=4)
    assert [shape.rows for shape in plan.shapes] == [8]
    assert plan.steps_per_epoch == 2
    assert all(
        (batch.rows >= 0).tolist() == [True] * 6 + [False] * 2 for batch in epoch_of(plan, 0)
    )


def test_lengths_far_apart_are_planned_in_coarser_classes():
    source = np.random.default_rng(0).integers(1, 100_000, 3000).astype(np.int32)
    plan = Buckets(both(source), options(tokens=200_000, multiple=1, shapes=12), seed=0)
    assert_sound(epoch_of(plan, 0), both(source), 1, 1, 12)
    assert plan.waste < 0.15


def test_millions_of_examples_are_planned_in_seconds():
    lengths = realistic_lengths(1_000_000)
    start = time.perf_counter()
    plan = Buckets(lengths, options(tokens=4096, shapes=6), seed=0)
    plan.batch(0)
    assert time.perf_counter() - start < 5


@SETTINGS
@given(corpora(), st.integers(1, 1500), st.integers(1, 6), st.sampled_from([1, 3, 8]))
def test_evaluation_keeps_every_example(drawn, tokens, shapes, row_multiple):
    batches = evaluation_plan(drawn, tokens, 4, shapes, row_multiple)
    assert_sound(batches, drawn, 4, row_multiple, shapes)
    assert all((batch.rows >= 0).all() for batch in batches[:-1])
    for shape in (batch.shape for batch in batches):
        longest = max(shape["source"], shape["target"])
        assert shape.rows * longest <= tokens or shape.rows == row_multiple


def test_evaluation_goes_from_long_to_short():
    lengths = realistic_lengths(1000)
    source = lengths["source"]
    batches = evaluation_plan({"source": source, "target": np.ones_like(source)}, 2048, 4)
    assert (np.diff(source[examples_of(batches)]) <= 0).all()
    sizes = [batch.shape["source"] for batch in evaluation_plan(lengths, 2048, 4)]
    assert sizes == sorted(sizes, reverse=True)
