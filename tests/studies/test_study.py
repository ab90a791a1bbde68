import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.studies.grid import sweep, trials
from seqjax.studies.search import Search
from seqjax.studies.space import uniform
from seqjax.studies.study import Study, chosen
from seqjax.studies.trial import Trial


def _error(function, *arguments, **fields):
    with pytest.raises(UserError) as caught:
        function(*arguments, **fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_overrides_hold_for_every_trial_and_leave_the_study_alone():
    study = Study("s", {"a": default_config(), "b": default_config()})
    specs = study.specs("study.py", [("train.duration", "100 steps"), ("seed", "7")])
    configs = {name: spec.config for name, spec in specs.items()}
    assert [(c.train.duration, c.seed) for c in configs.values()] == [("100 steps", 7)] * 2
    assert study.trials["a"] == default_config()
    assert configs["a"] is not configs["b"]


def test_a_trial_that_an_override_does_not_fit_is_named():
    narrow = default_config()
    narrow.model.encoder.heads = 5
    study = Study("s", {"a": default_config(), "narrow": narrow})
    message = _error(study.specs, "study.py", [])
    assert message.startswith("trial 'narrow': model.encoder.heads = 5: expected a divisor of")
    assert _error(study.specs, "study.py", [("sed", "1")]).startswith(
        "sed: the config has no such field"
    )
    assert _error(study.specs, "study.py", [("seed", "x")]) == "seed = 'x': expected a whole number"


def test_trials_that_are_not_run_are_not_checked():
    narrow = default_config()
    narrow.model.encoder.heads = 5
    study = Study("s", {"a": default_config(), "narrow": narrow})
    assert list(study.specs("study.py", [], ["a"])) == ["a", "narrow"]
    assert "narrow" in _error(study.specs, "study.py", [], ["narrow"])


def test_trials_are_chosen_in_the_order_of_the_study():
    study = Study("s", {name: default_config() for name in ("a", "b", "c")})
    assert chosen(study, []) == ["a", "b", "c"]
    assert chosen(study, ["c", "a", "c"]) == ["a", "c"]
    assert _error(chosen, study, ["a", "d"]).startswith("--trial=d: expected one of a, b, c")


def test_a_pattern_chooses_all_trials_whose_names_fit():
    names = ("dut-gru", "dut-lstm", "fre-lstm")
    study = Study("s", {name: default_config() for name in names})
    assert chosen(study, ["dut-*"]) == ["dut-gru", "dut-lstm"]
    assert chosen(study, ["fre-*", "???-gru"]) == ["dut-gru", "fre-lstm"]
    assert _error(chosen, study, ["kor-*"]).startswith("--trial=kor-*: expected one of dut-gru,")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trials": {}}, "study 's': expected at least one trial and one split"),
        ({"splits": ()}, "study 's': expected at least one trial and one split"),
        ({"trials": {"a/b": default_config()}}, "trial 'a/b': expected letters, digits, "),
        ({"trials": {"..": default_config()}}, "trial '..': expected letters, digits, "),
        ({"trials": {"results.md": default_config()}}, "trial 'results.md': the sweep writes a "),
        ({"trials": {"Results.csv": default_config()}}, "trial 'Results.csv': the sweep writes a "),
        ({"trials": {"results.html": default_config()}}, "trial 'results.html': the sweep writes"),
        ({"trials": {"study.json": default_config()}}, "trial 'study.json': the sweep writes"),
        ({"by": "data.file"}, "data.file: the config has no such field; did you mean 'data.files'"),
        ({"trials": {"Study.db": default_config()}}, "trial 'Study.db': the sweep writes a "),
        ({"columns": ("blue",)}, "column 'blue': expected one of parameters, "),
    ],
)
def test_what_is_no_study_is_reported(fields, message):
    fields = {"name": "s", "trials": {"a": default_config()}} | fields
    assert _error(Study, **fields).startswith(message)


def test_losses_of_different_tokens_are_not_compared():
    configs = trials(default_config(), sweep("tokenizer.vocabulary", [100, 1000]))
    assert Study("s", configs).objective == "bleu"
    # There may be nothing else.
    assert Study("s", configs, columns=("updates", "perplexity")).objective == "perplexity"


def test_a_study_may_say_what_it_compares_by():
    study = Study("s", {"a": default_config()}, objective="chrf")
    assert (study.objective, study.higher) == ("chrf", True)
    error = _error(Study, name="s", trials={"a": default_config()}, objective="error_rate")
    assert error.startswith("study 's': objective = 'error_rate': expected one of loss, perplexity")


def test_the_objective_is_the_first_column_that_measures_how_good_a_trial_is():
    configs = {"a": default_config(), "b": default_config()}
    for columns, objective, higher in (
        (("updates", "bleu", "loss"), "bleu", True),
        (("updates", "error_rate", "loss"), "loss", False),
        (("updates",), "loss", False),
    ):
        study = Study("s", configs, columns=columns)
        assert (study.objective, study.higher) == (objective, higher)
    metrics = {"test": {"loss": 2.0}, "validation": {"loss": 3.0}, "train": {"loss": 1.0}}
    # What a test split has chosen it could not judge any more.
    for splits, value in (
        (("validation", "test"), 3.0),
        (("test", "validation"), 3.0),
        (("test",), 2.0),
        (("train", "test"), 1.0),
    ):
        study = Study("s", configs, splits, columns=("updates",))
        assert study.value(Trial(splits=metrics)) == value
        assert study.judge == ("validation" if value == 3 else splits[0])
    assert study.value(Trial(splits={"test": {"loss": "nan"}})) is study.value(Trial()) is None


def test_without_columns_a_study_shows_the_usual_metrics_of_its_tasks():
    config = default_config()
    config.evaluation.metrics = ("bleu",)
    space = {"optimizer.learning_rate": uniform(0.1, 0.2)}
    columns = ("parameters", "updates", "training_seconds", "loss", "perplexity")
    assert Study("s", {"a": config}).columns == (*columns, "bleu", "output_tokens_per_second")
    assert Search("s", config, space, "loss", 1).columns == Study("s", {"a": config}).columns
    text = default_config()
    text.task = "language_model"
    expected = (*columns, "bits_per_character")
    assert Study("s", {"a": text}).columns == expected
    assert Search("s", text, space, "loss", 1).columns == expected
    # What only one of two tasks measures compares no trials.
    assert Study("s", {"a": config, "b": text}).columns == columns


def test_a_list_of_jobs_shows_in_which_fields_they_differ():
    configs = trials(default_config(), sweep("seed", [1, 2]))
    specs = Study("s", configs).specs("study.py", [("train.duration", "9 steps")])
    assert [spec.fields for spec in specs.values()] == [{"seed": 1}, {"seed": 2}]
    assert specs["seed-2"].training("runs/x") == [
        "train",
        "--config=study.py:seed-2",
        "--workdir=runs/x",
        "--config.train.duration=9 steps",
    ]
