"""`explain`: the parameters, memory, work and time that a config takes; nothing is trained."""

import argparse
import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

import ml_collections

from seqjax.errors import UserError
from seqjax.files import run_path
from seqjax.parallel.catalog import find_devices
from seqjax.parallel.platform import require_platform
from seqjax.reporting.settings import summarize_changes, write_fields
from seqjax.stages import say, stage, write_seconds
from seqjax.tasks.declared import TASKS
from seqjax.training.saved import has_checkpoint

HELP = "Prints the parameters, memory, work and time that a config takes; nothing is trained."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`, `--fields` and `--devices`."""
    parser.add_argument("--json", action="store_true", help="print the same facts as JSON")
    parser.add_argument(
        "--fields",
        action="store_true",
        help="print the effective config instead; a star marks what differs from the defaults",
    )
    parser.add_argument(
        "--devices",
        metavar="NAME",
        default="",
        help="estimate for accelerators that are not here: tpu-v5e-16, h100x8",
    )


def run(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> int:
    """Prints the facts to standard output."""
    if arguments.fields:
        if arguments.json or arguments.devices:
            raise UserError("--fields: expected neither --json nor --devices with it")
        print(write_fields(config))
        return 0
    devices = find_devices(arguments.devices) if arguments.devices else None

    if not devices:
        require_platform()

    from seqjax.parallel.mesh import stand_ins
    from seqjax.training.estimate import estimate
    from seqjax.training.preparation import prepare
    from seqjax.training.trained import refuse_changes

    # With --config the folder is one that `train` would make: nothing is read there. Nothing is
    # ever written.
    workdir = None if arguments.config else run_path(arguments.workdir)
    has_tokenizers = workdir and has_checkpoint(workdir)
    if has_tokenizers:
        refuse_changes(config, workdir, ("task", "tokenizer."), "the run has its tokenizers")
    there = stand_ins(devices.count) if devices else None
    if devices:
        config = config.copy_and_resolve_references()
        # What stands in for a GPU has no cuDNN; the scan has the same parameters.
        config.model.encoder.implementation = config.model.decoder.implementation = "scan"
    prepared = prepare(config, workdir if has_tokenizers else None, there)
    say(summarize_changes(config))
    with stage("compiling the update"):
        facts = estimate(config, prepared, workdir, devices)
    if arguments.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return 0
    sections = (_parameters, _corpus, _batches, _durations, _memory, _time)
    print("\n\n".join("\n".join(section(facts)) for section in sections))
    return 0


def _parameters(facts: dict[str, Any]) -> list[str]:
    total = facts["parameters"]["count"]
    rows = [("module", "arrays", "", "parameters", "share")]
    modules = _modules(facts["parameters"]["arrays"])
    for top, members in itertools.groupby(modules, key=lambda module: module[0].split("/")[0]):
        members = list(members)
        count = sum(count for *_, count in members)
        if len(members) > 1:
            rows.append((top, "", "", f"{count:,}", _percent(count / total)))
        for path, shapes, times, part in members:
            name = path if len(members) == 1 else f"  {path.removeprefix(f'{top}/')}"
            repeated = f"{times} x" if times > 1 else ""
            rows.append((name, shapes, repeated, f"{part:,}", _percent(part / total)))
    rows.append(("total", "", "", f"{total:,}", _percent(1.0)))
    return ["PARAMETERS", *_table(rows, "<<>>>", foot=True)]


def _modules(arrays: Sequence[dict[str, Any]]) -> list[tuple[str, str, int, int]]:
    """Returns (path, shapes, repetitions, parameters) of each module; numbered twins are one."""
    shapes: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for array in arrays:
        module, _, name = array["path"].rpartition("/")
        size = "x".join(map(str, array["shape"])) or "1"
        shapes.setdefault(module, []).append(f"{name} {size}")
        counts[module] = counts.get(module, 0) + array["count"]
    twins: dict[tuple[str, str], list[str]] = {}
    for module, parts in shapes.items():
        # The largest array says most: kernel before bias.
        twins.setdefault((re.sub(r"\d+", "*", module), ", ".join(reversed(parts))), []).append(
            module
        )
    return [
        (_span(paths), parts, len(paths), sum(counts[path] for path in paths))
        for (_, parts), paths in twins.items()
    ]


def _span(paths: Sequence[str]) -> str:
    """Writes numbered twins as one path: 'block_0/norm', 'block_1/norm' -> 'block_0-1/norm'."""
    # Texts and numbers in turn; only numbers differ.
    parts = zip(*(re.split(r"(\d+)", path) for path in paths), strict=True)
    ends = ((min(part, key=_size), max(part, key=_size)) for part in parts)
    return "".join(first if first == last else f"{first}-{last}" for first, last in ends)


def _size(digits: str) -> tuple[int, str]:
    """Orders numbers by their value: 9 before 10."""
    return len(digits), digits


def _corpus(facts: dict[str, Any]) -> list[str]:
    corpus, epoch, unit = facts["corpus"], facts["epoch"], TASKS[facts["task"]].unit
    rows = [
        (f"{unit} kept", f"{corpus['kept']:,}", f"of {corpus[unit]:,}"),
        ("dropped", f"{corpus[unit] - corpus['kept']:,}", _dropped(corpus)),
        ("cut", f"{corpus['long_cut']:,}", "longer than data.max_source_length, ..."),
    ]
    for role in TASKS[facts["task"]].roles:
        tokens, unknown = epoch[f"{role}_tokens"], corpus[f"{role}_unknown"]
        share = _percent(unknown / corpus[f"{role}_tokens"])
        rows.append((f"{role} tokens", f"{tokens:,}", f"{share} unknown"))
    return ["AN EPOCH OF THE CORPUS", *_table([row for row in rows if row[1] != "0"], "<><")]


_REASONS = {
    "identical_dropped": "with equal sides",
    "duplicates_dropped": "repeated",
    "overlap_dropped": "with a held-out source",
    "empty_dropped": "with an empty side",
    "ratio_dropped": "of uneven lengths",
    "long_dropped": "too long",
}


def _dropped(corpus: dict[str, int]) -> str:
    return ", ".join(f"{corpus[name]:,} {why}" for name, why in _REASONS.items() if corpus[name])


def _batches(facts: dict[str, Any]) -> list[str]:
    roles = TASKS[facts["task"]].roles
    rows = [("rows", *roles, "steps an epoch", "padding", "FLOPs a step")]
    for batch in facts["batches"]:
        sizes = [str(batch[name]) for name in ("rows", *roles)]
        rows.append(
            (*sizes, f"{batch['steps']:,}", _percent(batch["padding"]), _si(batch["flops"]))
        )
    epoch = facts["epoch"]
    mean = epoch["flops"] / epoch["steps"]
    rows.append(
        ("all", *("" for _ in roles), f"{epoch['steps']:,}", _percent(facts["padding"]), _si(mean))
    )
    return ["BATCH SHAPES", *_table(rows, ">" * len(rows[0]), foot=True)]


def _durations(facts: dict[str, Any]) -> list[str]:
    rows = [("field", "written", "steps", "epochs")]
    for field, found in facts["durations"].items():
        steps, epochs = (f"{found['steps']:,}", f"{found['epochs']:.2f}")
        rows.append(
            (field, found["written"], *((steps, epochs) if found["steps"] else ("never", "")))
        )
    return ["DURATIONS", *_table(rows, "<<>>")]


def _memory(facts: dict[str, Any]) -> list[str]:
    memory = facts["memory"]
    rows_, *lengths = memory["shape"]
    rows = [
        ("parameters", _mib(memory["parameters"])),
        ("optimizer state", _mib(memory["optimizer"])),
        *([("moving average", _mib(memory["moving_average"]))] if memory["moving_average"] else []),
        ("gradients and temporary", _mib(memory["temporary"])),
        ("an update in all", _mib(memory["total"])),
    ]
    notes = []
    if "fits" in memory:
        device, kind = memory["device"], facts["time"]["device"]
        rows.append((f"memory of {kind}", _mib(device)))
        usable = memory["usable"]
        if usable < device:
            rows.append(("of which JAX takes", _mib(int(usable))))
        share = "?" if memory["fits"] is None else _percent(memory["total"] / usable)
        answer = {True: "It fits", False: "It does NOT fit", None: "Unknown"}[memory["fits"]]
        notes = [f"  {answer}: {share}, as compiled for CPUs; an accelerator's compiler differs."]
    head = f"MEMORY of each device, largest batch {rows_} x ({' + '.join(map(str, lengths))})"
    return [head, *_table(rows, "<>"), *notes]


def _time(facts: dict[str, Any]) -> list[str]:
    time = facts["time"]
    done = f"after the {time['steps_done']:,} done" if time["steps_done"] else "in all"
    origin = "measured now" if time["peak_is_measured"] else "as its maker says"
    peak = _si(time["peak_flops_per_second"])
    rows = [
        ("steps", f"{time['steps_left']:,}", done),
        ("work", _si(time["flops"]), "FLOPs"),
        ("peak", peak, f"FLOP/s of {time['devices']} x {time['device']}, {origin}"),
        ("a step", _short(time["seconds_per_step"]), _bound(time)),
        ("share of peak", *_share(time)),
        ("time to finish", _short(time["seconds"]), "without compiling, evaluating and saving"),
        ("device hours", f"{time['device_hours']:,.2f}", "hours of one device, as they are paid"),
    ]
    return ["TIME", *_table(rows, "<><")]


def _bound(time: dict[str, Any]) -> str:
    """Says what the time of a step comes from."""
    if time["bound"] == "run":
        return "on average, as this run reached"
    if time["bound"] == "products":
        return "on average, with 40 % of the peak (assumed)"
    if time["bound"] == "memory":
        return f"at least, to read and write the state at {_si(time['bandwidth'])}B/s"
    if time["bound"] == "kernels":
        return f"at least, for {time['products_per_step']:,.0f} products of 3 us or more (assumed)"
    return "at least, to dispatch it (assumed)"


def _share(time: dict[str, Any]) -> tuple[str, str]:
    if time["share"] is None:
        return "unknown", "this run was faster than the peak: the machine is busy now"
    return _percent(time["share"]), "as this run reached" if time[
        "share_is_measured"
    ] else "assumed"


def _short(seconds: float) -> str:
    """Writes a time that may be shorter than a second: '0.31 ms', '12 ms', '3 min 20 s'."""
    if seconds < 1:
        digits = 2 if seconds < 0.001 else 1 if seconds < 0.01 else 0
        return f"{1000 * seconds:.{digits}f} ms" if seconds else "0 s"
    return f"{seconds:.1f} s" if seconds < 9.95 else write_seconds(seconds)


def _table(rows: Sequence[Sequence[str]], aligned: str, foot: bool = False) -> list[str]:
    """Returns rows as lines in columns; a `foot` is set off from what it sums up."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = zip(row, widths, aligned, strict=True)
        lines.append(("  " + "  ".join(f"{c:{a}{w}}" for c, w, a in cells)).rstrip())
    if foot:
        lines.insert(-1, "  " + "-" * (max(map(len, lines)) - 2))
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _mib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**20:,.1f} MiB"


def _si(value: float) -> str:
    """Writes a large number with three digits and a letter: 1.42e11 is '142 G'."""
    for letter in ("", "k", "M", "G", "T", "P", "E"):
        if value < 999.5:
            return f"{value:.3g} {letter}".rstrip()
        value /= 1000
    return f"{value:.3g} Z"
