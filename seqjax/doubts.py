"""Settings that are right by themselves, with which a metric measures something else.

Each is a warning when a model begins to be trained or scored, and names the field to change.
"""

import logging
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ml_collections import ConfigDict

from seqjax.fields import flatten

_LOG = logging.getLogger(__name__)

# Codes of languages that are written without spaces between words: Chinese, Cantonese, Japanese,
# Thai, Lao, Khmer, Burmese; 'cn' and 'jp' are in use, too.
_SPACELESS = (
    ("zh", "zho", "cmn", "yue", "ja", "jpn", "th", "tha", "lo", "lao", "km", "khm")
    + ("my", "mya", "cn", "jp")
)  # fmt: skip


class Doubt(NamedTuple):
    """A field whose value is doubted, when that is, and what its effect is.

    The effect may name the values of other fields in braces.
    """

    field: str
    holds: Callable[[ConfigDict], bool]
    effect: str


def _is_scored(config: ConfigDict, *metrics: str) -> bool:
    return config.evaluation.translate and bool(set(metrics) & set(config.evaluation.metrics))


def _lacks_spaces(config: ConfigDict) -> bool:
    """Returns whether sentences of the target are not divided by spaces, as far as names show."""
    data, tokenizer = config.data, config.tokenizer
    divided = (tokenizer.target_kind or tokenizer.kind) == "space"
    return re.split("[-_]", data.target.lower())[0] in _SPACELESS and not divided


DOUBTS = (
    Doubt(
        "evaluation.lowercase",
        lambda c: (
            c.tokenizer.lowercase
            and not c.evaluation.lowercase
            and _is_scored(c, *c.evaluation.metrics)
        ),
        "outputs are lower-case, since tokenizer.lowercase = True, so each capital of a reference"
        " counts as an error; True scores without regard to case",
    ),
    Doubt(
        "evaluation.tokenize",
        lambda c: (
            _lacks_spaces(c)
            and c.evaluation.tokenize in ("13a", "intl", "none")
            and _is_scored(c, "bleu")
        ),
        "finds no words in data.target = '{data.target}', which is written without spaces, so BLEU"
        " compares whole clauses; expected 'zh', 'ja-mecab', 'char' or 'flores200'",
    ),
    Doubt(
        "evaluation.metrics",
        lambda c: _lacks_spaces(c) and _is_scored(c, "ter", "error_rate"),
        "'ter' and 'error_rate' count edits of what stands between spaces, and data.target ="
        " '{data.target}' is written without; 'chrf' reads characters",
    ),
    Doubt(
        "data.validation",
        lambda c: c.data.validation == c.data.train and not c.data.split_by,
        "is the training split, so its scores say nothing about other sentences",
    ),
    Doubt(
        "data.test",
        lambda c: c.data.test == c.data.train and not c.data.split_by,
        "is the training split, so its scores say nothing about other sentences",
    ),
    Doubt(
        "data.test",
        lambda c: c.data.test == c.data.validation and not c.data.split_by,
        "is the validation split, by which a checkpoint is chosen, so its scores are too good",
    ),
    Doubt(
        "data.target",
        lambda c: c.data.target == c.data.source,
        "is the source itself: the model learns to copy",
    ),
)


def doubts_of(config: ConfigDict) -> list[str]:
    """Returns a line for each doubted field of a config, `field = value: effect`."""
    flat = flatten(config)
    found = [doubt for doubt in DOUBTS if doubt.holds(config)]
    return [f"{d.field} = {flat[d.field]!r}: {d.effect.format(**config)}" for d in found]


def warn_of_doubts(configs: Iterable[ConfigDict]) -> None:
    """Logs a warning for each doubt of some configs, once."""
    for line in dict.fromkeys(line for config in configs for line in doubts_of(config)):
        _LOG.warning("%s", line)
