import numpy as np
import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.studies.grid import chain, product, sample, short_names, sweep, trials, zipped
from seqjax.studies.space import choice, integers, log_uniform

_RATE, _LAYERS, _SEED = "optimizer.learning_rate", "model.encoder.layers", "seed"


def _error(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_sweep_is_a_change_for_each_value_of_the_fields_type():
    assert sweep(_RATE, [1, 0.5]) == [{_RATE: 1.0}, {_RATE: 0.5}]
    assert isinstance(sweep(_RATE, [1])[0][_RATE], float)
    assert sweep(_SEED, range(2)) == [{_SEED: 0}, {_SEED: 1}]


def test_numbers_of_numpy_are_taken():
    found = sweep(_RATE, np.logspace(-4, -2, 3))
    assert repr(found) == repr([{_RATE: rate} for rate in (0.0001, 0.001, 0.01)])
    assert repr(sweep(_RATE, np.float32([0.1]))) == repr([{_RATE: 0.1}])
    assert repr(sweep(_SEED, np.arange(2))) == repr([{_SEED: 0}, {_SEED: 1}])
    assert sweep("evaluation.metrics", [np.array(["bleu"])]) == [{"evaluation.metrics": ("bleu",)}]
    with pytest.raises(UserError, match="seed = 0.5: expected a whole number"):
        sweep(_SEED, np.array([0.5]))


def test_fields_that_refer_to_others_follow_them():
    base = default_config()
    base.model.decoder.width = base.model.encoder.get_ref("width")
    found = trials(base, sweep("model.encoder.width", [64, 128]))
    assert [config.model.decoder.width for config in found.values()] == [64, 128]
    assert base.model.decoder.width == 256


def test_a_product_combines_and_its_last_list_varies_fastest():
    combined = product(sweep(_SEED, [1, 2]), sweep(_LAYERS, [3, 4]))
    assert [tuple(change.values()) for change in combined] == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert list(combined[0]) == [_SEED, _LAYERS]


def test_a_zip_goes_side_by_side_and_a_chain_one_after_the_other():
    seeds, layers = sweep(_SEED, [1, 2]), sweep(_LAYERS, [3, 4])
    assert zipped(seeds, layers) == [{_SEED: 1, _LAYERS: 3}, {_SEED: 2, _LAYERS: 4}]
    assert chain(seeds, layers) == seeds + layers
    assert len(product(zipped(seeds, layers), chain(sweep(_RATE, [0.1]), [{}]))) == 4


def test_a_sample_is_a_function_of_its_seed_and_grows_at_its_end():
    space = {_RATE: log_uniform(1e-4, 1e-2), _LAYERS: integers(1, 4)}
    few = sample(space, 3, seed=1)
    assert few == sample(space, 5, seed=1)[:3] != sample(space, 3, seed=2)
    assert all(list(change) == [_RATE, _LAYERS] for change in few)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (sweep, ("optimizer.learning_rat", [1.0]), "did you mean 'optimizer.learning_rate'?"),
        (sweep, (_SEED, [0.5]), "seed = 0.5: expected a whole number"),
        (sweep, ("model.encoder.kind", ["gruu"]), "did you mean 'gru'?"),
        (sweep, (_SEED, []), "sweep('seed'): expected at least one value"),
        (product, (sweep(_SEED, [1]), sweep(_SEED, [2])), "seed: expected one change in a trial"),
        (zipped, (sweep(_SEED, [1]), sweep(_LAYERS, [2, 3])), "zipped: lengths = [1, 2]: expected"),
        (sample, ({_SEED: choice(1)}, 0), "sample: count = 0: expected at least 1"),
        (sample, ({"sed": choice(1)}, 1), "sed: the config has no such field"),
    ],
)
def test_mistakes_are_reported(function, arguments, message):
    assert message in _error(function, *arguments)


def test_trials_are_named_by_the_fields_that_are_changed():
    base = default_config()
    changes = product(
        zipped(sweep(_LAYERS, [1, 2]), sweep("model.decoder.layers", [2, 1])),
        sweep("train.patience", [7]),
        sweep(_RATE, [1e-3, 1e-5]),
    )
    made = trials(base, changes)
    assert list(made) == [
        "encoder.layers-1_decoder.layers-2_train.patience-7_learning_rate-0.001",
        "encoder.layers-1_decoder.layers-2_train.patience-7_learning_rate-1e-05",
        "encoder.layers-2_decoder.layers-1_train.patience-7_learning_rate-0.001",
        "encoder.layers-2_decoder.layers-1_train.patience-7_learning_rate-1e-05",
    ]
    config = made["encoder.layers-2_decoder.layers-1_train.patience-7_learning_rate-1e-05"]
    assert (config.model.decoder.layers, config.train.patience) == (1, 7)
    assert base == default_config()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (sweep("model.tie_output", [True, False]), ["tie_output-true", "tie_output-false"]),
        (sweep("data.limit", [-1, 1]), ["data.limit--1", "data.limit-1"]),
        (sweep(_RATE, [1e20, 1e-20]), ["learning_rate-1e20", "learning_rate-1e-20"]),
        (sweep("train.duration", ["2 epochs", "5"]), ["duration-2-epochs", "duration-5"]),
        (
            sweep("evaluation.metrics", [("bleu", "ter"), ("chrf",)]),
            ["metrics-bleu-ter", "metrics-chrf"],
        ),
        (sweep(_RATE, [0.00123456, 0.5]), ["learning_rate-0.001235", "learning_rate-0.5"]),
        (sweep(_RATE, [0.25, 0.25002]), ["learning_rate-0.25", "learning_rate-0.25002"]),
        # What no name distinguishes, or has none that a folder may have, gets a digest.
        (sweep("data.train", ["a/b", "a-b"]), ["train-a-b", "train-a-b-8562567b"]),
        (sweep("data.train", ["a", "A"]), ["train-a", "train-A-60a5458b"]),
        (sweep("data.train", ["a" * 120]), [f"train-{'a' * 105}-eb2586ad"]),
        (sweep("seed", [3]), ["seed-3"]),
        ([{}], ["base"]),
        ([{}, {"seed": 1}], ["seed-0", "seed-1"]),
    ],
)
def test_names_are_those_of_folders(changes, names):
    assert list(trials(default_config(), changes)) == names


def test_values_that_are_added_to_a_study_give_no_trial_another_name():
    base, rates = default_config(), sweep(_RATE, [0.25, 0.25002, 1e-3])
    few = trials(base, product(rates[:1], sweep(_SEED, [0])))
    many = trials(base, product(rates, sweep(_SEED, [0, 1])))
    for name, config in few.items():
        assert many[name] == config


def test_what_makes_no_trials_is_reported():
    same = "trials: changes 1 and 3: expected different configs, but both make the same"
    assert _error(trials, default_config(), sweep(_SEED, [0, 1, 0])) == same
    assert _error(trials, default_config(), []) == "trials: expected at least one change"
    assert "did you mean 'seed'?" in _error(trials, default_config(), [{"sed": 1}])


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("optimizer.learning_rate", "learning_rate"),
        ("model.encoder.layers", "encoder.layers"),
        ("model.decoder.attention", "attention"),
        ("evaluation.every", "evaluation.every"),
        ("schedule.kind", "schedule.kind"),
        ("model.encoder.kind", "encoder.kind"),
        ("seed", "seed"),
        ("batching.seed", "batching.seed"),
    ],
)
def test_short_names_can_mean_one_field_only(field, name):
    assert short_names([field]) == {field: name}
