import optuna
import pytest

from seqjax.studies.sampling import Rules, draw_point, pruner_of, sampler_of
from seqjax.studies.space import choice, integers, log_uniform, uniform

_DOMAINS = {
    "optimizer.learning_rate": log_uniform(1e-4, 1e-2),
    "model.encoder.dropout": uniform(0.0, 0.5),
    "model.encoder.width": integers(64, 256, step=64),
    "evaluation.metrics": choice(("bleu",), ("bleu", "chrf")),
}


def _points(count, **fields):
    """Returns so many draws, each trial the better the smaller its learning rate was."""
    rules = Rules(higher=False, domains=_DOMAINS, **fields)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    points = []
    for number in range(count):
        study.sampler = sampler_of(rules, number)
        trial = study.ask()
        points.append(draw_point(trial, _DOMAINS))
        assert draw_point(trial, _DOMAINS) == points[-1]
        study.tell(trial, points[-1]["optimizer.learning_rate"])
    return points


def test_draws_are_values_of_their_fields():
    for point in _points(20, draws=True):
        assert 1e-4 <= point["optimizer.learning_rate"] <= 1e-2
        assert 0 <= point["model.encoder.dropout"] <= 0.5
        assert point["model.encoder.width"] in (64, 128, 192, 256)
        assert point["evaluation.metrics"] in (("bleu",), ("bleu", "chrf"))


def test_draws_are_a_function_of_the_seed_and_near_what_was_good():
    first = _points(30, draws=True, seed=1)
    assert first == _points(30, draws=True, seed=1) != _points(30, draws=True, seed=2)
    rates = [point["optimizer.learning_rate"] for point in first]
    assert sorted(rates[20:])[5] < sorted(rates[:10])[5] / 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [("none", "NopPruner"), ("median", "MedianPruner"), ("hyperband", "HyperbandPruner")],
)
def test_pruners_are_those_of_optuna(name, kind):
    pruner = pruner_of(Rules(higher=True, domains=_DOMAINS, pruner=name))
    assert type(pruner).__name__ == kind
