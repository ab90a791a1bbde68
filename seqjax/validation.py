"""What each field of a config may hold, and which fields contradict each other.

`RULES` has one rule for every field, `RELATIONS` one line for every way in which
fields that are right by themselves do not fit together. A new field needs a rule.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from seqjax.data_rules import DATA_RELATIONS, DATA_RULES
from seqjax.duration import expected_duration, parse_duration, wrong_duration
from seqjax.errors import UserError, did_you_mean
from seqjax.fields import conformed, flatten, nested, require_known
from seqjax.model_rules import MODEL_RELATIONS, MODEL_RULES
from seqjax.overrides import overridden
from seqjax.rules import (
    ALL_OR_SOME,
    ANYTHING,
    POSITIVE,
    PROBABILITY,
    Relation,
    Rule,
    at_least,
    between,
    one_of,
    quoted,
    some_of,
    where,
)
from seqjax.tasks.declared import ANSWERED, MEASURES, TASKS

_SACREBLEU_TOKENIZERS = (
    ("none", "zh", "13a", "intl", "char", "ja-mecab", "ko-mecab")
    + ("spm", "flores101", "flores200", "spBLEU-1K")
)  # fmt: skip


def _duration(*units: str, never: bool = True) -> Rule:
    """Returns the rule of a duration in one of some units, which may be 0 or not."""

    def wrong(text: str) -> str:
        found = wrong_duration(text, units)
        # A number out of bounds says more than the units do.
        return "" if found == expected_duration(units) else found

    return Rule(
        lambda text: not wrong_duration(text, units) and (never or not _is_never(text)),
        expected_duration(units) + ("" if never else ", more than 0"),
        reason=wrong,
    )


# Resumed, a run evaluates, saves and reports after the same updates as if it had not been stopped.
_EVERY = _duration("steps", "epochs", "tokens", "%")

RULES: dict[str, Rule] = {
    "task": one_of(*TASKS),
    "seed": between(0, 2**32 - 1),
    **DATA_RULES,
    **MODEL_RULES,
    "loss.label_smoothing": PROBABILITY,
    "loss.activation": at_least(0),
    "loss.temporal_activation": at_least(0),
    "optimizer.kind": one_of("adam", "adamw", "adafactor", "sgd"),
    "optimizer.learning_rate": POSITIVE,
    "optimizer.beta1": PROBABILITY,
    "optimizer.beta2": PROBABILITY,
    "optimizer.epsilon": POSITIVE,
    "optimizer.momentum": PROBABILITY,
    "optimizer.weight_decay": at_least(0),
    "optimizer.clip": at_least(0),
    "optimizer.accumulate": at_least(1),
    "optimizer.moving_average": PROBABILITY,
    "optimizer.average_trigger": at_least(0),
    "schedule.kind": one_of("constant", "inverse_sqrt", "cosine", "linear", "step", "plateau"),
    # By how much the learning rate grows in an update must not depend on the machine.
    "schedule.warmup": _duration("steps", "epochs", "tokens", "%"),
    "schedule.final": between(0, 1),
    "schedule.hold": _duration("steps", "epochs", "tokens"),
    "schedule.interval": _duration("steps", "epochs", "tokens", never=False),
    "schedule.factor": where(lambda value: 0 < value <= 1, "more than 0, at most 1"),
    "schedule.patience": at_least(1),
    "train.duration": _duration("steps", "epochs", "tokens", "seconds", never=False),
    "train.stop_metric": one_of("", *MEASURES),
    "train.patience": at_least(1),
    "evaluation.every": _EVERY,
    "evaluation.translate": ANYTHING,
    "evaluation.limit": ALL_OR_SOME,
    "evaluation.stride": at_least(0),
    "evaluation.cache": at_least(0),
    "evaluation.cache_share": PROBABILITY,
    "evaluation.cache_flatness": between(0, 100),
    "evaluation.lowercase": ANYTHING,
    "evaluation.tokenize": one_of(*_SACREBLEU_TOKENIZERS),
    "evaluation.metrics": some_of(*ANSWERED),
    "decode.method": one_of("", "beam", "sample"),
    "decode.seed": between(0, 2**32 - 1),
    "decode.temperature": where(lambda value: 0 <= value <= 1e4, "a number from 0 to 10,000"),
    "decode.top_k": at_least(0),
    "decode.top_p": where(lambda value: 0 < value <= 1, "more than 0, at most 1"),
    "decode.min_p": where(lambda value: 0 <= value <= 1, "a number from 0 to 1"),
    "decode.typical_p": where(lambda value: 0 < value <= 1, "more than 0, at most 1"),
    "decode.repetition_penalty": where(lambda value: 0 < value <= 1e4, "more than 0"),
    "decode.max_new_tokens": at_least(1),
    "decode.stop": Rule(lambda value: all(value), "strings that are not empty"),
    "decode.beam_size": at_least(1),
    "decode.length_normalization": one_of("gnmt", "plain", "none"),
    "decode.length_penalty": between(0, 10),
    "decode.patience": at_least(0),
    "decode.min_length": at_least(0),
    "decode.unknown": ANYTHING,
    # Far beyond any use, and far from what the device's numbers can hold.
    "decode.max_length_ratio": between(0, 1000),
    "decode.max_length_extra": between(0, 1_000_000),
    "decode.tokens": at_least(1),
    "decode.shapes": between(1, 12),
    "decode.checkpoint": Rule(
        lambda text: text in ("best", "latest") or (text.isascii() and text.isdigit()),
        "'best', 'latest' or a step number",
        ("best", "latest"),
    ),
    "decode.average": at_least(1),
    "checkpoint.every": _EVERY,
    "checkpoint.keep_latest": at_least(1),
    "checkpoint.keep_best": at_least(0),
    "checkpoint.best_metric": one_of(*MEASURES),
    "parallel.data": ALL_OR_SOME,
    "parallel.fsdp": ALL_OR_SOME,
    "parallel.model": ALL_OR_SOME,
    "reporting.every": _EVERY,
    "reporting.tensorboard": ANYTHING,
    "reporting.wandb_project": ANYTHING,
}


def _is_never(text: str) -> bool:
    return parse_duration(text)[0] == 0


def _warmup_fits(config: ConfigDict) -> bool:
    """False if the warm-up is longer than training, as far as the units can be compared."""
    warmup, warmup_unit = parse_duration(config.schedule.warmup)
    total, total_unit = parse_duration(config.train.duration)
    return warmup_unit != total_unit or warmup <= total


def _can_be_measured(config: ConfigDict, metric: str) -> bool:
    evaluation = config.evaluation
    if metric and metric not in TASKS[config.task].measures:
        return False
    measured = evaluation.metrics if evaluation.translate else ()
    return metric not in ANSWERED or metric in measured


def _in_the_validation(config: ConfigDict) -> str:
    evaluation, measures = config.evaluation, TASKS[config.task].measures
    if not set(ANSWERED) & set(measures):
        return f"one of {quoted(tuple(measures))}, which task = {config.task!r} has"
    return (
        f"a metric that is measured: evaluation.metrics = {evaluation.metrics},"
        f" evaluation.translate = {evaluation.translate}"
    )


# Values of the filters that change nothing.
_NEUTRAL = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
}


def _continues(config: ConfigDict) -> bool:
    """Whether the task has no search but samples."""
    return config.task == "language_model"


def _only_of_samples(name: str, neutral: float) -> Relation:
    return Relation(
        f"decode.{name}",
        lambda c: c.decode[name] == neutral or c.decode.method == "sample" or _continues(c),
        f"{neutral}, or decode.method = 'sample': a beam search has no such filter",
    )


RELATIONS: tuple[Relation, ...] = (
    *MODEL_RELATIONS,
    *DATA_RELATIONS,
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
        "schedule.kind",
        lambda c: c.schedule.kind != "plateau" or not _is_never(c.evaluation.every),
        "another kind, since evaluation.every = '{evaluation.every}' never evaluates",
    ),
    Relation(
        "optimizer.average_trigger",
        lambda c: not c.optimizer.average_trigger or not _is_never(c.evaluation.every),
        "0, since evaluation.every = '{evaluation.every}' never evaluates",
    ),
    Relation(
        "optimizer.average_trigger",
        lambda c: not c.optimizer.average_trigger or not c.optimizer.moving_average,
        "0, or optimizer.moving_average = 0: one average is kept",
    ),
    Relation(
        "train.stop_metric",
        lambda c: _can_be_measured(c, c.train.stop_metric),
        _in_the_validation,
    ),
    Relation(
        "train.stop_metric",
        lambda c: not c.train.stop_metric or not _is_never(c.evaluation.every),
        "'', since evaluation.every = '{evaluation.every}' never evaluates",
    ),
    Relation(
        "checkpoint.best_metric",
        lambda c: _can_be_measured(c, c.checkpoint.best_metric),
        _in_the_validation,
    ),
    Relation(
        "decode.method",
        lambda c: c.decode.method != "beam" or c.task == "text_to_text",
        "'sample', since task = '{task}'",
    ),
    Relation(
        "decode.beam_size",
        lambda c: c.decode.beam_size == 1 or c.decode.method != "sample" or _continues(c),
        "1, since decode.method = 'sample' has no beam; `predict --n_best=N` prints N samples",
    ),
    *(_only_of_samples(name, neutral) for name, neutral in _NEUTRAL.items()),
    Relation(
        "decode.checkpoint",
        lambda c: c.decode.checkpoint != "best" or c.checkpoint.keep_best > 0,
        "'latest' or a step number, since checkpoint.keep_best = 0",
    ),
    Relation(
        "decode.max_length_extra",
        lambda c: c.decode.max_length_ratio > 0 or c.decode.max_length_extra > 0,
        "at least 1, since decode.max_length_ratio = 0",
    ),
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
    Relation(
        "decode.average",
        lambda c: c.decode.average <= c.checkpoint.keep_latest + c.checkpoint.keep_best,
        "at most the checkpoints that are kept, checkpoint.keep_latest ="
        " {checkpoint.keep_latest} and checkpoint.keep_best = {checkpoint.keep_best}",
    ),
)


def settled(config: ConfigDict, overrides: Sequence[tuple[str, str]] = ()) -> ConfigDict:
    """Returns `overrides.overridden(config, overrides)`, checked.

    Raises:
      UserError: see `overridden` and `validate`.
    """
    config = overridden(config, overrides)
    validate(config)
    return config


def validate(config: ConfigDict) -> None:
    """Checks the fields, their types, their ranges, and how they fit together.

    Raises:
      UserError: the first field found wrong, with its value and what is accepted.
    """
    validate_fields(flatten(config))


def validate_fields(flat: Mapping[str, Any]) -> None:
    """Checks what `validate` does, of a config's values by their paths; makes no config."""
    conformed(flat)
    for field in RULES:
        _check_rule(field, flat[field])
    sections = nested(flat, _Section)
    for relation in RELATIONS:
        if not relation.holds(sections):
            expected = relation.expectation(sections)
            raise UserError(f"{relation.field} = {flat[relation.field]!r}: expected {expected}")


class _Section(dict):
    """A section whose fields are attributes, as a ConfigDict's are."""

    __getattr__ = dict.__getitem__


def check_value(field: str, value: Any) -> Any:
    """Checks what one field may hold by itself; returns the value as the config holds it.

    Raises:
      UserError: an unknown field, a value of another type or out of range.
    """
    require_known(field, value)
    value = conformed({field: value}, missing="default")[field]
    _check_rule(field, value)
    return value


def _check_rule(field: str, value: Any) -> None:
    rule = RULES[field]
    if not rule.accepts(value):
        unknown = [item for item in _items(value) if item not in rule.known]
        hint = did_you_mean(unknown[0], rule.known) if unknown and rule.known else ""
        raise UserError(f"{field} = {value!r}: expected {rule.expectation(value)}{hint}")


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
