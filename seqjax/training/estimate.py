"""An estimate of a training's memory, work and time, without training."""

import math
import statistics
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from seqjax.data.examples import Examples
from seqjax.data.plan import Plan
from seqjax.parallel.catalog import KINDS, Devices, usable_share
from seqjax.reporting.environment import last_recorded
from seqjax.reporting.hardware import float32_precision, known_peak, peak_flops, peak_is_measured
from seqjax.reporting.metrics_log import read_metrics
from seqjax.training.preparation import Durations, Prepared
from seqjax.training.program import Single, abstract_batch
from seqjax.training.saved import newest_checkpoint
from seqjax.training.state import TrainState, parameter_count

# Share of the devices' peak that an update is assumed to reach if no run has been measured.
ASSUMED_SHARE = 0.4
# Assumed lower bounds in seconds: dispatching an update, and launching a kernel for each of its
# products on an accelerator.
_DISPATCH, _KERNEL = 1e-4, 3e-6
# A run's speed is the median of its last reports, this many at most.
_REPORTS = 20


def estimate(
    config: ml_collections.ConfigDict,
    prepared: Prepared,
    workdir: Path | None = None,
    devices: Devices | None = None,
) -> dict[str, Any]:
    """Returns the facts of a training as plain values, ready for JSON.

    Sizes are in bytes, work in floating point operations of all devices, shares are fractions.

    The time of a step is the one measured in the run in `workdir`, if that ran on such devices.
    Otherwise it is the longest of several `bounds`, in seconds: the matrix products at an assumed
    share of the peak, reading and writing the state once, launching a kernel for each product, and
    dispatching the update.

    Only the update of the largest batch shape is compiled.

    Args:
      config: a validated config.
      prepared: the result of `prepare`.
      workdir: a run whose measured speed and progress are taken into account.
      devices: the accelerators of the training, if they are not here; the devices of `prepared`
        stand in for them, and measured speeds are ignored.
    """
    program = Single(config, prepared)
    state = program.abstract_member()
    plan = prepared.plan
    batches = _batches(prepared, program, state)
    memory = _memory(prepared, program, state, devices)
    held = memory["parameters"] + memory["optimizer"] + memory["moving_average"]
    return {
        "task": config.task,
        "parameters": _parameters(state.params),
        "corpus": dict(prepared.examples.report),
        "batches": batches,
        "padding": plan.waste,
        "epoch": {
            "steps": plan.steps_per_epoch,
            **{f"{name}_tokens": count for name, count in plan.tokens.items()},
            "flops": sum(batch["steps"] * batch["flops"] for batch in batches),
        },
        "durations": _durations(config, prepared.durations, plan),
        "memory": memory,
        "time": estimated_time(config, prepared, batches, workdir, devices, held),
    }


def _parameters(params: Any) -> dict[str, Any]:
    total = parameter_count(params)
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {
        "count": total,
        "arrays": [
            {
                "path": "/".join(str(key.key) for key in path),
                "shape": list(leaf.shape),
                "dtype": str(leaf.dtype),
                "count": leaf.size,
                "share": leaf.size / total,
            }
            for path, leaf in leaves
        ],
    }


def _batches(prepared: Prepared, program: Single, state: TrainState) -> list[dict[str, Any]]:
    plan = prepared.plan
    padding = _padding(plan, prepared.examples)
    return [
        {
            "rows": shape.rows,
            **dict(shape.lengths),
            "steps": steps,
            "padding": waste,
            **program.step.work(state, abstract_batch(plan, shape))._asdict(),
        }
        for shape, steps, waste in zip(plan.shapes, plan.steps_per_shape, padding, strict=True)
    ]


def _padding(plan: Plan, examples: Examples) -> list[float]:
    """Returns the share of padding in the batches of each shape, in the first epoch."""
    if len(plan.shapes) == 1:
        return [plan.waste]
    lengths = np.sum(list(examples.lengths.values()), axis=0)
    real = dict.fromkeys(plan.shapes, 0)
    for step in range(plan.steps_per_epoch):
        planned = plan.batch(step)
        rows = planned.rows
        real[planned.shape] += int(np.sum(lengths[rows[rows >= 0]], dtype=np.int64))
    return [
        1 - real[shape] / (steps * shape.positions)
        for shape, steps in zip(plan.shapes, plan.steps_per_shape, strict=True)
    ]


def _durations(
    config: ml_collections.ConfigDict, durations: Durations, plan: Plan
) -> dict[str, dict[str, Any]]:
    written = {
        "train.duration": (config.train.duration, durations.total),
        "schedule.warmup": (config.schedule.warmup, durations.warmup),
        "evaluation.every": (config.evaluation.every, durations.evaluate),
        "checkpoint.every": (config.checkpoint.every, durations.save),
        "reporting.every": (config.reporting.every, durations.report),
    }
    return {
        field: {"written": text, "steps": steps, "epochs": steps / plan.steps_per_epoch}
        for field, (text, steps) in written.items()
    }


def _memory(
    prepared: Prepared, program: Single, state: TrainState, devices: Devices | None
) -> dict[str, Any]:
    """Returns the memory of one device during the update of the largest shape."""
    plan = prepared.plan
    largest = plan.largest
    stats = program.step.compile(state, abstract_batch(plan, largest)).memory_analysis()
    memory = {
        "shape": [largest.rows, *(length for _, length in largest.lengths)],
        "parameters": _bytes(state.params),
        "optimizer": _bytes(state.optimizer),
        "moving_average": _bytes(state.average),
        "temporary": None,
        "total": None,
    }
    # Some backends report nothing.
    if stats is not None:
        total = stats.argument_size_in_bytes + stats.temp_size_in_bytes
        total += stats.output_size_in_bytes - stats.alias_size_in_bytes
        memory |= {"temporary": stats.temp_size_in_bytes, "total": total}
    if devices is not None:
        there = KINDS[devices.kind].memory
        usable = there * usable_share(devices.kind)
        fits = None if stats is None else memory["total"] <= usable
        memory |= {"device": there, "usable": usable, "fits": fits}
    return memory


def _bytes(tree: Any) -> int:
    """Returns the bytes of one device's part of the arrays."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def estimated_time(
    config: ml_collections.ConfigDict,
    prepared: Prepared,
    batches: list[dict[str, Any]],
    workdir: Path | None,
    devices: Devices | None,
    held: int,
) -> dict[str, Any]:
    """Returns the time of the updates alone, without compiling, evaluating and saving.

    `held` are the bytes of the state on one device.
    """
    # Updates after the last checkpoint may have to be repeated.
    done = newest_checkpoint(workdir) if workdir else 0
    left = max(prepared.durations.total - done, 0)
    plan, mesh, dtype = prepared.plan, prepared.mesh, config.model.dtype
    flops, products = (
        sum(batch["steps"] * batch[name] for batch in batches) / plan.steps_per_epoch
        for name in ("flops", "products")
    )
    here = list(mesh.devices.flat)
    if devices is None:
        kind, measured = here[0].device_kind, peak_is_measured(here)
        peak, bandwidth = peak_flops(dtype, here), 0
        speed = _tokens_per_second(workdir, kind) if workdir else None
    else:
        there, measured, speed = KINDS[devices.kind], False, None
        peak = mesh.size * known_peak(there.reported, dtype, float32_precision())
        kind, bandwidth = devices.kind, there.bandwidth
    bounds = {"products": flops / (peak * ASSUMED_SHARE), "dispatch": _DISPATCH}
    if devices is not None or here[0].platform != "cpu":
        bounds["kernels"] = products * _KERNEL
    if bandwidth:
        # Every array of the state is read and written once.
        bounds["memory"] = 2 * held / bandwidth
    if speed:
        bounds = {"run": plan.tokens_per_epoch / plan.steps_per_epoch / speed}
    bound = max(bounds, key=bounds.get)
    share = flops / bounds[bound] / peak
    return {
        "devices": mesh.size,
        "device": kind,
        "peak_flops_per_second": peak,
        "peak_is_measured": measured,
        # Above 1 the peak was measured on a busy machine.
        "share": share if share <= 1 else None,
        "share_is_measured": bound == "run",
        "steps_done": done,
        "steps_left": left,
        "flops": left * flops,
        "products_per_step": products,
        "bandwidth": bandwidth or None,
        "bound": bound,
        "bounds": bounds,
        "seconds_per_step": bounds[bound],
        "seconds": left * bounds[bound],
        # Idle devices are paid for, too.
        "device_hours": (devices.count if devices else mesh.size) * left * bounds[bound] / 3600,
    }


def _tokens_per_second(workdir: Path, kind: str) -> float | None:
    """Returns how fast a run was, None if it was on another kind of device or reported nothing."""
    kinds = {device["kind"] for device in last_recorded(workdir, "devices")}
    if kinds - {kind}:
        return None
    name = "train/tokens_per_second"
    speeds = [float(entry[name]) for entry in read_metrics(workdir) if name in entry]
    return statistics.median(speeds[-_REPORTS:]) if speeds else None
