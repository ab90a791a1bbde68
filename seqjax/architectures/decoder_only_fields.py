"""The fields of a decoder that reads the source itself."""

from ml_collections import ConfigDict

from seqjax.architectures.families_fields import family_of
from seqjax.layers.positions_fields import learns_positions
from seqjax.rules import ANYTHING, Field, Relation

FIELDS = {
    "model.decoder.prefix_lm": Field(
        False,
        ANYTHING,
        "Transformer without an encoder (model.encoder.kind = 'none'): the positions of the"
        " source see each other in both directions (prefix language model: Raffel et al., 2020).",
    ),
}


def _is_decoder_only(config: ConfigDict) -> bool:
    """Returns whether the decoder reads a source itself."""
    return config.task == "text_to_text" and config.model.encoder.kind == "none"


RELATIONS = (
    Relation(
        "tokenizer.joint",
        lambda c: not _is_decoder_only(c) or c.tokenizer.joint,
        "True, since model.encoder.kind = 'none' reads both sides with one vocabulary",
    ),
    Relation(
        "model.decoder.max_positions",
        lambda c: (
            not _is_decoder_only(c)
            or not learns_positions(c.model.decoder)
            or c.model.decoder.max_positions >= c.data.max_source_length + c.data.max_target_length
        ),
        "at least data.max_source_length + data.max_target_length, {data.max_source_length} +"
        " {data.max_target_length}, since the decoder reads both and its positions are learned",
    ),
    Relation(
        "model.decoder.prefix_lm",
        lambda c: (
            not c.model.decoder.prefix_lm
            or (_is_decoder_only(c) and family_of(c.model.decoder) == "transformer")
        ),
        "False, or task = 'text_to_text', model.encoder.kind = 'none' and model.decoder.kind ="
        " 'transformer'",
    ),
)
