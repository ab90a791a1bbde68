"""The layers once more in plain NumPy, float64, one sentence and one head at a time."""

import math

import numpy as np
import pytest


class Reference:
    """Every function takes the parameters of the layer of the same name."""

    @staticmethod
    def dense(params, x):
        return x @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"])

    @staticmethod
    def norm(params, x):
        centered = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5)
        return centered / deviation * np.asarray(params["scale"]) + np.asarray(params["bias"])

    @classmethod
    def attention(cls, params, query_TxD, memory_SxE, mask_TxS, heads):
        query, key, value = (
            cls.dense(params[name], x)
            for name, x in (("query", query_TxD), ("key", memory_SxE), ("value", memory_SxE))
        )
        size = query.shape[-1] // heads
        outputs = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ key[:, part].T / math.sqrt(size)
            weights = np.exp(scores) * mask_TxS
            outputs.append(weights / weights.sum(-1, keepdims=True) @ value[:, part])
        return cls.dense(params["output"], np.concatenate(outputs, axis=-1))

    @classmethod
    def feed_forward(cls, params, x, activation):
        function = {
            "relu": lambda z: np.maximum(z, 0),
            "gelu": lambda z: (
                0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
            ),
            "swiglu": lambda z: z / (1 + np.exp(-z)),
        }
        function["geglu"] = function["gelu"]
        hidden = function[activation](cls.dense(params["inner"], x))
        if activation in ("swiglu", "geglu"):
            hidden = hidden * cls.dense(params["gate"], x)
        return cls.dense(params["outer"], hidden)


@pytest.fixture(scope="session")
def reference():
    return Reference


@pytest.fixture(scope="session")
def wave():
    """Returns fixed ordinary numbers of a shape, different for each seed."""

    def make(*shape, seed=0):
        return np.sin((np.arange(math.prod(shape)) + 100 * seed) ** 1.3).reshape(shape)

    return make
