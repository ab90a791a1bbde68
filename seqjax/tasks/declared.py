"""Every task by the name in `config.task`, with what is known of it before JAX is imported.

A new task is a module beside this one and an entry here. The command line, sweeps and reports read
these entries; all else asks the task itself (`seqjax.tasks.task.Task`).
"""

import importlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

from seqjax.errors import UserError, did_you_mean
from seqjax.rules import Field, one_of

if TYPE_CHECKING:
    import ml_collections

    from seqjax.data.tokenizer import Tokenizers
    from seqjax.tasks.task import Task


class Measure(NamedTuple):
    """A metric of a validation.

    Attributes:
      higher: whether a larger value is better.
      answers: whether it compares outputs with references; otherwise it follows from the loss.
    """

    higher: bool
    answers: bool = False


class Declared(NamedTuple):
    """A task, declared.

    Attributes:
      module, name: where its class is.
      roles: the fields of a record that it needs; `data` says how the corpus names them.
      stacks: the sections of `model` that it builds.
      plans: what `batching.plan` may be; '' is the first of them.
      unit: what one record is called, in the plural.
      measures: its metrics.
      lines: how `predict` answers lines: 'translating' or 'continuing' them; '' if it cannot.
    """

    module: str
    name: str
    roles: tuple[str, ...]
    stacks: tuple[str, ...]
    plans: tuple[str, ...]
    unit: str
    measures: Mapping[str, Measure]
    lines: str = ""


TASKS = {
    "text_to_text": Declared(
        "seqjax.tasks.text_to_text",
        "TextToText",
        roles=("source", "target"),
        stacks=("encoder", "decoder"),
        plans=("buckets",),
        unit="pairs",
        measures={
            "loss": Measure(higher=False),
            "perplexity": Measure(higher=False),
            "accuracy": Measure(higher=True),
            "bleu": Measure(higher=True, answers=True),
            "chrf": Measure(higher=True, answers=True),
            "ter": Measure(higher=False, answers=True),
            "exact_match": Measure(higher=True, answers=True),
            "error_rate": Measure(higher=False, answers=True),
        },
        lines="translating",
    ),
    "language_model": Declared(
        "seqjax.tasks.language_model",
        "LanguageModelling",
        roles=("text",),
        stacks=("decoder",),
        plans=("windows", "streams", "packs", "buckets"),
        unit="documents",
        measures={
            "loss": Measure(higher=False),
            "perplexity": Measure(higher=False),
            "accuracy": Measure(higher=True),
            "word_perplexity": Measure(higher=False),
            "bits_per_character": Measure(higher=False),
            "bits_per_byte": Measure(higher=False),
        },
        lines="continuing",
    ),
}

FIELDS = {
    "task": Field(
        "text_to_text",
        one_of(*TASKS),
        "What the model learns: 'text_to_text', a text from a text (translation); or"
        " 'language_model', each token of a text from those before it, by the decoder alone,"
        " without attention to a source.",
    ),
}

# A name means the same in every task that has it.
MEASURES: Mapping[str, Measure] = {
    name: measure for task in TASKS.values() for name, measure in task.measures.items()
}
# Those that compare outputs with references.
ANSWERED = tuple(name for name, measure in MEASURES.items() if measure.answers)


def measured(task: str, metrics: Collection[str]) -> list[str]:
    """Returns the metrics that a task measures, those with answers if they are in `metrics`."""
    measures = TASKS[task].measures
    return [name for name in measures if name not in ANSWERED or name in metrics]


def best_is_higher(metric: str) -> bool:
    """Returns whether a larger value of a validation metric is better.

    Raises:
      UserError: the metric is unknown.
    """
    if metric not in MEASURES:
        raise UserError(
            f"metric = {metric!r}: expected one of {', '.join(sorted(MEASURES))}"
            f"{did_you_mean(metric, MEASURES)}"
        )
    return MEASURES[metric].higher


def task_of(config: "ml_collections.ConfigDict", tokenizers: "Tokenizers") -> "Task":
    """Returns the task of a config, with the tokenizers of its fields."""
    declared = TASKS[config.task]
    return getattr(importlib.import_module(declared.module), declared.name)(config, tokenizers)
