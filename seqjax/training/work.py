"""How much work a program is: the FLOPs of its matrix products, as it was written.

XLA counts the body of a loop once, however often it runs, and each backend counts in its own way.
What is not a product is a few percent of a model's work, and none of what a peak rate promises.
"""

import math

from jax.extend import core

# An LSTM layer by cuDNN -> the products of each forward: backward it has two of their size.
_CUDNN_LSTM = {"rnn_fwd": 1, "rnn_bwd": 2}


def product_flops(jaxpr: core.Jaxpr) -> float:
    """Returns the FLOPs of all products in a program, two for each multiplication and addition.

    A scan counts as often as it runs, the dearest of several branches counts, a loop without a
    known end counts once.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            inputs, outputs = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            total += 2.0 * math.prod(outputs) * math.prod(inputs[axis] for axis in contracted)
        elif equation.primitive.name in _CUDNN_LSTM:
            total += _CUDNN_LSTM[equation.primitive.name] * _lstm_flops(equation)
        elif equation.primitive.name == "cond":
            total += max(product_flops(branch.jaxpr) for branch in equation.params["branches"])
        else:
            times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
            total += times * sum(map(product_flops, _inner(equation.params)))
    return total


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
