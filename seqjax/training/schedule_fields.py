"""The fields of the learning rate over the training."""

from ml_collections import ConfigDict

from seqjax.duration import parse_duration
from seqjax.errors import UserError
from seqjax.rules import Field, Relation, at_least, between, duration_in, is_never, one_of, where

FIELDS = {
    "schedule.kind": Field(
        "inverse_sqrt",
        one_of("constant", "inverse_sqrt", "cosine", "linear", "step", "plateau"),
        "After warm-up: 'constant', 'inverse_sqrt', 'cosine', 'linear'; 'step', which multiplies"
        " the rate by schedule.factor again and again; or 'plateau', which does so when the"
        " validation loss has not become better.",
    ),
    "schedule.warmup": Field(
        "10%",
        # By how much the learning rate grows in an update must not depend on the machine.
        duration_in("steps", "epochs", "tokens", "%"),
        "Length of linear warm-up from zero: a duration, but not a time.",
    ),
    "schedule.final": Field(
        0.0,
        between(0, 1),
        "Learning rate at the end of 'cosine' and 'linear', as a share of the peak.",
    ),
    "schedule.hold": Field(
        "0",
        duration_in("steps", "epochs", "tokens"),
        "Schedule 'step': how long the rate stays at its peak, from the beginning of training on"
        " (a duration, but neither a share nor a time).",
    ),
    "schedule.interval": Field(
        "1 epoch",
        duration_in("steps", "epochs", "tokens", never=False),
        "Schedule 'step': the rate drops after schedule.hold, and then each time this long has"
        " passed.",
    ),
    "schedule.factor": Field(
        0.5,
        where(lambda value: 0 < value <= 1, "more than 0, at most 1"),
        "Schedules 'step' and 'plateau': what the rate is multiplied by, more than 0 and at most"
        " 1.",
    ),
    "schedule.patience": Field(
        1,
        at_least(1),
        "Schedule 'plateau': number of evaluations in a row without a better loss before the"
        " rate drops.",
    ),
}


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


def _warmup_fits(config: ConfigDict) -> bool:
    """False if the warm-up is longer than training, as far as the units can be compared."""
    warmup, warmup_unit = parse_duration(config.schedule.warmup)
    total, total_unit = parse_duration(config.train.duration)
    return warmup_unit != total_unit or warmup <= total


RELATIONS = (
    Relation(
        "schedule.warmup",
        _warmup_fits,
        "at most the length of training, train.duration = '{train.duration}'",
    ),
    Relation(
        "schedule.kind",
        lambda c: c.schedule.kind != "plateau" or not is_never(c.evaluation.every),
        "another kind, since evaluation.every = '{evaluation.every}' never evaluates",
    ),
)
