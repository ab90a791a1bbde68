"""The fields of training batches."""

from ml_collections import ConfigDict

from seqjax.architectures.families_fields import is_recurrent
from seqjax.rules import Field, Relation, at_least, between, one_of, quoted
from seqjax.tasks.declared import TASKS

_PLANS = tuple(dict.fromkeys(plan for task in TASKS.values() for plan in task.plans))

FIELDS = {
    "batching.seed": Field(
        -1,
        between(-1, 2**32 - 1),
        "Seed of the order of batches and of subword sampling; -1 takes `seed`.",
    ),
    "batching.plan": Field(
        "",
        one_of("", *_PLANS),
        "How batches are made. 'buckets': whole examples, those of similar length together."
        " Language models also have 'windows', blocks of all text as one stream in random order;"
        " 'streams', blocks in their own order: a recurrent decoder carries its state from one to"
        " the next; and 'packs': several whole documents in a row, which a Transformer keeps"
        " apart. '' is the default of the task: 'buckets' for 'text_to_text', 'windows' for"
        " 'language_model'.",
    ),
    "batching.length": Field(
        128,
        at_least(1),
        "Plans 'windows', 'streams' and 'packs': tokens of a row.",
    ),
    "batching.kind": Field(
        "tokens",
        one_of("tokens", "sentences"),
        "What limits a batch: 'tokens' (padded tokens of its longer side) or 'sentences'.",
    ),
    "batching.tokens": Field(
        4096,
        at_least(1),
        "Padded tokens of the longer side in a batch, over all devices.",
    ),
    "batching.sentences": Field(
        128,
        at_least(1),
        "Sentence pairs, documents, blocks or streams in a batch, over all devices.",
    ),
    "batching.shapes": Field(
        6,
        between(1, 12),
        "Largest number of batch shapes. Each is compiled once; more shapes mean less padding.",
    ),
    "batching.multiple": Field(
        4,
        at_least(1),
        "Lengths are padded to a multiple of this.",
    ),
}


def plan_of(config: ConfigDict) -> str:
    """Returns the name of the plan that a config asks for."""
    return config.batching.plan or TASKS[config.task].plans[0]


RELATIONS = (
    Relation(
        "batching.plan",
        lambda c: plan_of(c) in TASKS[c.task].plans,
        lambda c: f"one of {quoted(TASKS[c.task].plans)}, since task = {c.task!r}",
    ),
    Relation(
        "batching.plan",
        lambda c: plan_of(c) != "streams" or is_recurrent(c.model.decoder),
        "'windows' or 'buckets', since model.decoder.kind = '{model.decoder.kind}' carries no state"
        " from batch to batch",
    ),
    Relation(
        "batching.plan",
        lambda c: plan_of(c) != "packs" or c.model.decoder.kind == "transformer",
        "'windows', 'streams' or 'buckets', since model.decoder.kind = '{model.decoder.kind}' would"
        " carry what it read of one document into the next",
    ),
)
