"""The fields of positions."""

from ml_collections import ConfigDict

from seqjax.architectures.families_fields import (
    STACKS,
    embedding_width_of,
    family_of,
    if_built,
    is_recurrent,
)
from seqjax.rules import Field, Relation, at_least, one_of

_POSITIONS = ("none", "sinusoidal", "learned", "relative", "rotary", "alibi")

FIELDS = {
    "model.*.positions": Field(
        "sinusoidal",
        one_of(*_POSITIONS),
        "Transformer and convolutional: positions are 'sinusoidal', 'learned' or 'none'; in a"
        " Transformer also 'relative' (Raffel et al., 2020), 'rotary' (Su et al., 2021) or"
        " 'alibi' (Press et al., 2022).",
    ),
    "model.*.max_positions": Field(
        512,
        at_least(1),
        "Transformer and convolutional: number of learned positions.",
    ),
}


def learns_positions(stack: ConfigDict) -> bool:
    """Returns whether a stack has a table of positions, which ends."""
    return not is_recurrent(stack) and stack.positions == "learned"


def _sinusoidal(stack: ConfigDict) -> bool:
    return not is_recurrent(stack) and stack.positions == "sinusoidal"


def _relations(name: str) -> tuple[Relation, ...]:
    """Returns the relations of `model.encoder` or `model.decoder`."""
    stack = f"model.{name}"

    def even(c: ConfigDict, given: bool) -> bool:
        """False for an odd size of sinusoids that `embedding_width`, if given, or `width` gives."""
        own = c.model[name]
        asked = _sinusoidal(own) and (own.embedding_width > 0) == given
        return not asked or embedding_width_of(own) % 2 == 0

    return (
        Relation(
            f"{stack}.positions",
            lambda c: (
                family_of(c.model[name]) != "convolutional"
                or c.model[name].positions in ("none", "sinusoidal", "learned")
            ),
            f"'sinusoidal', 'learned' or 'none', since {stack}.kind = 'convolutional'",
        ),
        Relation(
            f"{stack}.positions",
            lambda c: (
                family_of(c.model[name]) != "transformer"
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


def _longest(name: str, longest: str) -> Relation:
    """Returns the relation of learned positions in a stack with its longest input."""
    stack = f"model.{name}"
    return Relation(
        f"{stack}.max_positions",
        lambda c: (
            not learns_positions(c.model[name]) or c.model[name].max_positions >= c.data[longest]
        ),
        f"at least data.{longest} = {{data.{longest}}}, since positions are learned",
    )


RELATIONS = (
    *(relation for name in STACKS for relation in if_built({name}, *_relations(name))),
    *if_built({"encoder"}, _longest("encoder", "max_source_length")),
    *if_built({"encoder", "decoder"}, _longest("decoder", "max_target_length")),
)
