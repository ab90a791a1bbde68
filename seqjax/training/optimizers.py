"""Optimizers and learning rate schedules, from their config."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax


def learning_rate(
    peak: float,
    schedule: ml_collections.ConfigDict,
    warmup: int,
    total: int,
    hold: int = 0,
    interval: int = 1,
) -> optax.Schedule:
    """Returns the learning rate as a function of the update's number, counted from 0.

    With W warm-up updates of N in all and p the peak, update t has the rate

        p (t + 1) / W                        t < W
        p                                    constant
        p sqrt(max(W, 1) / (t + 1))          inverse_sqrt (Vaswani et al., 2017)
        p (f + (1 - f) (1 + cos(pi u)) / 2)  cosine (Loshchilov and Hutter, 2017)
        p (f + (1 - f) (1 - u))              linear
        p                                    step, t < H
        p g^(1 + floor((t - H) / I))         step, t >= H
        p g^d                                plateau, after d drops (`seqjax.training.feedback`)
        u = (t - W) / (N - W), f = schedule.final, g = schedule.factor

    H is `hold` and I `interval`, both in updates and counted from the beginning of training. With
    H = 4 epochs, I = 1 epoch and g = 1/2 this is the schedule of Zaremba et al. (2014). The drops
    of a plateau are not known beforehand; the result has none of them.
    """
    rest = max(total - warmup, 1)
    if schedule.kind in ("constant", "plateau"):
        after = optax.constant_schedule(peak)
    elif schedule.kind == "cosine":
        after = optax.cosine_decay_schedule(peak, rest, alpha=schedule.final)
    elif schedule.kind == "linear":
        after = optax.linear_schedule(peak, peak * schedule.final, rest)
    elif schedule.kind == "step":

        def after(t):
            t = jnp.asarray(t) + warmup
            drops = jnp.where(t < hold, 0, 1 + (t - hold) // interval)
            return peak * jnp.float32(schedule.factor) ** drops

    else:

        def after(t):
            return peak * (max(warmup, 1) / (t + warmup + 1)) ** 0.5

    if not warmup:
        return after
    rise = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup])


def rate_on_host(rate: optax.Schedule) -> Callable[[int], float]:
    """Returns a schedule as a function on the host, which waits for no other device.

    On the training's device a single number would come after the update that is under way.
    """
    compiled = jax.jit(rate)
    try:
        host = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS leaves no CPU.
        host = jax.local_devices()[0]

    def value(step: int) -> float:
        return float(jax.device_get(compiled(jax.device_put(np.int32(step), host))))

    return value


def make_optimizer(
    optimizer: ml_collections.ConfigDict, rate: optax.Schedule
) -> optax.GradientTransformation:
    """Returns clipping, the optimizer that `config.optimizer` names, and weight decay.

    The decay is decoupled: a matrix loses the share rate * weight_decay in each update, whatever
    its gradient. Of a matrix whose lengths are parameters of their own (`NormalizedDense`) these
    do, since its directions stay the same however long they are.

    Adam is Kingma and Ba (2015), AdamW Loshchilov and Hutter (2019), Adafactor Shazeer and
    Stern (2018). Gradients are clipped to a global norm (Pascanu et al., 2013).
    """
    o = optimizer
    decay = optax.add_decayed_weights(o.weight_decay, mask=_decays)
    scale = optax.scale_by_learning_rate(rate)
    if o.kind == "adam":
        parts = [optax.scale_by_adam(o.beta1, o.beta2, o.epsilon), scale]
    elif o.kind == "adamw":
        parts = [optax.scale_by_adam(o.beta1, o.beta2, o.epsilon), decay, scale]
    elif o.kind == "sgd":
        parts = [optax.trace(o.momentum), decay, scale]
    else:
        parts = [
            optax.scale_by_factored_rms(),
            optax.clip_by_block_rms(1.0),
            optax.scale_by_param_block_rms(),
            decay,
            scale,
        ]
    clip = [optax.clip_by_global_norm(o.clip)] if o.clip else []
    return optax.chain(*clip, *parts)


def _decays(params):
    """Returns a tree of which parameters decay."""
    if not isinstance(params, Mapping):
        return params.ndim > 1
    found = {name: _decays(part) for name, part in params.items()}
    if {"kernel", "scale"} <= found.keys():
        found.update(kernel=False, scale=True)
    return found
