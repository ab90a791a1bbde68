"""The fields of what a split holds: how one file is divided, and how many examples are used."""

from seqjax.data.corpus_fields import FILES, placeholders
from seqjax.rules import ALL_OR_SOME, PROBABILITY, Field, Relation, at_least, between, one_of

FIELDS = {
    "data.split_by": Field(
        "",
        one_of("", "line", "source", "order"),
        "Divide one file into train, validation and test: by 'line', at random; by 'source',"
        " which keeps all pairs with the same source in one split; or in 'order', the first part"
        " for training, then validation and test. '': each split has a file.",
    ),
    "data.split_seed": Field(
        0,
        between(0, 2**32 - 1),
        "Seed of that division.",
    ),
    "data.validation_share": Field(
        0.05,
        PROBABILITY,
        "Share of the pairs, documents or characters that becomes the validation split.",
    ),
    "data.test_share": Field(
        0.05,
        PROBABILITY,
        "Share of them that becomes the test split.",
    ),
    "data.synthetic_size": Field(
        100_000,
        at_least(1),
        "Number of training examples of the synthetic corpus.",
    ),
    "data.limit": Field(
        -1,
        ALL_OR_SOME,
        "Number of training examples to use, from the first on; -1 uses all.",
    ),
}

RELATIONS = (
    Relation(
        "data.split_by",
        lambda c: c.data.split_by != "source" or c.task == "text_to_text",
        "'line' or 'order', since task = '{task}' has no source",
    ),
    Relation(
        "data.split_by",
        lambda c: (
            c.data.split_by in ("", "order")
            or (c.task, c.data.corpus, c.data.documents) != ("language_model", "text", "file")
        ),
        "'order', since data.documents = 'file' is one document",
    ),
    Relation(
        "data.split_by",
        lambda c: not c.data.split_by or c.data.corpus in FILES,
        "'', since data.corpus = '{data.corpus}' brings its splits",
    ),
    Relation(
        "data.files",
        lambda c: (
            c.data.corpus not in FILES
            or c.data.split_by != ""
            or "split" in placeholders(c.data.files)
        ),
        "a file name with {{split}}, or data.split_by = 'line', 'source' or 'order' to divide one"
        " file",
    ),
    Relation(
        "data.files",
        lambda c: not c.data.split_by or "split" not in placeholders(c.data.files),
        "a file name without {{split}}, since data.split_by = '{data.split_by}' divides one file",
    ),
    Relation(
        "data.validation_share",
        lambda c: not c.data.split_by or c.data.validation_share + c.data.test_share < 1,
        "less than 1 with data.test_share = {data.test_share}, so that some is left to train on",
    ),
)
