"""The run of a trial in the folder of a sweep, by its name or as the best one."""

import os
from collections.abc import Sequence

from seqjax.errors import UserError, did_you_mean
from seqjax.files import run_path

# What `--trial` calls the trial that heads the table.
_BEST = "best"
# Names that a message lists, at most.
_LISTED = 12


def run_folder(workdir: str, trial: str | None) -> str:
    """Returns the run directory that `--workdir` and `--trial` name together.

    The best trial is the one that heads the sweep's table.

    Args:
      workdir: a run, or the folder of a sweep.
      trial: a trial's name, or 'best'; None if the option was not given.

    Raises:
      UserError: no such trial; a sweep, but no trial; or not exactly one is the best.
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
    best = [name for name in _best(workdir) if name in trials]
    known = _listed(trials, best)
    if trial is None:
        raise UserError(
            f"--workdir={workdir}: expected a run; it holds the runs {known};"
            f" choose one with --trial=best or --trial={(best or trials)[0]}"
        )
    if not trials:
        raise UserError(f"--trial={trial}: expected trials in --workdir={workdir}, found none")
    if trial == _BEST:
        if not best:
            raise UserError(f"--trial=best: no trial is done; expected one of {known}")
        if len(best) > 1:
            raise UserError(
                "--trial=best: the groups of the study are not compared with each other;"
                f" expected one of {', '.join(best)}"
            )
        return os.path.join(workdir, best[0])
    if trial not in trials:
        raise UserError(
            f"--trial={trial}: expected best or one of {known}{did_you_mean(trial, trials)}"
        )
    return os.path.join(workdir, trial)


def _best(workdir: str) -> list[str]:
    """Returns the best trial of a sweep; of several groups that must not be compared, of each."""
    from seqjax.studies.results import best, grouped
    from seqjax.studies.snapshot import FILE, read_snapshot

    folder = run_path(workdir)
    if not (folder / FILE).is_file():
        return []
    study = read_snapshot(folder)
    groups = grouped(study.higher, study.by, study.results)
    found = (best(study.higher, group.results) for group in groups)
    return [result.name for result in found if result is not None]


def _listed(trials: Sequence[str], best: Sequence[str]) -> str:
    """Writes names, the best first."""
    names = [*best, *(name for name in trials if name not in best)]
    shown = [f"{name} (the best)" if name in best else name for name in names[:_LISTED]]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(shown) + more
