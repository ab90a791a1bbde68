import errno
import json
import math
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sacrebleu

from seqjax.commands.command_line import main
from seqjax.data.text_form import TextForm
from seqjax.data.tokenizer import load_tokenizers
from seqjax.fields import flatten, load
from seqjax.reporting.evaluations import corpus_facts, read_evaluations
from seqjax.training import trained as trained_module


@pytest.fixture
def evaluate(trained, capfd):
    """Returns a function that evaluates the trained run: exit code, output, standard error."""

    def run(*options, workdir=trained):
        code = main(["evaluate", f"--workdir={workdir}", *options])
        return code, *capfd.readouterr()

    return run


def test_metrics_of_a_split_are_json_and_nothing_else(evaluate, trained, saved):
    code, out, error = evaluate("--split=test")
    assert code == 0
    found = json.loads(out)
    assert found["split"] == "test" and found["workdir"] == str(trained)
    assert (found["examples"], found["beam_size"], found["averaged"]) == (40, 3, 1)
    assert found["step"] in (75, 150)
    arrays = saved(trained, found["step"]).items()
    sizes = [math.prod(array[0]) for name, array in arrays if name.startswith("params")]
    assert found["parameters"] == sum(sizes)
    assert found["decoding_seconds"] > 0
    assert found["bleu_signature"].startswith(
        "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:"
    )
    assert found["chrf_signature"].startswith("nrefs:1|case:mixed|")
    assert 0 < found["loss"] < 6 and 20 < found["accuracy"] < 100
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]), rel=1e-3)
    path = trained / "predictions" / f"test-{found['step']}.txt"
    lines = path.read_text().split("\n")
    assert len(lines) == 41 and lines[-1] == ""
    assert len(set(lines)) > 20
    corpus = Path(json.loads((trained / "config.json").read_text())["data"]["directory"])
    references = [(corpus / "test.de").read_text(encoding="utf-8").split("\n")[:-1]]
    bleu = sacrebleu.corpus_bleu(lines[:-1], references, force=True).score
    chrf = sacrebleu.corpus_chrf(lines[:-1], references).score
    assert (found["bleu"], found["chrf"]) == (float(f"{bleu:.5g}"), float(f"{chrf:.5g}"))
    tokenizer = load_tokenizers(trained / "tokenizer")["target"]
    tokens = [len(tokenizer.encode(line)) for line in lines[:-1]]
    # Each with its end of sentence.
    assert found["output_tokens"] == sum(tokens) + 40
    kept = trained / "evaluations" / f"test-{found['step']}.json"
    assert error == f"hypotheses: {path}\nevaluation: {kept}\n"


def test_an_override_reaches_the_search(evaluate, trained):
    code, out, error = evaluate("--split=validation", "--config.decode.beam_size=1")
    greedy = json.loads(out)
    # What was found by the run's own config is not overwritten.
    path = trained / "predictions" / f"validation-beam_size-1-{greedy['step']}.txt"
    assert error.startswith(f"hypotheses: {path}\n") and path.is_file()
    assert code == 0 and greedy["beam_size"] == 1
    beam = json.loads(evaluate("--split=validation")[1])
    assert greedy["loss"] == beam["loss"]
    assert greedy["chrf"] != beam["chrf"]


def test_a_step_number_chooses_the_checkpoint(evaluate):
    losses = {}
    for step in (75, 150):
        code, out, _ = evaluate(f"--config.decode.checkpoint={step}")
        assert code == 0 and json.loads(out)["step"] == step
        losses[step] = json.loads(out)["loss"]
    assert losses[75] != losses[150]
    code, out, _ = evaluate("--config.decode.checkpoint=150", "--config.decode.average=2")
    assert json.loads(out)["averaged"] == 2
    assert json.loads(out)["loss"] not in losses.values()


def test_an_average_says_what_it_is_of_and_whether_it_is_worse(evaluate, trained):
    """Half of the training apart, checkpoints are far from each other."""
    latest = ("--split=other", "--config.decode.checkpoint=150")
    assert evaluate(*latest)[0] == 0
    # What the checkpoint alone has is read from here; nothing real is better than this.
    kept = next((trained / "evaluations").glob("other-*150*150.json"))
    record = json.loads(kept.read_text())
    kept.write_text(json.dumps(record | {"result": record["result"] | {"loss": 0.123456}}))
    # Others are not as they should be, and do not count.
    changes = {"settings": None}, {"settings": {}}, {"result": {}}, {"result": {"loss": "0.1"}}
    for number, change in enumerate(changes):
        other = json.dumps(record | {"date": "2999-01-01"} | change)
        (kept.parent / f"other-damaged-{number}.json").write_text(other)
    code, out, error = evaluate(*latest, "--config.decode.average=2")
    for path in [kept, *kept.parent.glob("other-damaged-*")]:
        path.unlink()
    found, lines = json.loads(out), error.splitlines()
    assert code == 0 and found["averaged"] == 2
    values = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = {e["step"]: e["validation/loss"] for e in values if "validation/loss" in e}
    assert lines[0] == (
        f"{trained}: averaging the checkpoints of steps 75 (loss {losses[75]:.4g}),"
        f" 150 (loss {losses[150]:.4g})"
    )
    assert lines[1].startswith(
        "seqjax: warning: decode.average = 2: the steps from 75 to 150 are 50 % of the training; an"
    )
    assert lines[2] == (
        f"seqjax: warning: decode.average = 2 makes loss worse on other: {found['loss']:.5g}, where"
        " the checkpoint of step 150 alone has 0.12346"
    )
    (path,) = (trained / "evaluations").glob("other-*average-2*.json")
    assert json.loads(path.read_text())["checkpoints"] == {str(trained): [75, 150]}


def test_any_split_of_the_corpus_can_be_named(evaluate, trained):
    code, out, _ = evaluate("--split=other")
    assert code == 0
    found = json.loads(out)
    assert (found["split"], found["examples"]) == ("other", 8)
    assert (trained / "predictions" / f"other-{found['step']}.txt").exists()


def test_translations_are_shown_on_request(evaluate, trained):
    code, out, error = evaluate("--split=test", "--show=2")
    assert code == 0 and json.loads(out)
    lines = error.splitlines()
    assert [line[:11] for line in lines[:8]] == 2 * [
        "   source  ",
        "reference  ",
        "   output  ",
        "",
    ]
    step = json.loads(out)["step"]
    first = (trained / "predictions" / f"test-{step}.txt").read_text().split("\n")[0]
    assert lines[2] == f"   output  {first}"


def test_an_evaluation_is_kept_with_all_that_it_depends_on(evaluate, trained):
    code, out, _ = evaluate("--split=other", "--config.decode.beam_size=2")
    assert code == 0
    printed = json.loads(out)
    step = printed["step"]
    path = trained / "evaluations" / f"other-beam_size-2-{step}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    assert list(record) == [
        "date",
        "seqjax",
        "split",
        "step",
        "checkpoints",
        "changes",
        "settings",
        "corpus",
        "predictions",
        "samples",
        "result",
    ]
    assert abs(datetime.now(UTC) - datetime.fromisoformat(record["date"])) < timedelta(minutes=10)
    assert record["split"] == "other" and record["step"] == step
    assert record["checkpoints"] == {str(trained): [step]}
    assert record["changes"] == {"decode.beam_size": 2}
    config = flatten(load(trained / "config.json"))
    expected = {k: v for k, v in config.items() if k.startswith(("decode.", "evaluation."))}
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in record["settings"].items()}
    assert settings == expected | {"decode.beam_size": 2}
    corpus = Path(config["data.directory"])
    sides = [(corpus / f"other.{side}").read_text().splitlines() for side in ("en", "de")]
    assert record["corpus"] == corpus_facts(*sides)
    assert record["predictions"] == f"predictions/other-beam_size-2-{step}.txt"
    lines = {
        "source": (corpus / "other.en").read_text().splitlines(),
        "reference": (corpus / "other.de").read_text().splitlines(),
        "output": (trained / record["predictions"]).read_text().splitlines(),
    }
    assert record["samples"] == [
        {name: texts[number] for name, texts in lines.items()} for number in range(5)
    ]
    # All digits in the file, five that count in the terminal.
    for name, value in record["result"].items():
        assert printed[name] == (float(f"{value:.5g}") if isinstance(value, float) else value)
    assert record["result"]["loss"] != printed["loss"]
    assert record in read_evaluations(trained)


@pytest.mark.parametrize("folder", ["predictions", "evaluations"])
def test_a_folder_that_cannot_be_written_costs_no_numbers(folder, evaluate, trained, tmp_path):
    """As a colleague's run, a read-only mount or a full disk; root may write anywhere."""
    for name in ("config.json", "tokenizer", "checkpoints"):
        (tmp_path / name).symlink_to(trained / name)
    (tmp_path / folder).write_text("no folder")
    code, out, error = evaluate("--split=other", workdir=tmp_path)
    assert code == 0 and json.loads(out)["examples"] == 8
    others = {"predictions": "evaluation: ", "evaluations": "hypotheses: "}
    lines = sorted(error.splitlines())
    assert lines[0].startswith(others[folder]) and len(lines) == 2
    assert lines[1].startswith(f"seqjax: warning: {tmp_path / folder}/other-")
    assert lines[1].endswith(": not written (File exists)")
    record = read_evaluations(tmp_path)
    assert [entry["predictions"] for entry in record] == ([""] if folder == "predictions" else [])


def test_numbers_are_printed_before_anything_is_kept(evaluate, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("seqjax.commands.evaluate.write_evaluation", fail)
    # References are in the form of the outputs, and that is said.
    load = trained_module.load_trained

    def normalizing(*given):
        found = load(*given)
        found.task.tokenizers["target"].form = TextForm(normalization="NFKC")
        return found

    monkeypatch.setattr(trained_module, "load_trained", normalizing)
    code, out, _ = evaluate("--split=other")
    assert code == 75
    assert (json.loads(out)["examples"], json.loads(out)["normalization"]) == (8, "NFKC")


@pytest.fixture
def several(trained, tmp_path):
    """A folder of two runs: b is a, but has learned for half of the time."""
    for name in ("a", "b"):
        shutil.copytree(trained, tmp_path / name)
    shutil.rmtree(tmp_path / "b" / "checkpoints" / "150")
    return tmp_path


_LATEST = ("--split=other", "--config.decode.checkpoint=latest")


def test_runs_are_scored_together_as_each_alone(evaluate, several):
    code, out, error = evaluate(*_LATEST, "--together=a,b", workdir=several)
    found = json.loads(out)
    assert code == 0 and list(found) == ["a", "b"] and error.count("hypotheses: ") == 2
    assert [facts["step"] for facts in found.values()] == [150, 75]
    for name, facts in found.items():
        alone = json.loads(evaluate(*_LATEST, workdir=several / name)[1])
        assert facts.pop("decoding_seconds") and alone.pop("decoding_seconds")
        assert facts == alone
    assert found["a"]["loss"] != found["b"]["loss"]


def test_what_was_scored_before_a_failure_is_printed(evaluate, several):
    for folder in (several / "b" / "checkpoints" / "75").iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    code, out, error = evaluate(*_LATEST, "--together=a,b", workdir=several)
    assert code == 2 and "seqjax: error: " in error
    assert list(json.loads(out)) == ["a"]


def test_runs_are_scored_as_one_model(evaluate, several):
    losses = [json.loads(evaluate(*_LATEST, workdir=several / name)[1])["loss"] for name in "ab"]
    code, out, error = evaluate(*_LATEST, "--ensemble=a,b", workdir=several)
    found = json.loads(out)
    assert code == 0 and found["ensemble"] == ["a", "b"] and found["step"] == 150
    # The logarithm is concave: a mean probability is better than the mean of the losses.
    assert found["loss"] < sum(losses) / 2 and found["loss"] not in losses
    (path,) = (several / "predictions").glob("other-????????-checkpoint-latest-150.txt")
    (kept,) = (several / "evaluations").glob("other-????????-checkpoint-latest-150.json")
    assert error == f"hypotheses: {path}\nevaluation: {kept}\n"
    record = json.loads(kept.read_text())
    assert record["checkpoints"] == {str(several / "a"): [150], str(several / "b"): [75]}
    assert record["result"]["ensemble"] == ["a", "b"]
    assert record["changes"] == {"decode.checkpoint": "latest"}
    # Other settings do not replace it.
    others = "--config.evaluation.lowercase=true"
    assert evaluate(*_LATEST, "--ensemble=a,b", others, workdir=several)[0] == 0
    assert len(read_evaluations(several)) == 2 and json.loads(kept.read_text()) == record


def test_an_ensemble_is_on_the_devices_of_its_first_member(evaluate, several):
    config = json.loads((several / "b" / "config.json").read_text())
    config["parallel"]["data"] = 2
    config["data"]["max_source_length"] = 9
    (several / "b" / "config.json").write_text(json.dumps(config))
    assert evaluate(*_LATEST, "--ensemble=a,b", workdir=several)[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--together=a,b", "--ensemble=a,b"], "--ensemble: expected no --together beside it"),
        (["--ensemble=a,"], "--ensemble=a,: expected names, each once, as a,b,c"),
        (["--ensemble=a,c"], "c: expected a trained run; it has no config.json"),
    ],
)
def test_mistakes_about_several_runs(evaluate, several, options, message):
    code, out, error = evaluate(*options, workdir=several)
    assert (code, out) == (2, "")
    assert message in error and error.count("\n") == 1


def test_an_ensemble_shares_tokenizers(evaluate, several):
    for path in (several / "b" / "tokenizer").iterdir():
        path.write_bytes(path.read_bytes() + b"\n")
    code, _, error = evaluate("--ensemble=a,b", workdir=several)
    assert code == 2
    assert f"{several / 'b'} has other tokenizers than {several / 'a'}" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--config.model.encoder.layers=2"],
            "model.encoder.layers = 2: expected 1, as in the run in ",
        ),
        (["--config.tokenizer.kind=byte"], "tokenizer.kind = 'byte': expected '"),
        (["--config.decode.checkpoint=77"], "decode.checkpoint = 77: expected 'best'"),
        (["--config.decode.average=9"], "decode.average = 9: expected at most "),
        (["--split=tset"], "error: --split=tset: expected a split of the corpus; "),
        (["--show=-1"], "--show=-1: expected 0 or more"),
        (
            ["--config.decode.max_length_ratio=0", "--config.decode.max_length_extra=0"],
            "decode.max_length_extra = 0: expected at least 1, since decode.max_length_ratio = 0",
        ),
    ],
)
def test_mistakes_are_one_line(evaluate, options, message):
    code, out, error = evaluate(*options)
    assert (code, out) == (2, "")
    assert message in error
    assert error.startswith("seqjax: error: ") and error.count("\n") == 1


def test_a_run_must_be_there(evaluate, trained, tmp_path):
    code, out, error = evaluate(workdir=tmp_path)
    assert (code, out) == (2, "")
    assert error == (
        f"seqjax: error: --workdir={tmp_path}: expected a trained run; it has no config.json\n"
    )
    shutil.copy(trained / "config.json", tmp_path)
    code, out, error = evaluate(workdir=tmp_path)
    assert (code, out) == (2, "")
    assert "no tokenizer in" in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
