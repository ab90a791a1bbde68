"""Cross entropy with label smoothing, with one forward and one backward pass over the logits."""

import functools

import jax
import jax.numpy as jnp


def cross_entropy(
    logits: jax.Array, targets: jax.Array, label_smoothing: float | jax.Array = 0.0
) -> jax.Array:
    """Returns the cross entropy of each position, in nats.

        loss = logsumexp(z) - (1 - e) z_y - (e / V) sum_v z_v

    with the smoothing e spread evenly over all V entries, including y (Szegedy et al., 2016). The
    derivative softmax(z) - (1 - e) [v = y] - e / V has a closed form, so that between the passes no
    array of size V is kept except the logits.

    Args:
      logits: float32 [..., V].
      targets: int32 [...].
      label_smoothing: e, in [0, 1); no gradient flows to it.
    """
    return objective_and_loss(logits, targets, label_smoothing)[0]


def objective_and_loss(
    logits: jax.Array, targets: jax.Array, label_smoothing: float | jax.Array = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Returns `cross_entropy` with and without smoothing, from one normalizer.

    The first is the training objective; no gradient flows through the second.
    """
    smooth = isinstance(label_smoothing, jax.Array) or label_smoothing > 0
    return _cross_entropy(smooth, logits, targets, label_smoothing)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _cross_entropy(smooth, logits, targets, label_smoothing):
    return _forward(smooth, logits, targets, label_smoothing)[0]


def _forward(smooth, logits, targets, label_smoothing):
    log_normalizer = jax.nn.logsumexp(logits, axis=-1)
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    objective = log_normalizer - (1.0 - label_smoothing) * picked
    if smooth:
        objective -= label_smoothing * jnp.mean(logits, axis=-1)
    loss = log_normalizer - picked
    return (objective, loss), (logits, targets, label_smoothing, log_normalizer)


def _backward(smooth, kept, gradients):
    gradient, _ = gradients
    logits, targets, label_smoothing, log_normalizer = kept
    vocabulary = logits.shape[-1]
    hit = jnp.arange(vocabulary, dtype=targets.dtype) == targets[..., None]
    expected = hit.astype(logits.dtype)
    if smooth:
        expected = (1.0 - label_smoothing) * expected + label_smoothing / vocabulary
    difference = jnp.exp(logits - log_normalizer[..., None]) - expected
    return difference * gradient[..., None], None, None


_cross_entropy.defvjp(_forward, _backward)
