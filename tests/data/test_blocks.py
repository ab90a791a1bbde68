import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax.data.blocks import evaluation_blocks
from seqjax.data.plan import NOTHING, Shape

SETTINGS = settings(derandomize=True, deadline=None, max_examples=200)


@st.composite
def arguments(draw):
    """Tokens, length, stride, rows, row_multiple."""
    tokens, length = draw(st.integers(1, 200)), draw(st.integers(1, 40))
    stride, rows = draw(st.integers(1, length)), draw(st.integers(1, 20))
    return tokens, length, stride, rows, draw(st.sampled_from([1, 2, 3, 8]))


@SETTINGS
@given(arguments())
def test_each_token_is_scored_once_after_as_many_as_promised(drawn):
    tokens, length, stride, rows, row_multiple = drawn
    batches = evaluation_blocks("text", *drawn)
    scored = []
    for batch in batches:
        assert batch.unscored.dtype == np.int32 and batch.fresh is None
        assert batch.shape == batches[0].shape
        assert batch.shape["text"] == length + 1 and batch.shape.rows % row_multiple == 0
        assert (batch.rows >= 0).sum() <= rows
        for (example, begin, end), unscored in zip(batch.spans, batch.unscored, strict=True):
            if example == NOTHING:
                assert unscored == 0
                continue
            # The token before the block, and the block.
            block = range(begin + 1, end)
            assert 0 < len(block) <= length and unscored < len(block)
            for token in block[unscored:]:
                scored.append(token)
                # Tokens of the text in the row before it.
                assert token - max(begin, 0) >= min(length - stride, token)
    assert scored == list(range(tokens))


@SETTINGS
@given(arguments())
def test_empty_rows_are_at_the_end_of_the_last_batch_or_for_the_devices(drawn):
    batches = evaluation_blocks("text", *drawn)
    used = [(batch.rows != NOTHING) for batch in batches]
    counts = [int(each.sum()) for each in used]
    assert all(each[:count].all() for each, count in zip(used, counts, strict=True))
    assert all(count == counts[0] for count in counts[:-1]) and 0 < counts[-1] <= counts[0]
    assert batches[0].shape.rows - counts[0] < drawn[-1]


def test_golden_blocks():
    """Ten tokens, blocks of four, of which the last two are scored."""
    batches = evaluation_blocks("text", tokens=10, length=4, stride=2, rows=3, row_multiple=2)
    assert [batch.shape for batch in batches] == [Shape.of(4, text=5)] * 2
    nothing = [-1, -1, -1]
    # The first block has nothing before it.
    assert batches[0].spans.tolist() == [[0, -1, 2], [0, -1, 4], [0, 1, 6], nothing]
    assert batches[0].unscored.tolist() == [0, 2, 2, 0]
    assert batches[1].spans.tolist() == [[0, 3, 8], [0, 5, 10], nothing, nothing]
    assert batches[1].unscored.tolist() == [2, 2, 0, 0]


def test_without_overlap_blocks_score_all_that_they_hold():
    (batch,) = evaluation_blocks("text", tokens=10, length=4, stride=4, rows=64)
    assert batch.spans.tolist() == [[0, -1, 4], [0, 3, 8], [0, 7, 10]]
    assert batch.unscored.tolist() == [0, 0, 0]
