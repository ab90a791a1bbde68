"""The first lines of a training: model, corpus, batches, length and validation."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ml_collections

if TYPE_CHECKING:  # A report has a model, too, and no need of JAX.
    from seqjax.data.tokenizer import Tokenizers
    from seqjax.evaluation.evaluator import Evaluator
    from seqjax.training.preparation import Prepared


def overview(
    config: ml_collections.ConfigDict,
    prepared: "Prepared",
    parameters: int,
    evaluator: "Evaluator | None",
) -> str:
    """Returns what is trained, one line for each part.

    Args:
      config: the run's config.
      prepared: what `prepare` made of it.
      parameters: how many numbers are trained.
      evaluator: of the validation split; None if it is never evaluated.
    """
    plan, durations, mesh = prepared.plan, prepared.durations, prepared.mesh
    shapes = ", ".join(map(str, plan.shapes))
    declared = prepared.task.declared
    model = describe_model(config.to_dict()["model"], declared.stacks)
    epochs = durations.total / plan.steps_per_epoch
    lines = {
        "model": f"{model}; {parameters:,} parameters",
        "corpus": f"{_fields(config, declared.roles)}; {_counts(prepared)};"
        f" {_vocabulary(config, prepared.tokenizers)}",
        "batches": f"{plan.steps_per_epoch:,} an epoch, shapes {shapes}, padding {plan.waste:.1%}",
        "training": f"{durations.total:,} steps, {epochs:.3g} epochs,"
        f" on {_counted(mesh.size, 'device')}",
        "validation": _validation(durations.evaluate, evaluator),
    }
    return "\n".join(f"{name}: {text}" for name, text in lines.items())


def describe_model(model: Mapping[str, Mapping[str, Any]], stacks: Sequence[str]) -> str:
    """Returns the family, the layers and the width of the stacks of a model."""
    sides = []
    for side in stacks:
        kind, layers, width = (model[side].get(name) for name in ("kind", "layers", "width"))
        if kind != "none":
            sides.append(f"{side} {kind}, {_counted(layers, 'layer')} of {width}")
    return "; ".join(sides)


def part_of(evaluator: "Evaluator") -> str:
    """Returns how many examples are evaluated, and of how many if that is a part."""
    unit = evaluator.task.declared.unit.removesuffix("s")
    whole = _counted(evaluator.available, "sentence" if unit == "pair" else unit)
    return whole if evaluator.count == evaluator.available else f"{evaluator.count:,} of {whole}"


def _counts(prepared: "Prepared") -> str:
    report = prepared.examples.report
    return ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in report.items() if n)


def _vocabulary(config: ml_collections.ConfigDict, tokenizers: "Tokenizers") -> str:
    sizes = {role: tokenizer.vocabulary_size for role, tokenizer in tokenizers.items()}
    if len(sizes) == 1 or tokenizers.joint:
        return f"one vocabulary of {next(iter(sizes.values())):,}"
    named = ", ".join(f"{size:,} ({config.data[role]})" for role, size in sizes.items())
    return f"vocabularies of {named}"


def _fields(config: ml_collections.ConfigDict, roles: Sequence[str]) -> str:
    """Returns the names of the fields: 'en to de'."""
    return " to ".join(config.data[role] for role in roles)


def _validation(every: int, evaluator: "Evaluator | None") -> str:
    if evaluator is None:
        return "never, since evaluation.every is 0"
    limit = evaluator.task.config.evaluation.limit
    part = f" (evaluation.limit = {limit})" if evaluator.count < evaluator.available else ""
    return f"{part_of(evaluator)}{part}, every {_counted(every, 'step')}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
