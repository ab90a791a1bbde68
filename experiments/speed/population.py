"""Times a study of 16 small trials as one program and as 16 runs in a row, start-up included.

python experiments/speed/population.py
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contest import leave, machine

ROOT = Path(__file__).parents[2]
WAYS = ("off", "auto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default=str(ROOT / "experiments" / "demo_seeds" / "study.py"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "overrides", nargs="*", help="for the sweep, after --: --config.FIELD=VALUE"
    )
    options = parser.parse_args()
    found = {way: [] for way in WAYS}
    for number in range(options.rounds):
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            seconds, updates = _sweep(options.study, way, options.overrides)
            found[way].append((seconds, updates))
            print(f"round {number + 1}: {way} {seconds:.0f} s", file=sys.stderr, flush=True)
    print(f"{machine()}\n")
    print(f"{options.study}, {options.rounds} round(s)\n")
    print("| --vectorize | seconds of the study | off / it | seconds of its updates | off / it |")
    print("|---|---|---|---|---|")
    for way in WAYS:
        cells = [way]
        for column in range(2):
            own = [turn[column] for turn in found[way]]
            ratios = [turn[column] / mine for turn, mine in zip(found["off"], own, strict=True)]
            cells += [f"{statistics.median(own):.1f}", f"{statistics.median(ratios):.2f}"]
        print(f"| {' | '.join(cells)} |")


def _sweep(study: str, way: str, overrides: list[str]) -> tuple[float, float]:
    """Returns the seconds of a sweep and of all updates in it."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, str(ROOT / "launch.py"), "sweep", f"--study={study}"]
            + [f"--workdir={folder}", f"--vectorize={way}", *overrides],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        seconds = time.perf_counter() - started
        with open(Path(folder) / "results.csv", encoding="utf-8") as rows:
            updates = sum(float(row["training_seconds"]) for row in csv.DictReader(rows))
    return seconds, updates


if __name__ == "__main__":
    leave(main)
