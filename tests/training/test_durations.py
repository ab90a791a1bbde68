from seqjax.config import default_config
from seqjax.training.durations import Durations, durations_of, shares


def configured(**fields):
    config = default_config()
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in fields.items()}
    )
    return config


def never(seconds):
    raise AssertionError("nothing is to be measured")


def test_shares_are_resolved_once():
    config = configured(checkpoint__every="100 steps")
    first = durations_of(config, 10, 1000, {}, never)
    assert first == Durations(total=2000, warmup=200, evaluate=500, save=100, report=50)
    clock = {"shares": shares(config, first)}
    config.train.duration = "4000 steps"
    assert durations_of(config, 10, 1000, clock, never) == first._replace(total=4000)
    # What is changed is resolved anew.
    config.evaluation.every = "10%"
    assert durations_of(config, 10, 1000, clock, never) == first._replace(total=4000, evaluate=400)
    # What is no share was never kept.
    config.checkpoint.every = "2 epochs"
    assert durations_of(config, 10, 1000, clock, never).save == 20


def test_drops_of_the_rate_are_resolved():
    fields = {
        "schedule__kind": "step",
        "schedule__hold": "4 epochs",
        "schedule__interval": "1 epoch",
    }
    found = durations_of(configured(**fields), 10, 1000, {}, never)
    assert (found.hold, found.interval) == (40, 10)


def test_of_an_earlier_version_the_warm_up_is_known():
    config = configured(train__duration="4000 steps")
    found = durations_of(config, 10, 1000, {"schedule": [200, 0]}, never)
    assert found == Durations(total=4000, warmup=200, evaluate=1000, save=1000, report=50)


def test_a_time_is_measured_once():
    config = configured(train__duration="3 minutes", schedule__warmup="10%")
    first = durations_of(config, 10, 1000, {}, lambda seconds: round(2 * seconds))
    assert (first.total, first.warmup) == (360, 36)
    clock = {"shares": shares(config, first)}
    assert durations_of(config, 10, 1000, clock, never) == first
    # A longer time is measured anew.
    config.train.duration = "4 min"
    assert durations_of(config, 10, 1000, clock, round) == first._replace(total=240)
