import json
import shutil

import pytest

from seqjax.commands.command_line import main
from seqjax.commands.trials import run_folder
from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.studies.results import as_result
from seqjax.studies.snapshot import take_snapshot, write_snapshot
from seqjax.studies.study import Study
from seqjax.studies.trial import Trial

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def sweep(tmp_path):
    """The folder of a study whose trial b is the best of those that are done."""
    return _sweep(tmp_path)


def _sweep(folder, by=()):
    trials = {name: default_config() for name in NAMES}
    trials["c"].seed = trials["d"].seed = 1
    study = Study("letters", trials, splits=("test",), objective="loss", by=by)
    values = {"a": 2.5, "b": 0.5, "c": 1.5}
    found = {name: Trial(splits={"test": {"loss": value}}) for name, value in values.items()}
    found["d"] = Trial(failure="out of memory")
    specs = study.specs("study.py", ())
    results = [as_result(specs[name], found[name], values.get(name)) for name in NAMES]
    write_snapshot(folder, take_snapshot(study, results, {}))
    for name in NAMES:
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}")
    return folder


def test_a_trial_is_found_by_its_name_or_as_the_best(sweep):
    assert run_folder(str(sweep), "best") == str(sweep / "b")
    for name in NAMES:
        assert run_folder(str(sweep), name) == str(sweep / name)
        assert run_folder(str(sweep / name), None) == str(sweep / name)


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        (
            None,
            "--workdir={sweep}: expected a run; it holds the runs b (the best), a, c, d; choose one"
            " with --trial=best or --trial=b",
        ),
        ("bset", "--trial=bset: expected best or one of b (the best), a, c, d"),
    ],
)
def test_a_sweep_names_its_trials_and_the_best(trial, message, sweep):
    with pytest.raises(UserError) as caught:
        run_folder(str(sweep), trial)
    assert str(caught.value) == message.format(sweep=sweep)


def test_without_a_study_none_is_the_best(sweep):
    (sweep / "study.json").unlink()
    with pytest.raises(UserError, match="^--trial=best: no trial is done; expected one of a, b, c"):
        run_folder(str(sweep), "best")
    with pytest.raises(UserError, match="holds the runs a, b, c, d; .* or --trial=a$"):
        run_folder(str(sweep), None)


def test_groups_that_are_not_compared_have_no_best_of_all(tmp_path):
    _sweep(tmp_path, by=("seed",))
    with pytest.raises(UserError, match="are not compared with each other; expected one of b, c$"):
        run_folder(str(tmp_path), "best")


def test_forty_trials_are_not_all_listed(sweep):
    for number in range(36):
        shutil.copytree(sweep / "a", sweep / f"t{number}")
    with pytest.raises(UserError, match=r"b \(the best\), a, c, d, t0, .* and 28 more; choose"):
        run_folder(str(sweep), None)


def test_a_run_has_no_trials(sweep):
    with pytest.raises(UserError, match="^--trial=x: expected --workdir to be the folder of a sw"):
        run_folder(str(sweep / "a"), "x")
    (sweep / "empty").mkdir()
    assert run_folder(str(sweep / "empty"), None) == str(sweep / "empty")
    with pytest.raises(UserError, match="^--trial=x: expected trials in --workdir=.* found none$"):
        run_folder(str(sweep / "empty"), "x")


def test_the_verbs_take_the_best(sweep, trained, capfd):
    shutil.rmtree(sweep / "b")
    (sweep / "b").symlink_to(trained)
    code = main(["evaluate", f"--workdir={sweep}", "--trial=best", "--split=other"])
    out, _ = capfd.readouterr()
    assert code == 0 and json.loads(out)["workdir"] == str(sweep / "b")
    for verb in ("evaluate", "predict"):
        assert main([verb, f"--workdir={sweep}"]) == 2
        assert "it holds the runs b (the best), a, c, d" in capfd.readouterr().err
        assert main([verb, f"--workdir={sweep}", "--trial=best", "--ensemble=a,b"]) == 2
        assert "--trial=best: expected no --ensemble beside it" in capfd.readouterr().err
