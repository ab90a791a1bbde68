"""Searches: the best trial in a space of hyperparameters."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from seqjax.config import RULES, default_config
from seqjax.duration import parse_duration
from seqjax.errors import UserError, did_you_mean
from seqjax.fields import conformed, flatten, has_references
from seqjax.overrides import apply_overrides, overridden, read_overrides
from seqjax.studies.grid import Change, product, sample
from seqjax.studies.space import Domain, check_space
from seqjax.studies.study import Overrides, TrialSpec, as_options, check_report, default_columns
from seqjax.studies.trial import Trial
from seqjax.tasks.declared import best_is_higher, measured
from seqjax.validation import settled, validate
from seqjax.values import plain

_SAMPLERS = ("tpe", "random", "grid")
_PRUNERS = ("none", "median", "hyperband")
_DIRECTIONS = ("maximize", "minimize")


@dataclasses.dataclass(frozen=True)
class Search:
    """The best value of a validation metric in a space of hyperparameters.

    The objective of a trial is the metric's best value while it trains; how often it is measured
    is `evaluation.every`. Which of its states is evaluated in the end is `checkpoint.best_metric`.

    Attributes:
      name: what the table is headed with.
      base: the config of every trial, but for the fields in the space.
      space: what each of those fields may be (`space.py`).
      objective: a validation metric, 'loss', 'bleu', ...
      trials: how many to run; of a grid 0 runs all.
      direction: 'maximize' or 'minimize'; '' asks the metric.
      sampler: 'tpe' draws near what was good (Tree-structured Parzen Estimator: Bergstra et al.,
        2011), 'random' anywhere, 'grid' takes every combination of choices and integers.
      pruner: ends unpromising trials: 'median' ends those worse than half of the others after as
        many evaluations, 'hyperband' (Li et al., 2018), or 'none' of them.
      startup: trials before the sampler and the median begin to judge.
      seed: of what is drawn.
      splits: the splits that every trial is evaluated on when it is trained.
      columns: what the table shows besides the objective, among `study.COLUMNS`; by
        default the size, the time and the usual metrics of the task.

    Raises:
      UserError: an unknown field, metric or word, or a value that a field cannot have.
    """

    name: str
    base: ml_collections.ConfigDict
    space: Mapping[str, Domain]
    objective: str
    trials: int = 0
    direction: str = ""
    sampler: str = "tpe"
    pruner: str = "none"
    startup: int = 10
    seed: int = 0
    splits: tuple[str, ...] = ("validation",)
    columns: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.columns:
            metrics = measured(self.base.task, self.base.evaluation.metrics)
            object.__setattr__(self, "columns", default_columns(metrics))
        check_report(self)
        check_space(self.space)
        metrics = tuple(metric for metric in RULES["train.stop_metric"].known if metric)
        _check_word("objective", self.objective, metrics)
        for field, known in (("sampler", _SAMPLERS), ("pruner", _PRUNERS)):
            _check_word(field, getattr(self, field), known)
        _check_word("direction", self.direction, ("", *_DIRECTIONS))
        least = 0 if self.sampler == "grid" else 1
        for field in ("trials", "startup", "seed"):
            # A frozen dataclass has no other way to complete itself.
            object.__setattr__(self, field, plain(getattr(self, field)))
        if type(self.trials) is not int or self.trials < least:
            raise UserError(f"trials = {self.trials!r}: expected a whole number, at least {least}")
        if type(self.startup) is not int or self.startup < 1:
            raise UserError(f"startup = {self.startup!r}: expected a whole number, at least 1")
        if self.sampler == "grid":
            self._check_grid()

    def _check_grid(self) -> None:
        for field, domain in self.space.items():
            if not domain.points():
                raise UserError(f"{field} = {domain}: expected choice or integers for a grid")
        if self.trials > self._size():
            raise UserError(
                f"trials = {self.trials}: expected at most {self._size()}, the points of the grid"
            )

    def _size(self) -> int:
        return math.prod(len(domain.points()) for domain in self.space.values())

    @property
    def higher(self) -> bool:
        """Whether a larger value of the objective is the better one."""
        return self.direction == "maximize" or (
            not self.direction and best_is_higher(self.objective)
        )

    @property
    def judge(self) -> str:
        """No split: the objective is measured while training."""
        return ""

    @property
    def grouping(self) -> tuple[str, ...]:
        """No fields: all trials of a search are compared."""
        return ()

    @property
    def names(self) -> list[str]:
        """The names of all trials in order."""
        return [f"trial-{number:04}" for number in range(self.trials or self._size())]

    def variant(self, name: str) -> ml_collections.ConfigDict:
        """Returns the config that every trial begins with.

        Raises:
          UserError: there is a name.
        """
        if name:
            raise UserError(f"variant = {name!r}: expected none, since the trials are overrides")
        return self.base

    def points(self) -> list[Change]:
        """Returns the points of all trials; none with 'tpe', which draws them one by one."""
        if self.sampler == "random":
            return sample(self.space, self.trials, self.seed)
        if self.sampler == "grid":
            axes = [[{field: v} for v in domain.points()] for field, domain in self.space.items()]
            return product(*axes)[: self.trials or None]
        return []

    def config(self, overrides: Overrides) -> ml_collections.ConfigDict:
        """Returns the base with the fields of the command line changed, checked.

        Raises:
          UserError: an unknown field, one that is searched, a value that cannot be, or an objective
            that is not measured while training.
        """
        apply_overrides(default_config(), overrides)
        for field, text in overrides:
            if field in self.space:
                raise UserError(f"--config.{field}={text}: expected a field that is not searched")
        config = settled(self.base, overrides)
        if parse_duration(config.evaluation.every)[0] == 0:
            raise UserError(
                f"evaluation.every = {config.evaluation.every!r}: expected more than 0, since the"
                f" objective {self.objective!r} is measured then"
            )
        watching = config.copy_and_resolve_references()
        watching.train.stop_metric = self.objective
        try:
            validate(watching)
        except UserError as error:
            raise UserError(str(error).replace("train.stop_metric", "objective")) from error
        return config

    def specs(
        self, path: str, overrides: Overrides, checked: Sequence[str] | None = None
    ) -> dict[str, TrialSpec]:
        """Returns the trials that are known; see `AnyStudy`. Each is checked when it runs."""
        self.config(overrides)
        pairs = zip(self.names, self.points(), strict=False)
        return {name: self.spec(path, name, point, overrides) for name, point in pairs}

    def spec(
        self, path: str, name: str, point: Mapping[str, Any], overrides: Overrides
    ) -> TrialSpec:
        """Returns the trial at a point; whether its values fit together shows when it runs.

        Args:
          path: the study's file.
          name: the name of the trial.
          point: the value of each field in the space.
          overrides: the overrides of the command line.
        """
        changes = [*((field, str(value)) for field, value in point.items()), *overrides]
        if self._tied:
            given = flatten(overridden(self.base, changes))
        else:
            given = conformed(self._fields | read_overrides(changes))
        return TrialSpec(name, given, path, as_options(changes), dict(point))

    @functools.cached_property
    def _fields(self) -> Mapping[str, Any]:
        return flatten(self.base)

    @functools.cached_property
    def _tied(self) -> bool:
        return has_references(self.base)

    def value(self, trial: Trial) -> float | None:
        """Returns the best value of the objective while the trial was trained."""
        values = [value for _, value in trial.curves.get(self.objective, ())]
        values = [value for value in values if math.isfinite(value)]
        return (max if self.higher else min)(values, default=None)

    def identity(self, overrides: Overrides) -> dict[str, Any]:
        """Returns, as plain values, what must stay the same when the search is continued."""
        names = ("objective", "higher", "sampler", "seed", "splits")
        search = {name: getattr(self, name) for name in names}
        if self.sampler != "tpe":
            # The points of a grid, and those drawn at random, follow from it.
            search["order of the space"] = ", ".join(self.space)
        return {
            "search": search,
            "space": {field: str(domain) for field, domain in self.space.items()},
            "config": flatten(self.config(overrides)),
        }


def _check_word(field: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        expected = ", ".join(map(repr, known))
        raise UserError(
            f"{field} = {word!r}: expected one of {expected}{did_you_mean(str(word), known)}"
        )
