"""How a search draws values and judges trials, in the words of Optuna."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from seqjax.studies.space import Domain

if TYPE_CHECKING:
    import optuna


class Rules(NamedTuple):
    """How a search draws and judges; of a list of trials only `higher` and `domains` count."""

    higher: bool
    domains: Mapping[str, Domain]
    draws: bool = False
    pruner: str = "none"
    startup: int = 10
    seed: int = 0


def sampler_of(rules: Rules, number: int) -> "optuna.samplers.BaseSampler":
    """Returns what draws the values of the trial of a number.

    Each has its own seed, so that a stopped search continues as it would have.
    """
    import optuna

    if not rules.draws:
        return optuna.samplers.RandomSampler(rules.seed)
    return optuna.samplers.TPESampler(
        seed=(rules.seed * 65_537 + number) % 2**32,
        n_startup_trials=rules.startup,
        constant_liar=True,
    )


def pruner_of(rules: Rules) -> "optuna.pruners.BasePruner":
    """Returns the pruner, which ends unpromising trials."""
    from optuna import pruners

    if rules.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=rules.startup)
    return pruners.HyperbandPruner() if rules.pruner == "hyperband" else pruners.NopPruner()


def draw_point(trial: "optuna.trial.Trial", domains: Mapping[str, Domain]) -> dict[str, Any]:
    """Returns a value for each field, drawn now or as they were drawn before."""
    return {
        field: domain.inside(_suggest(trial, field, domain.distribution()))
        for field, domain in domains.items()
    }


def _suggest(trial: "optuna.trial.Trial", field: str, distribution: Any) -> Any:
    """Draws the value of a field, or returns the one that the trial has."""
    name = type(distribution).__name__
    if name == "FloatDistribution":
        low, high, log = distribution.low, distribution.high, distribution.log
        return trial.suggest_float(field, low, high, log=log)
    if name == "IntDistribution":
        return trial.suggest_int(field, distribution.low, distribution.high, step=distribution.step)
    return trial.suggest_categorical(field, distribution.choices)
