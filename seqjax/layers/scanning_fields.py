"""The fields of how layers are compiled and differentiated."""

from seqjax.architectures.families_fields import STACKS, family_of, if_built, is_recurrent
from seqjax.rules import ANYTHING, Field, Relation

FIELDS = {
    "model.*.rematerialize": Field(
        False,
        ANYTHING,
        "Transformer and convolutional: keep only the input of each layer for the backward pass"
        " and compute the rest again. Less memory, more work, the same results.",
    ),
    "model.*.scan_layers": Field(
        False,
        ANYTHING,
        "Transformer, and convolutional without dilation: compile one layer and loop over it,"
        " which keeps compilation short in deep models. Dropout then draws other random numbers.",
    ),
}


def _relations(name: str) -> tuple[Relation, ...]:
    """Returns the relations of `model.encoder` or `model.decoder`."""
    stack = f"model.{name}"
    only = f"false, since {stack}.kind = '{{{stack}.kind}}': only Transformers and convolutions"
    return (
        Relation(
            f"{stack}.scan_layers",
            lambda c: not c.model[name].scan_layers or not is_recurrent(c.model[name]),
            f"{only} have it",
        ),
        Relation(
            f"{stack}.scan_layers",
            lambda c: (
                not c.model[name].scan_layers
                or family_of(c.model[name]) != "convolutional"
                or c.model[name].max_dilation == 1
            ),
            f"false, since {stack}.max_dilation = {{{stack}.max_dilation}}: it needs equal layers",
        ),
        Relation(
            f"{stack}.rematerialize",
            lambda c: not c.model[name].rematerialize or not is_recurrent(c.model[name]),
            f"{only} have it",
        ),
    )


RELATIONS = tuple(relation for name in STACKS for relation in if_built({name}, *_relations(name)))
