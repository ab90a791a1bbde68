"""The fields of language models alone."""

from seqjax.data.batching_fields import plan_of
from seqjax.layers.positions_fields import learns_positions
from seqjax.rules import PROBABILITY, Field, Relation, Rule, at_least, between

FIELDS = {
    "evaluation.stride": Field(
        0,
        at_least(0),
        "Language models, plan 'windows': score only the last so many tokens of each window, so"
        " that each is predicted from at least batching.length - stride tokens; 0 scores all.",
    ),
    "evaluation.cache": Field(
        0,
        at_least(0),
        "Language models, plan 'streams': mix in a continuous cache of so many tokens before"
        " each one (Grave et al., 2017); 0 for none.",
    ),
    "evaluation.cache_share": Field(
        0.1,
        PROBABILITY,
        "Its share of the probability.",
    ),
    "evaluation.cache_flatness": Field(
        0.3,
        between(0, 100),
        "How much likeness to a position counts: the factor of h_t . h_i in the exponent.",
    ),
    "decode.max_new_tokens": Field(
        200,
        at_least(1),
        "Language models: most tokens of a continuation.",
    ),
    "decode.stop": Field(
        (),
        Rule(lambda value: all(value), "strings that are not empty"),
        "Language models: strings that end a continuation, and are left out of it.",
    ),
}

RELATIONS = (
    Relation(
        "evaluation.stride",
        lambda c: c.evaluation.stride <= c.batching.length,
        "at most batching.length = {batching.length}",
    ),
    Relation(
        "evaluation.stride",
        lambda c: c.evaluation.stride == 0 or plan_of(c) == "windows",
        "0, or batching.plan = 'windows'",
    ),
    Relation(
        "evaluation.cache",
        lambda c: c.evaluation.cache == 0 or plan_of(c) == "streams",
        "0, or batching.plan = 'streams', which reads a text in order",
    ),
    Relation(
        "model.decoder.max_positions",
        lambda c: (
            c.task != "language_model"
            or plan_of(c) == "buckets"
            or not learns_positions(c.model.decoder)
            or c.model.decoder.max_positions >= c.batching.length
        ),
        "at least batching.length = {batching.length}, since positions are learned",
    ),
)
