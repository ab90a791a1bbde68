"""The measuring side of a contest: contenders take turns, one at a time, in several rounds.

Machines are shared and clock rates vary, so figures of different hours cannot be compared. Every
round measures all contenders one after the other; the result is the median over the rounds of the
ratio within a round.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from seqjax.errors import UserError
from seqjax.parallel.host_memory import ALLOCATOR

FOLDER = Path(__file__).parent
# Seconds between turns: thread pools of the previous contender may still spin.
PAUSE_SECONDS = 0.3
# Sizes of the Transformer for training and search.
TRANSFORMER = {"layers": 3, "width": 256, "heads": 8, "feed_forward": 1024, "vocabulary": 8000}


class Contender(NamedTuple):
    """A program that takes part; an optional one may fail to start.

    `allocator` is whether it runs with `ALLOCATOR`, which `launch.py` sets and a peer's user could.
    """

    name: str
    python: str
    script: str
    options: dict
    allocator: bool = False
    optional: bool = False


class Worker:
    """A contender's process."""

    def __init__(self, contender: Contender, sizes: dict):
        arguments = json.dumps({**sizes, **contender.options})
        self.name = contender.name
        environment = {key: value for key, value in os.environ.items() if key not in ALLOCATOR}
        self._process = subprocess.Popen(
            [contender.python, str(FOLDER / contender.script), arguments],
            env={**environment, **(ALLOCATOR if contender.allocator else {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about = self._read()

    def work(self, amount: int) -> dict:
        print(amount, file=self._process.stdin, flush=True)
        return self._read()

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise UserError(f"{self.name} failed with exit code {self._process.wait()} (see above)")
        return json.loads(line)


def require(python: str, package: str) -> None:
    """Raises UserError unless the interpreter can import the package."""
    try:
        found = subprocess.run([python, "-c", f"import {package}"], capture_output=True)
    except OSError as error:
        raise UserError(
            f"--torch_python={python}: expected a Python interpreter ({error.strerror})"
        ) from error
    if found.returncode:
        raise UserError(
            f"--torch_python={python}: expected an interpreter that can import {package}"
        )


def hold(
    contenders: list[Contender],
    sizes: dict,
    rounds: int,
    amount: int,
    tokens: int,
    one_model: bool = True,
) -> None:
    """Runs a contest and prints its table on standard output; the first contender is ours.

    Args:
      contenders: the programs.
      sizes: the sizes passed to every worker.
      rounds: number of turns of each contender.
      amount: updates or batches in a turn.
      tokens: target tokens in an update or batch.
      one_model: whether all contenders must have the same number of parameters.
    """
    workers = []
    try:
        for contender in contenders:
            _say(f"preparing {contender.name} ...")
            try:
                workers.append(Worker(contender, sizes))
            except UserError as error:
                if not contender.optional:
                    raise
                _say(f"{contender.name} is left out: {error}")
        if one_model:
            _check_parameters(workers)
        turns = _rounds(workers, rounds, amount, tokens)
    finally:
        for worker in workers:
            worker.stop()
    print(f"{machine()}\n\n{json.dumps(sizes)}, {rounds} rounds of {amount}\n")
    print(_table(workers, turns))


def _rounds(workers, rounds, amount, tokens) -> dict[str, list[float]]:
    """Returns tokens per second of each contender in each round."""
    turns = {worker.name: [] for worker in workers}
    for number in range(rounds):
        first = number % len(workers)
        for worker in workers[first:] + workers[:first]:
            time.sleep(PAUSE_SECONDS)
            figures = worker.work(amount)
            turns[worker.name].append(amount * tokens / figures.pop("seconds"))
            more = "".join(f", {key} {value:.4g}" for key, value in figures.items())
            _say(f"round {number + 1}: {worker.name} {turns[worker.name][-1]:,.0f} tokens/s{more}")
    return turns


def _table(workers: list[Worker], turns: dict[str, list[float]]) -> str:
    ours = turns[workers[0].name]
    lines = [
        f"| | tokens/s, median | slowest to fastest | {workers[0].name} / it | in a round | runs |",
        "|---|---|---|---|---|---|",
    ]
    for worker in workers:
        speeds = turns[worker.name]
        ratios = [a / b for a, b in zip(ours, speeds, strict=True)]
        lines.append(
            f"| {worker.name} | {statistics.median(speeds):,.0f} "
            f"| {min(speeds):,.0f} to {max(speeds):,.0f} "
            f"| {statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} "
            f"| {_about(worker)} |"
        )
    return "\n".join(lines)


def _about(worker: Worker) -> str:
    count = worker.about.get("parameters")
    return worker.about["runs"] + (f", {count:,} parameters" if count else "")


def _check_parameters(workers: list[Worker]) -> None:
    counts = {w.name: w.about["parameters"] for w in workers if "parameters" in w.about}
    if len(set(counts.values())) > 1:
        raise UserError(f"the models differ in their number of parameters: {counts}")


def machine() -> str:
    """Returns the day, the machine and its load."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [s for s in information.read_text().splitlines() if s.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    day = time.strftime("%Y-%m-%d")
    return f"{day}, {model}, {os.cpu_count()} logical cores, load average at the end {load:.1f}"


def arguments(description: str, amount: int, sizes: Mapping[str, int]) -> argparse.ArgumentParser:
    """Returns a parser with the options of all contests and one for each size of the model."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--torch_python", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--amount", type=int, default=amount, help="updates or batches in a turn")
    for name, value in {**sizes, "batch": 64, "length": 32}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser


def sizes_of(options: argparse.Namespace) -> dict:
    """Returns the options that are passed to the workers."""
    return {
        name: value
        for name, value in vars(options).items()
        if name not in ("torch_python", "rounds", "amount")
    }


def leave(main: Callable[[], None]) -> None:
    """Runs a contest's `main`; reports a user's mistake in one line with exit code 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
