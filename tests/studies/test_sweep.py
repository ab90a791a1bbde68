import csv
import errno
import json
import math
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from seqjax.config import default_config
from seqjax.errors import UserError, passes
from seqjax.fields import save
from seqjax.files import as_path
from seqjax.invocation import command_line
from seqjax.overrides import apply_overrides
from seqjax.studies.launcher import Outcome
from seqjax.studies.search import Search
from seqjax.studies.space import choice, log_uniform
from seqjax.studies.study import Study, TrialSpec
from seqjax.studies.sweep import Sweep
from seqjax.studies.trial import write_trial
from seqjax.studies.trial_group import program_groups
from seqjax.studies.trial_queue import Standing

_METRICS = {"parameters": 1234567, "loss": 1.5, "perplexity": 4.4817, "bleu": 31.25}
_METRICS |= {"bleu_signature": "nrefs:1|tok:13a", "output_tokens": 900, "decoding_seconds": 4.5}


def _train(folder, fields, losses=()):
    """Leaves what a training leaves: its config, a checkpoint, and its metrics."""
    config = default_config()
    apply_overrides(config, list(fields.items()))
    (folder / "checkpoints" / "9").mkdir(parents=True, exist_ok=True)
    save(config, folder / "config.json")
    lines = [
        {"step": 3 * number, "validation/loss": loss, "train/seconds": 1.0 * number}
        for number, loss in enumerate(losses, start=1)
    ]
    if lines:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metrics.jsonl").write_text(text)


class Fake:
    """Stands in for the processes: remembers what was launched, answers as it is set to."""

    def __init__(self):
        self.launched = []
        self.answers = {}
        self.signal = 0
        # Fields that a training finds in the file otherwise than the sweep did.
        self.read_otherwise = {}

    def __call__(self, arguments, stop, show):
        verb, *options = arguments
        options = dict(option.split("=", 1) for option in options)
        workdir = options["--workdir"]
        together = options.get("--together")
        name = together or workdir.rpartition("/")[2]
        self.launched.append((verb, name, options.get("--split")))
        if (verb, name) in self.answers:
            return self.answers[verb, name]
        if verb == "train":
            prefix = "--config."
            fields = {k.removeprefix(prefix): v for k, v in options.items() if prefix in k}
            names = together.split(",") if together else [""]
            for folder in [as_path(workdir) / name for name in names]:
                _train(folder, fields | self.read_otherwise)
            return Outcome(0, "", "complete")
        facts = {"split": options["--split"], **_METRICS}
        if together:
            facts = {member: facts for member in together.split(",")}
        return Outcome(0, json.dumps(facts), "hypotheses: ...")


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def sweep(tmp_path, fake):
    """Returns a function that makes a sweep of the trials a and b with some overrides."""

    def make(*overrides, splits=("test",), **options):
        study = Study("pair", {"a": default_config(), "b": default_config()}, splits)
        return Sweep(study, "study.py", tmp_path, overrides, fake, **options)

    return make


def _rows(folder):
    return list(csv.DictReader((folder / "results.csv").open(encoding="utf-8")))


def test_each_trial_is_trained_and_evaluated_in_order(sweep, fake, tmp_path):
    assert sweep(splits=("validation", "test")).run(["a", "b"]) == 0
    verbs = [("train", None), ("evaluate", "validation"), ("evaluate", "test")]
    assert fake.launched == [(verb, name, split) for name in "ab" for verb, split in verbs]
    rows = _rows(tmp_path)
    assert [(row["trial"], row["split"]) for row in rows] == [
        ("a", "validation"),
        ("a", "test"),
        ("b", "validation"),
        ("b", "test"),
    ]
    assert {row["outcome"] for row in rows} == {"done"}
    assert {row["output_tokens_per_second"] for row in rows} == {"200.0"}
    table = (tmp_path / "results.md").read_text().splitlines()
    assert table[0] == "# pair"
    assert table[2].startswith("| trial | loss, validation | perplexity, validation | bleu, ")
    figures = "1.500 | 4.48 | 31.25 | – | 200"
    assert table[4] == f"| a | {figures} | {figures} | 1,234,567 | – | – |"
    assert "bleu: `nrefs:1|tok:13a`" in table


def test_the_commands_hold_the_overrides(sweep, tmp_path):
    train, evaluate = sweep(("train.duration", "9 steps")).trial("b").commands()
    assert train == [
        "train",
        "--config=study.py:b",
        f"--workdir={tmp_path / 'b'}",
        "--config.train.duration=9 steps",
    ]
    assert evaluate == ["evaluate", f"--workdir={tmp_path / 'b'}", "--split=test"]


def test_trials_that_differ_in_numbers_are_one_program(sweep, fake, tmp_path):
    assert sweep(vectorize="auto").run(["a", "b"]) == 0
    assert fake.launched == [("train", "a,b", None), ("evaluate", "a,b", "test")]
    assert [row["bleu"] for row in _rows(tmp_path)] == ["31.25"] * 2
    assert sweep(vectorize="auto").run(["a", "b"]) == 0
    assert len(fake.launched) == 2


def test_the_commands_of_a_group_name_its_trials(sweep, tmp_path):
    made = sweep(("train.duration", "7"), vectorize="2", splits=("test", "other"))
    (group,) = made.groups(["a", "b"])
    options = "--config.train.duration=7"
    assert [" ".join(command) for command in made.group(group).commands()] == [
        f"train --config=study.py --together=a,b --members=auto --workdir={tmp_path} {options}",
        f"evaluate --workdir={tmp_path} --together=a,b --split=test",
        f"evaluate --workdir={tmp_path} --together=a,b --split=other",
    ]


def test_where_a_group_fails_each_is_run_by_itself(sweep, fake, tmp_path, capsys):
    fake.answers["train", "a,b"] = Outcome(-9, "", "")
    fake.answers["train", "b"] = Outcome(2, "", "seqjax: error: too wide")
    assert sweep(vectorize="auto").run(["a", "b"]) == 1
    assert [launched[:2] for launched in fake.launched] == [
        ("train", "a,b"),
        ("train", "a"),
        ("evaluate", "a"),
        ("train", "b"),
    ]
    reported = capsys.readouterr().err
    assert "together they failed (train was stopped by SIGKILL): each is run by itself" in reported
    assert "[2/2] b: failed: too wide" in reported and "[1/2] a: done" in reported
    log = (tmp_path / "b" / "log.txt").read_text()
    assert log == "together they failed (train was stopped by SIGKILL): each is run by itself\n"


@pytest.mark.parametrize(
    "verb, outcome",
    [
        # Some diverged, and then a signal came: nothing is finished.
        ("train", Outcome(143, '{"a": "the loss is nan"}', "")),
        ("train", Outcome(1, "", "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED")),
        # All was printed, and then it died.
        ("evaluate", Outcome(-11, '{"a": {"bleu": 1.0}, "b": {"bleu": 1.0}}', "")),
        ("evaluate", Outcome(-9, '{"a": {"bleu', "")),
    ],
)
def test_what_a_group_says_counts_only_with_its_exit_code(sweep, fake, tmp_path, verb, outcome):
    fake.answers[verb, "a,b"] = outcome
    assert sweep(vectorize="auto").run(["a", "b"]) == 0
    alone = [(verb, name) for name in ("a", "b") for verb in ("train", "evaluate")]
    assert [launched[:2] for launched in fake.launched][-4:] == alone
    assert [row["bleu"] for row in _rows(tmp_path)] == ["31.25"] * 2


def test_a_trial_of_a_group_that_diverges_fails_alone(sweep, fake, tmp_path, capsys):
    fake.answers["train", "a,b"] = Outcome(1, '{"a": "the loss is nan"}', "")
    for name in ("a", "b"):
        _train(tmp_path / name, {})
    assert sweep(vectorize="auto").run(["a", "b"]) == 1
    assert fake.launched == [("train", "a,b", None), ("evaluate", "b", "test")]
    reported = capsys.readouterr().err
    assert "[1/2] a: failed: the loss is nan" in reported and "[2/2] b: done" in reported


def test_a_signal_ends_a_group_and_it_goes_on_next_time(sweep, fake, tmp_path):
    fake.answers["evaluate", "a,b"] = Outcome(143, "", "", signal.SIGTERM)
    assert sweep(vectorize="auto").run(["a", "b"]) == 143
    del fake.answers["evaluate", "a,b"]
    assert sweep(vectorize="auto").run(["a", "b"]) == 0
    assert [launched[:2] for launched in fake.launched] == 2 * [
        ("train", "a,b"),
        ("evaluate", "a,b"),
    ]


@pytest.mark.parametrize(
    "vectorize, workers, sizes",
    [
        ("off", 1, [1] * 22),
        ("auto", 1, [16, 2, 1, 1, 1, 1]),
        ("auto", 4, [5, 5, 5, 3, 1, 1, 1, 1]),
        ("4", 1, [4, 4, 4, 4, 2, 1, 1, 1, 1]),
    ],
)
def test_what_shares_a_program(vectorize, workers, sizes):
    def spec(number):
        config = default_config()
        config.batching.seed, config.seed = 0, number
        config.optimizer.learning_rate = 10.0**-number
        if number == 18:
            config.model.encoder.layers = 5
        if number == 19:
            # Its batches are its own.
            config.batching.seed = -1
        return TrialSpec(f"t{number}", config, f"study.py:t{number}", (), {})

    specs = {f"t{number}": spec(number) for number in range(20)}
    for number in (20, 21):
        # A device would hold a part of each.
        specs[f"t{number}"] = spec(number % 20)
        specs[f"t{number}"].config.parallel.fsdp = 2
    groups = program_groups(specs, vectorize, workers)
    assert [len(group) for group in groups] == sizes
    assert sum(groups, []) == list(specs)


def test_a_study_may_lie_in_a_bucket(bucket, tmp_path, fake):
    study = Study("pair", {"a": default_config(), "b": default_config()}, ("test",))
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    assert Sweep(study, "study.py", bucket, (), fake, storage=storage).run(["a", "b"]) == 0
    assert "31.25" in (bucket / "results.csv").read_text()
    assert (bucket / "results.html").exists()


def test_results_that_cannot_be_written_are_printed_and_the_others_run(
    sweep, fake, tmp_path, monkeypatch, capsys
):
    def write(folder, config, trial):
        if folder.name == "a":
            raise PermissionError(errno.EACCES, "Permission denied")
        return write_trial(folder, config, trial)

    monkeypatch.setattr("seqjax.studies.trial_run.write_trial", write)
    assert sweep().run(["a", "b"]) == 0
    assert [name for verb, name, _ in fake.launched if verb == "evaluate"] == ["a", "b"]
    error = capsys.readouterr().err
    assert f"{tmp_path}/a: results not written (Permission denied); {{" in error
    assert f'"bleu": {_METRICS["bleu"]}' in error
    assert [row["outcome"] for row in _rows(tmp_path)] == ["done", "done"]


def test_a_full_disk_prints_the_results_and_stops_the_sweep_which_goes_on_later(
    sweep, fake, tmp_path, monkeypatch, capsys
):
    def full(folder, config, trial):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("seqjax.studies.trial_run.write_trial", full)
        with pytest.raises(OSError, match="No space left") as caught:
            sweep().run(["a", "b"])
    assert passes(caught.value)
    assert f'"bleu": {_METRICS["bleu"]}' in capsys.readouterr().err
    assert sweep().run(["a", "b"]) == 0
    assert [row["outcome"] for row in _rows(tmp_path)] == ["done", "done"]


def test_tables_that_cannot_be_written_end_no_trial(sweep, fake, monkeypatch, caplog):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("seqjax.studies.snapshot.replace_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        sweep().run(["a", "b"])
    assert passes(caught.value)
    assert [name for verb, name, _ in fake.launched if verb == "evaluate"] == ["a", "b"]
    (warning,) = (r.message for r in caplog.records if r.name == "seqjax.studies.sweep")
    assert "results not written (OSError: " in warning


def test_the_trials_are_looked_through_once_for_each(sweep, fake, monkeypatch):
    made, looks = sweep(), []
    results = made.results
    monkeypatch.setattr(made, "results", lambda: looks.append(0) or results())
    assert made.run(["a", "b"]) == 0
    # The first begins; it ends and the second begins; that ends; the end, printed and written.
    assert len(looks) == 5


def test_a_failure_stands_in_the_table_and_the_others_run(sweep, fake, tmp_path, capsys):
    fake.answers["train", "a"] = Outcome(2, "", "seqjax: error: out of | luck")
    assert sweep().run(["a", "b"]) == 1
    assert fake.launched == [("train", "a", None), ("train", "b", None), ("evaluate", "b", "test")]
    assert [row["outcome"] for row in _rows(tmp_path)] == ["done", "failed: out of | luck"]
    table = (tmp_path / "results.md").read_text()
    assert "| a | – | failed: out of \\| luck | – | – | – | – | – | – | – |" in table
    error = capsys.readouterr().err
    assert "[1/2] a: failed: out of | luck\n" in error
    assert error.endswith("1 of 2 trials failed\n")


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome(-9, "", "step 5/6"), "train was stopped by SIGKILL"),
        (Outcome(143, "", "python launch.py train ..."), "train was stopped by SIGTERM"),
        (Outcome(1, "", "ZeroDivisionError: division by zero"), "ZeroDivisionError: division by"),
        (Outcome(3, "", ""), "train left with exit code 3"),
    ],
)
def test_reasons_of_failures(sweep, fake, tmp_path, outcome, reason):
    fake.answers["train", "a"] = outcome
    assert sweep().run(["a"]) == 1
    assert _rows(tmp_path)[0]["outcome"].startswith(f"failed: {reason}")


def test_what_is_done_is_not_repeated_and_what_failed_is_tried_again(sweep, fake, tmp_path):
    fake.answers["evaluate", "b"] = Outcome(2, "", "seqjax: error: no")
    assert sweep().run(["a", "b"]) == 1
    fake.launched.clear()
    fake.answers.clear()
    assert sweep().run(["a", "b"]) == 0
    assert fake.launched == [("train", "b", None), ("evaluate", "b", "test")]
    assert [row["outcome"] for row in _rows(tmp_path)] == ["done", "done"]


def test_another_budget_or_split_is_another_result(sweep, fake):
    assert sweep().run(["a"]) == 0
    for changed in (sweep(("train.duration", "9 steps")), sweep(splits=("test", "train"))):
        assert changed.trial("a").state() != "done"
    assert sweep().trial("a").state() == "done"


@pytest.mark.parametrize("direct", [False, True])
def test_a_run_of_another_config_is_neither_trained_nor_scored(sweep, fake, tmp_path, direct):
    short, long = sweep(("train.duration", "9 steps")), sweep(("train.duration", "20 steps"))
    if direct:
        _train(tmp_path / "a", {"train.duration": "20 steps"})
    else:
        assert long.run(["a"]) == 0
    fake.launched.clear()
    reason = "train.duration = '9 steps': expected '20 steps', as in the run in "
    assert short.trial("a").state().startswith(f"refused: {reason}")
    reported = f"{reason}{tmp_path / 'a'}; choose another --workdir"
    with pytest.raises(UserError, match=re.escape(f"trial 'a': {reported}")):
        short.run(["a"])
    assert fake.launched == [] and (tmp_path / "results.md").exists() == (not direct)
    # Where others can be run it fails alone.
    assert short.run(["a", "b"]) == 1
    outcomes = {row["trial"]: row["outcome"] for row in _rows(tmp_path)}
    assert outcomes == {"a": f"failed: {reported}", "b": "done"}


@pytest.mark.parametrize(
    "before, now, state",
    [
        ("9 steps", "20 steps", "to continue"),
        ("2 epochs", "3 epochs", "to continue"),
        ("20 steps", "9 steps", "refused: "),
        # Which of them is longer shows once the corpus is read.
        ("9 steps", "1 epoch", "refused: "),
    ],
)
def test_a_trial_can_be_trained_further(sweep, tmp_path, before, now, state):
    _train(tmp_path / "a", {"train.duration": before})
    assert sweep(("train.duration", now)).trial("a").state().startswith(state)
    # What else is changed would belong to neither config.
    other = sweep(("train.duration", now), ("seed", "7")).trial("a").state()
    assert other.startswith("refused: ")


def test_how_many_fields_a_run_has_otherwise_is_reported(sweep, tmp_path):
    _train(tmp_path / "a", {"seed": "7", "train.patience": "9", "decode.beam_size": "1"})
    assert sweep().trial("a").state().endswith(" (1 more field differs); choose another --workdir")


def test_how_a_run_is_decoded_and_evaluated_may_change(sweep, fake, tmp_path):
    assert sweep().run(["a"]) == 0
    fake.launched.clear()
    changed = sweep(
        ("decode.beam_size", "1"), ("evaluation.lowercase", "True"), ("data.test", "test_long")
    )
    assert changed.trial("a").state() == "to continue"
    assert changed.run(["a"]) == 0
    assert fake.launched == [("train", "a", None), ("evaluate", "a", "test")]
    assert sweep().trial("a").state() == changed.trial("a").state() == "done"


def test_a_start_that_saved_nothing_binds_nobody(sweep, tmp_path):
    _train(tmp_path / "a", {"seed": "7"})
    (tmp_path / "a" / "checkpoints" / "9").rmdir()
    assert sweep().run(["a"]) == 0
    assert sweep().trial("a").state() == "done"


def test_a_failure_leaves_the_results_of_other_configs_alone(sweep, fake, tmp_path):
    assert sweep().run(["a"]) == 0
    assert sweep(("train.duration", "9 steps")).run(["a", "b"]) == 1
    fake.answers["evaluate", "a"] = Outcome(2, "", "seqjax: error: no")
    assert sweep(("decode.beam_size", "1")).run(["a"]) == 1
    assert sweep(splits=("test", "train")).run(["a"]) == 1
    outcomes = {row["outcome"] for row in _rows(tmp_path) if row["trial"] == "a"}
    assert outcomes == {"failed: no"}
    fake.launched.clear()
    assert sweep().run(["a"]) == 0
    assert fake.launched == []
    row = _rows(tmp_path)[0]
    assert (row["outcome"], row["bleu"]) == ("done", "31.25")


def test_a_record_of_one_config_is_still_read(sweep, tmp_path):
    config = json.loads(json.dumps(default_config().to_dict()))
    record = {"config": config, "training": {"updates": 8}, "splits": {"test": _METRICS}}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "results.json").write_text(json.dumps(record | {"failure": ""}))
    assert sweep().trial("a").state() == "done"
    assert sweep(("decode.beam_size", "1")).run(["a"]) == 0
    assert sweep().trial("a").state() == "done"


def test_a_study_that_changes_while_it_runs_is_reported(sweep, fake, tmp_path):
    fake.read_otherwise = {"train.duration": "20 steps"}
    before = sweep(("train.duration", "9 steps"))
    assert before.run(["a"]) == 1
    assert fake.launched == [("train", "a", None)]
    assert _rows(tmp_path)[0]["outcome"] == (
        f"failed: train.duration = '9 steps': expected '20 steps', as in the run in"
        f" {tmp_path / 'a'}; study.py was changed while the sweep ran"
    )
    assert before.trial("a").state().startswith("refused: train.duration")
    # A study that is read again has what was trained.
    after = sweep(("train.duration", "20 steps"))
    assert after.run(["a"]) == 0


def test_a_damaged_record_is_made_anew(sweep, fake, tmp_path):
    assert sweep().run(["a"]) == 0
    (tmp_path / "a" / "results.json").write_text('{"config"')
    assert sweep().trial("a").state() == "to continue"
    assert sweep().run(["a"]) == 0
    assert sweep().trial("a").state() == "done"


def test_a_signal_ends_the_sweep_and_the_trial_goes_on_next_time(sweep, fake, tmp_path, capsys):
    fake.answers["train", "a"] = Outcome(143, "", "saved", signal=15)
    (tmp_path / "a" / "checkpoints").mkdir(parents=True)
    assert sweep().run(["a", "b"]) == 143
    assert fake.launched == [("train", "a", None)]
    assert capsys.readouterr().err.endswith("SIGTERM: continue with the same command\n")
    assert [row["outcome"] for row in _rows(tmp_path)] == ["not run", "not run"]
    assert (sweep().trial("a").state(), sweep().trial("b").state()) == ("to continue", "to train")


def test_updates_and_seconds_are_those_of_the_run(sweep, tmp_path):
    run = tmp_path / "a"
    run.mkdir()
    lines = [
        {"step": 5, "train/seconds": 10.5},
        {"step": 6, "validation/loss": 2.0},
        {"step": 8, "train/seconds": 17.25},
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"st')
    session = {"started": "2026-11-22T10:00:00+00:00", "commit": "0123456789abcdef", "dirty": True}
    session |= {"devices": [{"kind": "cpu", "count": 2}], "packages": {"jax": "0.10.2"}}
    (run / "environment.json").write_text(
        json.dumps({"sessions": [session, session | {"commit": None}]})
    )
    assert sweep().run(["a"]) == 0
    row = _rows(tmp_path)[0]
    assert (row["updates"], row["training_seconds"]) == ("8", "17.25")
    assert (tmp_path / "results.md").read_text().splitlines()[-2:] == [
        "- 2026-11-22, 2 x cpu, jax 0.10.2, commit 0123456789 (changed)",
        "- 2026-11-22, 2 x cpu, jax 0.10.2, commit unknown (changed)",
    ]
    command = command_line(["train", "--config=study.py:a", f"--workdir={run}-again"])
    again = f"Best: a. Again: `{command}`"
    assert again in (tmp_path / "results.md").read_text().splitlines()


_RATE, _HEADS = "optimizer.learning_rate", "model.encoder.heads"
_SPACE = {_RATE: log_uniform(1e-4, 1e-1), _HEADS: choice(2, 4)}


class Searched(Fake):
    """Stands in for trainings whose loss is least where the learning rate is 0.003."""

    def __call__(self, arguments, stop, show):
        outcome = super().__call__(arguments, stop, show)
        if arguments[0] == "train" and outcome.code == 0:
            rate = float(next(a for a in arguments if _RATE in a).partition(f"{_RATE}=")[2])
            best = 2 + abs(math.log10(rate / 3e-3))
            folder = Path(arguments[2].partition("=")[2])
            config = json.loads((folder / "config.json").read_text())
            fields = {_RATE: str(rate), _HEADS: str(config["model"]["encoder"]["heads"])}
            _train(folder, fields, [best + 1, best + 0.5, best])
            show("complete")
        return outcome


@pytest.fixture
def search(tmp_path):
    """Returns a function that makes a sweep of a search, and what it launches."""

    def make(*overrides, space=_SPACE, trials=4, fake=None, workers=1, lost_after=120, **fields):
        study = Search("rates", default_config(), space, "loss", trials, **fields)
        fake = fake or Searched()
        sweep = Sweep(study, "s.py", tmp_path, overrides, fake, workers, lost_after=lost_after)
        return sweep, fake

    return make


def test_a_search_ends_in_a_table_from_the_best_to_the_worst(search, tmp_path, capsys):
    sweep, fake = search()
    assert sweep.run(sweep.study.names) == 0
    verbs = [("train", None), ("evaluate", "validation")]
    assert fake.launched == [
        (verb, name, split) for name in sweep.study.names for verb, split in verbs
    ]
    rows = _rows(tmp_path)
    losses = [float(row["objective"]) for row in rows]
    assert losses == sorted(losses) and min(losses) >= 2
    for row in rows:
        assert float(row["objective"]) == pytest.approx(
            2 + abs(math.log10(float(row[_RATE]) / 3e-3))
        )
    table = (tmp_path / "results.md").read_text()
    assert table.splitlines()[2].startswith("| trial | learning_rate | encoder.heads | best loss |")
    best = rows[0]["trial"]
    command = command_line(["train", "--config=s.py", f"--workdir={tmp_path}"])
    assert f"Best: {best}. Again: `{command}" in table
    page = (tmp_path / "results.html").read_text().replace("<wbr>", "")
    assert f"<b>{best}</b> with loss" in page
    error = capsys.readouterr().err
    assert "[1/4] trial-0000: train optimizer.learning_rate=" in error
    assert f"best: {best} with loss {min(losses):.3f}\n" in error
    log = (tmp_path / best / "log.txt").read_text()
    assert log == "complete\n"


def test_a_search_goes_on_and_repeats_nothing(search, tmp_path):
    whole, _ = search(startup=2)
    assert whole.run(whole.study.names) == 0
    before = {row["trial"]: row[_RATE] for row in _rows(tmp_path)}
    more, fake = search(startup=2, trials=6)
    assert more.run(more.study.names) == 0
    assert [name for verb, name, _ in fake.launched if verb == "train"] == [
        "trial-0004",
        "trial-0005",
    ]
    after = {row["trial"]: row[_RATE] for row in _rows(tmp_path)}
    assert {name: after[name] for name in before} == before
    # Without its storage it draws the same and finds the runs.
    (tmp_path / "study.db").unlink()
    again, fake = search(startup=2)
    assert again.run(again.study.names) == 0
    assert fake.launched == []
    assert {row["trial"]: row[_RATE] for row in _rows(tmp_path)} == before


def test_another_search_in_the_folder_is_refused(search):
    sweep, _ = search(trials=1)
    assert sweep.run(sweep.study.names) == 0
    for other, field in (
        (search(("train.duration", "9 steps"), trials=1), "train.duration"),
        (search(space={_RATE: log_uniform(1e-4, 1e-2), _HEADS: choice(2, 4)}, trials=1), _RATE),
    ):
        with pytest.raises(UserError, match=f"^{field} = .*: expected .*choose another --workdir"):
            other[0].run(other[0].study.names)
        assert other[1].launched == []
    longer, _ = search(("train.duration", "9 steps"), trials=1)
    with pytest.raises(UserError, match="cannot be trained longer, but it can get more trials"):
        longer.run(longer.study.names)


def test_the_order_of_a_grid_is_part_of_it(search):
    space = {_RATE: choice(1e-3, 1e-2), _HEADS: choice(2, 4)}
    sweep, _ = search(space=space, trials=0, sampler="grid")
    assert sweep.run(sweep.study.names) == 0
    swapped = dict(reversed(space.items()))
    other, fake = search(space=swapped, trials=0, sampler="grid")
    with pytest.raises(
        UserError, match="^order of the space = .*: expected .*; choose another --workdir"
    ):
        other.run(other.study.names)
    assert fake.launched == []


def test_what_is_pruned_before_its_first_report_is_pruned(sweep, tmp_path):
    _train(tmp_path / "a", {})
    (tmp_path / "a" / "metrics.jsonl").write_text('{"step": 3, "validation/loss": 7.0}\n')
    trial = sweep().trial("a")
    trial.record_pruned()
    assert trial.recorded().outcome == "pruned at step 3"


def test_values_that_do_not_fit_fail_alone(search, tmp_path, capsys):
    space = {_RATE: choice(1e-3), _HEADS: choice(3, 4)}
    sweep, fake = search(space=space, trials=0, sampler="grid")
    assert sweep.run(sweep.study.names) == 1
    assert [name for verb, name, _ in fake.launched if verb == "train"] == ["trial-0001"]
    outcomes = {row["trial"]: row["outcome"] for row in _rows(tmp_path)}
    assert outcomes["trial-0001"] == "done"
    assert outcomes["trial-0000"].startswith("failed: model.encoder.heads = 3: expected a divisor")
    assert capsys.readouterr().err.endswith("1 of 2 trials failed\n")


def test_a_search_whose_objective_is_not_measured_fails(search, capsys):
    class Silent(Searched):
        __call__ = Fake.__call__

    sweep, _ = search(trials=1, fake=Silent())
    assert sweep.run(sweep.study.names) == 1
    assert "1 of 1 trials failed" in capsys.readouterr().err


def test_a_trial_that_promises_little_is_ended(search, tmp_path, capsys):
    class Slow(Fake):
        """Gets worse with every trial; from the third on one waits to be ended."""

        def __call__(self, arguments, stop, show):
            outcome = super().__call__(arguments, stop, show)
            folder = Path(arguments[2].partition("=")[2])
            number = int(folder.name[-1]) if arguments[0] == "train" else 0
            if arguments[0] == "train":
                rate = float(next(a for a in arguments if _RATE in a).partition(f"{_RATE}=")[2])
                losses = [5.0 + number] + [4.0] * (number < 2)
                _train(folder, {_RATE: str(rate)}, losses)
                if number >= 2:
                    assert stop.wait(60)
                    return Outcome(143, "", "saved")
            return outcome

    space = {_RATE: log_uniform(1e-4, 1e-1)}
    sweep, fake = search(space=space, trials=3, pruner="median", startup=2, fake=Slow())
    assert sweep.run(sweep.study.names) == 0
    assert fake.launched[-1] == ("train", "trial-0002", None)
    row = _rows(tmp_path)[-1]
    assert (row["trial"], row["outcome"], row["objective"]) == (
        "trial-0002",
        "pruned at step 3",
        "7.0",
    )
    assert "[3/3] trial-0002: pruned at step 3, best loss 7.000\n" in capsys.readouterr().err
    again, fake = search(space=space, trials=3, pruner="median", startup=2, fake=Slow())
    assert again.run(again.study.names) == 0 and fake.launched == []


def test_several_trials_run_at_a_time(search, tmp_path, capsys):
    together = threading.Barrier(3, timeout=60)

    class Together(Searched):
        def __call__(self, arguments, stop, show):
            if arguments[0] == "train":
                together.wait()
            return super().__call__(arguments, stop, show)

    sweep, fake = search(trials=6, workers=3, fake=Together())
    assert sweep.run(sweep.study.names) == 0
    trained = [name for verb, name, _ in fake.launched if verb == "train"]
    assert sorted(trained) == sweep.study.names
    assert len(re.findall(r"^trial-000\d: complete$", capsys.readouterr().err, re.M)) == 1


def test_an_error_of_one_trial_ends_the_others(search):
    stopped = []

    class Broken(Searched):
        def __call__(self, arguments, stop, show):
            if arguments[2].endswith("0000"):
                raise BrokenPipeError
            stopped.append(stop.wait(60))
            return Outcome(143, "", "saved")

    sweep, _ = search(workers=2, fake=Broken())
    with pytest.raises(BrokenPipeError):
        sweep.run(sweep.study.names)
    assert stopped == [True]


def test_what_is_further_than_others_is_no_program_with_them(sweep, tmp_path):
    """One program is at one step: the others' would have to be trained again."""
    for name, step in (("a", "9"), ("b", "6")):
        _train(tmp_path / name, {})
        (tmp_path / name / "checkpoints" / "9").rename(tmp_path / name / "checkpoints" / step)
    assert sweep(vectorize="auto").groups(["a", "b"]) == [["a"], ["b"]]
    (tmp_path / "b" / "checkpoints" / "9").mkdir()
    assert sweep(vectorize="auto").groups(["a", "b"]) == [["a", "b"]]


def test_a_sweep_that_slept_does_not_take_its_own_trial_for_dead(sweep, fake, tmp_path):
    """As a laptop that is shut: the storage's clock went on, its own has not."""
    made, slept = sweep(workers=2), threading.Event()

    def launch(arguments, stop, show):
        if arguments[0] == "train" and not slept.is_set():
            # After the first sign of life; the next one is due in half a minute.
            time.sleep(1)
            with sqlite3.connect(tmp_path / "study.db") as connection:
                hour = "datetime('now', '-1 hour')"
                connection.execute(f"UPDATE trial_heartbeats SET heartbeat = {hour}")
            slept.set()
            # Until the sweep has looked for work again, since a seat is free.
            time.sleep(3)
        return fake(arguments, stop, show)

    launch.signal = 0
    made._launch = launch
    assert made.run(["a"]) == 0
    assert slept.is_set() and fake.launched == [("train", "a", None), ("evaluate", "a", "test")]


def test_the_storage_learns_that_a_trial_has_saved_a_step_more(sweep, fake, tmp_path):
    (tmp_path / "a" / "checkpoints" / "8").mkdir(parents=True)
    save(default_config(), tmp_path / "a" / "config.json")
    made, reported = sweep(lost_after=4), []

    def known():
        with sqlite3.connect(tmp_path / "study.db") as connection:
            count = "SELECT COUNT(*) FROM trial_user_attributes WHERE key = 'went_further'"
            return connection.execute(count).fetchone()[0]

    def launch(arguments, stop, show):
        if arguments[0] == "train":
            # The first signs of life come before it has saved one.
            time.sleep(1.5)
            reported.append(known())
            (tmp_path / "a" / "checkpoints" / "9").mkdir()
            deadline = time.monotonic() + 30
            while not known() and time.monotonic() < deadline:
                time.sleep(0.1)
            reported.append(known())
        return fake(arguments, stop, show)

    launch.signal = 0
    made._launch = launch
    assert made.run(["a"]) == 0
    assert reported == [0, 1]


def test_machines_with_one_storage_need_no_folder_in_common(fake, tmp_path):
    study = Study("pair", {"a": default_config(), "b": default_config()}, ("test",))
    storage = f"sqlite:///{tmp_path}/shared.db"
    sweeps = [
        Sweep(study, "study.py", tmp_path / name, (), fake, storage=storage) for name in ("x", "y")
    ]
    assert sweeps[0].run(["a"]) == 0
    assert sweeps[1].run(["a", "b"]) == 0
    assert [name for verb, name, _ in fake.launched if verb == "train"] == ["a", "b"]
    for folder, outcomes in (("x", ["done", "not run"]), ("y", ["done", "done"])):
        rows = _rows(tmp_path / folder)
        assert [row["outcome"] for row in rows] == outcomes
        assert rows[0]["bleu"] == "31.25"


# A worker of a shared study: real but for the trainings, which leave in `trained` who did what.
_WORKER = """
    import os, sys, time
    sys.path[:0] = {paths}
    from pathlib import Path
    from seqjax.config import default_config
    from seqjax.studies.grid import sweep, trials
    from seqjax.studies.study import Study
    from seqjax.studies.sweep import Sweep
    from test_sweep import Fake, _train

    class Slow(Fake):
        def __call__(self, arguments, stop, show):
            if arguments[0] == "train":
                name = Path(arguments[2]).name
                with open("begun", "a") as file:
                    print(name, os.getpid(), file=file)
                if {hangs} and name.endswith("-1"):
                    time.sleep(600)
                time.sleep(0.2)
            outcome = super().__call__(arguments, stop, show)
            if arguments[0] == "train":
                _train(Path("runs") / name, {{"seed": name[-1]}})
            else:
                with open("done", "a") as file:
                    print(Path(arguments[1]).name, os.getpid(), file=file)
            return outcome

    listed = trials(default_config(), sweep("seed", range(8)))
    study = Study("shared", listed, ("test",))
    shared = Sweep(study, "study.py", "runs", (), Slow(), storage={storage!r}, lost_after=4)
    sys.exit(shared.run(study.names))
"""


@pytest.fixture
def work(tmp_path):
    """Returns a function that starts a worker in the folder; none of them is left over."""
    workers = []

    def start(hangs=False, storage=""):
        root = Path(__file__).parents[2]
        paths = [str(root), str(root / "tests" / "studies")]
        text = textwrap.dedent(_WORKER).format(paths=paths, hangs=hangs, storage=storage)
        command = [sys.executable, "-c", text]
        workers.append(subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.communicate()


def _lines(path):
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def _until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_of_three_workers_one_is_killed_and_every_trial_is_done_once(work, tmp_path):
    doomed = work(hangs=True)
    _until(lambda: any(name == "seed-1" for name, _ in _lines(tmp_path / "begun")))
    others = [work(), work()]
    _until(lambda: len(_lines(tmp_path / "done")) > 2)
    doomed.send_signal(signal.SIGKILL)
    errors = [worker.communicate(timeout=120)[1].decode() for worker in others]
    assert [worker.returncode for worker in others] == [0, 0], errors
    names = [f"seed-{number}" for number in range(8)]
    assert sorted(name for name, _ in _lines(tmp_path / "done")) == names
    begun = _lines(tmp_path / "begun")
    assert sorted(name for name, _ in begun) == sorted([*names, "seed-1"])
    # The others took part in it, and one of them went on with what was left.
    assert {pid for _, pid in begun} >= {str(worker.pid) for worker in others}
    assert "seed-1: train, tried again" in errors[0] + errors[1]
    rows = _rows(tmp_path / "runs")
    assert [(row["trial"], row["outcome"]) for row in rows] == [(name, "done") for name in names]


def test_the_time_left_follows_from_what_the_trials_before_took(monkeypatch):
    sweep = object.__new__(Sweep)
    sweep._names = ["a", "b", "c", "d"]
    sweep._standings = {name: Standing("waiting") for name in sweep._names}
    sweep._begun, sweep._waited_for = 1000.0, 4
    monkeypatch.setattr("seqjax.studies.sweep.time.monotonic", lambda: 1060.0)
    sweep._standings["a"] = Standing("complete")
    assert sweep._time_left() == "; 3 trials left, about 3 min 0 s"
    sweep._standings |= {"b": Standing("failed"), "c": Standing("running")}
    assert sweep._time_left() == "; 2 trials left, about 1 min 0 s"
    sweep._standings["c"] = Standing("complete")
    assert sweep._time_left() == "; 1 trial left, about 20 s"
    sweep._standings |= {"c": Standing("pruned"), "d": Standing("complete")}
    assert sweep._time_left() == ""
