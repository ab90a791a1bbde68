"""The run of a trial in the folder of a sweep, by its name or as the best one."""

import csv
import io
import os
from collections.abc import Sequence

from seqjax.errors import UserError, did_you_mean
from seqjax.files import run_path

# What `--trial` calls the first trial of the table.
_BEST = "best"
# Names that a message lists, at most.
_LISTED = 12


def run_folder(workdir: str, trial: str | None) -> str:
    """Returns the run directory that `--workdir` and `--trial` name together.

    The best trial is the first of `results.csv` that is done: a sweep writes them from the best to
    the worst, by the objective of its study.

    Args:
      workdir: a run, or the folder of a sweep.
      trial: a trial's name, or 'best'; None if the option was not given.

    Raises:
      UserError: no such trial, none is done, or a sweep without a trial.
    """
    folder = run_path(workdir)
    if (folder / "config.json").is_file():
        if trial is not None:
            raise UserError(
                f"--trial={trial}: expected --workdir to be the folder of a sweep;"
                f" {workdir} is a run"
            )
        return workdir
    trials = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if trial is None and not trials:
        return workdir  # Whoever reads the config says that there is none.
    done = _done(workdir)
    best = next((name for name in done if name in trials), None)
    known = _listed(trials, best)
    if trial is None:
        example = best or trials[0]
        raise UserError(
            f"--workdir={workdir}: expected a run; it holds the runs {known};"
            f" choose one with --trial=best or --trial={example}"
        )
    if not trials:
        raise UserError(f"--trial={trial}: expected trials in --workdir={workdir}, found none")
    if trial == _BEST:
        if best is None:
            raise UserError(
                f"--trial=best: expected a trial that is done in {workdir}/results.csv;"
                f" choose one of {known}"
            )
        return os.path.join(workdir, best)
    if trial not in trials:
        raise UserError(
            f"--trial={trial}: expected best or one of {known}{did_you_mean(trial, trials)}"
        )
    return os.path.join(workdir, trial)


def _done(workdir: str) -> list[str]:
    """Returns the trials that are done, from the best to the worst."""
    path = run_path(workdir) / "results.csv"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    rows = csv.DictReader(io.StringIO(text))
    return [row["trial"] for row in rows if row.get("outcome") == "done" and row.get("objective")]


def _listed(trials: Sequence[str], best: str | None) -> str:
    """Writes names, the best first."""
    names = [*([best] if best else []), *(name for name in trials if name != best)]
    shown = [f"{name} (the best)" if name == best else name for name in names[:_LISTED]]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(shown) + more
