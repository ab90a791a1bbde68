"""Which trainings can be one program."""

import json
from collections.abc import Sequence

import ml_collections

from seqjax.errors import UserError
from seqjax.fields import flatten

# Fields that members may differ in: numbers that enter an update and give no array its shape.
NUMBERS = (
    "seed",
    "optimizer.learning_rate",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.epsilon",
    "optimizer.momentum",
    "optimizer.weight_decay",
    "loss.label_smoothing",
    *(
        f"model.{stack}.{name}"
        for stack in ("encoder", "decoder")
        for name in ("dropout", "attention_dropout", "activation_dropout")
    ),
)


def program(config: ml_collections.ConfigDict) -> str:
    """Returns what trainings have in common that can be one program, as a text."""
    fixed = flatten(config)
    # Without a seed of their own batches follow the run's.
    numbers = NUMBERS if config.batching.seed != -1 else NUMBERS[1:]
    return json.dumps({path: value for path, value in fixed.items() if path not in numbers})


def differing(configs: Sequence[ml_collections.ConfigDict]) -> list[str]:
    """Returns the fields in which configs differ."""
    flat = [flatten(config) for config in configs]
    return [path for path in flat[0] if any(other[path] != flat[0][path] for other in flat)]


def check_members(configs: Sequence[ml_collections.ConfigDict]) -> None:
    """Raises a UserError where configs cannot be trained as one program."""
    for path in differing(configs):
        if path not in NUMBERS:
            raise UserError(
                f"{path} differs among the trials: those that are trained together may differ in"
                f" {', '.join(NUMBERS)}"
            )
    if "seed" in differing(configs) and configs[0].batching.seed == -1:
        raise UserError(
            "seed differs among the trials, and with it their batches: to train them together give"
            " them the same ones by batching.seed, 0 or more"
        )
