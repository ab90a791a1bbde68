"""Turns planned batches into arrays."""

import numpy as np

from seqjax.data.examples import Examples
from seqjax.data.plan import PlannedBatch

Batch = dict[str, np.ndarray]


def gather(examples: Examples, planned: PlannedBatch, part: slice = slice(None)) -> Batch:
    """Returns a batch as arrays: one of tokens for each feature [B, length], and 'index' [B].

    All are int32. Rows are filled up with PAD. 'index' is the number of the example, -1 for an
    empty row, which is all PAD. Where the plan has them, 'fresh' and 'unscored' [B] are as in
    `PlannedBatch`.

    Args:
      examples: the tokens.
      planned: what the batch holds.
      part: the rows that this process has.
    """
    spans = planned.spans[part]
    batch = {
        name: examples.features[name].gathered(spans, length)
        for name, length in planned.shape.lengths
    }
    batch["index"] = spans[:, 0].astype(np.int32)
    for name in ("fresh", "unscored"):
        if (rows := getattr(planned, name)) is not None:
            batch[name] = rows[part]
    return batch
