"""What the losses of the validation change in a training: the learning rate, and averaging.

The history of the losses is in a run's clock, so that a run that is stopped and continued goes on
as if nothing had happened; `Feedback` is what an update reads of it.
"""

import math
from collections.abc import Mapping
from typing import Any

import flax
import jax
import ml_collections
import numpy as np

# The step at which averaging begins as long as it is not known.
_NEVER = 2**31 - 1


@flax.struct.dataclass
class Feedback:
    """What an update takes from the validation so far.

    Attributes:
      scale: float32 [], what the learning rate is multiplied by.
      since: int32 [], updates before the first that is averaged.
    """

    scale: jax.Array
    since: jax.Array


def listens(config: ml_collections.ConfigDict) -> bool:
    """Returns whether anything in a training depends on the losses of the validation."""
    return config.schedule.kind == "plateau" or config.optimizer.average_trigger > 0


def no_losses() -> dict[str, Any]:
    """Returns the history before the first evaluation.

    It holds `best`, the best loss that the schedule has seen, `worse`, evaluations since then
    without a better one, `drops` of the rate, all `losses`, and `since` when averages are kept, in
    updates.
    """
    return {"best": math.nan, "worse": 0, "drops": 0, "losses": [], "since": None}


def after(
    history: Mapping[str, Any], config: ml_collections.ConfigDict, step: int, loss: float
) -> dict[str, Any]:
    """Returns the history after an evaluation at a step.

    With `schedule.kind` = 'plateau' the rate drops once `schedule.patience` evaluations in a row
    have found no better loss than the best so far; then the count begins anew.

    With `optimizer.average_trigger` = n, averaging begins after the first loss that is worse than
    the best of all but the last n before it (Merity et al., Regularizing and optimizing LSTM
    language models, 2018, algorithm 1).
    """
    found = dict(history)
    if math.isnan(found["best"]) or loss < found["best"]:
        found |= {"best": loss, "worse": 0}
    else:
        found["worse"] += 1
    if found["worse"] >= config.schedule.patience:
        found |= {"worse": 0, "drops": found["drops"] + 1}
    trigger = config.optimizer.average_trigger
    before = found["losses"][: len(found["losses"]) - trigger]
    if trigger and found["since"] is None and before and loss > min(before):
        found["since"] = step
    return found | {"losses": [*found["losses"], loss]}


def forgotten(history: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a history without losses, which compare with no later ones; their effects stay."""
    return no_losses() | {name: history[name] for name in ("drops", "since")}


def feedback_of(
    history: Mapping[str, Any], config: ml_collections.ConfigDict
) -> Feedback | tuple[()]:
    """Returns what an update reads of a history; () if it reads nothing."""
    if not listens(config):
        return ()
    plateau = config.schedule.kind == "plateau"
    since = history["since"]
    return Feedback(
        np.float32(config.schedule.factor ** history["drops"] if plateau else 1.0),
        np.int32(_NEVER if since is None else since),
    )
