"""The fields of tokenizers."""

from seqjax.data.batching_fields import plan_of
from seqjax.rules import ANYTHING, PROBABILITY, Field, Relation, at_least, one_of

KINDS = ("unigram", "bpe", "word", "character", "byte", "space", "decomposed")

FIELDS = {
    "tokenizer.kind": Field(
        "bpe",
        one_of(*KINDS),
        "Units of the text: 'unigram' or 'bpe' subwords (SentencePiece), 'word', 'character',"
        " 'byte', 'space' (split at spaces only: phonemes, actions, tokenized text) or"
        " 'decomposed' (characters, with accents split off and Hangul syllables split into"
        " letters).",
    ),
    "tokenizer.target_kind": Field(
        "",
        one_of("", *KINDS),
        "Units of the target if they differ, which needs joint = False; '' takes `kind`.",
    ),
    "tokenizer.vocabulary": Field(
        8000,
        # The four special entries and one more.
        at_least(5),
        "Largest number of entries, including the special ones. Bytes have a fixed vocabulary.",
    ),
    "tokenizer.joint": Field(
        True,
        ANYTHING,
        "One vocabulary for both sides.",
    ),
    "tokenizer.minimum_frequency": Field(
        1,
        at_least(1),
        "Symbols with fewer occurrences are unknown ('word', 'character', 'space' and"
        " 'decomposed').",
    ),
    "tokenizer.lowercase": Field(
        False,
        ANYTHING,
        "Lower-case both sides before tokenizing. Outputs are then lower-case; see"
        " evaluation.lowercase.",
    ),
    "tokenizer.normalization": Field(
        "none",
        one_of("none", "NFC", "NFKC"),
        "Unicode normalization of both sides: 'none', 'NFC' (a composed and a decomposed accent"
        " are the same text) or 'NFKC' (so are ligatures and full-width forms). References are"
        " normalized before they are scored; sacreBLEU on their file may find another BLEU.",
    ),
    "tokenizer.sampling": Field(
        0.0,
        PROBABILITY,
        "Subword regularization: probability of BPE-dropout (Provilkov et al., 2020), or"
        " smoothing of unigram sampling (Kudo, 2018); 0 is off.",
    ),
}

RELATIONS = (
    Relation(
        "tokenizer.target_kind",
        lambda c: not c.tokenizer.joint or c.tokenizer.target_kind in ("", c.tokenizer.kind),
        "'', or tokenizer.joint = False: one vocabulary for both sides is of one kind",
    ),
    Relation(
        "tokenizer.sampling",
        lambda c: (
            c.tokenizer.sampling == 0
            or {c.tokenizer.kind, c.tokenizer.target_kind} & {"unigram", "bpe"}
        ),
        "0, since tokenizer.kind = '{tokenizer.kind}' has one segmentation only",
    ),
    Relation(
        "tokenizer.sampling",
        lambda c: c.tokenizer.sampling == 0 or plan_of(c) == "buckets",
        lambda c: (
            f"0, or batching.plan = 'buckets': {plan_of(c)!r} divides the tokens of the whole text"
        ),
    ),
)
