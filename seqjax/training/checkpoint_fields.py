"""The fields of the checkpoints that a training saves."""

from seqjax.measures.translation_fields import can_be_measured, measured_metrics
from seqjax.rules import EVERY, Field, Relation, at_least, one_of
from seqjax.tasks.declared import MEASURES

FIELDS = {
    "checkpoint.every": Field(
        "25%",
        EVERY,
        "How often the state is saved (a duration).",
    ),
    "checkpoint.keep_latest": Field(
        2,
        at_least(1),
        "Number of latest checkpoints to keep.",
    ),
    "checkpoint.keep_best": Field(
        1,
        at_least(0),
        "Number of best checkpoints to keep besides them.",
    ),
    "checkpoint.best_metric": Field(
        "loss",
        one_of(*MEASURES),
        "Validation metric that decides which checkpoint is best.",
    ),
}

RELATIONS = (
    Relation(
        "checkpoint.best_metric",
        lambda c: can_be_measured(c, c.checkpoint.best_metric),
        measured_metrics,
    ),
)
