"""The fields of recurrences: cells, directions, and what a decoder feeds and reads."""

from ml_collections import ConfigDict

from seqjax.architectures.attention_fields import ATTENTION_KINDS
from seqjax.architectures.families_fields import (
    STACKS,
    if_built,
    is_recurrent,
    memory_width_of,
    stacks_of,
    top_width_of,
)
from seqjax.rules import ANYTHING, PROBABILITY, Field, Relation, at_least, one_of, where

# What a decoder's own past is not attended to by.
_NOT_TO_THE_PAST = ("location", "multi_head")

FIELDS = {
    "model.*.cell_normalization": Field(
        False,
        ANYTHING,
        "Recurrent: layer normalization of the products in the cells.",
    ),
    "model.*.input_dropout": Field(
        -1.0,
        where(lambda rate: rate == -1 or 0 <= rate < 1, "-1, or at least 0 and less than 1"),
        "Recurrent: dropout of the token vectors; -1 takes `dropout`.",
    ),
    "model.*.forget_bias": Field(
        1.0,
        where(lambda value: abs(value) <= 100, "a number from -100 to 100"),
        "LSTM: initial bias of the forget gates; 1 lets a new model remember (Jozefowicz et al.,"
        " 2015).",
    ),
    "model.*.residual": Field(
        False,
        ANYTHING,
        "Recurrent: add the input of each layer to its output, from the second layer on.",
    ),
    "model.*.variational": Field(
        False,
        ANYTHING,
        "Recurrent: one dropout mask for all positions of a sentence (Gal and Ghahramani, 2016).",
    ),
    "model.*.recurrent_dropout": Field(
        0.0,
        PROBABILITY,
        "Recurrent: share of the entries of the recurrent matrices that are zero in an update"
        " (DropConnect: Merity et al., 2018).",
    ),
    "model.*.implementation": Field(
        "scan",
        one_of("scan", "cudnn"),
        "Recurrent: 'scan', or 'cudnn' for an LSTM in float32 on one NVIDIA GPU. The parameters"
        " are the same, so a trained model may change it.",
    ),
    "model.encoder.direction": Field(
        "both",
        one_of("forward", "backward", "both"),
        "Recurrent: read the source 'forward', 'backward' (Sutskever et al., 2014) or in 'both'"
        " directions.",
    ),
    "model.decoder.attention_order": Field(
        "update_first",
        one_of("attend_first", "update_first"),
        "Recurrent: 'attend_first', with the previous state (Bahdanau et al., 2015), or"
        " 'update_first', then attend with the new state (Luong et al., 2015).",
    ),
    "model.decoder.input_feeding": Field(
        False,
        ANYTHING,
        "Recurrent: feed the attentional vector to the next position (Luong et al., 2015).",
    ),
    "model.decoder.feed_summary": Field(
        False,
        ANYTHING,
        "Recurrent: feed the summary of the source to every position (Cho et al., 2014).",
    ),
    "model.decoder.readout": Field(
        "attentional",
        one_of("attentional", "deep", "state"),
        "Recurrent: what the output projection reads: 'attentional' tanh(W [state, context]),"
        " 'deep' [state, context, token vector], or the 'state' alone.",
    ),
    "model.decoder.bridge": Field(
        "projection",
        one_of("projection", "last", "zeros"),
        "Recurrent: initial states: 'projection' tanh(W summary) of the source, the 'last'"
        " states of a recurrent encoder of the same form, or 'zeros'.",
    ),
    "model.decoder.output_dropout": Field(
        0.0,
        PROBABILITY,
        "Dropout of the vectors that the output projection reads, besides what `dropout` does.",
    ),
    "model.decoder.last_width": Field(
        0,
        at_least(0),
        "Recurrent: number of units of the last layer; 0 takes the width.",
    ),
    "model.decoder.past_attention": Field(
        "none",
        one_of(*(name for name in ATTENTION_KINDS if name not in _NOT_TO_THE_PAST)),
        "Recurrent: attention of each output to those before it: 'none', or a kind of attention"
        " without 'location' and 'multi_head' (Salton et al., 2017).",
    ),
    "model.decoder.past_window": Field(
        32,
        at_least(1),
        "Recurrent: how many of the outputs before it are attended to.",
    ),
}


def _reads_source(config: ConfigDict) -> bool:
    """False for a recurrent decoder that the source does not reach."""
    decoder = config.model.decoder
    if not is_recurrent(decoder) or decoder.attention != "none":
        return True
    return decoder.feed_summary or decoder.bridge != "zeros"


def _last_states_fit(config: ConfigDict) -> bool:
    encoder, decoder = config.model.encoder, config.model.decoder
    if not is_recurrent(decoder) or decoder.bridge != "last":
        return True
    found = (encoder.kind, encoder.layers, memory_width_of(encoder))
    even = top_width_of(decoder) == decoder.width
    return even and found == (decoder.kind, decoder.layers, decoder.width)


def _form(stack: ConfigDict, width: int) -> str:
    return f"{stack.kind!r} of {stack.layers} layers, {width} wide"


def _uses_attention(config: ConfigDict) -> bool:
    """False if a recurrent decoder attends and nothing depends on the result."""
    decoder = config.model.decoder
    if not is_recurrent(decoder) or decoder.attention == "none":
        return True
    return decoder.readout != "state" or decoder.attention_order == "attend_first"


def _not_by_cudnn(config: ConfigDict, name: str) -> str:
    """Returns the setting of a stack that cuDNN's LSTM cannot compute, '' if it can."""
    stack, path = config.model[name], f"model.{name}"
    if not is_recurrent(stack) or stack.implementation != "cudnn":
        return ""
    if stack.kind != "lstm":
        return f"{path}.kind = {stack.kind!r}"
    if stack.cell_normalization:
        return f"{path}.cell_normalization = True"
    if config.model.dtype != "float32":
        return f"model.dtype = {config.model.dtype!r}"
    # Positions of a decoder that need more from the previous one than the states of the layers.
    if stack.get("input_feeding"):
        return f"{path}.input_feeding = True"
    if stack.get("attention") == "location":
        return f"{path}.attention = 'location'"
    if stack.get("attention", "none") != "none" and stack.attention_order == "attend_first":
        return f"{path}.attention_order = 'attend_first'"
    return ""


def _implementation(name: str) -> Relation:
    return Relation(
        f"model.{name}.implementation",
        lambda c: not _not_by_cudnn(c, name),
        lambda c: f"'scan', since {_not_by_cudnn(c, name)}",
    )


_OF_THE_LAST_LAYER = (
    Relation(
        "model.decoder.last_width",
        lambda c: c.model.decoder.last_width == 0 or is_recurrent(c.model.decoder),
        "0, since the layers of model.decoder.kind = '{model.decoder.kind}' are equally wide",
    ),
    Relation(
        "model.decoder.last_width",
        lambda c: (
            top_width_of(c.model.decoder) == c.model.decoder.width or not c.model.decoder.residual
        ),
        "0, since with model.decoder.residual = True layers are equally wide",
    ),
)
_TO_THE_PAST = (
    Relation(
        "model.decoder.past_attention",
        lambda c: c.model.decoder.past_attention == "none" or is_recurrent(c.model.decoder),
        "'none', since model.decoder.kind = '{model.decoder.kind}' sees its past anyway",
    ),
    Relation(
        "model.decoder.readout",
        lambda c: (
            c.model.decoder.past_attention == "none"
            or not is_recurrent(c.model.decoder)
            or c.model.decoder.readout != "state"
        ),
        "'attentional' or 'deep', since the state alone does not hold what past_attention ="
        " '{model.decoder.past_attention}' found",
    ),
    Relation(
        "model.decoder.past_attention",
        lambda c: (
            c.model.decoder.past_attention == "none"
            or "encoder" not in stacks_of(c)
            or not c.model.decoder.input_feeding
        ),
        "'none', or model.decoder.input_feeding = False",
    ),
)
_TO_THE_SOURCE = (
    Relation(
        "model.decoder.bridge",
        _reads_source,
        "'projection' or 'last', since without attention nothing else depends on the source",
    ),
    Relation(
        "model.decoder.bridge",
        _last_states_fit,
        lambda c: (
            "'projection' or 'zeros', or stacks of one form:"
            f" model.encoder is {_form(c.model.encoder, memory_width_of(c.model.encoder))},"
            f" model.decoder {_form(c.model.decoder, c.model.decoder.width)}"
        ),
    ),
    Relation(
        "model.decoder.readout",
        _uses_attention,
        "'attentional' or 'deep', since with attention_order = 'update_first' the state alone does"
        " not hold what was attended to",
    ),
    Relation(
        "model.decoder.input_feeding",
        lambda c: (
            not c.model.decoder.input_feeding
            or not is_recurrent(c.model.decoder)
            or (c.model.decoder.readout == "attentional" and c.model.decoder.attention != "none")
        ),
        "False, or attention and model.decoder.readout = 'attentional', whose vector is fed",
    ),
)
RELATIONS = (
    *(relation for name in STACKS for relation in if_built({name}, _implementation(name))),
    *if_built({"decoder"}, *_OF_THE_LAST_LAYER, *_TO_THE_PAST),
    *if_built({"encoder", "decoder"}, *_TO_THE_SOURCE),
)
