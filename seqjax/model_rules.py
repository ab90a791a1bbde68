"""What the fields under `model` may hold, and which parts of a model fit together."""

from collections.abc import Iterable

from ml_collections import ConfigDict

from seqjax.adaptive_rules import ADAPTIVE_RELATIONS, ADAPTIVE_RULES
from seqjax.rules import (
    ANYTHING,
    PROBABILITY,
    Relation,
    Rule,
    at_least,
    between,
    one_of,
    quoted,
    where,
)
from seqjax.tasks.declared import TASKS

_RECURRENT = ("elman", "lstm", "gru")
_ATTENTIONS = (
    ("none", "additive", "additive_normalized", "dot", "scaled_dot", "general", "concat")
    + ("location", "multi_head")
)  # fmt: skip
# Family -> the kinds of attention that its decoder can use behind an encoder.
ATTENTIONS_OF = {
    "recurrent": _ATTENTIONS,
    # All positions are computed at once, so none can start from the previous one's attention; and
    # only attention brings the source into these families.
    "convolutional": tuple(name for name in _ATTENTIONS if name not in ("none", "location")),
    "transformer": ("multi_head",),
}
# What a decoder's own past is not attended to by.
_NOT_TO_THE_PAST = ("location", "multi_head")
# Scores that multiply vectors directly, which must be equally wide.
_PLAIN_PRODUCTS = ("dot", "scaled_dot")
_POSITIONS = ("none", "sinusoidal", "learned", "relative", "rotary", "alibi")

_STACK_RULES = {
    "kind": one_of(*_RECURRENT, "convolutional", "transformer"),
    "layers": at_least(1),
    "width": at_least(1),
    "embedding_width": at_least(0),
    "dropout": PROBABILITY,
    "heads": at_least(1),
    "key_value_heads": at_least(0),
    "window": at_least(0),
    "feed_forward": at_least(1),
    "activation": one_of("relu", "gelu", "swiglu", "geglu"),
    "normalization": one_of("pre", "post"),
    "norm": one_of("layer", "rms"),
    "attention_dropout": PROBABILITY,
    "activation_dropout": PROBABILITY,
    "positions": one_of(*_POSITIONS),
    "max_positions": at_least(1),
    "kernel": at_least(1),
    "max_dilation": where(
        lambda value: 1 <= value <= 2**30 and value.bit_count() == 1, "1, 2, 4, 8, ... up to 2^30"
    ),
    "cell_normalization": ANYTHING,
    "input_dropout": where(
        lambda rate: rate == -1 or 0 <= rate < 1, "-1, or at least 0 and less than 1"
    ),
    "forget_bias": where(lambda value: abs(value) <= 100, "a number from -100 to 100"),
    "residual": ANYTHING,
    "variational": ANYTHING,
    "recurrent_dropout": PROBABILITY,
    "rematerialize": ANYTHING,
    "scan_layers": ANYTHING,
    "implementation": one_of("scan", "cudnn"),
}
_ENCODER_RULES = {
    **_STACK_RULES,
    "kind": one_of(*_RECURRENT, "convolutional", "transformer", "none"),
    "direction": one_of("forward", "backward", "both"),
}
_DECODER_RULES = {
    **_STACK_RULES,
    "attention": one_of(*_ATTENTIONS),
    "attention_width": at_least(0),
    "attention_order": one_of("attend_first", "update_first"),
    "input_feeding": ANYTHING,
    "feed_summary": ANYTHING,
    "readout": one_of("attentional", "deep", "state"),
    "bridge": one_of("projection", "last", "zeros"),
    "output_dropout": PROBABILITY,
    "last_width": at_least(0),
    "past_attention": one_of(*(name for name in _ATTENTIONS if name not in _NOT_TO_THE_PAST)),
    "past_window": at_least(1),
    "prefix_lm": ANYTHING,
}

MODEL_RULES: dict[str, Rule] = {
    "model.share_embeddings": ANYTHING,
    "model.tie_output": ANYTHING,
    "model.embedding_initializer": one_of("normal", "xavier"),
    "model.scale_embeddings": ANYTHING,
    "model.initial_range": between(0, 10),
    "model.embedding_dropout": PROBABILITY,
    **ADAPTIVE_RULES,
    "model.dtype": one_of("float32", "bfloat16"),
    **{f"model.encoder.{name}": rule for name, rule in _ENCODER_RULES.items()},
    **{f"model.decoder.{name}": rule for name, rule in _DECODER_RULES.items()},
}


def stacks_of(config: ConfigDict) -> tuple[str, ...]:
    """Returns the sections of `model` that are built: those of the task, without a missing one."""
    return tuple(name for name in TASKS[config.task].stacks if config.model[name].kind != "none")


def _family(stack: ConfigDict) -> str:
    return "recurrent" if stack.kind in _RECURRENT else stack.kind


def _embedding_width(stack: ConfigDict) -> int:
    return stack.embedding_width or stack.width


def _memory_width(encoder: ConfigDict) -> int:
    """Returns the size of an encoder's states."""
    if _family(encoder) == "convolutional":
        return _embedding_width(encoder)
    both = _family(encoder) == "recurrent" and encoder.direction == "both"
    return encoder.width * (2 if both else 1)


def _query_width(decoder: ConfigDict) -> int:
    """Returns the size of the queries of a decoder."""
    if _family(decoder) == "convolutional":
        return _embedding_width(decoder)
    return _top_width(decoder)


def _top_width(decoder: ConfigDict) -> int:
    """Returns the number of units of a decoder's last layer."""
    own = decoder.last_width if _family(decoder) == "recurrent" else 0
    return own or decoder.width


def _has_heads(config: ConfigDict, name: str) -> bool:
    """Returns whether `model.encoder` or `model.decoder` has attention of several heads."""
    stack, sourced = config.model[name], "encoder" in stacks_of(config)
    if _family(stack) == "transformer":
        return True
    return sourced and stack.get("attention") == "multi_head"


def _sinusoidal(stack: ConfigDict) -> bool:
    return _family(stack) != "recurrent" and stack.positions == "sinusoidal"


def is_recurrent(stack: ConfigDict) -> bool:
    """Returns whether a stack carries its state from position to position."""
    return _family(stack) == "recurrent"


def learns_positions(stack: ConfigDict) -> bool:
    """Returns whether a stack has a table of positions, which ends."""
    return _family(stack) != "recurrent" and stack.positions == "learned"


def divided_sizes(stack: ConfigDict) -> dict[str, int]:
    """Returns the fields of a stack whose units several devices can share, with their sizes."""
    if _family(stack) != "transformer":
        return {}
    fields = ["heads", "key_value_heads", "feed_forward"]
    return {field: stack[field] for field in fields if stack[field]}


def _size_relations(name: str) -> tuple[Relation, ...]:
    """Returns the relations of the sizes in `model.encoder` or `model.decoder`."""
    stack = f"model.{name}"

    def is_a(family: str, c: ConfigDict) -> bool:
        return _family(c.model[name]) == family

    return (
        Relation(
            f"{stack}.embedding_width",
            lambda c: (
                not is_a("transformer", c) or _embedding_width(c.model[name]) == c.model[name].width
            ),
            f"0, since the vectors of {stack}.kind = 'transformer' are as wide as it is",
        ),
        Relation(
            f"{stack}.heads",
            lambda c: (
                not _has_heads(c, name) or _query_width(c.model[name]) % c.model[name].heads == 0
            ),
            lambda c: f"a divisor of {_width_field(stack, c.model[name])}",
        ),
        Relation(
            f"{stack}.key_value_heads",
            lambda c: (
                not is_a("transformer", c)
                or c.model[name].key_value_heads == 0
                or c.model[name].heads % c.model[name].key_value_heads == 0
            ),
            f"0 or a divisor of {stack}.heads = {{{stack}.heads}}",
        ),
        Relation(
            f"{stack}.scan_layers",
            lambda c: not c.model[name].scan_layers or not is_a("recurrent", c),
            f"false, since {stack}.kind = '{{{stack}.kind}}': only Transformers and"
            " convolutions have it",
        ),
        Relation(
            f"{stack}.scan_layers",
            lambda c: (
                not c.model[name].scan_layers
                or not is_a("convolutional", c)
                or c.model[name].max_dilation == 1
            ),
            f"false, since {stack}.max_dilation = {{{stack}.max_dilation}}: it needs equal layers",
        ),
        Relation(
            f"{stack}.rematerialize",
            lambda c: not c.model[name].rematerialize or not is_a("recurrent", c),
            f"false, since {stack}.kind = '{{{stack}.kind}}': only Transformers and"
            " convolutions have it",
        ),
        Relation(
            f"{stack}.kernel",
            lambda c: not is_a("convolutional", c) or name == "decoder" or c.model[name].kernel % 2,
            "an odd number, so that there are as many positions before the middle as after it",
        ),
    )


def _longest_relation(name: str, longest: str) -> Relation:
    """Returns the relation of learned positions in a stack with its longest input."""
    stack = f"model.{name}"
    return Relation(
        f"{stack}.max_positions",
        lambda c: (
            not learns_positions(c.model[name]) or c.model[name].max_positions >= c.data[longest]
        ),
        f"at least data.{longest} = {{data.{longest}}}, since positions are learned",
    )


def _position_relations(name: str) -> tuple[Relation, ...]:
    """Returns the relations of the positions in a stack."""
    stack = f"model.{name}"

    def even(c: ConfigDict, given: bool) -> bool:
        """False for an odd size of sinusoids that `embedding_width`, if given, or `width` gives."""
        own = c.model[name]
        asked = _sinusoidal(own) and (own.embedding_width > 0) == given
        return not asked or _embedding_width(own) % 2 == 0

    return (
        Relation(
            f"{stack}.positions",
            lambda c: (
                _family(c.model[name]) != "convolutional"
                or c.model[name].positions in ("none", "sinusoidal", "learned")
            ),
            f"'sinusoidal', 'learned' or 'none', since {stack}.kind = 'convolutional'",
        ),
        Relation(
            f"{stack}.positions",
            lambda c: (
                _family(c.model[name]) != "transformer"
                or c.model[name].positions != "rotary"
                or c.model[name].width // c.model[name].heads % 2 == 0
            ),
            f"another kind, or an even {stack}.width / {stack}.heads, since pairs are turned",
        ),
        *(
            Relation(
                f"{stack}.{field}",
                lambda c, given=given: even(c, given),
                f"an even number, since {stack}.positions = 'sinusoidal'",
            )
            for field, given in (("width", False), ("embedding_width", True))
        ),
    )


def _width_field(path: str, stack: ConfigDict) -> str:
    """Returns the field that gives the size of queries, with its value."""
    width = _query_width(stack)
    other = "last_width" if _family(stack) == "recurrent" else "embedding_width"
    return f"{path}.{'width' if width == stack.width else other} = {width}"


def _reads_source(config: ConfigDict) -> bool:
    """False for a recurrent decoder that the source does not reach."""
    decoder = config.model.decoder
    if _family(decoder) != "recurrent" or decoder.attention != "none":
        return True
    return decoder.feed_summary or decoder.bridge != "zeros"


def _attention_is_known(config: ConfigDict) -> bool:
    decoder = config.model.decoder
    return decoder.attention in ATTENTIONS_OF[_family(decoder)]


def _widths_fit(config: ConfigDict) -> bool:
    encoder, decoder = config.model.encoder, config.model.decoder
    plain = _family(decoder) != "transformer" and decoder.attention in _PLAIN_PRODUCTS
    return not plain or _memory_width(encoder) == _query_width(decoder)


def _fitting_attentions(config: ConfigDict) -> str:
    encoder, decoder = config.model.encoder, config.model.decoder
    known = [name for name in ATTENTIONS_OF[_family(decoder)] if name not in _PLAIN_PRODUCTS]
    field = "embedding_width" if _family(decoder) == "convolutional" else "width"
    ways = [f"model.decoder.{field} = {_memory_width(encoder)}"]
    if _memory_width(encoder) == 2 * _query_width(decoder) and _family(encoder) == "recurrent":
        ways.append("model.encoder.direction = 'forward'")
    return (
        f"one of {quoted(tuple(known))}, since the states of the source are"
        f" {_memory_width(encoder)} wide and the decoder's queries {_query_width(decoder)};"
        f" or {' or '.join(ways)}"
    )


def _last_states_fit(config: ConfigDict) -> bool:
    encoder, decoder = config.model.encoder, config.model.decoder
    if _family(decoder) != "recurrent" or decoder.bridge != "last":
        return True
    found = (encoder.kind, encoder.layers, _memory_width(encoder))
    even = _top_width(decoder) == decoder.width
    return even and found == (decoder.kind, decoder.layers, decoder.width)


def _form(stack: ConfigDict, width: int) -> str:
    return f"{stack.kind!r} of {stack.layers} layers, {width} wide"


def _uses_attention(config: ConfigDict) -> bool:
    """False if a recurrent decoder attends and nothing depends on the result."""
    decoder = config.model.decoder
    if _family(decoder) != "recurrent" or decoder.attention == "none":
        return True
    return decoder.readout != "state" or decoder.attention_order == "attend_first"


def _not_by_cudnn(config: ConfigDict, name: str) -> str:
    """Returns the setting of a stack that cuDNN's LSTM cannot compute, '' if it can."""
    stack, path = config.model[name], f"model.{name}"
    if _family(stack) != "recurrent" or stack.implementation != "cudnn":
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


def _implementation_relation(name: str) -> Relation:
    return Relation(
        f"model.{name}.implementation",
        lambda c: not _not_by_cudnn(c, name),
        lambda c: f"'scan', since {_not_by_cudnn(c, name)}",
    )


_DECODER_RELATIONS = (
    Relation(
        "model.decoder.attention",
        _attention_is_known,
        lambda c: (
            f"one of {quoted(ATTENTIONS_OF[_family(c.model.decoder)])},"
            f" since model.decoder.kind = {c.model.decoder.kind!r}"
        ),
    ),
    Relation("model.decoder.attention", _widths_fit, _fitting_attentions),
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
            f" model.encoder is {_form(c.model.encoder, _memory_width(c.model.encoder))},"
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
            or _family(c.model.decoder) != "recurrent"
            or (c.model.decoder.readout == "attentional" and c.model.decoder.attention != "none")
        ),
        "False, or attention and model.decoder.readout = 'attentional', whose vector is fed",
    ),
)

_LAST_RELATIONS = (
    Relation(
        "model.decoder.last_width",
        lambda c: c.model.decoder.last_width == 0 or is_recurrent(c.model.decoder),
        "0, since the layers of model.decoder.kind = '{model.decoder.kind}' are equally wide",
    ),
    Relation(
        "model.decoder.last_width",
        lambda c: (
            _top_width(c.model.decoder) == c.model.decoder.width or not c.model.decoder.residual
        ),
        "0, since with model.decoder.residual = True layers are equally wide",
    ),
    Relation(
        "model.initial_range",
        lambda c: (
            c.model.initial_range == 0
            or not any(c.model[n].kind == "lstm" and c.model[n].forget_bias for n in stacks_of(c))
        ),
        "0, or forget_bias = 0 in each LSTM, whose biases are drawn as well",
    ),
)

_PAST_RELATIONS = (
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

_EMBEDDING_RELATIONS = (
    Relation(
        "model.share_embeddings",
        lambda c: not c.model.share_embeddings or c.tokenizer.joint,
        "False, or tokenizer.joint = True",
    ),
    Relation(
        "model.share_embeddings",
        lambda c: (
            not c.model.share_embeddings
            or _embedding_width(c.model.encoder) == _embedding_width(c.model.decoder)
        ),
        lambda c: (
            f"False, or {_embedding_field('model.encoder', c.model.encoder)} and"
            f" {_embedding_field('model.decoder', c.model.decoder)} to be the same"
        ),
    ),
)


def _embedding_field(path: str, stack: ConfigDict) -> str:
    """Returns the field that gives the size of token vectors, with its value."""
    return f"{path}.{'embedding_width' if stack.embedding_width else 'width'} = " + str(
        _embedding_width(stack)
    )


def _with(stacks: set[str], relations: Iterable[Relation]) -> tuple[Relation, ...]:
    """Returns relations that hold by themselves if these stacks are not built."""

    def if_built(relation: Relation) -> Relation:
        return relation._replace(
            holds=lambda c: not stacks <= set(stacks_of(c)) or relation.holds(c)
        )

    return tuple(if_built(relation) for relation in relations)


def _is_decoder_only(config: ConfigDict) -> bool:
    """Returns whether the decoder reads a source itself."""
    return config.task == "text_to_text" and config.model.encoder.kind == "none"


_DECODER_ONLY_RELATIONS = (
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
            or (_is_decoder_only(c) and _family(c.model.decoder) == "transformer")
        ),
        "False, or task = 'text_to_text', model.encoder.kind = 'none' and model.decoder.kind ="
        " 'transformer'",
    ),
)


MODEL_RELATIONS = (
    *_with(
        {"encoder"},
        (
            *_size_relations("encoder"),
            *_position_relations("encoder"),
            _longest_relation("encoder", "max_source_length"),
            _implementation_relation("encoder"),
        ),
    ),
    *_with({"decoder"}, (*_size_relations("decoder"), *_position_relations("decoder"))),
    *_with({"encoder", "decoder"}, [_longest_relation("decoder", "max_target_length")]),
    *_with(
        {"decoder"},
        (
            _implementation_relation("decoder"),
            *_LAST_RELATIONS,
            *_PAST_RELATIONS,
            *ADAPTIVE_RELATIONS,
        ),
    ),
    *_with({"encoder", "decoder"}, (*_DECODER_RELATIONS, *_EMBEDDING_RELATIONS)),
    *_DECODER_ONLY_RELATIONS,
)
