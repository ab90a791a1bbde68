"""Times the compilation of an update for several depths, with `scan_layers` and without.

python experiments/speed/compile_time.py
"""

import argparse
import itertools
import statistics
import time

import jax
import numpy as np
from contest import leave, machine
from with_seqjax import config_of, task_of

from seqjax.parallel.mesh import make_mesh
from seqjax.tasks.text_to_text import TextToText
from seqjax.training.optimizers import make_optimizer
from seqjax.training.recipe import GENERATOR
from seqjax.training.state import TrainState
from seqjax.training.step import make_train_step

# Shapes do not affect the time to compile.
SIZES = {"width": 64, "heads": 4, "feed_forward": 256, "batch": 8, "length": 32, "dropout": 0.1}
VOCABULARY = 1000
FAMILIES = ("transformer", "convolutional")
WAYS = {"one by one": False, "scan_layers": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 6, 12, 24])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = list(itertools.product(FAMILIES, WAYS))
    turns = {(*row, depth): [] for row in rows for depth in options.depths}
    for _ in range(options.rounds):
        for (family, way, depth), seconds in turns.items():
            seconds.append(_seconds(_task(family, depth, WAYS[way])))
    print(f"{machine()}\n\nlayers of encoder and of decoder, {options.rounds} rounds\n")
    print("| seconds | | " + " | ".join(map(str, options.depths)) + " |")
    print("|" + "---|" * (2 + len(options.depths)))
    for row in rows:
        cells = [f"{statistics.median(turns[*row, depth]):.1f}" for depth in options.depths]
        print("| " + " | ".join((*row, *cells)) + " |")


def _task(family: str, depth: int, loop: bool) -> TextToText:
    config = config_of({**SIZES, "family": family, "layers": depth})
    for stack in (config.model.encoder, config.model.decoder):
        stack.scan_layers = loop
    return task_of(config, VOCABULARY)


def _seconds(task: TextToText) -> float:
    """Returns the seconds to trace, lower and compile an update."""
    key = jax.random.key(0, impl=GENERATOR)
    optimizer = make_optimizer(task.config.optimizer, lambda step: 1e-3)
    params = jax.eval_shape(task.init, key)
    state = TrainState(
        jax.ShapeDtypeStruct((), np.int32), params, jax.eval_shape(optimizer.init, params)
    )
    tokens = jax.ShapeDtypeStruct((SIZES["batch"], SIZES["length"]), np.int32)
    step = make_train_step(task.loss, optimizer, key, make_mesh())
    start = time.perf_counter()
    step.compile(state, {"source": tokens, "target": tokens})
    return time.perf_counter() - start


if __name__ == "__main__":
    jax.config.update("jax_enable_compilation_cache", False)
    leave(main)
