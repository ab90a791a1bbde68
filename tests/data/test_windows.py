import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax.data.plan import NOTHING, PlannedBatch, Shape
from seqjax.data.windows import Windows

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)


@st.composite
def plans(draw):
    """Arguments of a plan: tokens, length, rows, seed, row_multiple."""
    length = draw(st.integers(1, 20))
    tokens = draw(st.integers(2 * length, 400 + 2 * length))
    rows, seed = draw(st.integers(1, 40)), draw(st.integers(0, 2**32))
    return tokens, length, rows, seed, draw(st.sampled_from([1, 2, 3, 8]))


def epoch_of(plan: Windows, epoch: int) -> list[PlannedBatch]:
    return [plan.batch(epoch * plan.steps_per_epoch + i) for i in range(plan.steps_per_epoch)]


def begins_of(batches: list[PlannedBatch]) -> np.ndarray:
    """Returns where the blocks begin; a span begins with the token before."""
    spans = np.concatenate([batch.spans for batch in batches])
    return spans[spans[:, 0] != NOTHING, 1] + 1


@SETTINGS
@given(plans())
def test_blocks_of_an_epoch_are_whole_and_do_not_overlap(drawn):
    tokens, length, rows, _, row_multiple = drawn
    plan = Windows("text", *drawn)
    for epoch in (0, 1, 5):
        batches = epoch_of(plan, epoch)
        spans = np.concatenate([batch.spans for batch in batches])
        spans = spans[spans[:, 0] != NOTHING]
        assert (spans[:, 0] == 0).all()
        # The token before, and L tokens.
        assert (spans[:, 2] - spans[:, 1] == length + 1).all()
        assert spans[:, 1].min() >= -1 and spans[:, 2].max() <= tokens
        begins = np.sort(begins_of(batches))
        assert (np.diff(begins) >= length).all()
        # All blocks lie in one grid, which begins at one of the first L tokens.
        assert len({int(begin) % length for begin in begins}) == 1
        used = [int((batch.rows != NOTHING).sum()) for batch in batches]
        assert len(set(used)) == 1 and used[0] <= rows
        # What is left out: less than a block at either end, the one that a later beginning costs
        # at most, and blocks that do not fill a batch.
        unfilled = (used[0] - 1) * length
        assert tokens - len(begins) * length <= 2 * (length - 1) + unfilled + length
        assert {batch.shape for batch in batches} == set(plan.shapes) == {plan.largest}
        assert plan.largest.rows % row_multiple == 0


@SETTINGS
@given(plans())
def test_counts_and_waste_equal_brute_force(drawn):
    tokens, length, _, _, _ = drawn
    plan = Windows("text", *drawn)
    batches = epoch_of(plan, 3)
    count = len(begins_of(batches)) * length
    assert plan.tokens == {"text": count} and plan.tokens_per_epoch == count <= tokens
    assert plan.steps_per_shape == (plan.steps_per_epoch,)
    assert plan.largest["text"] == length + 1
    rows = sum(batch.shape.rows for batch in batches)
    assert abs(plan.waste - (1 - count / (rows * length))) < 1e-9


@SETTINGS
@given(plans())
def test_which_blocks_share_a_batch_depends_on_no_devices(drawn):
    *drawn, row_multiple = drawn
    alone, shared = (Windows("text", *drawn, n) for n in (1, row_multiple))
    assert alone.fingerprint == shared.fingerprint
    assert alone.steps_per_epoch == shared.steps_per_epoch
    for step in range(2 * alone.steps_per_epoch):
        spans, others = alone.batch(step).spans, shared.batch(step).spans
        np.testing.assert_array_equal(spans, others[: len(spans)])
        assert (others[len(spans) :] == NOTHING).all()


@SETTINGS
@given(plans(), st.data())
def test_a_batch_is_a_function_of_seed_and_step(drawn, data):
    plan, fresh = Windows("text", *drawn), Windows("text", *drawn)
    in_order = [plan.batch(step) for step in range(4 * plan.steps_per_epoch)]
    steps = data.draw(st.lists(st.integers(0, len(in_order) - 1), max_size=6))
    for step in steps:
        np.testing.assert_array_equal(fresh.batch(step).spans, in_order[step].spans)


def test_epochs_and_seeds_differ_in_blocks_and_order():
    plan, other = (Windows("text", 10_000, 10, 20, seed) for seed in (1, 2))
    first, second, third = (
        begins_of(batches) for batches in (epoch_of(plan, 0), epoch_of(plan, 1), epoch_of(other, 0))
    )
    assert not np.array_equal(first, second) and not np.array_equal(first, third)
    # Shuffled, not only shifted.
    assert (np.diff(first) != 10).mean() > 0.9
    assert plan.fingerprint != other.fingerprint
    # Over epochs every beginning comes.
    assert {int(begins_of(epoch_of(plan, epoch))[0]) % 10 for epoch in range(80)} == set(range(10))


def test_fingerprints_differ_where_batches_do():
    plans = [(100, 5, 4, 0), (101, 5, 4, 0), (100, 6, 4, 0), (100, 5, 3, 0), (100, 5, 4, 1)]
    assert len({Windows("text", *plan).fingerprint for plan in plans}) == 5


def test_fewer_blocks_than_rows_are_one_batch():
    plan = Windows("text", 20, 5, 64, 0)
    # Every offset has three blocks; the fourth of offset 0 waits.
    assert (plan.steps_per_epoch, plan.largest) == (1, Shape.of(3, text=6))
    shortest = Windows("text", 10, 5, 64, 0)
    assert (shortest.steps_per_epoch, shortest.largest) == (1, Shape.of(1, text=6))


def test_golden_batches():
    """Batches are the same on every machine and version: raw Philox bits.

    Of seed 7 both epochs begin at token 2 of 14: 8648156199155761070 and 15726550606777476398 are 2
    modulo 3. Keys of the blocks at 2, 5, 8 and 11 fall in the first epoch; in the second they are
    7.4, 14.1, 11.6 and 10.0 times 10^18.
    """
    plan = Windows("text", tokens=14, length=3, rows=2, seed=7)
    assert (plan.steps_per_epoch, plan.largest) == (2, Shape.of(2, text=4))
    begins = [begins_of([plan.batch(step)]).tolist() for step in range(4)]
    assert begins == [[11, 8], [5, 2], [2, 11], [8, 5]]
    assert plan.batch(0).spans.tolist() == [[0, 10, 14], [0, 7, 11]]
    assert plan.batch(0).fresh is None and plan.batch(0).unscored is None
