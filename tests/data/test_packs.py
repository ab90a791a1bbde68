import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax.data.examples import Sequences
from seqjax.data.packs import Packs
from seqjax.data.plan import NOTHING, PlannedBatch, Shape
from seqjax.data.tokenizer import BOS, PAD

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)


@st.composite
def plans(draw):
    """Arguments of a plan: lengths of documents, length, rows, seed, row_multiple."""
    lengths = np.array(draw(st.lists(st.integers(1, 30), min_size=1, max_size=60)), np.int32)
    length, rows, seed = (draw(st.integers(*ends)) for ends in ((1, 20), (1, 9), (0, 2**32)))
    return lengths, length, rows, seed, draw(st.sampled_from([1, 2, 3, 8]))


def epoch_of(plan: Packs, epoch: int) -> list[PlannedBatch]:
    return [plan.batch(epoch * plan.steps_per_epoch + i) for i in range(plan.steps_per_epoch)]


@SETTINGS
@given(plans())
def test_an_epoch_holds_every_token_exactly_once(drawn):
    lengths, length, rows, _, row_multiple = drawn
    plan = Packs("text", *drawn)
    for epoch in (0, 3):
        batches = epoch_of(plan, epoch)
        spans = np.concatenate([batch.spans.reshape(-1, 3) for batch in batches])
        spans = spans[spans[:, 0] != NOTHING]
        scored = [(d, t) for d, begin, end in spans.tolist() for t in range(begin + 1, end)]
        expected = [(d, t) for d, n in enumerate(lengths.tolist()) for t in range(n)]
        assert sorted(scored) == expected
        for batch in batches:
            sizes = np.where(batch.spans[..., 0] >= 0, batch.spans[..., 2] - batch.spans[..., 1], 0)
            assert sizes.sum(axis=1).max() <= 1 + length
            assert (batch.rows != NOTHING).sum() <= rows
            # Nothing stands between the spans of a row.
            assert (np.diff((batch.spans[..., 0] != NOTHING).astype(int), axis=1) <= 0).all()
        assert {batch.shape for batch in batches} == {plan.largest}
        assert plan.largest.rows % row_multiple == 0 and plan.largest["text"] == 1 + length
    assert plan.tokens_per_epoch == plan.tokens["text"] == lengths.sum()
    assert plan.waste == 1 - lengths.sum() / (len(batches) * plan.largest.rows * length)


@SETTINGS
@given(plans())
def test_which_documents_share_a_row_depends_on_no_devices(drawn):
    *drawn, row_multiple = drawn
    alone, shared = (Packs("text", *drawn, n) for n in (1, row_multiple))
    assert alone.fingerprint == shared.fingerprint
    for step in range(2 * alone.steps_per_epoch):
        spans, others = alone.batch(step).spans, shared.batch(step).spans
        np.testing.assert_array_equal(spans, others[: len(spans)])
        assert (others[len(spans) :] == NOTHING).all()


def test_little_room_is_left():
    lengths = np.random.RandomState(0).randint(5, 60, 2000)
    # A document takes one position more than it has tokens.
    assert Packs("text", lengths, 128, 8, 0).waste < 0.04


def test_fingerprints_differ_where_batches_do():
    plans = [([3, 4], 9, 2, 0), ([4, 3], 9, 2, 0), ([3, 4], 4, 2, 0), ([3, 4], 4, 1, 0)]
    plans.append(([3, 4], 4, 1, 1))
    made = [Packs("text", np.array(lengths), *rest) for lengths, *rest in plans]
    assert len({plan.fingerprint for plan in made}) == 5


def test_golden_rows():
    """The longest go first, each into the row with the least room that holds it."""
    plan = Packs("text", np.array([2, 9, 3, 1]), length=5, rows=8, seed=0, row_multiple=1)
    assert plan.largest == Shape.of(4, text=6)
    nothing = [NOTHING] * 3
    # Of a document of 9 tokens, tokens 5 to 8 come after token 4.
    assert sorted(plan.batch(0).spans.tolist()) == [
        [[0, -1, 2], nothing],
        [[1, -1, 5], nothing],
        [[1, 4, 9], nothing],
        [[2, -1, 3], [3, -1, 1]],
    ]


def test_rows_of_several_spans_as_arrays():
    sequences = Sequences.of([[5, 6, 2], [7, 8, 9, 2], [4, 2]])
    spans = np.array([[[0, -1, 3], [2, -1, 2]], [[1, 1, 4], [NOTHING] * 3], [[NOTHING] * 3] * 2])
    tokens, position, segment = sequences.packed(spans, 8)
    assert tokens.tolist() == [
        [BOS, 5, 6, 2, BOS, 4, 2, PAD],
        [8, 9, 2] + [PAD] * 5,
        [PAD] * 8,
    ]
    assert position.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0], [0, 1, 2] + [0] * 5, [0] * 8]
    assert segment.tolist() == [[1, 1, 1, 1, 2, 2, 2, 0], [1, 1, 1] + [0] * 5, [0] * 8]
    with pytest.raises(ValueError, match="7 tokens do not fit into 6"):
        sequences.packed(spans, 6)
