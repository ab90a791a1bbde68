"""The fields of convolutions."""

from seqjax.architectures.families_fields import family_of, if_built
from seqjax.rules import Field, Relation, at_least, where

FIELDS = {
    "model.*.kernel": Field(
        3,
        at_least(1),
        "Convolutional: number of positions that a convolution sees.",
    ),
    "model.*.max_dilation": Field(
        1,
        where(
            lambda value: 1 <= value <= 2**30 and value.bit_count() == 1,
            "1, 2, 4, 8, ... up to 2^30",
        ),
        "Convolutional: largest dilation. Layers have dilation 1, 2, 4, ... up to it, then again"
        " (ByteNet: Kalchbrenner et al., 2016).",
    ),
}

RELATIONS = if_built(
    {"encoder"},
    Relation(
        "model.encoder.kernel",
        lambda c: family_of(c.model.encoder) != "convolutional" or c.model.encoder.kernel % 2,
        "an odd number, so that there are as many positions before the middle as after it",
    ),
)
