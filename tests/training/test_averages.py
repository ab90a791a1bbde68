"""Averages of the parameters."""

import jax.numpy as jnp
import numpy as np

from seqjax.training.averages import moved, since_triggered
from seqjax.training.feedback import Feedback


def test_a_triggered_average_is_the_mean_of_the_parameters_since_then():
    feedback = Feedback(jnp.float32(1.0), jnp.int32(3))
    params = np.random.RandomState(0).standard_normal((8, 4)).astype(np.float32)
    average = {"w": np.zeros(4, np.float32)}
    for step in range(8):
        weight = since_triggered(jnp.int32(step), feedback)
        average = moved(average, {"w": params[step]}, weight)
        expected = params[step] if step < 3 else params[3 : step + 1].mean(axis=0)
        np.testing.assert_allclose(average["w"], expected, rtol=1e-5, atol=1e-6)


def test_before_the_trigger_the_average_is_the_parameters():
    feedback = Feedback(jnp.float32(1.0), jnp.int32(np.iinfo(np.int32).max))
    assert since_triggered(jnp.int32(1_000_000), feedback) == 1.0
