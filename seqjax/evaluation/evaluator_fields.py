"""The fields of evaluations: how often, on what, and in which batches."""

from seqjax.rules import ALL_OR_SOME, ANYTHING, EVERY, Field, at_least, between

FIELDS = {
    "evaluation.every": Field(
        "25%",
        EVERY,
        "How often the validation split is evaluated during training (a duration).",
    ),
    "evaluation.translate": Field(
        True,
        ANYTHING,
        "Translate the validation split and score the outputs; otherwise only loss, perplexity"
        " and accuracy are measured.",
    ),
    "evaluation.limit": Field(
        -1,
        ALL_OR_SOME,
        "Number of examples evaluated during training, from the first on; -1 takes all.",
    ),
    "decode.tokens": Field(
        4096,
        at_least(1),
        "Padded tokens in an evaluation batch: of the sources during search, of the longer side"
        " for the loss.",
    ),
    "decode.shapes": Field(
        4,
        between(1, 12),
        "Largest number of batch shapes during search; each is compiled once.",
    ),
}
