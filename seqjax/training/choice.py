"""How the members of a population are computed: measured, where nobody says."""

import math
from collections.abc import Sequence

import jax
import ml_collections

from seqjax.data.batching import Shape
from seqjax.training.pace import seconds_of_update
from seqjax.training.population import WAYS, Population
from seqjax.training.preparation import Prepared

# A loop computes what single runs compute, to the bit: a batch has to be worth more than a moment's
# luck with the clock.
_WORTH = 1.5


def faster_population(
    configs: Sequence[ml_collections.ConfigDict], prepared: Prepared
) -> tuple[Population, str]:
    """Returns a batch of members where that is far faster than a loop, else a loop, and why.

    Each way computes a few updates of the largest shape; where a batch does not fit into memory,
    the loop is left. What is compiled for the one that is chosen stays compiled.
    """
    shape = prepared.plan.largest
    seconds, found = {}, {}
    for way in WAYS:
        found[way] = Population(configs, prepared, way)
        seconds[way] = _seconds(found[way], len(configs), shape)
    best = "batch" if seconds["batch"] * _WORTH < seconds["loop"] else "loop"
    each = ", ".join(
        f"{way} {1e3 * taken:.0f} ms"
        if math.isfinite(taken)
        else f"{way} more memory than there is"
        for way, taken in seconds.items()
    )
    return found[best], f"--members={best}: an update of all in batches of {shape.rows} took {each}"


def _seconds(population: Population, count: int, shape: Shape) -> float:
    """Returns the least seconds of an update of all members, infinity where memory ends."""
    try:
        return seconds_of_update(population, count, shape)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return math.inf
