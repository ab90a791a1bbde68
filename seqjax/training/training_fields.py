"""The fields of a training: its seed, its length, and when it stops early."""

from seqjax.measures.translation_fields import can_be_measured, measured_metrics
from seqjax.rules import Field, Relation, at_least, between, duration_in, is_never, one_of
from seqjax.tasks.declared import MEASURES

FIELDS = {
    "seed": Field(
        0,
        between(0, 2**32 - 1),
        "Seed of the initial parameters and of dropout; also of the batches if batching.seed is"
        " -1.",
    ),
    "train.duration": Field(
        "2000 steps",
        duration_in("steps", "epochs", "tokens", "seconds", never=False),
        "Length of training: a duration, but not a share. A time such as '3 minutes' is"
        " converted to steps once, when the training begins, by timing a few updates: it counts"
        " updates only, without compiling, evaluating and saving, and the run then has this"
        " number of steps for good.",
    ),
    "train.stop_metric": Field(
        "",
        one_of("", *MEASURES),
        "Stop early by this validation metric: 'loss', 'perplexity', 'accuracy', or one of"
        " evaluation.metrics. '' trains to the end.",
    ),
    "train.patience": Field(
        5,
        at_least(1),
        "Number of evaluations in a row without a better value before training stops.",
    ),
}

RELATIONS = (
    Relation(
        "train.stop_metric",
        lambda c: can_be_measured(c, c.train.stop_metric),
        measured_metrics,
    ),
    Relation(
        "train.stop_metric",
        lambda c: not c.train.stop_metric or not is_never(c.evaluation.every),
        "'', since evaluation.every = '{evaluation.every}' never evaluates",
    ),
)
