"""Times and plots a training step of every family over the length of the source.

python experiments/speed/source_length.py --picture=PATH.png
"""

import argparse
import json
import math
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from contest import leave, machine
from families import FAMILIES
from matplotlib.figure import Figure
from with_seqjax import config_of, task_of

from seqjax.parallel.host_memory import restart_with_own_allocator
from seqjax.parallel.mesh import make_mesh
from seqjax.training.optimizers import make_optimizer
from seqjax.training.recipe import GENERATOR
from seqjax.training.state import TrainState
from seqjax.training.step import make_train_step

SIZES = {"layers": 3, "width": 256, "heads": 8, "feed_forward": 1024, "vocabulary": 8000}
TARGET = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", default="source_length.png", help="file to draw")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=8, help="sentences in a batch")
    parser.add_argument("--shortest", type=int, default=32, help="source tokens")
    parser.add_argument("--longest", type=int, default=1024, help="source tokens")
    options = parser.parse_args()
    doublings = int(math.log2(options.longest / options.shortest))
    lengths = [options.shortest * 2**i for i in range(doublings + 1)]

    seconds = _measure(lengths, options.rows, options.rounds)
    sizes = {**SIZES, "rows": options.rows, "target": TARGET}
    print(f"{machine()}\n\n{json.dumps(sizes)}, {options.rounds} rounds\n")
    print(_table(lengths, seconds))
    _draw(lengths, seconds).savefig(options.picture, dpi=120)


def _measure(lengths: list[int], rows: int, rounds: int) -> dict[str, list[float]]:
    """Returns the median seconds of a step for each family and length, taken in turn."""
    trainings = {}
    for family in FAMILIES:
        print(f"preparing {family} ...", file=sys.stderr, flush=True)
        trainings[family] = training = _training(family)
        for length in lengths:
            training(rows, length)
    turns = {(family, length): [] for family in FAMILIES for length in lengths}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for family, length in turns:
            start = time.perf_counter()
            trainings[family](rows, length)
            turns[family, length].append(time.perf_counter() - start)
    return {
        family: [statistics.median(turns[family, length]) for length in lengths]
        for family in FAMILIES
    }


def _training(family: str):
    """Returns the update of a family on random tokens: (rows, source length) -> None."""
    config = config_of({**SIZES, "batch": 1, "length": TARGET, "family": family, "dropout": 0.1})
    task = task_of(config, SIZES["vocabulary"])
    key = jax.random.key(0, impl=GENERATOR)
    optimizer = make_optimizer(config.optimizer, lambda step: 1e-3)
    step = make_train_step(task.loss, optimizer, key, make_mesh())
    params = task.init(key)
    state = TrainState(jnp.int32(0), params, optimizer.init(params))
    generator = np.random.default_rng(0)

    def train(rows: int, length: int) -> None:
        nonlocal state
        source, target = (
            generator.integers(4, SIZES["vocabulary"], (rows, n), np.int32)
            for n in (length, TARGET)
        )
        state, _ = step(state, {"source": source, "target": target})
        jax.block_until_ready(state)

    return train


def _table(lengths: list[int], seconds: dict[str, list[float]]) -> str:
    """Returns a table of milliseconds of a step and their growth exponent at the last doubling."""
    columns = ["family", *(str(length) for length in lengths), "exponent at the end"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for family, times in seconds.items():
        exponent = math.log2(times[-1] / times[-2])
        cells = [family, *(f"{1e3 * t:,.0f}" for t in times), f"{exponent:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _draw(lengths: list[int], seconds: dict[str, list[float]]) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for family, times in seconds.items():
        axes.plot(lengths, times, marker="o", label=family)
    longest = max(times[0] for times in seconds.values())
    straight = [longest * length / lengths[0] for length in lengths]
    axes.plot(lengths, straight, "--", color="grey", label="as long as the source")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.yaxis.set_major_formatter(lambda seconds, _: f"{seconds:g}")
    axes.set_xlabel("source tokens")
    axes.set_ylabel("seconds of a training step")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    restart_with_own_allocator()
    leave(main)
