import numpy as np
import pytest

from seqjax.data.plan import NOTHING, PlannedBatch, Shape, arrays_of, blocks, whole


def test_a_shape_knows_its_features_by_name_and_in_order():
    shape = Shape.of(8, source=4, target=5)
    assert shape == Shape(8, (("source", 4), ("target", 5)))
    assert (shape["source"], shape["target"]) == (4, 5)
    assert (shape.width, shape.positions) == (9, 72)
    assert (str(shape), repr(shape)) == ("8x(4,5)", "Shape(rows=8, source=4, target=5)")
    assert len({shape, Shape.of(8, source=4, target=5), Shape.of(8, source=5, target=4)}) == 2
    with pytest.raises(KeyError, match="text"):
        shape["text"]


def test_arrays_of_a_shape():
    assert arrays_of(Shape.of(8, source=4, target=5)) == {
        "source": ((8, 4), np.int32),
        "target": ((8, 5), np.int32),
        "index": ((8,), np.int32),
    }


@pytest.mark.parametrize("before", [0, 1])
def test_spans_of_whole_examples(before):
    spans = whole(np.array([3, -1, 0]), before)
    assert spans.dtype == np.int64
    assert spans[[0, 2]].tolist() == [[3, -before, -1], [0, -before, -1]]
    assert PlannedBatch(Shape.of(3, text=4), spans).rows.tolist() == [3, NOTHING, 0]


def test_spans_of_blocks():
    """Each begins with the token before it; the last is cut, and one beyond the end is empty."""
    spans = blocks(np.array([0, 4, 8, 10, 12]), length=4, count=10)
    assert spans.tolist() == [[0, -1, 4], [0, 3, 8], [0, 7, 10], [-1, -1, -1], [-1, -1, -1]]
