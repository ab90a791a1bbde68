"""The fields of a decoder's attention to the source."""

from ml_collections import ConfigDict

from seqjax.architectures.families_fields import (
    family_of,
    if_built,
    is_recurrent,
    memory_width_of,
    query_width_of,
)
from seqjax.rules import Field, Relation, at_least, one_of, quoted

ATTENTION_KINDS = (
    ("none", "additive", "additive_normalized", "dot", "scaled_dot", "general", "concat")
    + ("location", "multi_head")
)  # fmt: skip
# Family -> the kinds of attention that its decoder can use behind an encoder.
ATTENTIONS_OF = {
    "recurrent": ATTENTION_KINDS,
    # All positions are computed at once, so none can start from the previous one's attention; and
    # only attention brings the source into these families.
    "convolutional": tuple(name for name in ATTENTION_KINDS if name not in ("none", "location")),
    "transformer": ("multi_head",),
}
# Scores that multiply vectors directly, which must be equally wide.
_PLAIN_PRODUCTS = ("dot", "scaled_dot")

FIELDS = {
    "model.decoder.attention": Field(
        "multi_head",
        one_of(*ATTENTION_KINDS),
        "Attention to the source. A Transformer has 'multi_head'. Recurrent and convolutional"
        " decoders also have 'additive', 'additive_normalized', 'dot', 'scaled_dot', 'general'"
        " and 'concat'; recurrent ones also 'location' (10 filters of 15 positions) and 'none'.",
    ),
    "model.decoder.attention_width": Field(
        0,
        at_least(0),
        "Inner size of attention 'additive', 'additive_normalized', 'concat' and 'location'; 0"
        " takes the size of the queries (the width; the embedding width of a convolutional"
        " decoder).",
    ),
}


def _attention_is_known(config: ConfigDict) -> bool:
    decoder = config.model.decoder
    return decoder.attention in ATTENTIONS_OF[family_of(decoder)]


def _widths_fit(config: ConfigDict) -> bool:
    encoder, decoder = config.model.encoder, config.model.decoder
    plain = family_of(decoder) != "transformer" and decoder.attention in _PLAIN_PRODUCTS
    return not plain or memory_width_of(encoder) == query_width_of(decoder)


def _fitting_attentions(config: ConfigDict) -> str:
    encoder, decoder = config.model.encoder, config.model.decoder
    known = [name for name in ATTENTIONS_OF[family_of(decoder)] if name not in _PLAIN_PRODUCTS]
    field = "embedding_width" if family_of(decoder) == "convolutional" else "width"
    ways = [f"model.decoder.{field} = {memory_width_of(encoder)}"]
    if memory_width_of(encoder) == 2 * query_width_of(decoder) and is_recurrent(encoder):
        ways.append("model.encoder.direction = 'forward'")
    return (
        f"one of {quoted(tuple(known))}, since the states of the source are"
        f" {memory_width_of(encoder)} wide and the decoder's queries {query_width_of(decoder)};"
        f" or {' or '.join(ways)}"
    )


RELATIONS = if_built(
    {"encoder", "decoder"},
    Relation(
        "model.decoder.attention",
        _attention_is_known,
        lambda c: (
            f"one of {quoted(ATTENTIONS_OF[family_of(c.model.decoder)])},"
            f" since model.decoder.kind = {c.model.decoder.kind!r}"
        ),
    ),
    Relation("model.decoder.attention", _widths_fit, _fitting_attentions),
)
