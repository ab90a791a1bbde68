"""The fields of how devices share the work."""

from seqjax.rules import ALL_OR_SOME, Field, Relation

FIELDS = {
    "parallel.data": Field(
        -1,
        ALL_OR_SOME,
        "Devices that share the rows of a batch and hold all parameters. In one field of this"
        " section, -1 takes the devices that the others leave.",
    ),
    "parallel.fsdp": Field(
        1,
        ALL_OR_SOME,
        "Devices that share the rows of a batch and hold a part of the parameters each.",
    ),
    "parallel.model": Field(
        1,
        ALL_OR_SOME,
        "Devices that share each Transformer layer (its heads and feed-forward units) and the"
        " vocabulary.",
    ),
}

RELATIONS = (
    Relation(
        "parallel.fsdp",
        lambda c: c.parallel.fsdp != -1 or c.parallel.data != -1,
        "a number, since parallel.data = -1 takes what the other axes leave",
    ),
    Relation(
        "parallel.model",
        lambda c: c.parallel.model != -1 or -1 not in (c.parallel.data, c.parallel.fsdp),
        "a number, since another axis is -1 and takes what is left",
    ),
)
