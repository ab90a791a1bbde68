import io
import json
import sys

import pytest

import seqjax
from seqjax.commands.command_line import main
from seqjax.errors import UserError

pytestmark = pytest.mark.slow

_PROMPTS = ["the cat", "", "a dog sat on the"]


@pytest.fixture(scope="module")
def model(tiny, tmp_path_factory):
    """A run that models a few sentences, and the scores that `evaluate` prints of it."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "all.txt").write_text("the cat sat on the mat.\na dog sat on the log.\n" * 40)
    (folder / "base.py").write_text("from seqjax.config import default_config as get_config\n")
    fields = {
        "task": "language_model",
        "data.corpus": "text",
        "data.directory": folder,
        "data.files": "all.txt",
        "data.split_by": "order",
        "tokenizer.kind": "character",
        "batching.plan": "streams",
        "batching.length": 16,
        "model.decoder.kind": "gru",
        "model.decoder.width": 32,
        "train.duration": 60,
        "evaluation.every": 60,
        "evaluation.limit": -1,
        "checkpoint.every": 60,
        "optimizer.learning_rate": 0.01,
        "decode.max_new_tokens": 20,
    }
    workdir = folder / "run"
    config = f"--config={folder / 'base.py'}"
    assert main(["train", config, f"--workdir={workdir}", *tiny(fields)]) == 0
    return workdir


@pytest.fixture
def predict(model, monkeypatch, capfd):
    """Returns a function from lines and options: exit code, output lines, standard error."""

    def run(lines, *options):
        data = "".join(f"{line}\n" for line in lines).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = main(["predict", f"--workdir={model}", *options])
        out, error = capfd.readouterr()
        return code, out.split("\n")[:-1], error

    return run


def test_lines_go_on_one_for_one(predict, model):
    code, lines, _ = predict(_PROMPTS)
    assert code == 0 and len(lines) == 3
    assert all(line.startswith(prompt) for line, prompt in zip(lines, _PROMPTS, strict=True))
    assert predict(_PROMPTS[2:])[1] == lines[2:]
    # Of one seed they are the first samples in Python, too.
    found = seqjax.load_run(model).generate(_PROMPTS, samples=2)
    assert [p + c[0].text for p, c in zip(_PROMPTS, found, strict=True)] == lines


def test_samples_are_json_lines(predict):
    code, lines, _ = predict(["a dog"], "--samples=3", "--config.decode.max_new_tokens=5")
    (line,) = map(json.loads, lines)
    assert code == 0 and line["prompt"] == "a dog" and len(line["outputs"]) == 3
    assert all(0 < output["length"] <= 5 for output in line["outputs"])
    assert all(output["reason"] in ("end", "length") for output in line["outputs"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--n_best=2", "--n_best=2: expected no such option with task = 'language_model'"),
        ("--attention=maps", "--attention=maps: expected no such option"),
        ("--samples=0", "--samples=0: expected 1 or more"),
        ("--config.decode.top_p=0", "decode.top_p = 0.0: expected more than 0, at most 1"),
        ("--config.decode.method=beam", "decode.method = 'beam': expected 'sample'"),
    ],
)
def test_options_that_do_not_fit_are_refused(predict, option, message):
    code, lines, error = predict(["a"], option)
    assert (code, lines) == (2, []) and message in error


def test_what_a_language_model_cannot_do_is_refused(model):
    run = seqjax.load_run(model)
    for ask in (run.translate, run.search, lambda texts: run.score(texts, texts), run.attention):
        with pytest.raises(UserError, match="task = 'language_model': expected 'text_to_text'"):
            ask(["a"])


def test_a_split_is_scored_without_outputs(model, capfd):
    assert main(["evaluate", f"--workdir={model}", "--split=validation", "--show=2"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["examples"] == 4 and 0 < facts["loss"] < 3
    assert "bleu" not in facts and "beam_size" not in facts
    assert not (model / "predictions").exists()
    assert main(["report", str(model)]) == 0
    assert "decoder gru, 1 layer of 32" in capfd.readouterr().out


def test_lines_are_scored_token_by_token(model, monkeypatch, capfd):
    lines = ["the cat sat on the mat.", "tac"]
    data = "".join(f"{line}\n" for line in lines).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["score", f"--workdir={model}"]) == 0
    likely, unlikely = map(json.loads, capfd.readouterr().out.splitlines())
    assert [likely["line"], unlikely["line"]] == lines
    assert [entry["token"] for entry in unlikely["tokens"]] == ["t", "a", "c", "</s>"]
    for record in (likely, unlikely):
        total = sum(entry["log_probability"] for entry in record["tokens"])
        assert record["log_probability"] == pytest.approx(total)
        assert record["length"] == len(record["tokens"])
    per_token = [r["log_probability"] / r["length"] for r in (likely, unlikely)]
    assert per_token[0] > per_token[1]


def test_runs_answer_as_one_model(model, monkeypatch, capfd, tmp_path):
    """Two that are equal say what one says."""
    for name in "ab":
        (tmp_path / name).symlink_to(model)
    alone, both = [f"--workdir={model}"], [f"--workdir={tmp_path}", "--ensemble=a,b"]

    def answered(verb, line, *options):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{line}\n".encode())))
        assert main([verb, *options]) == 0
        return json.loads(capfd.readouterr().out)

    one, two = (answered("predict", "a dog", *run, "--samples=2") for run in (alone, both))
    assert [c["text"] for c in two["outputs"]] == [c["text"] for c in one["outputs"]]
    one, two = (answered("score", "a dog", *run) for run in (alone, both))
    assert two["log_probability"] == pytest.approx(one["log_probability"], rel=1e-4)
    one, two = (answered("evaluate", "", *run, "--split=validation") for run in (alone, both))
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert two["ensemble"] == ["a", "b"] and two["parameters"] == 2 * one["parameters"]
