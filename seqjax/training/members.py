"""Decides which trainings can run as one program."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from seqjax.duration import parse_duration
from seqjax.errors import UserError
from seqjax.fields import differing, flatten

# Fields in which members may differ: numbers in an update that set no array's shape.
NUMBERS = (
    "seed",
    "optimizer.learning_rate",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.epsilon",
    "optimizer.momentum",
    "optimizer.weight_decay",
    "loss.label_smoothing",
    "loss.activation",
    "loss.temporal_activation",
    *(
        f"model.{stack}.{name}"
        for stack in ("encoder", "decoder")
        for name in ("dropout", "attention_dropout", "activation_dropout")
    ),
    "model.decoder.output_dropout",
)


def program_key(config: ml_collections.ConfigDict) -> str:
    """Returns a string that is equal for trainings that can run as one program."""
    return program_key_of(flatten(config))


def program_key_of(fields: Mapping[str, Any]) -> str:
    """Returns `program_key` of a config with these fields."""
    # Without their own seed, batches follow the run's.
    kept = () if fields["batching.seed"] != -1 else ("seed",)
    return json.dumps(
        {path: value for path, value in fields.items() if path not in NUMBERS or path in kept}
    )


def refusal(fields: Mapping[str, Any]) -> str:
    """Returns why a training cannot share a program with others, '' if it can."""
    for axis in ("parallel.fsdp", "parallel.model"):
        if fields[axis] != 1:
            return f"{axis} = {fields[axis]}: expected 1, since a device holds whole trials"
    if parse_duration(fields["train.duration"])[1] == "seconds":
        return (
            f"train.duration = {fields['train.duration']!r}: expected steps, epochs or tokens,"
            " since time is measured for a single training"
        )
    if fields["checkpoint.keep_latest"] < 2:
        return (
            "checkpoint.keep_latest = 1: expected at least 2, so that a kill between the saves of"
            " two trials leaves a step that both have"
        )
    if fields["reporting.wandb_project"]:
        return (
            f"reporting.wandb_project = {fields['reporting.wandb_project']!r}: expected '', since"
            " W&B knows one run of a process"
        )
    return ""


def check_members(configs: Sequence[ml_collections.ConfigDict]) -> None:
    """Raises UserError if configs cannot be trained as one program."""
    if reason := refusal(flatten(configs[0])):
        raise UserError(f"trained together: {reason}")
    for path in differing(configs):
        if path not in NUMBERS:
            raise UserError(
                f"trained together: {path}: expected one value, since trials of one program may"
                f" differ only in {', '.join(NUMBERS)}"
            )
    if "seed" in differing(configs) and configs[0].batching.seed == -1:
        raise UserError(
            "trained together: batching.seed = -1: expected 0 or more, so that trials whose seed"
            " differs have the same batches"
        )
