"""The layers once more in plain NumPy, float64, one sentence and one head at a time; and what torch
has for them, written by tests/goldens/torch/transformer.py."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
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
            "gelu": lambda z: 0.5 * z * (1 + np.vectorize(math.erf)(z / math.sqrt(2))),
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


class Torch:
    """Goldens of torch's Transformer layers; turns weights, or their gradients, into our names."""

    arrays = np.load(Path(__file__).parents[1] / "goldens" / "torch" / "transformer.npz")
    lengths = arrays["lengths"]

    @staticmethod
    def dense(weights, name):
        return {"kernel": weights[f"{name}.weight"].T, "bias": weights[f"{name}.bias"]}

    @staticmethod
    def norm(weights, name):
        return {"norm": {"scale": weights[f"{name}.weight"], "bias": weights[f"{name}.bias"]}}

    @classmethod
    def attention(cls, weights, name=""):
        if f"{name}q_proj_weight" in weights:
            kernels = [weights[f"{name}{part}_proj_weight"] for part in "qkv"]
        else:
            kernels = np.split(weights[f"{name}in_proj_weight"], 3)
        parts = zip(kernels, np.split(weights[f"{name}in_proj_bias"], 3), strict=True)
        query, key, value = ({"kernel": kernel.T, "bias": bias} for kernel, bias in parts)
        output = cls.dense(weights, f"{name}out_proj")
        return {"query": query, "key": key, "value": value, "output": output}

    @classmethod
    def layer(cls, weights):
        inner = {"inner": cls.dense(weights, "linear1"), "outer": cls.dense(weights, "linear2")}
        params = {
            "attention": cls.attention(weights, "self_attn."),
            "attention_residual": cls.norm(weights, "norm1"),
            "inner": inner,
        }
        if "norm3.weight" not in weights:
            return params | {"inner_residual": cls.norm(weights, "norm2")}
        return params | {
            "cross": cls.attention(weights, "multihead_attn."),
            "cross_residual": cls.norm(weights, "norm2"),
            "inner_residual": cls.norm(weights, "norm3"),
        }

    @classmethod
    def check(cls, case, convert, inputs, forward):
        """Compares outputs and gradients of `forward(params, *inputs)`.

        Args:
          case: name of the golden.
          convert: `attention` or `layer`.
          inputs: names of the inputs in the golden.
        """
        values, gradients = {}, {}
        for path in cls.arrays:
            if path.startswith(f"{case}/"):
                name = path.removeprefix(f"{case}/")
                side = gradients if name.endswith("_gradient") else values
                side[name.removesuffix("_gradient")] = cls.arrays[path]

        def loss(params, *arrays):
            output = forward(params, *arrays)
            weights = 0.7 * np.sin((np.arange(output.size) + 500) ** 1.3).reshape(output.shape)
            return jnp.sum(output * weights), output

        params = jax.tree.map(jnp.asarray, convert(values))
        arrays = [values[name] for name in inputs]
        places = tuple(range(1 + len(inputs)))
        ours, output = jax.jit(jax.grad(loss, places, has_aux=True))(params, *arrays)
        np.testing.assert_allclose(output, values["output"], rtol=1e-5, atol=1e-5)
        theirs = (convert(gradients), *(gradients[name] for name in inputs))
        jax.tree.map(
            lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5),
            ours,
            theirs,
        )


@pytest.fixture(scope="session")
def torch_layers():
    return Torch


@pytest.fixture(scope="session")
def wave():
    """Returns fixed ordinary numbers of a shape, different for each seed."""

    def make(*shape, seed=0):
        return np.sin((np.arange(math.prod(shape)) + 100 * seed) ** 1.3).reshape(shape)

    return make
