"""What the fields of corpus, tokenizer and batches may hold, and how they fit together."""

import math
import re
import string

from ml_collections import ConfigDict

from seqjax.files import in_bucket
from seqjax.model_rules import is_recurrent, learns_positions
from seqjax.rules import (
    ALL_OR_SOME,
    ANYTHING,
    FILLED,
    PROBABILITY,
    Relation,
    Rule,
    at_least,
    between,
    one_of,
    quoted,
    where,
)
from seqjax.tasks.declared import TASKS

_FILES = ("text", "tsv", "jsonl", "pattern")
_CORPORA = ("synthetic:translation", "synthetic:sentences", *_FILES)
_TOKENIZERS = ("unigram", "bpe", "word", "character", "byte", "space", "decomposed")


def _is_place(name: str) -> bool:
    return not in_bucket(name) or name.startswith(("gs://", "s3://"))


def _is_here(name: str) -> bool:
    # Tokenized corpora are read through memory maps.
    return bool(name) and not in_bucket(name)


def _placeholders(template: str) -> set[str] | None:
    """Returns the names in braces in a file name, or None if the braces do not match."""
    try:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError:
        return None


def _is_corpus(name: str) -> bool:
    return name in _CORPORA or (name.startswith("tfds:") and len(name) > len("tfds:"))


def _are_files(template: str) -> bool:
    names = _placeholders(template)
    return bool(template) and names is not None and names <= {"split", "language"}


def _is_length_ratio(ratio: float) -> bool:
    return ratio == 0 or 1 <= ratio < math.inf


def _is_pattern(text: str) -> bool:
    try:
        return bool(re.compile(text))
    except (re.error, OverflowError, RecursionError):
        # `re` has no error of its own for a count or a nesting that it cannot hold.
        return False


def _groups(pattern: str) -> tuple[str, ...]:
    """Returns the names of the groups of a regular expression."""
    return tuple(re.compile(pattern).groupindex)


def _has_group(config: ConfigDict, role: str) -> bool:
    if config.data.corpus != "pattern" or role not in TASKS[config.task].roles:
        return True
    return config.data[role] in _groups(config.data.pattern)


def _named_group(config: ConfigDict) -> str:
    known = quoted(_groups(config.data.pattern)) or "none"
    return f"a named group of data.pattern = {config.data.pattern!r}, which has {known}"


def _plan(config: ConfigDict) -> str:
    return config.batching.plan or TASKS[config.task].plans[0]


DATA_RULES: dict[str, Rule] = {
    "data.corpus": Rule(_is_corpus, f"one of {quoted(_CORPORA)} or 'tfds:NAME'", _CORPORA),
    "data.directory": where(_is_place, "a local folder, gs://... or s3://..."),
    "data.source": FILLED,
    "data.target": FILLED,
    "data.text": FILLED,
    "data.documents": one_of("line", "block", "file"),
    "data.files": where(_are_files, "a file name that may hold {split} and {language}"),
    "data.pattern": where(_is_pattern, "a regular expression such as '(?P<en>.*)=(?P<de>.*)'"),
    "data.train": FILLED,
    "data.validation": FILLED,
    "data.test": FILLED,
    "data.split_by": one_of("", "line", "source", "order"),
    "data.split_seed": between(0, 2**32 - 1),
    "data.validation_share": PROBABILITY,
    "data.test_share": PROBABILITY,
    "data.synthetic_size": at_least(1),
    "data.limit": ALL_OR_SOME,
    # One token and the end of the sentence.
    "data.max_source_length": at_least(2),
    "data.max_target_length": at_least(2),
    "data.over_length": one_of("drop", "cut"),
    "data.empty": one_of("drop", "keep"),
    "data.max_length_ratio": where(_is_length_ratio, "at least 1, or 0 for any"),
    "data.drop_duplicates": ANYTHING,
    "data.drop_overlap": ANYTHING,
    "data.drop_identical": ANYTHING,
    "data.cache": where(_is_here, "a local folder"),
    "tokenizer.kind": one_of(*_TOKENIZERS),
    "tokenizer.target_kind": one_of("", *_TOKENIZERS),
    # The four special entries and one more.
    "tokenizer.vocabulary": at_least(5),
    "tokenizer.joint": ANYTHING,
    "tokenizer.minimum_frequency": at_least(1),
    "tokenizer.lowercase": ANYTHING,
    "tokenizer.normalization": one_of("none", "NFC", "NFKC"),
    "tokenizer.sampling": PROBABILITY,
    "batching.seed": between(-1, 2**32 - 1),
    "batching.plan": one_of("", *dict.fromkeys(p for task in TASKS.values() for p in task.plans)),
    "batching.length": at_least(1),
    "batching.kind": one_of("tokens", "sentences"),
    "batching.tokens": at_least(1),
    "batching.sentences": at_least(1),
    "batching.shapes": between(1, 12),
    "batching.multiple": at_least(1),
}

DATA_RELATIONS: tuple[Relation, ...] = (
    Relation(
        "data.directory",
        lambda c: c.data.directory or c.data.corpus not in _FILES,
        "the folder of the files, since data.corpus = '{data.corpus}'",
    ),
    Relation(
        "data.corpus",
        lambda c: c.task == "text_to_text" or c.data.corpus != "synthetic:translation",
        "'synthetic:sentences', 'text', 'tsv', 'jsonl', 'pattern' or 'tfds:NAME', since task ="
        " '{task}'",
    ),
    Relation(
        "data.corpus",
        lambda c: c.task != "text_to_text" or c.data.corpus != "synthetic:sentences",
        "'synthetic:translation', 'text', 'tsv', 'jsonl', 'pattern' or 'tfds:NAME', since task ="
        " '{task}'",
    ),
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
        "batching.plan",
        lambda c: _plan(c) in TASKS[c.task].plans,
        lambda c: f"one of {quoted(TASKS[c.task].plans)}, since task = {c.task!r}",
    ),
    Relation(
        "batching.plan",
        lambda c: _plan(c) != "streams" or is_recurrent(c.model.decoder),
        "'windows' or 'buckets', since model.decoder.kind = '{model.decoder.kind}' carries no state"
        " from batch to batch",
    ),
    Relation(
        "batching.plan",
        lambda c: _plan(c) != "packs" or c.model.decoder.kind == "transformer",
        "'windows', 'streams' or 'buckets', since model.decoder.kind = '{model.decoder.kind}' would"
        " carry what it read of one document into the next",
    ),
    Relation(
        "evaluation.stride",
        lambda c: c.evaluation.stride <= c.batching.length,
        "at most batching.length = {batching.length}",
    ),
    Relation(
        "evaluation.stride",
        lambda c: c.evaluation.stride == 0 or _plan(c) == "windows",
        "0, or batching.plan = 'windows'",
    ),
    Relation(
        "evaluation.cache",
        lambda c: c.evaluation.cache == 0 or _plan(c) == "streams",
        "0, or batching.plan = 'streams', which reads a text in order",
    ),
    Relation(
        "model.decoder.max_positions",
        lambda c: (
            c.task != "language_model"
            or _plan(c) == "buckets"
            or not learns_positions(c.model.decoder)
            or c.model.decoder.max_positions >= c.batching.length
        ),
        "at least batching.length = {batching.length}, since positions are learned",
    ),
    Relation(
        "data.source",
        lambda c: (
            c.task != "text_to_text"
            or not c.data.corpus.startswith("synthetic:")
            or {c.data.source, c.data.target} == {"en", "de"}
        ),
        "'en' and data.target = 'de' or the reverse, since data.corpus = '{data.corpus}'",
    ),
    Relation(
        "data.split_by",
        lambda c: not c.data.split_by or c.data.corpus in _FILES,
        "'', since data.corpus = '{data.corpus}' brings its splits",
    ),
    Relation(
        "data.files",
        lambda c: (
            c.data.corpus not in _FILES
            or c.data.split_by != ""
            or "split" in _placeholders(c.data.files)
        ),
        "a file name with {{split}}, or data.split_by = 'line', 'source' or 'order' to divide one"
        " file",
    ),
    Relation(
        "data.files",
        lambda c: not c.data.split_by or "split" not in _placeholders(c.data.files),
        "a file name without {{split}}, since data.split_by = '{data.split_by}' divides one file",
    ),
    Relation(
        "data.validation_share",
        lambda c: not c.data.split_by or c.data.validation_share + c.data.test_share < 1,
        "less than 1 with data.test_share = {data.test_share}, so that some is left to train on",
    ),
    Relation(
        "data.files",
        lambda c: (
            c.task != "text_to_text"
            or c.data.corpus != "text"
            or "language" in _placeholders(c.data.files)
        ),
        "a file name with {{language}}, since data.corpus = 'text' has a file for each",
    ),
    Relation(
        "data.source",
        lambda c: _has_group(c, "source"),
        _named_group,
    ),
    Relation(
        "data.target",
        lambda c: _has_group(c, "target"),
        _named_group,
    ),
    Relation(
        "data.text",
        lambda c: _has_group(c, "text"),
        _named_group,
    ),
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
        lambda c: c.tokenizer.sampling == 0 or _plan(c) == "buckets",
        lambda c: (
            f"0, or batching.plan = 'buckets': {_plan(c)!r} divides the tokens of the whole text"
        ),
    ),
)
