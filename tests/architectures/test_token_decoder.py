"""The training objective of a decoder beside its equations in NumPy."""

import jax
import numpy as np

from seqjax.architectures.language_model import build_language_model
from seqjax.config import default_config

TOKENS = np.array([[2, 4, 5, 6, 4], [2, 6, 6, 5, 4]], np.int32)


def _built(filled, **fields):
    model = default_config().model
    model.decoder.update(kind="gru", layers=1, width=6, readout="state", **fields)
    model = build_language_model(model, 9)
    shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS)
    return model, {"params": filled(shapes["params"])}


def test_activations_and_their_changes_are_penalized(filled):
    """Merity et al. (2017); the paper's means are over all positions, whose sum is compared."""
    model, variables = _built(filled)
    x, _ = model.apply(variables, TOKENS, method="read")
    plain, loss = model.apply(variables, x, TOKENS, method="losses")
    found, same = model.apply(
        variables, x, TOKENS, activation=2.0, temporal_activation=3.0, method="losses"
    )
    np.testing.assert_array_equal(loss, same)
    h = np.asarray(x, np.float64)
    expected = np.asarray(plain) + 2.0 * (h**2).mean(-1)
    expected[:, 1:] += 3.0 * ((h[:, 1:] - h[:, :-1]) ** 2).mean(-1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_outputs_are_dropped_for_the_head_and_not_for_their_changes(filled):
    model, variables = _built(filled, output_dropout=0.5, variational=True)
    x, _ = model.apply(variables, TOKENS, method="read")
    rngs = {"dropout": jax.random.key(3)}
    terms = [
        model.apply(variables, x, TOKENS, method="losses", rngs=rngs, **weights)[0]
        for weights in ({}, {"activation": 1.0}, {"temporal_activation": 1.0})
    ]
    h = np.asarray(x, np.float64)
    change = np.zeros(TOKENS.shape)
    change[:, 1:] = ((h[:, 1:] - h[:, :-1]) ** 2).mean(-1)
    np.testing.assert_allclose(terms[2] - terms[0], change, atol=1e-5)
    # One mask for all positions of a row: some subset of doubled values gives every mean.
    squares = np.asarray(terms[1] - terms[0])
    masks = np.array([[int(bit) for bit in f"{number:06b}"] for number in range(64)])
    for row in range(2):
        means = masks @ (2 * h[row].T) ** 2 / 6
        assert np.abs(means - squares[row]).max(axis=1).min() < 1e-5
    assert np.abs(squares - (h**2).mean(-1)).max() > 1e-3
    # Without random numbers nothing is dropped: that is how a model is scored.
    kept, _ = model.apply(variables, x, TOKENS, method="losses")
    logits = model.apply(variables, x, method="predict")
    picked = np.take_along_axis(np.asarray(logits), TOKENS[..., None], -1)[..., 0]
    np.testing.assert_allclose(kept, jax.nn.logsumexp(logits, axis=-1) - picked, rtol=1e-5)
