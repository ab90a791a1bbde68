"""What a validation score was measured on: two scores compare only where that is the same."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from seqjax.fields import flatten
from seqjax.tasks.declared import MEASURES

# Fields that change the scores for which no search is needed, too.
_OF_PROBABILITIES = (
    "evaluation.stride",
    *(f"evaluation.{name}" for name in ("cache", "cache_share", "cache_flatness")),
)
# Fields of `evaluation` and `decode` that change no score: when and which, and sizes of batches.
_NEUTRAL = (
    "evaluation.every",
    "evaluation.translate",
    "evaluation.limit",
    "evaluation.metrics",
    "decode.checkpoint",
    "decode.average",
    "decode.tokens",
    "decode.shapes",
)

Measured = Mapping[str, Any]


def measured_on(config: ml_collections.ConfigDict, examples: str) -> Measured:
    """Returns all that scores depend on besides the parameters.

    Args:
      config: the run's.
      examples: the digest of the sources and references that are scored.
    """
    fields = {
        path: list(value) if isinstance(value, tuple) else value
        for path, value in flatten(config).items()
        if path.startswith(("evaluation.", "decode.")) and path not in _NEUTRAL
    }
    return {"examples": examples} | fields


def changes(metric: str, before: Measured, now: Measured) -> list[str]:
    """Returns in words what makes two values of a metric incomparable; nothing if they compare.

    What one of the two does not know, as runs of earlier versions do, counts as equal.
    """
    relevant = [name for name in now if name in before and _matters(name, metric)]
    return [
        "other sentences"
        if name == "examples"
        else f"{name} was {before[name]!r} and is {now[name]!r}"
        for name in relevant
        if before[name] != now[name]
    ]


def _matters(name: str, metric: str) -> bool:
    if name == "examples":
        return True
    if name in _OF_PROBABILITIES:
        return True
    if metric in MEASURES and not MEASURES[metric].answers:
        return False
    return name != "evaluation.tokenize" or metric == "bleu"
