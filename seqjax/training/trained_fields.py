"""The fields of the parameters that a trained model is used with."""

from seqjax.rules import Field, Relation, Rule, at_least

FIELDS = {
    "decode.checkpoint": Field(
        "best",
        Rule(
            lambda text: text in ("best", "latest") or (text.isascii() and text.isdigit()),
            "'best', 'latest' or a step number",
            ("best", "latest"),
        ),
        "Parameters to use: 'best', 'latest', or the number of a step.",
    ),
    "decode.average": Field(
        1,
        at_least(1),
        "Average the parameters of this many checkpoints: the chosen one and those before it.",
    ),
}

RELATIONS = (
    Relation(
        "decode.checkpoint",
        lambda c: c.decode.checkpoint != "best" or c.checkpoint.keep_best > 0,
        "'latest' or a step number, since checkpoint.keep_best = 0",
    ),
    Relation(
        "decode.average",
        lambda c: c.decode.average <= c.checkpoint.keep_latest + c.checkpoint.keep_best,
        "at most the checkpoints that are kept, checkpoint.keep_latest ="
        " {checkpoint.keep_latest} and checkpoint.keep_best = {checkpoint.keep_best}",
    ),
)
