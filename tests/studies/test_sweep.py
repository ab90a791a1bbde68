import csv
import json
from pathlib import Path

import pytest

from seqjax.config import default_config
from seqjax.fields import save
from seqjax.overrides import apply_overrides
from seqjax.studies.processes import Outcome
from seqjax.studies.study import Study
from seqjax.studies.sweep import Sweep

_METRICS = {"parameters": 1234567, "loss": 1.5, "perplexity": 4.4817, "bleu": 31.25}
_METRICS |= {"bleu_signature": "nrefs:1|tok:13a", "output_tokens": 900, "decoding_seconds": 4.5}


def _train(folder, fields):
    """Leaves what a training leaves: its config and a checkpoint."""
    config = default_config()
    apply_overrides(config, list(fields.items()))
    (folder / "checkpoints" / "9").mkdir(parents=True, exist_ok=True)
    save(config, folder / "config.json")


class Fake:
    """Stands in for the processes: remembers what was launched, answers what it is told to."""

    def __init__(self):
        self.launched = []
        self.answers = {}
        # Fields that a training finds in the file otherwise than the sweep did.
        self.read_otherwise = {}

    def __call__(self, arguments):
        verb, *options = arguments
        options = dict(option.split("=", 1) for option in options)
        workdir = options["--workdir"]
        name = workdir.rpartition("/")[2]
        self.launched.append((verb, name, options.get("--split")))
        if (verb, name) in self.answers:
            return self.answers[verb, name]
        if verb == "train":
            prefix = "--config."
            fields = {k.removeprefix(prefix): v for k, v in options.items() if prefix in k}
            _train(Path(workdir), fields | self.read_otherwise)
            return Outcome(0, "", "complete")
        return Outcome(0, json.dumps({"split": options["--split"], **_METRICS}), "hypotheses: ...")


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def sweep(tmp_path, fake):
    """Returns a function that makes a sweep of the trials a and b with some overrides."""

    def make(*overrides, splits=("test",)):
        study = Study("pair", {"a": default_config(), "b": default_config()}, splits)
        return Sweep(study, "study.py", tmp_path, overrides, fake)

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
    assert table[2].startswith("| trial | split | parameters | updates | ")
    assert table[4].startswith("| a | validation | 1,234,567 | – | – | 1.500 | 4.48 | 31.25 | – |")
    assert "bleu: `nrefs:1|tok:13a`" in table


def test_the_commands_hold_the_overrides(sweep, tmp_path):
    train, evaluate = sweep(("train.duration", "9 steps")).commands("b")
    assert train == [
        "train",
        "--config=study.py:b",
        f"--workdir={tmp_path / 'b'}",
        "--config.train.duration=9 steps",
    ]
    assert evaluate == ["evaluate", f"--workdir={tmp_path / 'b'}", "--split=test"]


def test_a_failure_stands_in_the_table_and_the_others_run(sweep, fake, tmp_path, capsys):
    fake.answers["train", "a"] = Outcome(2, "", "seqjax: error: out of | luck")
    assert sweep().run(["a", "b"]) == 1
    assert fake.launched == [("train", "a", None), ("train", "b", None), ("evaluate", "b", "test")]
    assert [row["outcome"] for row in _rows(tmp_path)] == ["failed: out of | luck", "done"]
    table = (tmp_path / "results.md").read_text()
    assert "| a | – | – | – | – | – | – | – | – | failed: out of \\| luck |" in table
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
        assert changed.state("a") != "done"
    assert sweep().state("a") == "done"


@pytest.mark.parametrize("direct", [False, True])
def test_a_run_of_another_config_is_neither_trained_nor_scored(sweep, fake, tmp_path, direct):
    short, long = sweep(("train.duration", "9 steps")), sweep(("train.duration", "20 steps"))
    if direct:
        _train(tmp_path / "a", {"train.duration": "9 steps"})
    else:
        assert short.run(["a"]) == 0
    fake.launched.clear()
    reason = "train.duration is '20 steps', but the run in "
    assert long.state("a").startswith(f"refused: {reason}")
    assert long.run(["a"]) == 1
    assert fake.launched == []
    assert _rows(tmp_path)[0]["outcome"] == (
        f"failed: {reason}{tmp_path / 'a'} has '9 steps': choose another --workdir"
    )


def test_how_many_fields_a_run_has_otherwise_is_told(sweep, tmp_path):
    _train(tmp_path / "a", {"seed": "7", "train.duration": "9 steps", "decode.beam_size": "1"})
    assert sweep().state("a").endswith(" (1 more field differs): choose another --workdir")


def test_how_a_run_is_decoded_and_evaluated_may_change(sweep, fake, tmp_path):
    assert sweep().run(["a"]) == 0
    fake.launched.clear()
    changed = sweep(("decode.beam_size", "1"), ("evaluation.lowercase", "True"))
    assert changed.state("a") == "to continue"
    assert changed.run(["a"]) == 0
    assert fake.launched == [("train", "a", None), ("evaluate", "a", "test")]
    assert sweep().state("a") == changed.state("a") == "done"


def test_a_start_that_saved_nothing_binds_nobody(sweep, tmp_path):
    _train(tmp_path / "a", {"seed": "7"})
    (tmp_path / "a" / "checkpoints" / "9").rmdir()
    assert sweep().run(["a"]) == 0
    assert sweep().state("a") == "done"


def test_a_failure_leaves_the_results_of_other_configs_alone(sweep, fake, tmp_path):
    assert sweep().run(["a"]) == 0
    assert sweep(("train.duration", "9 steps")).run(["a"]) == 1
    fake.answers["evaluate", "a"] = Outcome(2, "", "seqjax: error: no")
    assert sweep(("decode.beam_size", "1")).run(["a"]) == 1
    assert sweep(splits=("test", "train")).run(["a"]) == 1
    assert [row["outcome"] for row in _rows(tmp_path)[:2]] == ["failed: no"] * 2
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
    assert sweep().state("a") == "done"
    assert sweep(("decode.beam_size", "1")).run(["a"]) == 0
    assert sweep().state("a") == "done"


def test_a_study_that_changes_while_it_runs_is_told(sweep, fake, tmp_path):
    fake.read_otherwise = {"train.duration": "20 steps"}
    before = sweep(("train.duration", "9 steps"))
    assert before.run(["a"]) == 1
    assert fake.launched == [("train", "a", None)]
    assert _rows(tmp_path)[0]["outcome"] == (
        f"failed: train.duration is '9 steps', but the run in {tmp_path / 'a'} has '20 steps':"
        " study.py was changed while the sweep ran"
    )
    assert before.state("a").startswith("refused: train.duration")
    # A study that is read again has what was trained.
    after = sweep(("train.duration", "20 steps"))
    assert after.run(["a"]) == 0


def test_a_damaged_record_is_made_anew(sweep, fake, tmp_path):
    assert sweep().run(["a"]) == 0
    (tmp_path / "a" / "results.json").write_text('{"config"')
    assert sweep().state("a") == "to continue"
    assert sweep().run(["a"]) == 0
    assert sweep().state("a") == "done"


def test_a_signal_ends_the_sweep_and_the_trial_goes_on_next_time(sweep, fake, tmp_path, capsys):
    fake.answers["train", "a"] = Outcome(143, "", "saved", signal=15)
    (tmp_path / "a" / "checkpoints").mkdir(parents=True)
    assert sweep().run(["a", "b"]) == 143
    assert fake.launched == [("train", "a", None)]
    assert capsys.readouterr().err.endswith("SIGTERM: continue with the same command\n")
    assert [row["outcome"] for row in _rows(tmp_path)] == ["not run", "not run"]
    assert (sweep().state("a"), sweep().state("b")) == ("to continue", "to train")


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
