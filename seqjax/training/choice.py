"""Chooses how the members of a population are computed, by measuring both ways."""

import math
from collections.abc import Sequence

import jax
import ml_collections

from seqjax.data.plan import Plan
from seqjax.training.pace import seconds_of_update
from seqjax.training.population import WAYS, Population
from seqjax.training.preparation import Prepared

# A loop equals single runs bit for bit, so a batch must be faster by more than the noise of the
# measurement.
_WORTH = 1.5


def faster_population(
    configs: Sequence[ml_collections.ConfigDict], prepared: Prepared
) -> tuple[Population, str]:
    """Returns a batch of members if that is much faster than a loop, else a loop, and why.

    Each way computes a few updates of the largest shape. The loop is chosen if a batch does not fit
    into memory. The compiled update of the chosen way is kept.
    """
    seconds, found = {}, {}
    for way in WAYS:
        found[way] = Population(configs, prepared, way)
        seconds[way] = _seconds(found[way], len(configs), prepared.plan)
    best = "batch" if seconds["batch"] * _WORTH < seconds["loop"] else "loop"
    each = ", ".join(
        f"{way} {1e3 * taken:.0f} ms" if math.isfinite(taken) else f"{way} out of memory"
        for way, taken in seconds.items()
    )
    rows = prepared.plan.largest.rows
    return found[best], f"--members={best}: an update of all in batches of {rows} took {each}"


def _seconds(population: Population, count: int, plan: Plan) -> float:
    """Returns the shortest time of an update of all members in seconds, inf if out of memory."""
    try:
        return seconds_of_update(population, count, plan)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return math.inf
