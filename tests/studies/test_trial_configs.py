import ml_collections
import pytest

from seqjax import config_files, fields, validation
from seqjax.config import default_config
from seqjax.config_files import load_config_file
from seqjax.errors import UserError
from seqjax.fields import flatten
from seqjax.studies import study as studies
from seqjax.studies import trial_configs
from seqjax.studies.grid import product, sweep, trials
from seqjax.studies.search import Search
from seqjax.studies.space import log_uniform
from seqjax.studies.study import Study
from seqjax.studies.study_files import load_study

_STUDY = """
from seqjax.config import default_config
from seqjax.studies.grid import product, sweep, trials
from seqjax.studies.study import Study

def get_study():
    rates = sweep("optimizer.learning_rate", [1e-5 * (i + 1) for i in range({count})])
    return Study("rates", trials(default_config(), product(rates, sweep("seed", range(10)))))
"""


@pytest.fixture
def counted(monkeypatch):
    """Returns how often configs were made and copied, and checked, by name."""
    counts = {"made": 0, "copied": 0, "checked": 0}

    def count(name, function):
        def counting(*arguments, **options):
            counts[name] += 1
            return function(*arguments, **options)

        return counting

    making, copying = count("made", fields.conform), count("copied", fields.duplicate)
    for module in (fields, studies):
        monkeypatch.setattr(module, "conform", making)
    for module in (config_files, trial_configs):
        monkeypatch.setattr(module, "duplicate", copying)
    checking = count("checked", validation.validate_fields)
    for module in (studies, validation):
        monkeypatch.setattr(module, "validate_fields", checking)
    return counts


def test_a_training_makes_one_config_however_many_trials_there_are(tmp_path, counted):
    found = []
    for count in (1, 100):
        path = tmp_path / f"study{count}.py"
        path.write_text(_STUDY.format(count=count))
        counted.update(made=0, copied=0, checked=0)
        config = load_config_file(f"{path}:learning_rate-1e-05_seed-3")
        assert (config.optimizer.learning_rate, config.seed) == (1e-5, 3)
        found.append(dict(counted))
    assert found[0] == found[1] and found[1]["copied"] <= 4


def test_a_sweep_checks_each_trial_once_and_makes_no_config(tmp_path, counted):
    path = tmp_path / "study.py"
    path.write_text(_STUDY.format(count=20))
    study = load_study(str(path))
    counted.update(made=0, copied=0, checked=0)
    specs = study.specs(str(path), [("train.duration", "5 steps")])
    assert counted == {"made": 0, "copied": 0, "checked": 200}
    spec = specs["learning_rate-0.0002_seed-9"]
    assert spec.values["train.duration"] == "5 steps" and counted["made"] == 0
    assert flatten(spec.config) == dict(spec.values) and counted["made"] == 1
    assert spec.config is spec.config
    counted["checked"] = 0
    study.specs(str(path), [], ["learning_rate-0.0002_seed-9"])
    assert counted["checked"] == 1


def test_a_search_makes_no_config_for_a_point(counted):
    space = {"optimizer.learning_rate": log_uniform(1e-4, 1e-2)}
    search = Search("s", default_config(), space, "loss", trials=50, sampler="random")
    counted.update(made=0, copied=0, checked=0)
    specs = search.specs("search.py", [("train.duration", "5 steps")])
    assert len(specs) == 50 and max(counted.values()) <= 3
    assert len({spec.values["optimizer.learning_rate"] for spec in specs.values()}) == 50


def test_what_was_made_is_the_config_of_its_trial_from_then_on():
    found = trials(default_config(), sweep("seed", [1, 2, 3]))
    found["seed-2"].train.duration = "7 steps"
    other = default_config()
    more = found | {"other": other}
    del found["seed-3"]
    assert list(found) == ["seed-1", "seed-2"] and len(more) == 4
    specs = Study("s", more).specs("s.py", [])
    assert [specs[n].values["train.duration"] == "7 steps" for n in more] == [0, 1, 0, 0]
    assert specs["seed-3"].fields == {"seed": 3, "train.duration": other.train.duration}
    assert list({"x": other} | found) == ["x", "seed-1", "seed-2"]


def test_the_base_may_be_changed_afterwards():
    base = default_config()
    found = trials(base, sweep("seed", [1, 2]))
    base.train.duration = "7 steps"
    assert found["seed-1"].train.duration == default_config().train.duration


def test_fields_that_follow_others_follow_in_each_trial():
    base = default_config()
    base.model.decoder.width = base.model.encoder.get_ref("width")
    found = trials(base, sweep("model.encoder.width", [64, 256]))
    specs = Study("s", found).specs("s.py", [])
    assert [spec.values["model.decoder.width"] for spec in specs.values()] == [64, 256]
    overridden = Study("s", found).specs("s.py", [("model.encoder.width", "32")])
    assert {spec.values["model.decoder.width"] for spec in overridden.values()} == {32}
    assert isinstance(found["encoder.width-64"], ml_collections.ConfigDict)


def test_an_unknown_trial_is_none():
    found = trials(default_config(), sweep("seed", [1]))
    assert "seed-2" not in found
    with pytest.raises(UserError, match="variant = 'seed-2': expected"):
        Study("s", found).variant("seed-2")


def test_many_trials_have_names_of_their_own():
    rates = [1e-4 * (1 + 1e-6 * i) for i in range(300)]
    found = trials(default_config(), product(sweep("optimizer.learning_rate", rates)))
    assert len(set(found)) == 300
    assert {found.fields(name)["optimizer.learning_rate"] for name in found} == set(rates)
