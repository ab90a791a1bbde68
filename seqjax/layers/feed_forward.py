"""The position-wise feed-forward layer and its gated variants."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.dense import Dense
from seqjax.layers.dropout import Dropout

_gelu = functools.partial(jax.nn.gelu, approximate=False)
# Name -> (activation, whether it is a gate that multiplies a second projection).
ACTIVATIONS = {
    "relu": (jax.nn.relu, False),
    "gelu": (_gelu, False),
    "swiglu": (jax.nn.silu, True),
    "geglu": (_gelu, True),
}


class FeedForward(nn.Module):
    """Two projections around an activation (Vaswani et al., 2017) or a gate (Shazeer, 2020).

        y = f(x W_1 + b_1) W_2 + b_2                      relu, gelu
        y = (f(x W_1 + b_1) * (x W_3 + b_3)) W_2 + b_2    swiglu, geglu

    f(z) is max(0, z) for 'relu', z sigmoid(z) for 'swiglu', and z Phi(z) for 'gelu' and 'geglu',
    where Phi is the normal distribution function (Hendrycks and Gimpel, 2016).

    Attributes:
      width: size D of inputs and outputs.
      inner: size F between the projections.
      activation: a key of `ACTIVATIONS`.
      dropout: rate on the activations.
      dtype: type of the computation.
    """

    width: int
    inner: int
    activation: str = "relu"
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool = True) -> jax.Array:
        def dense(size, name):
            return Dense(size, self.dtype, name=name)

        function, gated = ACTIVATIONS[self.activation]
        hidden = function(dense(self.inner, "inner")(x))
        if gated:
            hidden = hidden * dense(self.inner, "gate")(x)
        hidden = Dropout(self.dropout)(hidden, deterministic)
        return dense(self.width, "outer")(hidden)
