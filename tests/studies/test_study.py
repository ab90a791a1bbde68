import pytest

from seqjax.config import default_config
from seqjax.config_files import load_config_file
from seqjax.errors import UserError
from seqjax.studies.study import Study, load_study

_FILE = """
from seqjax.config import default_config
from seqjax.studies.study import Study

def trial(layers):
    config = default_config()
    config.model.encoder.layers = layers
    return config

def get_study():
    return Study("depth", {"shallow": trial(1), "deep-6": trial(6)}, **{})
"""


def _write(folder, text):
    path = folder / "study.py"
    path.write_text(text)
    return str(path)


def _error(function, *arguments, **fields):
    with pytest.raises(UserError) as caught:
        function(*arguments, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_study_is_read_from_its_file(tmp_path):
    study = load_study(_write(tmp_path, _FILE))
    assert (study.name, list(study.trials)) == ("depth", ["shallow", "deep-6"])
    assert study.splits == ("test",)


def test_a_trial_is_a_config_that_every_verb_can_take(tmp_path):
    path = _write(tmp_path, _FILE)
    assert load_config_file(f"{path}:deep-6").model.encoder.layers == 6
    message = "no variant 'deep': expected 'shallow', 'deep-6'; did you mean 'deep-6'?"
    assert _error(load_config_file, f"{path}:deep") == f"{path}: {message}"
    assert "no variant '': expected 'shallow', 'deep-6'" in _error(load_config_file, path)


def test_overrides_hold_for_every_trial_and_leave_the_study_alone():
    study = Study("s", {"a": default_config(), "b": default_config()})
    configs = study.configs([("train.duration", "100 steps"), ("seed", "7")])
    assert [(c.train.duration, c.seed) for c in configs.values()] == [("100 steps", 7)] * 2
    assert study.trials["a"] == default_config()
    assert configs["a"] is not configs["b"]


def test_a_trial_that_an_override_does_not_fit_is_named():
    narrow = default_config()
    narrow.model.encoder.heads = 5
    study = Study("s", {"a": default_config(), "narrow": narrow})
    message = _error(study.configs, [])
    assert message.startswith("trial 'narrow': model.encoder.heads = 5: expected a divisor of")
    assert _error(study.configs, [("sed", "1")]).startswith("sed: the config has no such field")
    assert _error(study.configs, [("seed", "x")]) == "seed = 'x': expected a whole number"


def test_trials_are_chosen_in_the_order_of_the_study():
    study = Study("s", {name: default_config() for name in ("a", "b", "c")})
    assert study.chosen([]) == ["a", "b", "c"]
    assert study.chosen(["c", "a", "c"]) == ["a", "c"]
    assert _error(study.chosen, ["a", "d"]).startswith("--trial=d: expected one of a, b, c")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trials": {}}, "study 's': expected at least one trial and one split"),
        ({"splits": ()}, "study 's': expected at least one trial and one split"),
        ({"trials": {"a/b": default_config()}}, "trial 'a/b': expected letters, digits, "),
        ({"trials": {"..": default_config()}}, "trial '..': expected letters, digits, "),
        ({"trials": {"results.md": default_config()}}, "trial 'results.md': the sweep writes a "),
        ({"trials": {"Results.csv": default_config()}}, "trial 'Results.csv': the sweep writes a "),
        ({"columns": ("blue",)}, "column 'blue': expected one of parameters, "),
    ],
)
def test_what_is_no_study_is_told(fields, message):
    fields = {"name": "s", "trials": {"a": default_config()}} | fields
    assert _error(Study, **fields).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "study.py: has no function get_study()"),
        ("def get_study(): return 3\n", "study.py: get_study() returns int, expected a Study"),
        ("def get_study():\n    return nothing\n", "study.py:2: NameError: "),
        (_FILE.replace("**{}", "columns=('bleuu',)"), "study.py: column 'bleuu': expected one of"),
    ],
)
def test_mistakes_in_a_file_are_told_in_one_line_with_their_place(text, message, tmp_path):
    assert message in _error(load_study, _write(tmp_path, text))


def test_no_file_is_told(tmp_path):
    message = _error(load_study, str(tmp_path / "none.py"))
    assert message == f"--study: no file '{tmp_path / 'none.py'}'; expected a Python file"
