import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax.data.plan import NOTHING, PlannedBatch, Shape
from seqjax.data.streams import Streams

SETTINGS = settings(derandomize=True, deadline=None, max_examples=100)


@st.composite
def plans(draw):
    """Arguments of a plan: tokens, length, rows, row_multiple."""
    tokens = draw(st.integers(1, 300))
    length, rows = draw(st.integers(1, 40)), draw(st.integers(1, min(tokens, 30)))
    return tokens, length, rows, draw(st.sampled_from([1, 2, 3, 8]))


def epoch_of(plan: Streams, epoch: int) -> list[PlannedBatch]:
    return [plan.batch(epoch * plan.steps_per_epoch + i) for i in range(plan.steps_per_epoch)]


def tokens_of(span: np.ndarray) -> list[int]:
    """Returns the numbers of the tokens that a row predicts: all but the one before its block."""
    example, begin, end = span.tolist()
    return list(range(begin + 1, end)) if example != NOTHING else []


@SETTINGS
@given(plans())
def test_an_epoch_holds_every_token_once_and_each_row_reads_on(drawn):
    tokens, length, rows, row_multiple = drawn
    plan = Streams("text", *drawn)
    for epoch in (0, 2):
        batches = epoch_of(plan, epoch)
        read = []
        for row in range(plan.largest.rows):
            parts = [tokens_of(batch.spans[row]) for batch in batches]
            assert max(map(len, parts)) <= length
            one = sum(parts, [])
            # In order and without a gap, from batch to batch.
            assert one == list(range(one[0], one[0] + len(one))) if one else row > 0
            # What is shorter than a block is the last of a row.
            ends = [len(part) for part in parts]
            assert ends == sorted(ends, reverse=True)
            read.append(one)
        assert sorted(sum(read, [])) == list(range(tokens))
        assert read[rows:] == [[]] * (plan.largest.rows - rows)
    assert plan.largest.rows % row_multiple == 0 and plan.largest.rows - rows < row_multiple


@SETTINGS
@given(plans())
def test_rows_are_fresh_at_the_beginning_of_an_epoch_alone(drawn):
    plan = Streams("text", *drawn)
    for epoch in (0, 1):
        for position, batch in enumerate(epoch_of(plan, epoch)):
            assert batch.fresh.dtype == np.bool_
            assert batch.fresh.tolist() == [position == 0] * plan.largest.rows


@SETTINGS
@given(plans())
def test_devices_add_empty_rows_only(drawn):
    *drawn, row_multiple = drawn
    alone, shared = (Streams("text", *drawn, n) for n in (1, row_multiple))
    assert alone.fingerprint == shared.fingerprint
    assert alone.steps_per_epoch == shared.steps_per_epoch
    for step in range(2 * alone.steps_per_epoch):
        spans, others = alone.batch(step).spans, shared.batch(step).spans
        np.testing.assert_array_equal(spans, others[: len(spans)])
        assert (others[len(spans) :] == NOTHING).all()


@SETTINGS
@given(plans())
def test_counts_and_waste_equal_brute_force(drawn):
    tokens, _, _, _ = drawn
    plan = Streams("text", *drawn)
    batches = epoch_of(plan, 1)
    assert plan.tokens == {"text": tokens} and plan.tokens_per_epoch == tokens
    assert plan.steps_per_shape == (plan.steps_per_epoch,) == (len(batches),)
    assert {batch.shape for batch in batches} == set(plan.shapes) == {plan.largest}
    positions = sum(batch.shape.rows * (batch.shape["text"] - 1) for batch in batches)
    assert abs(plan.waste - (1 - tokens / positions)) < 1e-9
    assert set(plan.arrays(plan.largest)) == {"text", "index", "fresh"}


def test_golden_batches():
    """11 tokens in two parts of 6 and 5, blocks of 4; one row more for the devices."""
    plan = Streams("text", tokens=11, length=4, rows=2, row_multiple=3)
    assert (plan.steps_per_epoch, plan.largest) == (2, Shape.of(3, text=5))
    nothing = [-1, -1, -1]
    assert plan.batch(0).spans.tolist() == [[0, -1, 4], [0, 5, 10], nothing]
    assert plan.batch(1).spans.tolist() == [[0, 3, 6], [0, 9, 11], nothing]
    assert plan.batch(2).spans.tolist() == plan.batch(0).spans.tolist()
    assert plan.arrays(plan.largest) == {
        "text": ((3, 5), np.int32),
        "index": ((3,), np.int32),
        "fresh": ((3,), np.bool_),
    }


def test_a_text_shorter_than_a_block_is_one_batch():
    plan = Streams("text", tokens=3, length=128, rows=1)
    assert (plan.steps_per_epoch, plan.largest) == (1, Shape.of(1, text=4))
    assert plan.batch(7).spans.tolist() == [[0, -1, 3]]


def test_fingerprints_differ_where_batches_do():
    plans = [(100, 5, 4), (101, 5, 4), (100, 6, 4), (100, 5, 3)]
    assert len({Streams("text", *plan).fingerprint for plan in plans}) == 4
