"""One model of each family as it runs outside the tests: compiled with XLA's optimizations.

All other tests do without most of them, to compile sooner.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.architectures.encoder_decoder import build
from seqjax.config import default_config
from seqjax.data.tokenizer import BOS, EOS, PAD

SOURCE = np.array([[5, 9, 4, 7, EOS], [8, EOS, PAD, PAD, PAD], [6, 6, 10, EOS, PAD]], np.int32)
TARGET = np.array([[BOS, 4, 12, 5], [BOS, 9, 9, 4], [BOS, 5, 4, 8]], np.int32)
BAHDANAU = {"attention": "additive", "attention_order": "attend_first"}
FAMILIES = {
    "elman": {"attention": "additive", "attention_order": "update_first"},
    "lstm": BAHDANAU | {"input_feeding": True},
    "gru": BAHDANAU | {"cell_normalization": True},
    "convolutional": {"attention": "dot", "positions": "learned"},
    "transformer": {},
}


def compile_with(optimizations, function, *arguments):
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", not optimizations)
    # What has been lowered keeps its executable.
    jax.clear_caches()
    name = "xla_cpu_use_fusion_emitters"
    options = {name: optimizations} if name in os.environ["XLA_FLAGS"] else {}
    try:
        return jax.jit(function).lower(*arguments).compile(options)
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [
        # The same scan as that of LSTMs.
        pytest.param(name, marks=[pytest.mark.thorough] * (name in ("elman", "gru")))
        for name in FAMILIES
    ],
)
def test_optimizations_change_nothing_and_both_views_agree(family, filled):
    config = default_config().model
    for stack in (config.encoder, config.decoder):
        stack.update(kind=family, layers=2, width=8, heads=2, feed_forward=16, dropout=0.0)
        stack.update({key: value for key, value in FAMILIES[family].items() if key in stack})
    model = build(config, 13, 13)
    shapes = jax.eval_shape(model.init, jax.random.key(0), SOURCE, TARGET)["params"]
    variables = {"params": filled(shapes)}

    def loss(variables):
        logits = model.apply(variables, SOURCE, TARGET)
        return jnp.sum(logits * np.cos(np.arange(logits.size)).reshape(logits.shape)), logits

    def walk(variables):
        memory = model.apply(variables, SOURCE, method="encode")
        carry = model.apply(variables, memory, 1, TARGET.shape[1], method="start")

        def step(carry, tokens_Bx1):
            return model.apply(variables, carry, tokens_Bx1, method="step")

        _, logits = jax.lax.scan(step, carry, TARGET.T[:, :, None])
        return logits[:, :, 0].swapaxes(0, 1)

    derivative = jax.grad(loss, has_aux=True)
    plain, optimized = (
        compile_with(with_them, derivative, variables) for with_them in (False, True)
    )
    # Otherwise both were the same machine code.
    assert plain.runtime_executable().serialize() != optimized.runtime_executable().serialize()
    (expected, expected_logits), (gradients, logits) = plain(variables), optimized(variables)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-5, atol=1e-5)
    for ours, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected), strict=True):
        # Rounded otherwise, in proportion to what is added up.
        largest = max(1.0, float(jnp.abs(other).max()))
        np.testing.assert_allclose(ours, other, rtol=1e-4, atol=1e-5 * largest)
    walked = compile_with(True, walk, variables)(variables)
    np.testing.assert_allclose(walked, logits, rtol=1e-5, atol=1e-5)
