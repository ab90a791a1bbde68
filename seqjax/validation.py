"""What each field of a config may hold, and which fields contradict each other.

`RULES` has one rule for every field, `RELATIONS` one line for every way in which
fields that are right by themselves do not fit together. A new field needs a rule.
"""

import math
import string
from collections.abc import Callable
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from seqjax import duration
from seqjax.config import conform, flatten
from seqjax.errors import UserError, did_you_mean

_TRANSLATION_METRICS = ("bleu", "chrf", "ter", "exact_match")
_METRICS = ("loss", "perplexity", "accuracy", *_TRANSLATION_METRICS)
_SACREBLEU_TOKENIZERS = (
    ("none", "zh", "13a", "intl", "char", "ja-mecab", "ko-mecab")
    + ("spm", "flores101", "flores200", "spBLEU-1K")
)  # fmt: skip


class Rule(NamedTuple):
    """What one field may hold."""

    accepts: Callable[[Any], bool]
    expected: str
    # The names to look for the nearest in, where the value is one of a few.
    known: tuple[str, ...] = ()


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names))


def _one_of(*known: str) -> Rule:
    return Rule(lambda value: value in known, f"one of {_quoted(known)}", known)


def _some_of(*known: str) -> Rule:
    def accepts(value: tuple[str, ...]) -> bool:
        return set(value) <= set(known) and len(set(value)) == len(value)

    return Rule(accepts, f"each at most once of {_quoted(known)}", known)


def _at_least(low: int | float) -> Rule:
    return Rule(lambda value: low <= value < math.inf, f"at least {low}")


def _between(low: int, high: int) -> Rule:
    return Rule(lambda value: low <= value <= high, f"{low} to {high}")


def _where(accepts: Callable[[Any], bool], expected: str) -> Rule:
    return Rule(accepts, expected)


def _is_duration(text: str) -> bool:
    try:
        return bool(duration.parse_duration(text))
    except UserError:
        return False


def _is_length(text: str) -> bool:
    """True for a duration that training can last for: some steps, epochs or tokens."""
    if not _is_duration(text):
        return False
    number, unit = duration.parse_duration(text)
    return number > 0 and unit != "%"


def _placeholders(template: str) -> set[str] | None:
    """Returns the names in braces of a file name, or None where the braces do not match."""
    try:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError:
        return None


def _is_corpus(name: str) -> bool:
    return name in _CORPORA or (name.startswith("tfds:") and len(name) > len("tfds:"))


def _are_files(template: str) -> bool:
    names = _placeholders(template)
    return bool(template) and names is not None and names <= {"split", "language"}


_CORPORA = ("synthetic:translation", "text", "tsv", "jsonl")
_ANY = _where(lambda value: True, "anything")
_FILLED = _where(bool, "a text that is not empty")
_POSITIVE = _where(lambda value: 0 < value < math.inf, "a number greater than 0")
_PROBABILITY = _where(lambda value: 0 <= value < 1, "0 or more and less than 1")
_ALL_OR_SOME = _where(lambda value: value == -1 or value >= 1, "at least 1, or -1 for all")
_DURATION = _where(_is_duration, duration.EXPECTED)

_STACK_RULES = {
    "kind": _one_of("transformer"),
    "layers": _at_least(1),
    "width": _at_least(1),
    "heads": _at_least(1),
    "feed_forward": _at_least(1),
    "activation": _one_of("relu", "gelu", "swiglu", "geglu"),
    "normalization": _one_of("pre", "post"),
    "positions": _one_of("sinusoidal", "learned"),
    "max_positions": _at_least(1),
    "dropout": _PROBABILITY,
    "attention_dropout": _PROBABILITY,
    "activation_dropout": _PROBABILITY,
}

RULES: dict[str, Rule] = {
    "task": _one_of("text_to_text"),
    "seed": _between(0, 2**32 - 1),
    "data.corpus": Rule(_is_corpus, f"one of {_quoted(_CORPORA)} or 'tfds:NAME'", _CORPORA),
    "data.directory": _ANY,
    "data.source": _FILLED,
    "data.target": _FILLED,
    "data.files": _where(_are_files, "a file name that may hold {split} and {language}"),
    "data.train": _FILLED,
    "data.validation": _FILLED,
    "data.test": _FILLED,
    "data.synthetic_size": _at_least(1),
    "data.limit": _ALL_OR_SOME,
    "data.max_source_length": _at_least(1),
    "data.max_target_length": _at_least(1),
    "data.over_length": _one_of("drop", "cut"),
    "data.empty": _one_of("drop", "keep"),
    "data.cache": _FILLED,
    "tokenizer.kind": _one_of("unigram", "bpe", "word", "character", "byte"),
    # The four special entries and one more.
    "tokenizer.vocabulary": _at_least(5),
    "tokenizer.joint": _ANY,
    "tokenizer.minimum_frequency": _at_least(1),
    "tokenizer.lowercase": _ANY,
    "tokenizer.sampling": _PROBABILITY,
    "batching.kind": _one_of("tokens", "sentences"),
    "batching.tokens": _at_least(1),
    "batching.sentences": _at_least(1),
    "batching.shapes": _between(1, 12),
    "batching.multiple": _at_least(1),
    "model.share_embeddings": _ANY,
    "model.tie_output": _ANY,
    "model.embedding_initializer": _one_of("normal", "xavier"),
    "model.dtype": _one_of("float32", "bfloat16"),
    **{f"model.encoder.{name}": rule for name, rule in _STACK_RULES.items()},
    **{f"model.decoder.{name}": rule for name, rule in _STACK_RULES.items()},
    "loss.label_smoothing": _PROBABILITY,
    "optimizer.kind": _one_of("adam", "adamw", "adafactor", "sgd"),
    "optimizer.learning_rate": _POSITIVE,
    "optimizer.beta1": _PROBABILITY,
    "optimizer.beta2": _PROBABILITY,
    "optimizer.epsilon": _POSITIVE,
    "optimizer.momentum": _PROBABILITY,
    "optimizer.weight_decay": _at_least(0),
    "optimizer.clip": _at_least(0),
    "optimizer.accumulate": _at_least(1),
    "schedule.kind": _one_of("constant", "inverse_sqrt", "cosine", "linear"),
    "schedule.warmup": _DURATION,
    "schedule.final": _between(0, 1),
    "train.duration": _where(
        _is_length, "more than 0 steps, epochs or tokens, such as '2000 steps', not a share"
    ),
    "train.stop_metric": _one_of("", *_METRICS),
    "train.patience": _at_least(1),
    "evaluation.every": _DURATION,
    "evaluation.translate": _ANY,
    "evaluation.limit": _ALL_OR_SOME,
    "evaluation.lowercase": _ANY,
    "evaluation.tokenize": _one_of(*_SACREBLEU_TOKENIZERS),
    "evaluation.metrics": _some_of(*_TRANSLATION_METRICS),
    "decode.beam_size": _at_least(1),
    "decode.length_normalization": _one_of("gnmt", "plain", "none"),
    "decode.length_penalty": _at_least(0),
    "decode.n_best": _at_least(1),
    "decode.patience": _at_least(0),
    "decode.min_length": _at_least(0),
    "decode.unknown": _ANY,
    "decode.max_length_ratio": _at_least(0),
    "decode.max_length_extra": _at_least(0),
    "decode.tokens": _at_least(1),
    "decode.shapes": _between(1, 12),
    "decode.checkpoint": Rule(
        lambda text: text in ("best", "latest") or (text.isascii() and text.isdigit()),
        "'best', 'latest' or a step number",
        ("best", "latest"),
    ),
    "decode.average": _at_least(1),
    "checkpoint.every": _DURATION,
    "checkpoint.keep_latest": _at_least(1),
    "checkpoint.keep_best": _at_least(0),
    "checkpoint.best_metric": _one_of(*_METRICS),
    "parallel.data": _ALL_OR_SOME,
    "reporting.every": _DURATION,
    "reporting.tensorboard": _ANY,
    "reporting.wandb_project": _ANY,
}


class Relation(NamedTuple):
    """A condition between fields: the field that is named, whether it holds, what is expected.

    The expectation may name the values of other fields in braces.
    """

    field: str
    holds: Callable[[ConfigDict], bool]
    expected: str


def _is_never(text: str) -> bool:
    return duration.parse_duration(text)[0] == 0


def _warmup_fits(config: ConfigDict) -> bool:
    """False where the warm-up is longer than training, as far as the units can be compared."""
    warmup, warmup_unit = duration.parse_duration(config.schedule.warmup)
    total, total_unit = duration.parse_duration(config.train.duration)
    return warmup_unit != total_unit or warmup <= total


def _can_be_measured(config: ConfigDict, metric: str) -> bool:
    evaluation = config.evaluation
    measured = evaluation.metrics if evaluation.translate else ()
    return metric not in _TRANSLATION_METRICS or metric in measured


def _stack_relations(name: str, longest: str) -> tuple[Relation, ...]:
    """Returns the relations of `model.encoder` or `model.decoder` with its longest input."""
    stack = f"model.{name}"
    return (
        Relation(
            f"{stack}.heads",
            lambda c: c.model[name].width % c.model[name].heads == 0,
            f"a divisor of {stack}.width = {{{stack}.width}}",
        ),
        Relation(
            f"{stack}.width",
            lambda c: c.model[name].positions != "sinusoidal" or c.model[name].width % 2 == 0,
            f"an even number, since {stack}.positions = 'sinusoidal'",
        ),
        Relation(
            f"{stack}.max_positions",
            lambda c: (
                c.model[name].positions != "learned"
                or c.model[name].max_positions >= c.data[longest]
            ),
            f"at least data.{longest} = {{data.{longest}}}, since positions are learned",
        ),
    )


_IN_THE_VALIDATION = (
    "a metric that is measured: evaluation.metrics = {evaluation.metrics},"
    " evaluation.translate = {evaluation.translate}"
)

RELATIONS: tuple[Relation, ...] = (
    *_stack_relations("encoder", "max_source_length"),
    *_stack_relations("decoder", "max_target_length"),
    Relation(
        "model.share_embeddings",
        lambda c: not c.model.share_embeddings or c.tokenizer.joint,
        "False, or tokenizer.joint = True",
    ),
    Relation(
        "model.share_embeddings",
        lambda c: not c.model.share_embeddings or c.model.encoder.width == c.model.decoder.width,
        "False, or model.encoder.width = {model.encoder.width} and"
        " model.decoder.width = {model.decoder.width} to be the same",
    ),
    Relation(
        "data.directory",
        lambda c: c.data.directory or c.data.corpus not in ("text", "tsv", "jsonl"),
        "the folder of the files, since data.corpus = '{data.corpus}'",
    ),
    Relation(
        "data.source",
        lambda c: (
            not c.data.corpus.startswith("synthetic:")
            or {c.data.source, c.data.target} == {"en", "de"}
        ),
        "'en' and data.target = 'de' or the reverse, since data.corpus = '{data.corpus}'",
    ),
    Relation(
        "data.files",
        lambda c: c.data.corpus != "text" or "language" in _placeholders(c.data.files),
        "a file name with {{language}}, since data.corpus = 'text' has a file for each",
    ),
    Relation(
        "tokenizer.sampling",
        lambda c: c.tokenizer.sampling == 0 or c.tokenizer.kind in ("unigram", "bpe"),
        "0, since tokenizer.kind = '{tokenizer.kind}' has one segmentation only",
    ),
    Relation(
        "optimizer.weight_decay",
        lambda c: c.optimizer.weight_decay == 0 or c.optimizer.kind != "adam",
        "0, since optimizer.kind = 'adam'; 'adamw' decays weights",
    ),
    Relation(
        "schedule.warmup",
        _warmup_fits,
        "at most the length of training, train.duration = '{train.duration}'",
    ),
    Relation(
        "train.stop_metric",
        lambda c: _can_be_measured(c, c.train.stop_metric),
        _IN_THE_VALIDATION,
    ),
    Relation(
        "train.stop_metric",
        lambda c: not c.train.stop_metric or not _is_never(c.evaluation.every),
        "'', since evaluation.every = '{evaluation.every}' never evaluates",
    ),
    Relation(
        "checkpoint.best_metric",
        lambda c: _can_be_measured(c, c.checkpoint.best_metric),
        _IN_THE_VALIDATION,
    ),
    Relation(
        "decode.checkpoint",
        lambda c: c.decode.checkpoint != "best" or c.checkpoint.keep_best > 0,
        "'latest' or a step number, since checkpoint.keep_best = 0",
    ),
    Relation(
        "decode.n_best",
        lambda c: c.decode.n_best <= c.decode.beam_size,
        "at most decode.beam_size = {decode.beam_size}",
    ),
    Relation(
        "decode.max_length_extra",
        lambda c: c.decode.max_length_ratio > 0 or c.decode.max_length_extra > 0,
        "at least 1, since decode.max_length_ratio = 0",
    ),
    Relation(
        "decode.average",
        lambda c: c.decode.average <= c.checkpoint.keep_latest + c.checkpoint.keep_best,
        "at most the checkpoints that are kept, checkpoint.keep_latest ="
        " {checkpoint.keep_latest} and checkpoint.keep_best = {checkpoint.keep_best}",
    ),
)


def validate(config: ConfigDict) -> None:
    """Checks the fields, their types, their ranges, and how they fit together.

    Raises:
      UserError: the first field found wrong, with its value and what is accepted.
    """
    flat = flatten(config)
    conform(flat)
    for field, rule in RULES.items():
        value = flat[field]
        if not rule.accepts(value):
            unknown = [item for item in _items(value) if item not in rule.known]
            hint = did_you_mean(unknown[0], rule.known) if unknown and rule.known else ""
            raise UserError(f"{field} = {value!r}: expected {rule.expected}{hint}")
    for relation in RELATIONS:
        if not relation.holds(config):
            expected = relation.expected.format(**config)
            raise UserError(f"{relation.field} = {flat[relation.field]!r}: expected {expected}")


def _items(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def check_resolved(total: int, warmup: int) -> None:
    """Checks durations in steps, whose units could not be compared before the corpus was read.

    Raises:
      UserError: the warm-up is longer than training.
    """
    if warmup > total:
        raise UserError(
            f"schedule.warmup = {warmup} steps: expected at most the length of training,"
            f" train.duration = {total} steps"
        )
