"""The fields of Transformers."""

from ml_collections import ConfigDict

from seqjax.architectures.families_fields import (
    STACKS,
    embedding_width_of,
    family_of,
    if_built,
    is_recurrent,
    query_width_of,
    stacks_of,
)
from seqjax.rules import PROBABILITY, Field, Relation, at_least, one_of

FIELDS = {
    "model.*.heads": Field(
        4,
        at_least(1),
        "Transformer: attention heads, a divisor of the width. Also those of attention ="
        " 'multi_head' in other decoders.",
    ),
    "model.*.key_value_heads": Field(
        0,
        at_least(0),
        "Transformer: heads of keys and values, each shared by a group of query heads (Ainslie"
        " et al., 2023); 0 takes as many as `heads`.",
    ),
    "model.*.window": Field(
        0,
        at_least(0),
        "Transformer: self-attention reaches this many positions before and after its own; 0"
        " reaches all.",
    ),
    "model.*.feed_forward": Field(
        1024,
        at_least(1),
        "Transformer: inner size of the feed-forward layer.",
    ),
    "model.*.activation": Field(
        "relu",
        one_of("relu", "gelu", "swiglu", "geglu"),
        "Transformer: activation of the feed-forward layer: 'relu', 'gelu' (Hendrycks and"
        " Gimpel, 2016), or the gated 'swiglu' and 'geglu' (Shazeer, 2020).",
    ),
    "model.*.normalization": Field(
        "pre",
        one_of("pre", "post"),
        "Transformer: normalize 'pre' (before each sublayer) or 'post' (after it).",
    ),
    "model.*.norm": Field(
        "layer",
        one_of("layer", "rms"),
        "Transformer: 'layer' normalization (Ba et al., 2016) or 'rms' (Zhang and Sennrich, 2019).",
    ),
    "model.*.attention_dropout": Field(
        0.0,
        PROBABILITY,
        "Transformer: dropout of the attention weights.",
    ),
    "model.*.activation_dropout": Field(
        0.0,
        PROBABILITY,
        "Transformer: dropout inside the feed-forward layer.",
    ),
}


def divided_sizes(stack: ConfigDict) -> dict[str, int]:
    """Returns the fields of a stack whose units several devices can share, with their sizes."""
    if family_of(stack) != "transformer":
        return {}
    fields = ["heads", "key_value_heads", "feed_forward"]
    return {field: stack[field] for field in fields if stack[field]}


def _has_heads(config: ConfigDict, name: str) -> bool:
    """Returns whether `model.encoder` or `model.decoder` has attention of several heads."""
    stack, sourced = config.model[name], "encoder" in stacks_of(config)
    if family_of(stack) == "transformer":
        return True
    return sourced and stack.get("attention") == "multi_head"


def _width_field(path: str, stack: ConfigDict) -> str:
    """Returns the field that gives the size of queries, with its value."""
    width = query_width_of(stack)
    other = "last_width" if is_recurrent(stack) else "embedding_width"
    return f"{path}.{'width' if width == stack.width else other} = {width}"


def _relations(name: str) -> tuple[Relation, ...]:
    """Returns the relations of `model.encoder` or `model.decoder`."""
    stack = f"model.{name}"
    return (
        Relation(
            f"{stack}.embedding_width",
            lambda c: (
                family_of(c.model[name]) != "transformer"
                or embedding_width_of(c.model[name]) == c.model[name].width
            ),
            f"0, since the vectors of {stack}.kind = 'transformer' are as wide as it is",
        ),
        Relation(
            f"{stack}.heads",
            lambda c: (
                not _has_heads(c, name) or query_width_of(c.model[name]) % c.model[name].heads == 0
            ),
            lambda c: f"a divisor of {_width_field(stack, c.model[name])}",
        ),
        Relation(
            f"{stack}.key_value_heads",
            lambda c: (
                family_of(c.model[name]) != "transformer"
                or c.model[name].key_value_heads == 0
                or c.model[name].heads % c.model[name].key_value_heads == 0
            ),
            f"0 or a divisor of {stack}.heads = {{{stack}.heads}}",
        ),
    )


RELATIONS = tuple(relation for name in STACKS for relation in if_built({name}, *_relations(name)))
