"""The importance of each hyperparameter for the objective."""

import warnings
from collections.abc import Mapping, Sequence

from seqjax.studies.results import Result
from seqjax.studies.space import Domain

# Fewer trials give no reliable estimate.
LEAST_TRIALS = 8
# The least number of best trials that are compared with all.
_BEST = 5


def importances(
    results: Sequence[Result], domains: Mapping[str, Domain], higher: bool
) -> dict[str, float]:
    """Returns the importance of each field, the largest first; nothing for fewer than 8 trials.

    A field is important if its values are distributed differently among the best trials than among
    all of them (PED-ANOVA: Watanabe, Bansal and Hutter, 2023). The importances sum to 1.

    Args:
      results: the trials; only those that are done and have a value count.
      domains: what each field may be.
      higher: whether larger values of the objective are better.
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
        # Optuna warns if there are few trials.
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
