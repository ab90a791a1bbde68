"""The fields of an adaptive softmax."""

import itertools
import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from seqjax.architectures.families_fields import embedding_width_of, if_built
from seqjax.errors import UserError
from seqjax.rules import ANYTHING, Field, Relation, at_least, quoted, where
from seqjax.tasks.declared import TASKS

# Kinds of tokenizers whose ids are in order of frequency.
_BY_FREQUENCY = ("word", "space", "character", "decomposed", "unigram")


def adaptive_cutoffs(model: Mapping[str, Any]) -> tuple[int, ...]:
    """Returns the token ids at which the clusters of an adaptive softmax end; () without one."""
    text = model["adaptive_cutoffs"]
    return tuple(map(int, text.split(","))) if text else ()


def check_cutoffs(model: Mapping[str, Any], vocabulary: int) -> None:
    """Checks the clusters against a vocabulary, which may have come out smaller than asked for.

    Raises:
      UserError: a cluster would be empty.
    """
    if any(cutoff >= vocabulary for cutoff in adaptive_cutoffs(model)):
        raise UserError(
            f"model.adaptive_cutoffs = {model['adaptive_cutoffs']!r}: expected ids below"
            f" {vocabulary}, the size of the vocabulary"
        )


def _are_cutoffs(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", text):
        return False
    # The shortlist holds the four special entries.
    cutoffs = [3, *map(int, text.split(","))]
    return all(low < high for low, high in itertools.pairwise(cutoffs))


FIELDS = {
    "model.adaptive_cutoffs": Field(
        "",
        where(
            lambda text: not text or _are_cutoffs(text),
            "'', or token ids from 4 on that grow, such as '2000,10000'",
        ),
        "Adaptive softmax (Grave et al., 2017): token ids, such as '2000,10000', at which a"
        " cluster of frequent words ends and one of rarer words begins; '' is the plain softmax.",
    ),
    "model.adaptive_factor": Field(
        4,
        at_least(1),
        "Adaptive softmax: the vectors of each cluster are narrower by this factor.",
    ),
    "model.adaptive_inputs": Field(
        False,
        ANYTHING,
        "Adaptive softmax: divide the token vectors that the decoder reads in the same way"
        " (Baevski and Auli, 2019). With tie_output both share their vectors and projections.",
    ),
}


def _narrowest(config: ConfigDict) -> int:
    """Returns the width of the last cluster."""
    width = embedding_width_of(config.model.decoder)
    return width // config.model.adaptive_factor ** len(adaptive_cutoffs(config.model))


def _widest_factor(config: ConfigDict) -> int:
    """Returns the largest factor that leaves the last cluster a width."""
    width = embedding_width_of(config.model.decoder)
    count = len(adaptive_cutoffs(config.model))
    return max(factor for factor in range(1, width + 1) if factor**count <= width)


def _kind_field(config: ConfigDict) -> str:
    """Returns the field of `tokenizer` with the kind of the tokens that are predicted."""
    own = config.tokenizer.target_kind and "target" in TASKS[config.task].roles
    return "target_kind" if own else "kind"


RELATIONS = if_built(
    {"decoder"},
    Relation(
        "model.adaptive_cutoffs",
        lambda c: all(i < c.tokenizer.vocabulary for i in adaptive_cutoffs(c.model)),
        "ids below tokenizer.vocabulary = {tokenizer.vocabulary}",
    ),
    Relation(
        "model.adaptive_cutoffs",
        lambda c: not c.model.adaptive_cutoffs or c.tokenizer[_kind_field(c)] in _BY_FREQUENCY,
        lambda c: (
            f"'', or tokenizer.{_kind_field(c)} to be one of {quoted(_BY_FREQUENCY)}, whose ids are"
            " in order of frequency"
        ),
    ),
    Relation(
        "model.adaptive_inputs",
        lambda c: not c.model.adaptive_inputs or c.model.adaptive_cutoffs,
        "False, or the ids at which clusters end in model.adaptive_cutoffs",
    ),
    Relation(
        "model.adaptive_factor",
        lambda c: _narrowest(c) > 0,
        lambda c: (
            f"at most {_widest_factor(c)}, since with model.adaptive_cutoffs ="
            f" {c.model.adaptive_cutoffs!r} the last vectors would be narrower than 1"
        ),
    ),
    Relation(
        "model.tie_output",
        lambda c: not c.model.tie_output or not c.model.adaptive_cutoffs or c.model.adaptive_inputs,
        "False, or model.adaptive_inputs = True, since the vectors of an adaptive softmax are not"
        " all equally wide",
    ),
    Relation(
        "loss.label_smoothing",
        lambda c: not c.model.adaptive_cutoffs or c.loss.label_smoothing == 0,
        "0, since model.adaptive_cutoffs = '{model.adaptive_cutoffs}' computes rare words only"
        " where they occur",
    ),
)
