import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.studies.search import Search
from seqjax.studies.space import choice, integers, log_uniform
from seqjax.studies.study import chosen
from seqjax.studies.trial import Trial

_RATE = "optimizer.learning_rate"
_GRID = {"model.encoder.layers": integers(1, 2), "optimizer.kind": choice("adam", "sgd")}


def _search(space=None, **fields):
    space = {_RATE: log_uniform(1e-4, 1e-2)} if space is None else space
    fields = {"objective": "loss", "trials": 3} | fields
    return Search("s", default_config(), space, **fields)


def _error(function, *arguments, **fields):
    with pytest.raises(UserError) as caught:
        function(*arguments, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_trials_are_numbered_and_chosen_by_name():
    search = _search()
    assert search.names == ["trial-0000", "trial-0001", "trial-0002"]
    assert chosen(search, ["trial-0002"]) == ["trial-0002"]
    assert "did you mean 'trial-0002'?" in _error(chosen, search, ["trial-002"])


def test_the_metric_knows_which_direction_is_better():
    assert not _search().higher
    assert _search(objective="bleu").higher
    assert _search(direction="maximize").higher


def test_the_objective_is_the_best_value_while_training():
    trial = Trial(curves={"loss": [(1, 3.0), (2, 1.0), (3, float("nan"))], "bleu": [(1, 2.0)]})
    assert _search().value(trial) == 1.0
    assert _search(direction="maximize").value(trial) == 3.0
    assert _search(objective="chrf").value(trial) is None


def test_a_grid_has_every_combination_once():
    search = _search(_GRID, sampler="grid", trials=0)
    specs = search.specs("study.py", [("seed", "7")])
    assert [tuple(spec.fields.values()) for spec in specs.values()] == [
        (1, "adam"),
        (1, "sgd"),
        (2, "adam"),
        (2, "sgd"),
    ]
    assert specs["trial-0003"].config.model.encoder.layers == 2
    assert specs["trial-0003"].training("runs/x") == [
        "train",
        "--config=study.py",
        "--workdir=runs/x",
        "--config.model.encoder.layers=2",
        "--config.optimizer.kind=sgd",
        "--config.seed=7",
    ]
    assert len(_search(_GRID, sampler="grid", trials=3).specs("study.py", [])) == 3


def test_random_points_are_known_before_and_more_of_them_begin_with_the_same():
    few, many = (_search(sampler="random", trials=count).specs("s.py", []) for count in (2, 4))
    assert [spec.fields for spec in few.values()] == [many[name].fields for name in few]
    assert len(many) == 4 and _search().specs("s.py", []) == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampler": "tpee"}, "sampler = 'tpee': expected one of 'tpe', 'random', 'grid'; did you"),
        ({"pruner": "mean"}, "pruner = 'mean': expected one of 'none', 'median', 'hyperband'"),
        ({"direction": "up"}, "direction = 'up': expected one of '', 'maximize', 'minimize'"),
        ({"objective": "bleuu"}, "objective = 'bleuu': expected one of 'loss', "),
        ({"trials": 0}, "trials = 0: expected a whole number, at least 1"),
        ({"trials": 2.5}, "trials = 2.5: expected a whole number, at least 1"),
        ({"startup": 0}, "startup = 0: expected a whole number, at least 1"),
        ({"columns": ("blue",)}, "column 'blue': expected one of "),
        ({"splits": ()}, "study 's': expected at least one trial and one split"),
        ({"space": {}}, "the space is empty"),
        ({"space": {"sed": choice(1, 2)}}, "sed: the config has no such field; did you mean"),
        ({"sampler": "grid"}, "learning_rate = log_uniform(0.0001, 0.01): expected choice or"),
        ({"space": _GRID, "sampler": "grid", "trials": 5}, "trials = 5: expected at most 4, the"),
    ],
)
def test_what_is_no_search_is_reported(fields, message):
    assert message in _error(_search, **fields)


@pytest.mark.parametrize(
    ("fields", "overrides", "message"),
    [
        ({}, [(_RATE, "1")], f"--config.{_RATE}=1: expected a field that is not"),
        ({}, [("sed", "1")], "sed: the config has no such field"),
        (
            {},
            [("evaluation.every", "0")],
            "evaluation.every = '0': expected more than 0, since",
        ),
        (
            {"objective": "bleu"},
            [("evaluation.translate", "false")],
            "objective = 'bleu': expected a metric that is measured: ",
        ),
    ],
)
def test_what_cannot_be_searched_is_reported_before_any_work(fields, overrides, message):
    assert message in _error(_search(**fields).specs, "study.py", overrides)


def test_a_search_is_the_same_while_it_draws_from_the_same():
    search = _search()
    assert search.identity([]) == _search(trials=9, pruner="median").identity([])
    assert search.identity([]) != search.identity([("seed", "1")])
    assert search.identity([]) != _search({_RATE: log_uniform(1e-4, 1e-1)}).identity([])


def test_its_variants_are_none():
    assert _search().variant("") == default_config()
    assert _error(_search().variant, "trial-0001").startswith("variant = 'trial-0001': expected")


def test_fields_that_refer_to_searched_ones_follow_them():
    base = default_config()
    base.model.decoder.width = base.model.encoder.get_ref("width")
    search = Search(
        "widths", base, {"model.encoder.width": choice(64, 128)}, "loss", sampler="grid"
    )
    specs = search.specs("study.py", [])
    assert [spec.config.model.decoder.width for spec in specs.values()] == [64, 128]
    assert base.model.encoder.width == 256
