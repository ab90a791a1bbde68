"""What a study is and what came of it so far, as `study.json` in the folder of its sweep.

The tables and the page are written from it alone, by the sweep and, at any time, by `report`.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqjax.errors import UserError
from seqjax.files import replace_file
from seqjax.studies.results import Result
from seqjax.studies.search import Search
from seqjax.studies.space import Choice, Domain, Integers, Reals
from seqjax.studies.study import AnyStudy
from seqjax.studies.trial import Trial, as_trial, read_curves, read_record, training_facts
from seqjax.training.run_lock import is_locked

FILE = "study.json"
_DOMAINS = {kind.__name__: kind for kind in (Choice, Integers, Reals)}


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A study and what came of its trials.

    Attributes:
      name: the heading.
      objective: the metric by which trials are compared.
      higher: whether its larger values are the better ones.
      judge: the split on which it is measured, '' for its best value while training.
      splits: the splits that every trial is evaluated on.
      columns: what the table shows, among `study.COLUMNS`.
      by: the fields whose values make groups that are not compared with each other.
      searched: whether it is a search, and not a list of trials.
      planned: how many trials there will be.
      domains: what each field in which trials differ may be.
      results: the trials that are known.
    """

    name: str
    objective: str
    higher: bool
    judge: str
    splits: tuple[str, ...]
    columns: tuple[str, ...]
    by: tuple[str, ...]
    searched: bool
    planned: int
    domains: Mapping[str, Domain]
    results: Sequence[Result]

    @property
    def compared(self) -> str:
        """Where the objective is measured, in words."""
        return f"on {self.judge}" if self.judge else "its best while training"


def take_snapshot(
    study: AnyStudy, results: Sequence[Result], domains: Mapping[str, Domain]
) -> Snapshot:
    """Returns what is known of a study now."""
    return Snapshot(
        study.name,
        study.objective,
        study.higher,
        study.judge,
        tuple(study.splits),
        tuple(study.columns),
        study.grouping,
        isinstance(study, Search),
        len(study.names),
        domains,
        results,
    )


def write_snapshot(workdir: Path, snapshot: Snapshot) -> None:
    """Writes `study.json`."""
    fields = {f.name: getattr(snapshot, f.name) for f in dataclasses.fields(snapshot)}
    fields["domains"] = {
        field: {"kind": type(domain).__name__, **dataclasses.asdict(domain)}
        for field, domain in snapshot.domains.items()
    }
    fields["results"] = [
        result._asdict() | {"trial": dataclasses.asdict(result.trial)}
        for result in snapshot.results
    ]
    replace_file(workdir / FILE, json.dumps(fields, ensure_ascii=False) + "\n")


def read_snapshot(workdir: Path) -> Snapshot:
    """Returns a study from its folder, with what its trials have come to by now.

    Trials that others began after `study.json` was written are looked up in their folders.

    Raises:
      UserError: the file is damaged.
    """
    path = workdir / FILE
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        domains = {
            field: _DOMAINS[domain.pop("kind")](**_tuples(domain))
            for field, domain in fields.pop("domains").items()
        }
        results = [_as_result(one) for one in fields.pop("results")]
        snapshot = Snapshot(**_tuples(fields), domains=domains, results=results)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: expected what a sweep writes; start the sweep once more to write it anew"
        ) from error
    known = [_look_up(workdir, snapshot, result) for result in snapshot.results]
    return dataclasses.replace(snapshot, results=known)


def judged(snapshot: Snapshot, trial: Trial) -> float | None:
    """Returns a trial's value of the objective, None if there is none."""
    if snapshot.judge:
        value = trial.splits.get(snapshot.judge, {}).get(snapshot.objective)
        values = [value] if isinstance(value, int | float) else []
    else:
        values = [value for _, value in trial.curves.get(snapshot.objective, ())]
    # Neither infinity nor a number that is none can be the best.
    finite = [value for value in values if abs(value) < float("inf")]
    return (max if snapshot.higher else min)(finite, default=None)


def _as_result(fields: dict[str, Any]) -> Result:
    fields["trial"] = as_trial(fields["trial"])
    return Result(**{name: _tuples(value) for name, value in fields.items()})


def _tuples(value: Any) -> Any:
    """Returns what JSON gave back with the tuples that it has as lists."""
    if isinstance(value, dict):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _look_up(workdir: Path, snapshot: Snapshot, result: Result) -> Result:
    """Returns a result with what the folder of its trial says now."""
    if result.trial.done or result.trial.failure or result.trial.pruned:
        return result
    folder = workdir / result.name
    trial = read_record(folder, result.identity)
    if trial.done or trial.failure or trial.pruned:
        return result._replace(trial=trial, value=judged(snapshot, trial), state="")
    curves = read_curves(folder, dict.fromkeys((snapshot.objective, "loss")))
    trial = Trial(training=training_facts(folder), curves=curves)
    state = "running" if is_locked(folder) else result.state if curves else ""
    return result._replace(trial=trial, value=judged(snapshot, trial), state=state)
