import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax.data.examples import Examples, Sequences
from seqjax.data.gather import gather
from seqjax.data.plan import NOTHING, PlannedBatch, Shape, blocks, whole
from seqjax.data.tokenizer import BOS, EOS, PAD

SETTINGS = settings(derandomize=True, deadline=None, max_examples=100)


def examples_of(**features) -> Examples:
    sides = {name: Sequences.of(rows) for name, rows in features.items()}
    return Examples(sides, np.arange(len(next(iter(sides.values())))), {})


def test_golden():
    examples = examples_of(source=[[7, 8, EOS], [EOS]], target=[[9, EOS], [5, 6, 4, EOS]])
    shape = Shape.of(3, source=4, target=5)
    batch = gather(examples, PlannedBatch(shape, whole(np.array([1, -1, 0]))))
    assert batch["source"].tolist() == [[2, 0, 0, 0], [0, 0, 0, 0], [7, 8, 2, 0]]
    assert batch["target"].tolist() == [[5, 6, 4, 2, 0], [0, 0, 0, 0, 0], [9, 2, 0, 0, 0]]
    assert batch["index"].tolist() == [1, -1, 0]
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}
    assert batch.keys() == {"source", "target", "index"}


def test_a_shape_that_is_too_small_is_refused():
    examples = examples_of(source=[[7, 8, EOS]], target=[[EOS]])
    shape = Shape.of(1, source=2, target=2)
    with pytest.raises(ValueError, match="3 tokens does not fit into 2"):
        gather(examples, PlannedBatch(shape, whole(np.array([0]))))


ROWS = st.lists(
    st.lists(st.integers(3, 90), max_size=6).map(lambda ids: [*ids, EOS]), min_size=1, max_size=9
)


@SETTINGS
@given(ROWS, st.integers(0, 1), st.integers(0, 3), st.data())
def test_whole_examples_are_the_corpus(rows, before, spare, data):
    """Each after BOS if `before` is 1, then PAD; empty rows are PAD alone."""
    chosen = data.draw(st.lists(st.integers(-1, len(rows) - 1), min_size=1))
    width = max(map(len, rows)) + before + spare
    shape = Shape.of(len(chosen), text=width)
    batch = gather(examples_of(text=rows), PlannedBatch(shape, whole(np.array(chosen), before)))
    assert batch["index"].tolist() == chosen
    for example, found in zip(chosen, batch["text"].tolist(), strict=True):
        expected = [BOS] * before + rows[example] if example >= 0 else []
        assert found == expected + [PAD] * (width - len(expected))


@SETTINGS
@given(ROWS, st.integers(1, 12), st.data())
def test_blocks_are_the_stream_and_the_token_before(rows, length, data):
    """Whatever examples they cross; before the first token of the stream stands BOS."""
    stream = sum(rows, [])
    begins = data.draw(st.lists(st.integers(0, len(stream) + 3), min_size=1))
    spans = blocks(np.array(begins), length, len(stream))
    shape = Shape.of(len(begins), text=length + 1)
    batch = gather(examples_of(text=rows), PlannedBatch(shape, spans))
    for begin, found in zip(begins, batch["text"].tolist(), strict=True):
        expected = [BOS, *stream][begin : begin + length + 1] if begin < len(stream) else []
        assert found == expected + [PAD] * (length + 1 - len(expected))
    assert batch["index"].tolist() == [0 if b < len(stream) else NOTHING for b in begins]


def test_a_span_that_crosses_examples():
    """The stream is 7 8 </s> 9 </s> 5 </s>."""
    examples = examples_of(text=[[7, 8, EOS], [9, EOS], [5, EOS]])
    spans = np.array([[0, 1, 5], [0, -1, 2], [-1, -1, -1], [1, 0, 4]])
    batch = gather(examples, PlannedBatch(Shape.of(4, text=5), spans))
    assert batch["text"].tolist() == [
        [8, EOS, 9, EOS, PAD],
        [BOS, 7, 8, PAD, PAD],
        [PAD] * 5,
        [9, EOS, 5, EOS, PAD],
    ]


def test_what_a_plan_says_of_rows_is_in_the_batch_and_its_parts():
    examples = examples_of(text=[[7, 8, EOS]])
    spans = blocks(np.array([0, 1, 3]), 2, 3)
    fresh, unscored = np.array([True, False, True]), np.array([0, 1, 0], np.int32)
    planned = PlannedBatch(Shape.of(3, text=3), spans, fresh, unscored)
    for part in (slice(None), slice(1, 3)):
        batch = gather(examples, planned, part)
        np.testing.assert_array_equal(batch["fresh"], fresh[part])
        np.testing.assert_array_equal(batch["unscored"], unscored[part])
        assert batch["text"].tolist() == [[BOS, 7, 8], [7, 8, EOS], [PAD] * 3][part]
