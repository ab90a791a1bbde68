"""Studies: named trials from a study file, and what all kinds of studies share."""

import dataclasses
import fnmatch
import functools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import ml_collections

from seqjax.config import default_config
from seqjax.config_files import choose_variant
from seqjax.errors import UserError, did_you_mean
from seqjax.fields import conform, conformed, default_fields, flatten, nested, require_known
from seqjax.overrides import apply_overrides, overridden, read_overrides
from seqjax.studies.grid import differences
from seqjax.studies.trial import Trial, fingerprint
from seqjax.studies.trial_configs import TrialConfigs, fields_of, is_tied
from seqjax.tasks.declared import ANSWERED, MEASURES, best_is_higher, measured
from seqjax.validation import validate_fields

Overrides = Sequence[tuple[str, str]]

# Figures of a trial that was trained and evaluated on a split. Times exclude compiling; training
# time also excludes evaluating and saving, and covers all sessions.
COLUMNS = (
    "parameters",
    "updates",
    "training_seconds",
    *MEASURES,
    "output_tokens",
    "decoding_seconds",
    "output_tokens_per_second",
)
# Metrics of the columns of a study that names none, if it measures them.
_USUAL = ("loss", "perplexity", "bleu", "exact_match", "bits_per_character")
# A trial's name is also the name of its folder.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Files beside these folders; some file systems ignore case.
_FILES = ("results.csv", "results.md", "results.html", "study.json", "study.db")


@dataclasses.dataclass(frozen=True)
class TrialSpec:
    """A trial as it is run.

    Attributes:
      name: also the name of its folder.
      given: its config, or the value of every field by its path.
      source: the value of `--config` that makes this config,
      options: together with these overrides.
      fields: the values of the fields in which the trials of the study differ.
    """

    name: str
    given: ml_collections.ConfigDict | Mapping[str, Any]
    source: str
    options: tuple[str, ...]
    fields: Mapping[str, Any]

    @functools.cached_property
    def values(self) -> Mapping[str, Any]:
        """Every field's value by its path."""
        if isinstance(self.given, ml_collections.ConfigDict):
            return flatten(self.given)
        return self.given

    @functools.cached_property
    def config(self) -> ml_collections.ConfigDict:
        """The config, created on first use."""
        if isinstance(self.given, ml_collections.ConfigDict):
            return self.given
        return conform(self.given)

    @functools.cached_property
    def plain(self) -> Mapping[str, Any]:
        """The config after a round trip through JSON."""
        return json.loads(json.dumps(nested(self.values)))

    @functools.cached_property
    def identity(self) -> str:
        """A short string that differs between configs."""
        return fingerprint(self.plain)

    def training(self, workdir: object) -> list[str]:
        """Returns the arguments that train it in a run directory."""
        return ["train", f"--config={self.source}", f"--workdir={workdir}", *self.options]


class AnyStudy(Protocol):
    """What a sweep needs to know of a study, whether it is a list of trials or a search.

    Attributes:
      name: the heading of its table, and its name in the storage.
      splits: the splits that every trial is evaluated on.
      columns: what the table shows, among `COLUMNS`.
      objective: the validation metric by which trials are compared.
      higher: whether its larger values are the better ones.
      judge: the split on which it is measured, '' for its best value while training.
      grouping: fields whose values make groups of trials that are not compared with each other.
      names: the names of all trials in order.
    """

    name: str
    splits: tuple[str, ...]
    columns: tuple[str, ...]
    objective: str
    higher: bool
    judge: str
    grouping: tuple[str, ...]
    names: Sequence[str]

    def specs(
        self, path: str, overrides: Overrides, checked: Sequence[str] | None = None
    ) -> dict[str, TrialSpec]:
        """Returns the trials that are known before the study runs.

        Args:
          path: the study's file.
          overrides: fields that are changed in every trial.
          checked: the names of the trials to check, by default all.

        Raises:
          UserError: an unknown field, or a value that some trial cannot have; it names the trial.
        """

    def value(self, trial: Trial) -> float | None:
        """Returns a trial's value of the objective, None if it has none."""


def check_report(study: AnyStudy) -> None:
    """Raises UserError if a study has no split, or an unknown column."""
    if not study.splits or isinstance(study.splits, str):
        raise UserError(f"study {study.name!r}: expected at least one trial and one split")
    for column in study.columns:
        if column not in COLUMNS:
            raise UserError(
                f"column {column!r}: expected one of {', '.join(COLUMNS)}"
                f"{did_you_mean(column, COLUMNS)}"
            )


def chosen(study: AnyStudy, names: Iterable[str]) -> list[str]:
    """Returns the trials of these names in the order of the study; of no names, all.

    A name may be a pattern: `*` stands for any characters, `?` for any one.

    Raises:
      UserError: a name or pattern that matches no trial; the message lists the trials.
    """
    wanted: set[str] = set()
    for name in names:
        found = fnmatch.filter(study.names, name)
        if not found:
            raise UserError(
                f"--trial={name}: expected one of {', '.join(study.names)}"
                f"{did_you_mean(name, study.names)}"
            )
        wanted.update(found)
    return [name for name in study.names if name in wanted or not wanted]


@dataclasses.dataclass(frozen=True)
class Study:
    """Trials that are trained under one budget and compared in one table.

    Attributes:
      name: what the table is headed with.
      trials: the config of each trial by its name, in the order of the table.
      splits: the splits that every trial is evaluated on, by default 'validation' alone, which
        ranks the trials if it is among them: a test split that has chosen a trial cannot judge it
        any more, so it is scored only if the study names it.
      columns: what the table shows, among `COLUMNS`; by default the size, the time and the
        usual metrics of those that all trials measure.
      objective: the metric by which trials are compared; '' takes the first of the columns that
        measures how good a trial is; with different tokenizers, none that is an average over
        tokens if there is another.
      by: a field or several, such as 'data.directory': trials with other values of them are not
        compared. The report has a table, a best trial and plots for each group.

    Raises:
      UserError: there is no trial or split, a name that no folder may have, an unknown column, or
        an objective that some trial does not measure.
    """

    name: str
    trials: Mapping[str, ml_collections.ConfigDict]
    splits: tuple[str, ...] = ("validation",)
    columns: tuple[str, ...] = ()
    objective: str = ""
    by: str | tuple[str, ...] = ()

    def __post_init__(self):
        if not self.trials:
            raise UserError(f"study {self.name!r}: expected at least one trial and one split")
        folders: dict[str, str] = {}
        for name in self.trials:
            if not _NAME.fullmatch(name):
                raise UserError(f"trial {name!r}: expected letters, digits, '.', '_' and '-' only")
            if name.lower() in _FILES:
                raise UserError(f"trial {name!r}: the sweep writes a file there; rename the trial")
            other = folders.setdefault(name.lower(), name)
            if other != name:
                raise UserError(f"trials {other!r} and {name!r}: may be one folder; rename one")
        common = self._measured()
        # A frozen dataclass has no other way to complete itself.
        if not self.columns:
            object.__setattr__(self, "columns", default_columns(common))
        check_report(self)
        for field in self.grouping:
            require_known(field)
        if self.objective not in ("", *common):
            raise UserError(
                f"study {self.name!r}: objective = {self.objective!r}: expected one of"
                f" {', '.join(common)}"
            )
        if not self.objective:
            object.__setattr__(self, "objective", self._first_measure(common))

    @property
    def names(self) -> list[str]:
        """The names of all trials in order."""
        return list(self.trials)

    @property
    def higher(self) -> bool:
        """Whether a larger value of the objective is the better one."""
        return best_is_higher(self.objective)

    def _measured(self) -> list[str]:
        """Returns the metrics that all trials measure."""
        found = [
            measured(self._field(name, "task"), self._field(name, "evaluation.metrics"))
            for name in self.trials
        ]
        return [name for name in found[0] if all(name in other for other in found)]

    def _first_measure(self, common: Sequence[str]) -> str:
        """Returns the first column that measures how good a trial is."""
        found = [column for column in self.columns if column in common]
        tokenizers = [field for field in default_fields() if field.startswith("tokenizer.")]
        kinds = {tuple(self._field(name, f) for f in tokenizers) for name in self.trials}
        if len(kinds) > 1:
            found = [column for column in found if column in ANSWERED] or found
        return found[0] if found else "loss"

    def _field(self, name: str, path: str) -> Any:
        """Returns a field's value in the config of a trial."""
        if isinstance(self.trials, TrialConfigs):
            return self.trials.field(name, path)
        return functools.reduce(lambda part, key: part[key], path.split("."), self.trials[name])

    def variant(self, name: str) -> ml_collections.ConfigDict:
        """Returns the config of a trial.

        Raises:
          UserError: an unknown name, with the known ones.
        """
        return choose_variant(self.trials, name)

    def specs(
        self, path: str, overrides: Overrides, checked: Sequence[str] | None = None
    ) -> dict[str, TrialSpec]:
        """Returns all trials; see `AnyStudy`."""
        # A mistake in every trial is reported without one.
        apply_overrides(default_config(), overrides)
        changes = read_overrides(overrides)
        wanted = set(self.trials if checked is None else checked)
        values = []
        for name in self.trials:
            try:
                values.append(self._values(name, overrides, changes))
                if name in wanted:
                    validate_fields(values[-1])
            except UserError as error:
                raise UserError(f"trial {name!r}: {error}") from error
        options = as_options(overrides)
        return {
            name: TrialSpec(name, given, f"{path}:{name}", options, fields)
            for name, given, fields in zip(self.trials, values, differences(values), strict=True)
        }

    def _values(
        self, name: str, overrides: Overrides, changes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Returns the values of a trial's config, with overrides, which change these fields."""
        if is_tied(self.trials, name):
            return flatten(overridden(self.trials[name], overrides))
        return conformed(fields_of(self.trials, name) | changes)

    @property
    def grouping(self) -> tuple[str, ...]:
        """The fields of `by`."""
        return (self.by,) if isinstance(self.by, str) else tuple(self.by)

    @property
    def judge(self) -> str:
        """The split on which the objective is measured."""
        return "validation" if "validation" in self.splits else self.splits[0]

    def value(self, trial: Trial) -> float | None:
        """Returns a trial's value of the objective on the split that ranks."""
        value = trial.splits.get(self.judge, {}).get(self.objective)
        return value if isinstance(value, int | float) and math.isfinite(value) else None


def default_columns(metrics: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns of a study that names none: size, time and the usual metrics."""
    metrics = [name for name in metrics if name in _USUAL]
    speed = ("output_tokens_per_second",) if any(name in ANSWERED for name in metrics) else ()
    return ("parameters", "updates", "training_seconds", *metrics, *speed)


def as_options(overrides: Overrides) -> tuple[str, ...]:
    """Returns overrides as the command line has them."""
    return tuple(f"--config.{field}={text}" for field, text in overrides)
