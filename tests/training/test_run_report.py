import json
import math

import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.fields import save
from seqjax.reporting.digits import number
from seqjax.reporting.evaluations import write_evaluation
from seqjax.training.run_report import read_run, run_summary, write_run_page

_SESSION = {
    "started": "2026-11-22T10:00:00+00:00",
    "command": "python launch.py train --workdir=run",
    "commit": "0123456789abcdef",
    "dirty": True,
    "packages": {"jax": "0.10.2", "seqjax": None},
    "devices": [{"platform": "gpu", "kind": "H100", "count": 8}],
}


@pytest.fixture
def run(tmp_path):
    """A run of 400 steps that has done 200, written as training and evaluation write it."""
    folder = tmp_path / "run"
    (folder / "evaluations").mkdir(parents=True)
    config = default_config()
    config.train.duration, config.optimizer.learning_rate = "400 steps", 0.0123456789
    save(config, folder / "config.json")
    lines = []
    for step in range(10, 201, 10):
        lines.append(
            {"step": step, "train/loss": 100 / step, "train/learning_rate": step / 1e4}
            | {"train/tokens": 100 * step, "train/seconds": step / 4, "train/epoch": step / 50}
            | {"train/tokens_per_second": 1234.5}
        )
        if step % 100 == 0:
            lines.append(
                {"step": step, "validation/loss": 50 / step, "validation/bleu": 300 / step}
                | {"validation/bleu_signature": "nrefs:1"}
            )
    lines.append({"step": 200, "train/gradient_norm": "nan"})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    # A line that a killed process left.
    (folder / "metrics.jsonl").write_text(text + '{"step": 21')
    (folder / "environment.json").write_text(json.dumps({"sessions": [_SESSION]}))
    sample = {"source": "ein <b>", "reference": "a & b", "output": "두"}
    result = {"split": "test", "bleu": 12.3456789, "examples": 1000, "parameters": 1234567}
    record = {"split": "test", "step": 200, "changes": {"decode.beam_size": 5}}
    record |= {"samples": [sample], "result": result, "checkpoints": {"run": [200]}}
    write_evaluation(folder, "test-200", record)
    return folder


def test_the_summary_has_what_was_reached_and_what_was_changed(run):
    lines = run_summary(read_run(run))
    facts = {line[:15].strip(): line[15:].strip() for line in lines}
    assert facts["state"] == "stopped, step 200 of 400, 50 %"
    assert facts["model"].endswith("; 1,234,567 parameters")
    assert facts["validation loss"] == "0.25 at step 200"
    assert facts["validation bleu"] == "1.5 at step 200, best 3 at step 100"
    assert facts["training loss"] == "0.5 at the last report"
    assert facts["speed"] == "1,234 tokens/s at the last report"
    assert facts["training time"] == "50 s, without evaluating and saving"
    assert facts["trained on"] == "20,000 target tokens, 4.00 epochs"
    assert facts["evaluated"] == "test, step 200, decode.beam_size = 5: bleu 12.346"
    assert "  optimizer.learning_rate = 0.0123456789" in lines
    assert "  train.duration = '400 steps'" in lines
    assert facts["config"].startswith("2 of ")
    # What is changed stands below the line that counts it.
    assert lines[-3].startswith("config ")


def test_shares_have_their_unit(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write(f"\n{json.dumps({'step': 300, 'validation/exact_match': 78.5})}\n")
    result = {"split": "test", "accuracy": 97.5, "bleu": 12.3}
    write_evaluation(run, "test-300", {"split": "test", "step": 300, "result": result})
    lines = run_summary(read_run(run))
    assert "validation exact match  78.5 % at step 300" in lines
    assert any(line.endswith("bleu 12.3, accuracy 97.5 %") for line in lines)


def test_the_page_has_every_point_and_needs_no_network(run):
    write_run_page(run / "report.html", read_run(run))
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "src=" not in text
    plots = {}
    for part in text.split("<h3>")[1:]:
        title, _, rest = part.partition("</h3>")
        if '<script type="application/json">' in rest:
            spec = rest.partition('<script type="application/json">')[2].partition("</script>")[0]
            plots[title] = json.loads(spec)["data"]
    assert list(plots) == ["Loss", "BLEU", "Learning rate", "Tokens per second", "Gradient norm"]
    losses = {trace["name"]: trace for trace in plots["Loss"]}
    assert losses["validation loss"]["x"] == [100, 200]
    assert losses["validation loss"]["y"] == [0.5, 0.25]
    assert losses["train loss"]["x"] == list(range(10, 201, 10))
    # What JSON cannot express is a gap.
    assert plots["Gradient norm"][0]["y"] == [None]
    for shown in (
        "ein &lt;b&gt;",
        "a &amp; b",
        "두",
        'title="12.3456789"',
        "decode.beam_size = 5",
        "8 x H100",
        "0123456789 with uncommitted changes",
        "jax 0.10.2, seqjax (checkout)",
        "model.encoder.layers = ",
    ):
        assert shown in text, shown


def test_a_run_that_has_just_begun_has_a_report(tmp_path):
    save(default_config(), tmp_path / "config.json")
    report = read_run(tmp_path)
    assert run_summary(report)[0].split()[:3] == ["state", "begun,", "step"]
    write_run_page(tmp_path / "x.html", report)
    assert "Nothing is measured yet." in (tmp_path / "x.html").read_text()


@pytest.mark.parametrize(
    ("duration", "entry", "state"),
    [
        ("200 steps", {}, "complete, step 200 of 200"),
        ("8 epochs", {"train/epoch": 4.0}, "stopped, step 200; train.duration is 8 epochs, 50 %"),
        ("20k tokens", {"train/tokens": 20000}, "complete, step 200; train.duration is 20k tokens"),
        ("1 minute", {"train/seconds": 15}, "stopped, step 200; train.duration is 1 minute, 25 %"),
    ],
)
def test_how_far_a_run_is(tmp_path, duration, entry, state):
    config = default_config()
    config.train.duration = duration
    save(config, tmp_path / "config.json")
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 200} | entry) + "\n")
    assert run_summary(read_run(tmp_path))[0].partition(" ")[2].strip() == state


@pytest.mark.parametrize(
    ("duration", "clock", "state"),
    [
        ("200 steps", {"worse": 0}, "complete, step 200 of 200"),
        ("20k tokens", {"tokens": 5000.0}, "stopped, step 200; train.duration is 20k tokens, 25 %"),
        ("400 steps", {"worse": 2}, "stopped, step 200 of 400, 50 %"),
        ("400 steps", {"worse": 3}, "stopped early, step 200 of 400, 50 %"),
    ],
)
def test_a_run_without_reports_is_known_by_its_newest_checkpoint(tmp_path, duration, clock, state):
    config = default_config()
    config.train.duration, config.train.stop_metric, config.train.patience = duration, "loss", 3
    save(config, tmp_path / "config.json")
    file = tmp_path / "checkpoints" / "200" / "clock" / "metadata"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(clock))
    assert run_summary(read_run(tmp_path))[0].partition(" ")[2].strip() == state


def test_long_curves_are_thinned_and_keep_their_end(run):
    lines = [{"step": step, "train/loss": 1.0} for step in range(1, 9001)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_run_page(run / "report.html", read_run(run))
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "One of 3 reports is drawn." in text
    spec = text.partition('<script type="application/json">')[2].partition("</script>")[0]
    steps = json.loads(spec)["data"][0]["x"]
    assert len(steps) == 3000 and steps[-1] == 9000


def test_a_folder_without_a_config_is_no_run(tmp_path):
    with pytest.raises(UserError, match="no such file; expected the config.json of a run"):
        read_run(tmp_path)


def test_numbers_are_short_and_whole_ones_exact():
    values = (1234567, 0.000123456789, 12.0, 1e6, math.nan, None)
    assert [number(value) for value in values] == [
        "1,234,567",
        "0.00012346",
        "12",
        "1,000,000",
        "nan",
        "–",
    ]
