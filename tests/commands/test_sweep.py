import contextlib
import csv
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seqjax.commands import sweep as verb
from seqjax.commands.command_line import main
from seqjax.invocation import command_line
from seqjax.studies.launcher import Outcome

_DEMO = Path(__file__).parents[2] / "configs" / "demo.py"
# Of the two trials one diverges in its first updates.
_STUDY = f"""
from seqjax.config_files import load_config_file
from seqjax.studies.study import Study

def get_study():
    good, bad = load_config_file("{_DEMO}"), load_config_file("{_DEMO}")
    bad.optimizer.learning_rate, bad.optimizer.clip = 1e30, 0.0
    columns = ("updates", "bleu", "loss")
    return Study("rates", {{"bad": bad, "good": good}}, splits=("test",), columns=columns)
"""


@pytest.fixture
def sweep(tmp_path, tiny, monkeypatch, capsys):
    """Returns a function that sweeps in `tmp_path`/runs: exit code, output, standard error.

    `sweep.launched` holds the verbs that ran, in this process.
    """
    path = tmp_path / "study.py"
    path.write_text(_STUDY)
    launched = []

    @contextlib.contextmanager
    def launcher(environments):
        launch.signal = 0
        yield launch

    def launch(arguments, stop, show):
        launched.append((arguments[0], Path(arguments[2 if arguments[0] == "train" else 1]).name))
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            code = main(arguments)
        return Outcome(code, out.getvalue(), (error.getvalue().splitlines() or [""])[-1])

    def run(*options, fields=None, study=path):
        fields = {"train.duration": 3, "evaluation.every": 0} | (fields or {})
        workdir = f"--workdir={tmp_path / 'runs'}"
        code = main(["sweep", f"--study={study}", workdir, *options, *tiny(fields)])
        return code, *capsys.readouterr()

    monkeypatch.setattr(verb, "Launcher", launcher)
    run.launched, run.workdir = launched, tmp_path / "runs"
    return run


def test_a_study_from_its_file_to_its_table(sweep):
    code, out, error = sweep("--dry_run")
    assert (code, error, sweep.launched) == (0, "", [])
    assert out.startswith("bad: to train\n  python launch.py train --config=")
    assert "\ngood: to train\n" in out and "--config.train.duration=3" in out
    assert not sweep.workdir.exists()

    code, out, error = sweep()
    assert code == 1
    assert sweep.launched == [("train", "bad"), ("train", "good"), ("evaluate", "good")]
    assert "[1/2] bad: failed: the loss is " in error or "failed: the gradient is " in error
    command = command_line(["predict", f"--workdir={sweep.workdir}", "--trial=best"])
    pictures = f"page: {sweep.workdir / 'results.html'}\nthe best trial answers your own lines,"
    pictures += f" read from standard input, with\n  {command}\n"
    assert error.endswith(f"[2/2] good: done\n1 of 2 trials failed\n{pictures}")
    assert out == (sweep.workdir / "results.md").read_text()
    assert out.splitlines()[2] == "| trial | clip (+1) | bleu | outcome | loss | updates |"
    good, bad = csv.DictReader((sweep.workdir / "results.csv").open(encoding="utf-8"))
    assert bad["outcome"].startswith("failed: the ") and "training diverged" in bad["outcome"]
    assert (good["trial"], good["split"], good["outcome"]) == ("good", "test", "done")
    assert good["updates"] == "3" and 0 < float(good["training_seconds"]) < 100
    (record,) = json.loads((sweep.workdir / "good" / "results.json").read_text()).values()
    found = record["splits"]["test"]
    assert float(good["loss"]) == found["loss"]
    assert int(good["parameters"]) == found["parameters"] > 1000
    assert good["bleu_signature"].startswith("nrefs:1|case:mixed")
    # The run is one that every other verb can take.
    assert (sweep.workdir / "good" / "config.json").exists()

    sweep.launched.clear()
    code, out, error = sweep("--trial=good")
    assert (code, sweep.launched) == (0, [])
    assert error == f"[1/1] good: done before\n{pictures}"

    # Another search evaluates the trial again, and only those named run.
    code, out, _ = sweep("--trial=good", fields={"decode.beam_size": 2})
    assert code == 0
    assert sweep.launched == [("train", "good"), ("evaluate", "good")]
    assert "\n| good | 1 | " in out and "\n| bad | 0 | " in out and "| not run |" in out

    # A longer budget goes on from where the shorter one has come to.
    sweep.launched.clear()
    out = sweep("--trial=good", "--dry_run", fields={"train.duration": 4})[1]
    assert out.startswith("good: to continue\n")
    code, out, error = sweep("--trial=good", fields={"train.duration": 4})
    assert (code, sweep.launched) == (0, [("train", "good"), ("evaluate", "good")])
    assert (sweep.workdir / "good" / "checkpoints" / "4").is_dir()

    # A shorter one would make of it what neither config says.
    sweep.launched.clear()
    shorter = {"train.duration": 2}
    out = sweep("--trial=good", "--dry_run", fields=shorter)[1]
    assert out.startswith("good: refused: train.duration = '2': expected '4'")
    assert out.count("\n") == 1
    # Nothing could be run: the table stays what it is.
    table = (sweep.workdir / "results.md").read_text()
    code, out, error = sweep("--trial=good", fields=shorter)
    assert (code, out, sweep.launched) == (2, "", [])
    assert error.startswith("seqjax: error: trial 'good': train.duration = '2': expected ")
    assert error.count("\n") == 1 and (sweep.workdir / "results.md").read_text() == table


def test_a_missing_corpus_is_reported_once_before_any_trial(sweep, tmp_path):
    fields = {"data.corpus": "text", "data.directory": tmp_path / "gone", "evaluation.every": 1}
    code, out, error = sweep(fields=fields)
    assert (code, out, sweep.launched) == (2, "", [])
    assert error.startswith(f"seqjax: error: data.directory = '{tmp_path / 'gone'}'")
    assert error.count("\n") == 1
    assert not sweep.workdir.exists()


def test_a_mistake_of_all_trials_is_reported_once_before_any(sweep):
    for fields, message in (
        (
            {"data.validation": "gone", "evaluation.every": 1},
            "split = 'gone': expected one of train,",
        ),
        ({"model.encoder.heads": 3}, "trial 'bad': model.encoder.heads = 3: expected a divisor"),
    ):
        code, out, error = sweep(fields=fields)
        assert (code, out, sweep.launched) == (2, "", [])
        assert message in error and error.count("\n") == 1
        assert not sweep.workdir.exists()


def test_a_storage_that_is_refused_leaves_no_folder(sweep):
    assert sweep("--storage=sqlite:////nowhere/study.db")[0] == 2
    assert not sweep.workdir.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trial=god"], "--trial=god: expected one of bad, good; did you mean 'good'?"),
        (
            ["--config.train.duratio=3"],
            "error: train.duratio: the config has no such field; did you mean 'train.duration'?",
        ),
        (["--config.train.patience=0"], "trial 'bad': train.patience = 0: expected at least 1"),
        (["--workdir="], "--workdir=: expected the run's folder"),
        (["--workers=0"], "--workers=0: expected at least 1"),
        (["--lost_after=1"], "--lost_after=1: expected at least 2"),
        (["--config=x.py"], "--config=x.py: expected an option of seqjax sweep"),
    ],
)
def test_mistakes_are_one_line_before_any_work(sweep, options, message):
    code, out, error = sweep(*options)
    assert (code, out, sweep.launched) == (2, "", [])
    assert message in error
    assert error.startswith("seqjax: error: ") and error.count("\n") == 1
    assert not sweep.workdir.exists()


def test_a_study_must_be_there(sweep, tmp_path):
    code, out, error = sweep(study=tmp_path / "none.py")
    assert (code, out) == (2, "")
    assert error.startswith("seqjax: error: --study=") and error.count("\n") == 1
    assert main(["sweep", f"--workdir={tmp_path}"]) == 2


_SEARCH = f"""
from seqjax.config_files import load_config_file
from seqjax.studies.search import Search
from seqjax.studies.space import choice, log_uniform

def get_study():
    config = load_config_file("{_DEMO}")
    space = {{"optimizer.learning_rate": log_uniform(1e-3, 1e-1), "seed": choice(1, 2)}}
    return Search("rates", config, space, "loss", trials=2, **{{}})
"""


@pytest.fixture
def search(tmp_path):
    """Returns a function that writes the file of a search."""

    def write(fields="{}"):
        path = tmp_path / "search.py"
        path.write_text(_SEARCH.replace("{}", fields))
        return path

    return write


def test_a_search_is_reported_before_it_runs(sweep, search):
    fields = {"evaluation.every": 1}
    path = search("{'pruner': 'median'}")
    code, out, error = sweep("--dry_run", study=path, fields=fields)
    assert (code, error) == (0, "") and not sweep.workdir.exists()
    assert out == (
        "rates: 2 trials by tpe, pruned by median,\nfor the lowest loss in\n"
        "  optimizer.learning_rate: log_uniform(0.001, 0.1)\n  seed: choice(1, 2)\n"
    )
    path = search("{'sampler': 'random'}")
    out = sweep("--dry_run", study=path, fields=fields)[1]
    assert "for the lowest loss in" in out and "\ntrial-0000: to train\n" in out
    assert "--config.optimizer.learning_rate=0.0" in out and "--config.train.duration=3" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_study(): pass", "get_study() returns nothing; expected a Study or a Search"),
        (
            "def get_study(): return {}",
            "get_study() returns dict; expected a Study or a Search, such as"
            " Study('NAME', trials(...))",
        ),
    ],
)
def test_a_study_that_is_none_is_reported(sweep, tmp_path, text, message):
    path = tmp_path / "other.py"
    path.write_text(text)
    code, out, error = sweep(study=path)
    assert (code, out, error) == (2, "", f"seqjax: error: {path}: {message}\n")


def test_a_storage_that_cannot_be_reached_is_reported(sweep):
    code, out, error = sweep("--storage=sqlite:////nowhere/study.db")
    assert (code, out, sweep.launched) == (2, "", [])
    assert error == (
        "seqjax: error: --storage=sqlite:////nowhere/study.db: cannot be used:"
        " unable to open database file\n"
    )


def test_a_sweep_waits_for_no_jax():
    code = "import sys, seqjax.commands.sweep; print({'jax', 'optuna'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def _until(condition):
    deadline = time.monotonic() + 280
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_with_the_same_command(search, tiny, tmp_path):
    workdir = tmp_path / "runs"
    fields = {"train.duration": 8, "decode.max_length_ratio": 0.0, "decode.max_length_extra": 3}
    command = [sys.executable, "-m", "seqjax", "sweep", f"--study={search()}", "--lost_after=2"]
    command += [f"--workdir={workdir}", *tiny(fields)]
    killed = subprocess.Popen(command, stderr=subprocess.PIPE)
    metrics = workdir / "trial-0000" / "metrics.jsonl"
    try:
        _until(lambda: metrics.exists() and b"validation/loss" in metrics.read_bytes())
    finally:
        killed.kill()
        killed.communicate()
    again = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert again.returncode == 0, again.stderr
    assert "[1/2] trial-0000: " in again.stderr and ", tried again" in again.stderr
    rows = list(csv.DictReader((workdir / "results.csv").open(encoding="utf-8")))
    assert sorted(row["trial"] for row in rows) == ["trial-0000", "trial-0001"]
    assert [row["outcome"] for row in rows] == ["done", "done"]
    losses = [float(row["objective"]) for row in rows]
    assert losses == sorted(losses)
    # Nothing runs beside each other in a run directory.
    for name in ("trial-0000", "trial-0001"):
        lines = (workdir / name / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines if "validation/loss" in line]
        assert steps == sorted(set(steps)) and steps[-1] == 8
