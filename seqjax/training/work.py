"""Counts the FLOPs of a program's matrix products.

XLA counts the body of a loop once, however often it runs, and each backend counts differently.
Other operations are a few percent of a model's work, and peak rates do not count them.
"""

import math
from typing import NamedTuple

from jax.extend import core

# Products of a cuDNN LSTM layer, in units of its forward pass: the backward pass has twice as many.
_CUDNN_LSTM = {"rnn_fwd": 1, "rnn_bwd": 2}


class Work(NamedTuple):
    """FLOPs of the matrix products of a program, and their number."""

    flops: float
    products: float


def work_of(jaxpr: core.Jaxpr) -> Work:
    """Returns the work of a program, two FLOPs for each multiplication and addition.

    The body of a scan counts once for each iteration, that of a loop of unknown length once; of
    several branches the most expensive one counts.
    """
    flops = products = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            inputs, outputs = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            flops += 2.0 * math.prod(outputs) * math.prod(inputs[axis] for axis in contracted)
            products += 1
        elif equation.primitive.name in _CUDNN_LSTM:
            flops += _CUDNN_LSTM[equation.primitive.name] * _lstm_flops(equation)
            products += 1
        else:
            inner = [work_of(program) for program in _inner(equation.params)]
            if equation.primitive.name == "cond":
                inner = [max(inner)]
            times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
            flops += times * sum(work.flops for work in inner)
            products += times * sum(work.products for work in inner)
    return Work(flops, products)


def _lstm_flops(equation: core.JaxprEqn) -> float:
    """Returns the FLOPs of the products of all positions [B, T, ...] of an LSTM layer."""
    rows, length, _ = equation.invars[0].aval.shape
    inputs, hidden = equation.params["input_size"], equation.params["hidden_size"]
    return 2.0 * rows * length * (inputs + hidden) * 4 * hidden


def _inner(params: dict) -> list[core.Jaxpr]:
    """Returns the programs that an operation calls."""
    found = []
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            item = getattr(item, "jaxpr", item)
            if hasattr(item, "eqns"):
                found.append(item)
    return found
