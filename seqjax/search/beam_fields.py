"""The fields of beam search."""

from seqjax.rules import ANYTHING, Field, Relation, at_least, between, one_of

FIELDS = {
    "decode.beam_size": Field(
        4,
        at_least(1),
        "Number of hypotheses in the beam; 1 is greedy search.",
    ),
    "decode.length_normalization": Field(
        "gnmt",
        one_of("gnmt", "plain", "none"),
        "Divisor of the log-probability of n tokens: 'gnmt' is ((5 + n) / 6)^a (Wu et al.,"
        " 2016), 'plain' n^a, 'none' 1.",
    ),
    "decode.length_penalty": Field(
        0.6,
        between(0, 10),
        "The exponent a; larger values favour longer outputs.",
    ),
    "decode.patience": Field(
        1.0,
        at_least(0),
        "Search ends when this many times beam_size hypotheses have finished (Kasai et al.,"
        " 2022). 0 goes on until no live hypothesis can win, which is exact and slower.",
    ),
    "decode.min_length": Field(
        0,
        at_least(0),
        "Shortest output in tokens, without end-of-sentence.",
    ),
    "decode.unknown": Field(
        False,
        ANYTHING,
        "Allow the unknown token in outputs, '<unk>' in text; otherwise the best known token is"
        " taken.",
    ),
    "decode.max_length_ratio": Field(
        2.0,
        # Far beyond any use, and far from what the device's numbers can hold.
        between(0, 1000),
        "Longest output in tokens: this many times the source's tokens, plus max_length_extra.",
    ),
    "decode.max_length_extra": Field(
        10,
        between(0, 1_000_000),
        "Tokens added to that limit, including end-of-sentence.",
    ),
}

RELATIONS = (
    Relation(
        "decode.beam_size",
        lambda c: (
            c.decode.beam_size == 1 or c.decode.method != "sample" or c.task == "language_model"
        ),
        "1, since decode.method = 'sample' has no beam; `predict --n_best=N` prints N samples",
    ),
    Relation(
        "decode.max_length_extra",
        lambda c: c.decode.max_length_ratio > 0 or c.decode.max_length_extra > 0,
        "at least 1, since decode.max_length_ratio = 0",
    ),
)
