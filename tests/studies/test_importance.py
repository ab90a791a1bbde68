import random

import pytest

from seqjax.config import default_config
from seqjax.studies.importance import LEAST_TRIALS, importances
from seqjax.studies.results import as_result
from seqjax.studies.space import choice, integers, log_uniform
from seqjax.studies.study import TrialSpec
from seqjax.studies.trial import Trial

_RATE, _SEED, _KIND = "optimizer.learning_rate", "seed", "optimizer.kind"
_DOMAINS = {_RATE: log_uniform(1e-4, 1e-1), _SEED: integers(1, 3), _KIND: choice("adam", "sgd")}


def _results(count, value, done=True):
    generator = random.Random(1)
    results = []
    for number in range(count):
        fields = {field: domain.draw(generator) for field, domain in _DOMAINS.items()}
        spec = TrialSpec(f"t{number}", default_config(), "s.py", (), fields)
        trial = Trial(splits={"test": {}} if done else {})
        results.append(as_result(spec, trial, value(fields)))
    return results


@pytest.mark.parametrize(
    ("decisive", "value"),
    [
        (_RATE, lambda fields: fields[_RATE]),
        # The rest is as good as chance.
        (_KIND, lambda fields: {"adam": 1, "sgd": 2}[fields[_KIND]] + fields[_RATE] * 1e6 % 1),
        (_SEED, lambda fields: fields[_SEED] + fields[_RATE] * 1e6 % 1),
    ],
)
def test_what_decides_comes_first_and_shares_sum_to_one(decisive, value):
    shares = importances(_results(60, value), _DOMAINS, higher=False)
    assert next(iter(shares)) == decisive and shares[decisive] > 0.5
    assert set(shares) == set(_DOMAINS) and sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_of_few_trials_and_of_one_value_nothing_is_reported():
    def value(fields):
        return fields[_RATE]

    assert importances(_results(LEAST_TRIALS - 1, value), _DOMAINS, False) == {}
    assert importances(_results(60, value, done=False), _DOMAINS, False) == {}
    assert importances(_results(60, lambda fields: None), _DOMAINS, False) == {}
    assert importances(_results(60, value), {_KIND: choice("adam")}, False) == {}


def test_it_says_nothing(capfd, recwarn):
    importances(_results(9, lambda fields: fields[_RATE]), _DOMAINS, higher=True)
    assert capfd.readouterr() == ("", "") and not recwarn.list
