"""The fields of sampling."""

from seqjax.rules import Field, Relation, at_least, between, one_of, where

FIELDS = {
    "decode.method": Field(
        "",
        one_of("", "beam", "sample"),
        "Draw outputs at random instead of searching for the best: 'beam' searches, 'sample'"
        " draws. '' is the default of the task: 'beam' for 'text_to_text', and 'sample', the only"
        " one, for 'language_model'.",
    ),
    "decode.seed": Field(
        0,
        between(0, 2**32 - 1),
        "Seed of samples. A sample depends on the seed, its input and its index alone.",
    ),
    "decode.temperature": Field(
        1.0,
        where(lambda value: 0 <= value <= 1e4, "a number from 0 to 10,000"),
        "Sampling: divide the logits by this; below 1 outputs are more probable, above 1 more"
        " diverse. 0 takes the most probable token.",
    ),
    "decode.top_k": Field(
        0,
        at_least(0),
        "Sampling: keep only this many of the most probable tokens (Fan et al., 2018); 0 keeps"
        " all.",
    ),
    "decode.top_p": Field(
        1.0,
        where(lambda value: 0 < value <= 1, "more than 0, at most 1"),
        "Sampling: keep the most probable tokens that together have this probability (Holtzman"
        " et al., 2020); 1 keeps all.",
    ),
    "decode.min_p": Field(
        0.0,
        where(lambda value: 0 <= value <= 1, "a number from 0 to 1"),
        "Sampling: keep tokens that are at least this many times as probable as the most"
        " probable one (Nguyen et al., 2024); 0 keeps all.",
    ),
    "decode.typical_p": Field(
        1.0,
        where(lambda value: 0 < value <= 1, "more than 0, at most 1"),
        "Sampling: keep the tokens whose information is closest to the expected one, which"
        " together have this probability (Meister et al., 2023); 1 keeps all.",
    ),
    "decode.repetition_penalty": Field(
        1.0,
        where(lambda value: 0 < value <= 1e4, "more than 0"),
        "Sampling: make tokens that have occurred less probable (Keskar et al., 2019); 1 does not.",
    ),
}
# Values of the filters that change nothing.
_NEUTRAL = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
}


def _only_of_samples(name: str, neutral: float) -> Relation:
    return Relation(
        f"decode.{name}",
        lambda c: (
            c.decode[name] == neutral or c.decode.method == "sample" or c.task == "language_model"
        ),
        f"{neutral}, or decode.method = 'sample': a beam search has no such filter",
    )


RELATIONS = (
    Relation(
        "decode.method",
        lambda c: c.decode.method != "beam" or c.task == "text_to_text",
        "'sample', since task = '{task}'",
    ),
    *(_only_of_samples(name, neutral) for name, neutral in _NEUTRAL.items()),
)
