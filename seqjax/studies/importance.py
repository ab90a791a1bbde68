"""How much each hyperparameter had to do with how good the trials were."""

import warnings
from collections.abc import Mapping, Sequence

from seqjax.studies.results import Result
from seqjax.studies.space import Domain

# Of fewer trials nothing can be told.
LEAST_TRIALS = 8
# How many of the best trials are compared with all, at least.
_BEST = 5


def importances(
    results: Sequence[Result], domains: Mapping[str, Domain], higher: bool
) -> dict[str, float]:
    """Returns the share of each field, the largest first; nothing of fewer than 8 trials.

    A field is important where its values among the best trials are distributed otherwise than among
    all of them (PED-ANOVA: Watanabe, Bansal and Hutter, 2023).

    Args:
      results: the trials; those that are not done, or have no value, do not count.
      domains: what each field may be.
      higher: whether larger values are the better ones.
    """
    import optuna

    fields = {f: d for f, d in domains.items() if len(d.points()) != 1}
    known = [result for result in results if result.trial.done and result.value is not None]
    known = [result for result in known if fields.keys() <= result.fields.keys()]
    if len(known) < LEAST_TRIALS or not fields:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {field: domain.distribution() for field, domain in fields.items()}
    with warnings.catch_warnings():
        # It warns where there are few trials.
        warnings.simplefilter("ignore")
        study = optuna.create_study(direction="maximize" if higher else "minimize")
        for result in known:
            params = {f: domain.outside(result.fields[f]) for f, domain in fields.items()}
            study.add_trial(
                optuna.create_trial(params=params, distributions=distributions, value=result.value)
            )
        share = min(0.5, max(0.1, _BEST / len(known)))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
