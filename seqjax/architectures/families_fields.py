"""The fields of a stack of any family, and what follows from its family."""

from collections.abc import Set

from ml_collections import ConfigDict

from seqjax.rules import PROBABILITY, Field, Relation, at_least, one_of
from seqjax.tasks.declared import TASKS

# The sections of `model` that may be built.
STACKS = ("encoder", "decoder")
_RECURRENT = ("elman", "lstm", "gru")
_KINDS = (*_RECURRENT, "convolutional", "transformer")

FIELDS = {
    "model.dtype": Field(
        "float32",
        one_of("float32", "bfloat16"),
        "Type of the activations: 'float32' or 'bfloat16'. Parameters, softmax, normalization,"
        " recurrent states and the loss stay float32.",
    ),
    "model.*.kind": Field(
        "transformer",
        one_of(*_KINDS, "none"),
        "Family: 'elman', 'lstm', 'gru', 'convolutional' or 'transformer'. The fields of the"
        " other families have no effect. An encoder may be 'none': the decoder reads the source"
        " itself, before the target (decoder-only: Liu et al., 2018), which needs tokenizer.joint"
        " = True.",
        {"model.decoder": one_of(*_KINDS)},
    ),
    "model.*.layers": Field(
        3,
        at_least(1),
        "Number of layers, or blocks.",
    ),
    "model.*.width": Field(
        256,
        at_least(1),
        "Size of the hidden states; of each direction in a recurrent encoder.",
    ),
    "model.*.embedding_width": Field(
        0,
        at_least(0),
        "Size of the token vectors; 0 takes the width, as every Transformer does.",
    ),
    "model.*.dropout": Field(
        0.1,
        PROBABILITY,
        "Dropout of the embeddings and between layers; also of the attentional vector before the"
        " output, and of what leaves a convolutional stack.",
    ),
}


def stacks_of(config: ConfigDict) -> tuple[str, ...]:
    """Returns the sections of `model` that are built: those of the task, without a missing one."""
    return tuple(name for name in TASKS[config.task].stacks if config.model[name].kind != "none")


def if_built(stacks: Set[str], *relations: Relation) -> tuple[Relation, ...]:
    """Returns relations that hold by themselves unless all these stacks are built."""

    def conditional(relation: Relation) -> Relation:
        return relation._replace(
            holds=lambda c: not stacks <= set(stacks_of(c)) or relation.holds(c)
        )

    return tuple(conditional(relation) for relation in relations)


def family_of(stack: ConfigDict) -> str:
    """Returns 'recurrent', 'convolutional' or 'transformer'; 'none' for a missing encoder."""
    return "recurrent" if stack.kind in _RECURRENT else stack.kind


def is_recurrent(stack: ConfigDict) -> bool:
    """Returns whether a stack carries its state from position to position."""
    return family_of(stack) == "recurrent"


def embedding_width_of(stack: ConfigDict) -> int:
    """Returns the size of a stack's token vectors."""
    return stack.embedding_width or stack.width


def memory_width_of(encoder: ConfigDict) -> int:
    """Returns the size of an encoder's states."""
    if family_of(encoder) == "convolutional":
        return embedding_width_of(encoder)
    both = is_recurrent(encoder) and encoder.direction == "both"
    return encoder.width * (2 if both else 1)


def query_width_of(decoder: ConfigDict) -> int:
    """Returns the size of the queries of a decoder."""
    if family_of(decoder) == "convolutional":
        return embedding_width_of(decoder)
    return top_width_of(decoder)


def top_width_of(decoder: ConfigDict) -> int:
    """Returns the number of units of a decoder's last layer."""
    own = decoder.last_width if is_recurrent(decoder) else 0
    return own or decoder.width
