"""Blocks of a stream for evaluation, which together hold each token exactly once."""

import numpy as np

from seqjax.data.plan import PlannedBatch, Shape, blocks


def evaluation_blocks(
    feature: str, tokens: int, length: int, stride: int, rows: int, row_multiple: int = 1
) -> list[PlannedBatch]:
    """Returns batches of blocks that score each of N tokens exactly once.

    Block i scores tokens i S to (i + 1) S - 1 and reads up to L - S tokens before them, so that all
    but the first ones are predicted from L - S tokens at least. With S = L blocks do not overlap.

    Args:
      feature: name of what is read.
      tokens: N.
      length: L, tokens of a block.
      stride: S, from 1 to L.
      rows: blocks of a batch.
      row_multiple: rows are filled up to a multiple of it.
    """
    scored = np.arange(0, tokens, stride)
    begins = np.maximum(scored + stride - length, 0)
    rows = min(rows, len(scored))
    shape = Shape.of(-(-rows // row_multiple) * row_multiple, **{feature: length + 1})
    batches = []
    for first in range(0, len(scored), rows):
        part = slice(first, first + rows)
        empty = np.full(shape.rows - len(scored[part]), tokens)
        spans = blocks(np.concatenate([begins[part], empty]), length, tokens)
        last = np.minimum(scored[part] + stride, tokens)
        spans[: len(last), 2] = last
        unscored = np.zeros(shape.rows, np.int32)
        unscored[: len(last)] = scored[part] - begins[part]
        batches.append(PlannedBatch(shape, spans, unscored=unscored))
    return batches
