import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.training.durations import Durations, check_units, durations_of, shares


def configured(**fields):
    config = default_config()
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in fields.items()}
    )
    return config


def test_shares_are_resolved_once():
    config = configured(checkpoint__every="100 steps")
    first = durations_of(config, 10, 1000, {})
    assert first == Durations(total=2000, warmup=200, evaluate=500, save=100, report=50)
    clock = {"shares": shares(config, first)}
    config.train.duration = "4000 steps"
    assert durations_of(config, 10, 1000, clock) == first._replace(total=4000)
    # What is changed is resolved anew.
    config.evaluation.every = "10%"
    assert durations_of(config, 10, 1000, clock) == first._replace(total=4000, evaluate=400)
    # What is no share was never kept.
    config.checkpoint.every = "2 epochs"
    assert durations_of(config, 10, 1000, clock).save == 20


def test_of_an_earlier_version_the_warm_up_is_known():
    config = configured(train__duration="4000 steps")
    found = durations_of(config, 10, 1000, {"schedule": [200, 0]})
    assert found == Durations(total=4000, warmup=200, evaluate=1000, save=1000, report=50)


def test_a_time_is_refused_with_what_is_accepted():
    check_units(default_config())
    for path in ("train__duration", "evaluation__every", "checkpoint__every", "reporting__every"):
        field = path.replace("__", ".")
        with pytest.raises(UserError, match=f"{field} = '3 minutes': expected .*'500 steps'"):
            check_units(configured(**{path: "3 minutes"}))
