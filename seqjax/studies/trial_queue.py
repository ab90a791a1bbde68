"""Which worker runs which trial: the queue of a study, kept in Optuna's storage.

Each attempt at a trial is a trial of Optuna; the first attempt that is waiting, running or finished
counts. A worker claims an attempt by changing its state from waiting to running, which the storage
allows only once. Workers send heartbeats; if they stop, another worker fails the attempt and queues
a new one. Any number of workers can share a study, and each of them may die.
"""

import contextlib
import dataclasses
import json
import os
import platform
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seqjax.errors import UserError
from seqjax.studies.sampling import Rules, draw_point, pruner_of, sampler_of
from seqjax.studies.storage import open_storage, patient, shown

if TYPE_CHECKING:
    import optuna

# A trial fails after this many workers in a row have died while running it without progress.
_DEATHS = 3
# Heartbeats within the time after which a silent worker is considered dead.
_BEATS = 4
# User attributes of a trial of Optuna.
_NAME, _CONFIG, _WORKER = "trial", "config", "worker"
_RECORD, _FAILURE, _RELEASED = "record", "failure", "released"
_FURTHER = "went_further"
_INSTEAD, _ADDED, _WITHDRAWN = "instead_of", "added_by", "withdrawn"
# A list of trials may be trained longer, a search may not: what was pruned and drawn depends on it.
_DURATION = "train.duration"
_LONGER = "a search cannot be trained longer, but it can get more trials by Search(trials=...);"
_LONGER += " for longer trials "
# A user attribute of a study of Optuna.
_IDENTITY = "seqjax"


class Offer(NamedTuple):
    """A trial to run.

    Attributes:
      config: fingerprint of its config, '' if the study determines it.
      point: the values of the fields, {} if a sampler draws them.
    """

    config: str = ""
    point: Mapping[str, Any] = {}


class Standing(NamedTuple):
    """The state of a trial in the storage.

    Attributes:
      state: 'waiting', 'running', 'complete', 'pruned' or 'failed'; '' if unknown.
      point: the known values of its fields.
      record: its results, as its worker kept them.
      failure: why it failed.
    """

    state: str = ""
    point: Mapping[str, Any] = {}
    record: Mapping[str, Any] = {}
    failure: str = ""


@dataclasses.dataclass
class Claim:
    """A trial that this worker runs.

    Attributes:
      name: the trial's.
      point: the values of its fields.
      attempt: 0 for the first one.
      reported: evaluations that the storage knows of.
      further: whether the storage knows that this attempt got further than those before.
    """

    name: str
    point: Mapping[str, Any]
    attempt: int
    reported: int
    trial: "optuna.trial.Trial"
    id: int
    further: bool = False


class TrialQueue:
    """The trials of a study, shared by all workers that open the same storage."""

    def __init__(
        self,
        url: str,
        workdir: Path,
        study: str,
        rules: Rules,
        lost_after: int,
        given_up: Callable[[], bool] = lambda: False,
    ):
        """Connects, and creates the study if it is missing.

        Args:
          url: the database; '' is a file in the folder.
          workdir: the study's folder.
          study: its name.
          rules: how it is searched.
          lost_after: seconds without a heartbeat after which a worker is considered dead.
          given_up: whether to wait no longer for a storage that went away.

        Raises:
          UserError: the storage cannot be reached.
        """
        self.lost_after, self.given_up = lost_after, given_up
        self.beat_seconds = max(1, lost_after // _BEATS)
        self._rdb = open_storage(url, workdir, self.beat_seconds, lost_after)
        self.url, self._name, self._rules = self._rdb.url, study, rules
        # Containers may share a name and number their processes alike.
        self._worker = f"{platform.node()} {os.getpid()} {uuid.uuid4().hex[:8]}"
        self._offers: dict[str, Offer] = {}
        self._open()

    @patient
    def _open(self) -> None:
        import optuna

        self._pruner = pruner_of(self._rules)
        direction = "maximize" if self._rules.higher else "minimize"
        self._study = optuna.create_study(
            study_name=self._name, storage=self._rdb, direction=direction, load_if_exists=True
        )
        self._id = self._rdb.get_study_id_from_name(self._name)

    @patient
    def identify(self, identity: Mapping[str, Any]) -> None:
        """Refuses to go on if the storage has a different study with this name.

        Args:
          identity: plain values; fields in the section 'config' may be added and removed.

        Raises:
          UserError: it has, with the first difference.
        """
        identity = json.loads(json.dumps(identity))
        saved = self._study.user_attrs.get(_IDENTITY)
        if saved is None:
            if self._study.get_trials(deepcopy=False):
                # Another worker has just begun: it writes the identity before any trial.
                saved = self._study.user_attrs.get(_IDENTITY)
            else:
                saved = identity
                self._study.set_user_attr(_IDENTITY, identity)
        where = f"{shown(self.url)} has a study {self._name!r}"
        if saved is None or saved.keys() != identity.keys():
            raise UserError(f"{where} of another kind: choose another --workdir or --storage")
        for section, wanted in identity.items():
            fields = saved[section].keys() | (wanted.keys() if section != "config" else set())
            for field in sorted(fields):
                before, now = saved[section].get(field), wanted.get(field)
                if before != now and (section != "config" or field in wanted):
                    raise UserError(
                        f"{field} = {now!r}: expected {before!r}, since {where} with it;"
                        f" {_LONGER if field == _DURATION else ''}"
                        "choose another --workdir or --storage"
                    )

    @patient
    def enter(
        self,
        offers: Mapping[str, Offer],
        names: Collection[str] | None = None,
        void: Collection[str] = (),
    ) -> None:
        """Puts trials into the queue that are not in it, and those that failed once more.

        Args:
          offers: the trials of the study by name, in order.
          names: those that are to be run, by default all: of a study whose trials are started one
            by one each start enters its own.
          void: those whose results are gone, to be run again though they are finished.
        """
        self._offers = dict(offers)
        attempts = self._attempts()
        added = False
        for name in offers if names is None else names:
            trial = _decisive(attempts[name])
            gone = trial and name in void and trial.state.is_finished()
            if trial is None or trial.state.name == "FAIL" or gone:
                self._add(name, trial, instead=bool(gone))
                added = True
        if added:
            self._withdraw_doubles()

    @patient
    def revive(self) -> None:
        """Lets trials whose workers have died wait for a new one."""
        import optuna

        optuna.storages.fail_stale_trials(self._study)
        added = False
        for name, attempts in self._attempts().items():
            trial = _decisive(attempts)
            if trial and trial.state.name == "FAIL" and not _failure(attempts):
                self._add(name, trial)
                added = True
        if added:
            self._withdraw_doubles()

    @patient
    def claim(self, names: Iterable[str]) -> Claim | None:
        """Returns the first of these trials that waits, for this worker to run; or None."""
        attempts = self._attempts()
        for name in names:
            trial = _decisive(attempts[name])
            if trial and trial.state.name == "WAITING" and self._take(trial.number):
                return self._claimed(name, trial.number, len(attempts[name]) - 1)
        return None

    @patient
    def standings(self) -> dict[str, Standing]:
        """Returns how each trial stands."""
        return {name: self._standing(attempts) for name, attempts in self._attempts().items()}

    @patient
    def beat(self, claim: Claim, further: bool = False) -> bool:
        """Sends a heartbeat; returns whether the trial still belongs to this worker.

        If a worker dies after it got `further` than earlier attempts, the trial is not to blame.
        """
        import optuna

        self._rdb.record_heartbeat(claim.id)
        if further and not claim.further:
            with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
                claim.trial.set_user_attr(_FURTHER, True)
            claim.further = True
        return self._rdb.get_trial(claim.id).state.name == "RUNNING"

    @patient
    def report(self, claim: Claim, values: Sequence[float]) -> bool:
        """Tells the objective after each evaluation so far; returns whether to end the trial."""
        import optuna

        new = values[claim.reported :]
        # If another worker has taken the trial, the next heartbeat shows it.
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            for value in new:
                claim.trial.report(value, step=claim.reported + 1)
                claim.reported += 1
            return bool(new) and claim.trial.should_prune()
        return False

    @patient
    def finish(
        self,
        claim: Claim,
        record: Mapping[str, Any],
        value: float | None = None,
        pruned: bool = False,
        failure: str = "",
    ) -> None:
        """Stores the results of a trial, and its value of the objective.

        It is complete with a value, pruned, or failed for a reason; without any of these it is
        released: somebody else may go on with it.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        if self._rdb.get_trial(claim.id).state == TrialState.RUNNING:
            # Otherwise another worker has it, or an answer was lost and this is known already.
            with contextlib.suppress(UpdateFinishedTrialError):
                self._end(claim.trial, record, value, pruned, failure)

    def _end(
        self,
        trial: "optuna.trial.Trial",
        record: Mapping[str, Any],
        value: float | None,
        pruned: bool,
        failure: str,
    ) -> None:
        from optuna.trial import TrialState

        if failure:
            trial.set_user_attr(_FAILURE, failure)
            pruned = False
        elif not pruned and value is None:
            trial.set_user_attr(_RELEASED, True)
        if record:
            trial.set_user_attr(_RECORD, dict(record))
        if pruned:
            trial.study.tell(trial, state=TrialState.PRUNED)
        elif failure or value is None:
            trial.study.tell(trial, state=TrialState.FAIL)
        else:
            trial.study.tell(trial, value)

    def _attempts(self) -> dict[str, list["optuna.trial.FrozenTrial"]]:
        """Returns Optuna's trials for each of ours, in order, without those that count no more."""
        found: dict[str, list[Any]] = {name: [] for name in self._offers}
        trials = self._study.get_trials(deepcopy=False)
        replaced = {trial.user_attrs.get(_INSTEAD) for trial in trials}
        for trial in trials:
            name = trial.user_attrs.get(_NAME)
            offer = self._offers.get(name)
            known = offer is not None and trial.user_attrs.get(_CONFIG) == offer.config
            counts = trial.number not in replaced and _WITHDRAWN not in trial.user_attrs
            if known and counts:
                found[name].append(trial)
        return found

    def _add(self, name: str, before: Any, instead: bool = False) -> None:
        """Lets another attempt at a trial wait, with the values that the one before had."""
        import optuna

        offer = self._offers[name]
        attributes = {_NAME: name, _CONFIG: offer.config, _ADDED: self._worker}
        if instead:
            attributes[_INSTEAD] = before.number
        domains = {field: d.distribution() for field, d in self._rules.domains.items()}
        if before is not None:
            params, distributions = before.params, before.distributions
        else:
            point = {field: v for field, v in offer.point.items() if field in domains}
            params = {field: self._rules.domains[field].outside(v) for field, v in point.items()}
            distributions = {field: domains[field] for field in point}
        state = optuna.trial.TrialState.WAITING
        trial = optuna.create_trial(
            state=state, params=params, distributions=distributions, user_attrs=attributes
        )
        try:
            self._study.add_trial(trial)
        except ValueError:
            # The study has had other choices for a field, which Optuna does not take together.
            self._study.add_trial(optuna.create_trial(state=state, user_attrs=attributes))

    def _withdraw_doubles(self) -> None:
        """Takes back what this worker has added and another one had added before."""
        import optuna

        for attempts in self._attempts().values():
            for trial in attempts[1:]:
                first = _decisive(attempts)
                mine = trial.user_attrs.get(_ADDED) == self._worker
                if mine and trial.state.name == "WAITING" and trial is not first:
                    trial_id = self._trial_id(trial.number)
                    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
                        self._rdb.set_trial_user_attr(trial_id, _WITHDRAWN, True)
                        self._rdb.set_trial_state_values(trial_id, optuna.trial.TrialState.FAIL)

    def _trial_id(self, number: int) -> int:
        return self._rdb.get_trial_id_from_study_id_trial_number(self._id, number)

    def _take(self, number: int) -> bool:
        import optuna

        running = optuna.trial.TrialState.RUNNING
        trial_id = self._trial_id(number)
        # Sent before the claim: a worker that dies right after it must be missed, too.
        self._rdb.record_heartbeat(trial_id)
        try:
            return self._rdb.set_trial_state_values(trial_id, state=running)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False

    def _claimed(self, name: str, number: int, attempt: int) -> Claim:
        """Returns a trial that is running now, its values drawn."""
        import optuna

        study = optuna.load_study(
            study_name=self._name,
            storage=self._rdb,
            sampler=sampler_of(self._rules, list(self._offers).index(name)),
            pruner=self._pruner,
        )
        trial_id = self._trial_id(number)
        trial = optuna.trial.Trial(study, trial_id)
        trial.set_user_attr(_WORKER, self._worker)
        point = dict(self._offers[name].point)
        if self._rules.draws:
            point = draw_point(trial, self._rules.domains)
        reported = len(self._rdb.get_trial(trial_id).intermediate_values)
        return Claim(name, point, attempt, reported, trial, trial_id)

    def _standing(self, attempts: Sequence[Any]) -> Standing:
        trial = _decisive(attempts)
        if trial is None:
            return Standing()
        domains = self._rules.domains
        point = {
            field: domains[field].inside(value)
            for field, value in trial.params.items()
            if field in domains
        }
        state = {"FAIL": "failed"}.get(trial.state.name, trial.state.name.lower())
        failure = _failure(attempts)
        if state == "failed" and not failure:
            # It was released, or its worker has died: it waits for the next one.
            state = "waiting"
        return Standing(state, point, trial.user_attrs.get(_RECORD, {}), failure)


def _decisive(attempts: Sequence["optuna.trial.FrozenTrial"]) -> "optuna.trial.FrozenTrial | None":
    """Returns the attempt that counts: two workers may have added one at the same time."""
    alive = [trial for trial in attempts if trial.state.name != "FAIL"]
    return alive[0] if alive else attempts[-1] if attempts else None


def _failure(attempts: Sequence["optuna.trial.FrozenTrial"]) -> str:
    """Returns why the last attempt at a trial failed; '' if another one is due."""
    if not attempts or attempts[-1].state.name != "FAIL":
        return ""
    if attempts[-1].user_attrs.get(_FAILURE):
        return attempts[-1].user_attrs[_FAILURE]
    deaths = 0
    for trial in reversed(attempts):
        if any(mark in trial.user_attrs for mark in (_FAILURE, _RELEASED, _FURTHER)):
            break
        deaths += 1
    return f"its worker died {deaths} times" if deaths >= _DEATHS else ""
