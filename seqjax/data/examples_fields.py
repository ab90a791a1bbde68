"""The fields of tokenized corpora: which examples are trained on, and where they are kept."""

import math

from seqjax.files import in_bucket
from seqjax.rules import ANYTHING, Field, at_least, one_of, where


def _is_length_ratio(ratio: float) -> bool:
    return ratio == 0 or 1 <= ratio < math.inf


def _is_here(name: str) -> bool:
    # Tokenized corpora are read through memory maps.
    return bool(name) and not in_bucket(name)


FIELDS = {
    "data.max_source_length": Field(
        256,
        # One token and the end of the sentence.
        at_least(2),
        "Longest source in tokens, including end-of-sentence.",
    ),
    "data.max_target_length": Field(
        256,
        at_least(2),
        "Longest target in tokens, including end-of-sentence.",
    ),
    "data.over_length": Field(
        "drop",
        one_of("drop", "cut"),
        "Training pairs over either limit: 'drop' or 'cut'. Evaluation drops nothing; it cuts"
        " long sources.",
    ),
    "data.empty": Field(
        "drop",
        one_of("drop", "keep"),
        "Training pairs with an empty side: 'drop' or 'keep'.",
    ),
    "data.max_length_ratio": Field(
        0.0,
        where(_is_length_ratio, "at least 1, or 0 for any"),
        "Drop training pairs whose longer side has more than this many times the tokens of the"
        " shorter one; 0 keeps them.",
    ),
    "data.drop_duplicates": Field(
        False,
        ANYTHING,
        "Drop training pairs that repeat an earlier one on both sides.",
    ),
    "data.drop_overlap": Field(
        False,
        ANYTHING,
        "Drop training pairs whose source occurs in the validation or test split.",
    ),
    "data.drop_identical": Field(
        False,
        ANYTHING,
        "Drop training pairs whose two sides are equal.",
    ),
    "data.cache": Field(
        "~/.cache/seqjax",
        where(_is_here, "a local folder"),
        "Folder of the tokenized corpora, on this machine. It may be deleted at any time.",
    ),
}
