"""Turns planned batches into arrays."""

import numpy as np

from seqjax.data.examples import Examples
from seqjax.data.plan import PlannedBatch

Batch = dict[str, np.ndarray]


def gather(examples: Examples, planned: PlannedBatch, part: slice = slice(None)) -> Batch:
    """Returns a batch as arrays: one of tokens for each feature [B, length], and 'index' [B].

    All are int32. Rows are filled up with PAD. 'index' is the number of the example, -1 for an
    empty row, which is all PAD. Where the plan has them, 'fresh' and 'unscored' [B] are as in
    `PlannedBatch`. If rows hold several spans, 'position' and 'segment' [B, length] are as in
    `Sequences.packed`.

    Args:
      examples: the tokens.
      planned: what the batch holds.
      part: the rows that this process has.
    """
    spans = planned.spans[part]
    batch: Batch = {}
    for name, length in planned.shape.lengths:
        sequences = examples.features[name]
        if spans.ndim == 3:
            batch[name], batch["position"], batch["segment"] = sequences.packed(spans, length)
        else:
            batch[name] = sequences.gathered(spans, length)
    batch["index"] = planned.rows[part].astype(np.int32)
    for name in ("fresh", "unscored"):
        if (rows := getattr(planned, name)) is not None:
            batch[name] = rows[part]
    return batch
