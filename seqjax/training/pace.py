"""How many updates fit into a time: measured once, before a run begins."""

import math
import time
from typing import TYPE_CHECKING

import jax
import ml_collections
import numpy as np

from seqjax.data.plan import Plan
from seqjax.duration import MOST_STEPS
from seqjax.parallel.processes import from_first
from seqjax.stages import say, stage
from seqjax.training.program import Program, Single, abstract_batch

if TYPE_CHECKING:
    from seqjax.training.preparation import Prepared

_UPDATES = 3


def steps_within(seconds: float, config: ml_collections.ConfigDict, prepared: "Prepared") -> int:
    """Returns how many updates of a run take `seconds` on these devices, at least 1.

    A few updates of the largest batch are timed. The others are taken to need their share of its
    work, by the floating point operations of their products. Evaluating, saving and compiling are
    not counted. With several processes all return what the first one measured.
    """
    plan = prepared.plan
    program = Single(config, prepared)
    state = program.abstract_member()
    active = np.ones(1, bool)
    work = [program.flops(state, active, abstract_batch(plan, shape)) for shape in plan.shapes]
    average = np.average(work, weights=plan.steps_per_shape)
    largest = work[plan.shapes.index(plan.largest)]
    with stage("measuring how long an update takes"):
        each = seconds_of_update(program, 1, plan) * average / largest
    steps = int(from_first(str(math.floor(seconds / each)).encode()))
    steps = min(max(1, steps), MOST_STEPS)
    say(
        f"train.duration = {config.train.duration!r}: {steps:,} steps of {1e3 * each:.3g} ms,"
        " as measured now"
    )
    return steps


def seconds_of_update(program: Program, count: int, plan: Plan) -> float:
    """Returns the least seconds that a compiled update of `count` runs on a largest batch takes."""
    shape = plan.largest
    part = program.part(shape.rows)
    arrays = abstract_batch(plan, shape)
    batch = {name: np.ones(of.shape, of.dtype)[part] for name, of in arrays.items()}
    active = np.ones(count, bool)
    placed = program.place(batch, shape.rows)
    state, least = program.fresh_state(), math.inf
    program.compile(state, active, placed)
    # The first one is slower.
    for _ in range(1 + _UPDATES):
        started = time.perf_counter()
        state, _ = program.advance(state, active, placed)
        jax.block_until_ready(state)
        least = min(least, time.perf_counter() - started)
    return least
