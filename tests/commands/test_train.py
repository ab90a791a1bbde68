import argparse
import importlib.util
import io
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from seqjax.commands import train as train_verb
from seqjax.commands.command_line import main
from seqjax.commands.next_steps import next_steps
from seqjax.config import default_config
from seqjax.data.synthetic import SyntheticTranslation
from seqjax.fields import load
from seqjax.parallel.mesh import is_nvidia
from seqjax.training.loop import Training

_DEMO = Path(__file__).parents[2] / "configs" / "demo.py"


@pytest.fixture
def train(tiny, tmp_path, capfd):
    """Returns a function that trains in `tmp_path`/run: exit code and standard error."""

    def run(fields=None, workdir=tmp_path / "run", config=f"--config={_DEMO}"):
        options = [config, *tiny(fields)] if config else []
        code = main(["train", f"--workdir={workdir}", *options])
        out, error = capfd.readouterr()
        assert out == ""
        return code, error

    run.workdir = tmp_path / "run"
    return run


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A run of 6 steps that ended; copy it to change it."""
    workdir = tmp_path_factory.mktemp("finished")
    fields = {"train.duration": 6}
    assert main(["train", f"--config={_DEMO}", f"--workdir={workdir}", *tiny(fields)]) == 0
    return workdir


def _signal_at(monkeypatch, step, number):
    update = Training._step

    def interrupted(self, batch, meter):
        if int(self.state.step) == step:
            signal.raise_signal(number)
        return update(self, batch, meter)

    monkeypatch.setattr(Training, "_step", interrupted)


def test_a_run_directory_is_complete(finished):
    files = {str(path.relative_to(finished)) for path in finished.rglob("*")}
    assert {"config.json", "environment.json", "metrics.jsonl", "tokenizer/tokenizer.json"} <= files
    assert {f"checkpoints/{step}" for step in (3, 4, 6)} <= files
    assert load(finished / "config.json").train.duration == "6"


def test_a_second_training_waits_until_the_first_has_left_the_folder(train, hold):
    train.workdir.mkdir()
    first = hold(train.workdir, 1.0)
    code, error = train({"train.duration": 6})
    assert code == 0
    assert error.startswith(f"{train.workdir}: waiting until process {first.pid} on ")
    assert not (train.workdir / ".lock").exists()


def test_the_terminal_shows_what_happens_and_no_noise(train, tiny):
    fields = {"train.duration": 6, "evaluation.translate": True, "evaluation.metrics": "bleu"}
    fields["model.decoder.layers"] = 2
    code, error = train(fields)
    assert code == 0
    lines = error.splitlines()
    beginnings = [
        "config: differs from the defaults in ",
        "model: encoder transformer, 1 layer of 16; decoder transformer, 2 layers of 16; ",
        "corpus: en to de; pairs 80, kept 80, source tokens ",
        "batches: 5 an epoch, shapes 16x(",
        "training: 6 steps, 1.2 epochs, on 1 device",
        "validation: 16 of 1,000 sentences (evaluation.limit = 16), every 4 steps",
        "validation of 16 of 1,000 sentences at step 4: loss ",
        *(samples := ["   source  ", "reference  ", "   output"]),
        "",
        *samples,
        "step 5/6  loss ",
        "validation of 16 of 1,000 sentences at step 6: loss ",
        *samples,
        "",
        *samples,
        "step 6/6  loss ",
        "complete at step 6; what comes next:",
    ]
    for line, beginning in zip(lines, beginnings, strict=False):
        assert line.startswith(beginning)
    assert max(map(len, lines[:6])) < 250
    assert lines[1].endswith(" parameters")
    # The same sentences each time.
    assert lines[7:9] == lines[16:18]
    sentence = lines[7].partition("  source  ")[2]
    run = f"--workdir={train.workdir}"
    assert [shlex.split(line) for line in lines[len(beginnings) :]] == [
        ["python", "launch.py", "evaluate", run, "--split=test"],
        ["echo", sentence, "|", "python", "launch.py", "predict", run],
        ["echo", sentence, "|", "python", "launch.py", "predict", run]
        + [f"--attention={train.workdir}/attention"],
        ["python", "launch.py", "report", str(train.workdir)],
    ]


def test_every_command_that_is_printed_at_the_end_is_understood(trained, capfd, monkeypatch):
    """Each has the options that its verb takes, and a sentence that the model can read."""
    config = load(trained / "config.json")
    config.reporting.tensorboard = True
    *lines, curves = next_steps(str(trained), config, "The dogs sleep.")
    assert curves == f"tensorboard --logdir={trained}"
    for line in lines:
        said, _, command = line.rpartition(" | ")
        verb, *options = shlex.split(command)[2:]
        if verb == "report":
            options.append(f"--output={trained}/next.html")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(said.encode())))
        assert main([verb, *options]) == 0, (line, capfd.readouterr().err)
    assert (trained / "attention" / "1.png").exists()


def test_what_comes_next_fits_the_run():
    config = default_config()
    config.reporting.tensorboard = False
    config.model.decoder.attention = "none"
    config.data.corpus = "synthetic:translation"
    assert next_steps("my runs/", config, "it's", "a,b") == [
        "python launch.py evaluate '--workdir=my runs/' --split=test --together=a,b",
        """echo 'it'"'"'s' | python launch.py predict '--workdir=my runs/a'""",
        "python launch.py report 'my runs/a'",
    ]


@pytest.mark.parametrize("sentence", ["-n", "-e a", "a\\nb", "two\nlines", "it's", "--", "%s"])
def test_a_sentence_is_printed_as_it_is(sentence):
    command = next_steps("run", default_config(), sentence)[1]
    said = command.partition(" | ")[0]
    for shell in ("sh", "bash"):
        found = subprocess.run([shell, "-c", said], capture_output=True, text=True, check=True)
        assert found.stdout == sentence.replace("\n", " ") + "\n"


def test_a_split_that_the_corpus_lacks_is_not_offered(tmp_path):
    config = default_config()
    config.data.update(corpus="text", directory=str(tmp_path), files="{split}.{language}")

    def offered():
        return next_steps("run", config, "a")[0].rpartition("--split=")[2]

    assert offered() == "validation"
    for language in (config.data.source, config.data.target):
        (tmp_path / f"{config.data.test}.{language}").write_text("a\n")
    assert offered() == "test"
    config.data.update(split_by="line", files="all.{language}", test_share=0.1)
    assert offered() == "test"
    config.data.test_share = 0.0
    assert offered() == "validation"


def test_ctrl_c_saves_and_prints_how_to_continue(train, finished, monkeypatch, saved, reported):
    with monkeypatch.context() as patch:
        _signal_at(patch, 1, signal.SIGINT)
        found, error = train({"train.duration": 6})
    assert found == 130
    first, command = error.splitlines()[-2:]
    assert first == "SIGINT: saved step 2; continue with"
    assert command == f"  python launch.py train --workdir={train.workdir}"
    # The very command that was message, without the config file.
    found, error = train(config="")
    assert found == 0
    assert "continuing at step 2\n" in error
    assert saved(train.workdir, 6) == saved(finished, 6)
    assert reported(train.workdir) == reported(finished)


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ([], "--workdir='my runs/x[1]'"),
        (
            ["--processes=2", "--process=1", "--coordinator=host:80"],
            "--workdir='my runs/x[1]' --processes=2 --coordinator=host:80 --process=1",
        ),
        (
            ["--config=my study.py", "--together=a,b"],
            "--workdir='my runs/x[1]' --config='my study.py' --together=a,b"
            " --config.data.directory='my data'",
        ),
    ],
)
def test_a_command_that_is_printed_can_be_pasted(options, command, capfd):
    """Whatever the folder is called, and with all that continuing needs."""
    arguments = argparse.Namespace(workdir="my runs/x[1]", config="", processes="1", process=-1)
    arguments.coordinator, arguments.together = "", None
    arguments.overrides = [("data.directory", "my data")]
    for option in options:
        name, _, value = option.removeprefix("--").partition("=")
        setattr(arguments, name, value)
    training = SimpleNamespace(step=3, run=lambda: "SIGTERM", runs=[])
    assert train_verb._finish(training, arguments, default_config()) == 128 + signal.SIGTERM
    message = capfd.readouterr().err.splitlines()[-1]
    assert shlex.split(message) == ["python", "launch.py", "train", *shlex.split(command)]


def test_a_finished_run_is_left_as_it_is(train, finished, reported):
    before = reported(finished)
    changed = {path: path.stat().st_mtime_ns for path in finished.glob("checkpoints/*/*/*")}
    code, error = train({"train.duration": 6}, workdir=finished)
    assert code == 0
    assert "nothing to do, complete at step 6; what comes next:\n" in error
    assert reported(finished) == before
    assert changed == {path: path.stat().st_mtime_ns for path in finished.glob("checkpoints/*/*/*")}


def test_a_longer_duration_continues_a_finished_run(train, finished):
    shutil.copytree(finished, train.workdir)
    code, error = train({"train.duration": 8})
    assert code == 0
    assert "continuing at step 6\n" in error
    assert "complete at step 8; what comes next:\n" in error
    assert load(train.workdir / "config.json").train.duration == "8"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.encoder.width", 32),
        ("optimizer.learning_rate", 0.5),
        ("data.synthetic_size", 90),
        ("batching.sentences", 8),
        ("seed", 7),
        ("tokenizer.vocabulary", 99),
        ("schedule.kind", "constant"),
    ],
)
def test_what_makes_a_run_what_it_is_cannot_change(train, finished, field, value):
    before = (finished / "config.json").read_bytes()
    code, error = train({"train.duration": 6, field: value}, workdir=finished)
    assert code == 2
    assert error.startswith(f"seqjax: error: {field} = {value!r}: expected ")
    assert (
        error.endswith(f", as in the run in {finished}; choose a new --workdir\n")
        and error.count("\n") == 1
    )
    assert (finished / "config.json").read_bytes() == before


def test_what_does_not_make_a_run_what_it_is_can_change(train, finished):
    shutil.copytree(finished, train.workdir)
    fields = {"train.duration": 6, "decode.beam_size": 2, "evaluation.limit": 5}
    # Nor does what computes its layers, where it has such layers.
    fields["model.encoder.implementation"] = "cudnn"
    assert train(fields)[0] == 0
    assert load(train.workdir / "config.json").decode.beam_size == 2


@pytest.mark.skipif(is_nvidia(jax.devices()[0]), reason="cuDNN is there")
def test_cudnn_without_an_nvidia_gpu_is_one_line_before_any_work(train):
    code, error = train({"model.encoder.kind": "lstm", "model.encoder.implementation": "cudnn"})
    assert code == 2
    assert error.startswith(
        "seqjax: error: model.encoder.implementation = 'cudnn': expected 'scan'"
    )
    assert error.count("\n") == 1
    assert not train.workdir.exists()


def _contents(folder):
    found = {}
    for path in sorted(folder.rglob("*")):
        found[path.relative_to(folder)] = path.read_bytes() if path.is_file() else None
    return found


# What is refused, and what the line says: by the config, by the folder, by what is read.
REFUSALS = {
    "identity": ({"model.encoder.width": 32}, "choose a new --workdir"),
    "value": ({"decode.beam_size": 0}, "decode.beam_size = 0"),
    "devices": ({"parallel.data": 999}, "expected their product 999"),
    "validation": ({"data.validation": "nowhere"}, "nowhere"),
    "duration": ({"train.duration": 0}, "train.duration"),
    # Found out only after the checkpoint has been read.
    "corpus": ({"data.directory": "OTHER"}, "the corpus has changed"),
    "no split": ({"data.directory": "NOWHERE"}, "NOWHERE"),
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Two corpora in text files, of other sentences, by their folders."""
    folders = {}
    for name, start in (("ONE", 0), ("OTHER", 80)):
        folders[name] = tmp_path_factory.mktemp(name)
        for split, count in (("train", 60), ("validation", 20)):
            pairs = SyntheticTranslation(split, 200)
            for language, side in (("en", "source"), ("de", "target")):
                lines = [f"{pairs[start + i][side]}\n" for i in range(count)]
                (folders[name] / f"{split}.{language}").write_text("".join(lines))
    return folders


@pytest.fixture(scope="module")
def of_texts(tiny, texts, tmp_path_factory):
    """A run on the first of them, whose newest checkpoint is damaged."""
    workdir = tmp_path_factory.mktemp("of_texts")
    fields = _on(texts, {"train.duration": 6})
    assert main(["train", f"--config={_DEMO}", f"--workdir={workdir}", *tiny(fields)]) == 0
    for path in (workdir / "checkpoints" / "6" / "params").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    (workdir / "checkpoints" / "3" / "metrics").mkdir()
    (workdir / "checkpoints" / "3" / "metrics" / "metrics").write_text("{")
    (workdir / "checkpoints" / "7.orbax-checkpoint-tmp").mkdir()
    (workdir / "failure.txt").write_text("the loss is nan")
    return workdir


def _on(texts, fields):
    fields = {"data.corpus": "text", "data.directory": "ONE"} | fields
    folder = fields["data.directory"]
    return fields | {"data.directory": texts.get(folder, folder)}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refused_training_changes_nothing(kind, train, texts, of_texts):
    changed, message = REFUSALS[kind]
    before = _contents(of_texts)
    code, error = train(_on(texts, {"train.duration": 8} | changed), workdir=of_texts)
    assert code == 2 and message in error.splitlines()[-1], error
    assert _contents(of_texts) == before


@pytest.mark.parametrize("kind", sorted(REFUSALS.keys() - {"identity", "corpus"}))
def test_a_refused_new_training_leaves_no_folder(kind, train, texts, tmp_path):
    changed, message = REFUSALS[kind]
    workdir = tmp_path / "new" / "deep" / "run"
    code, error = train(_on(texts, {"train.duration": 8} | changed), workdir=workdir)
    assert code == 2 and message in error.splitlines()[-1], error
    assert not list(tmp_path.iterdir())


def test_a_refused_training_of_several_changes_nothing(train, tiny, tmp_path, capfd):
    """The second of them has other batches: the first is as it was, and of the third no trace."""
    config = tmp_path / "several.py"
    config.write_text(
        "from seqjax.config import default_config\n"
        "def get_config(name):\n"
        "    config = default_config()\n"
        "    config.optimizer.learning_rate = {'a': 1e-3, 'b': 2e-3, 'c': 3e-3}[name]\n"
        "    return config\n"
    )

    def together(names, fields):
        options = [f"--config={config}", f"--workdir={train.workdir}", f"--together={names}"]
        code = main(["train", *options, *tiny({"train.duration": 2} | fields)])
        return code, capfd.readouterr().err

    assert together("a,b", {})[0] == 0
    before = _contents(train.workdir)
    code, error = together("a,b,c", {"batching.sentences": 8})
    assert code == 2 and "choose a new --workdir" in error
    assert _contents(train.workdir) == before


def test_a_path_is_no_pattern(train, tmp_path, capfd):
    """With `[`, `*` or `?` in it, the folders above included, a run is read as any other."""
    workdir = tmp_path / "all*" / "x[1]?"
    assert train({"train.duration": 6}, workdir=workdir)[0] == 0
    code, error = train({"train.duration": 8}, workdir=workdir)
    assert code == 0 and "continuing at step 6\n" in error
    moved = tmp_path / "[moved]"
    workdir.rename(moved)
    assert main(["evaluate", f"--workdir={moved}", "--split=validation"]) == 0
    assert '"step": 8' in capfd.readouterr().out


def test_scores_of_another_validation_are_counted_anew(train, texts):
    """A run is stopped early after a single score that is not better; this one is not compared."""
    fields = {"train.stop_metric": "loss", "train.patience": 1, "evaluation.every": 2}
    # Nothing is learned: every score after the first is no better.
    fields |= {"optimizer.learning_rate": 1e-30, "loss.label_smoothing": 0}
    assert train(_on(texts, {"train.duration": 2} | fields))[0] == 0
    limited = {"train.duration": 4, "evaluation.limit": 8}
    code, error = train(_on(texts, fields | limited))
    assert code == 0 and "complete at step 4" in error
    assert (
        "seqjax: warning: validation has changed since the run was stopped (other sentences):"
        " earlier scores no longer count for the best checkpoint and early stopping\n" in error
    )
    # The same again is the same.
    code, error = train(_on(texts, fields | limited | {"train.duration": 8}))
    assert code == 0 and "warning" not in error and "stopped early at step 6" in error, error


def test_divergence_is_one_line(train):
    fields = {"optimizer.learning_rate": 1e30, "optimizer.clip": 0, "checkpoint.every": 1}
    code, error = train(fields)
    assert code == 2
    # What the diverged update made was not saved.
    assert [p.name for p in train.workdir.glob("checkpoints/[0-9]*")] == ["1"]
    last = error.splitlines()[-1]
    assert last.startswith("seqjax: error: the ") and "training diverged" in last
    assert "Traceback" not in error


def test_a_start_that_came_to_no_checkpoint_binds_nobody(train):
    code, _ = train({"optimizer.learning_rate": 1e30, "optimizer.clip": 0, "train.duration": 6})
    assert code == 2 and (train.workdir / "config.json").exists()
    assert not list(train.workdir.glob("checkpoints/[0-9]*"))
    assert train({"train.duration": 2})[0] == 0


def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(train, finished, saved, reported):
    shutil.copytree(finished, train.workdir)
    newest = train.workdir / "checkpoints" / "6"
    for path in (newest / "params").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    code, error = train({"train.duration": 6})
    assert code == 0
    warnings = [line for line in error.splitlines() if line.startswith("seqjax: warning: ")]
    assert len(warnings) == 1
    assert str(newest) in warnings[0]
    assert "continuing at step 4\n" in error
    assert saved(train.workdir, 6) == saved(finished, 6)
    assert reported(train.workdir) == reported(finished)


def test_a_corpus_that_is_not_there_is_one_line_and_leaves_no_config(train, tmp_path):
    code, error = train({"data.corpus": "tsv", "data.directory": tmp_path})
    assert code == 2
    assert error.startswith("seqjax: error: ") and error.count("\n") == 1
    assert not (train.workdir / "config.json").exists()


def test_a_missing_wandb_is_reported_before_any_work(train):
    if importlib.util.find_spec("wandb"):
        pytest.skip("wandb is installed")
    code, error = train({"reporting.wandb_project": "p"})
    assert code == 2 and error.count("\n") == 1 and "pip install 'seqjax[wandb]'" in error
    assert not train.workdir.exists()


@pytest.mark.parametrize("profile", ["7:5", "1:99", "often"])
def test_a_profile_of_other_updates_is_refused_before_any_work(profile, tiny, tmp_path, capfd):
    options = [f"--config={_DEMO}", f"--workdir={tmp_path / 'run'}", f"--profile={profile}"]
    assert main(["train", *options, *tiny({"train.duration": 6})]) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith(f"seqjax: error: --profile={profile}: expected ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("field", ["evaluation.every", "checkpoint.every", "reporting.every"])
def test_a_cadence_in_time_is_refused_before_any_work(field, train):
    code, error = train({field: "3 minutes"})
    assert code == 2 and error.count("\n") == 1
    assert error.startswith(f"seqjax: error: {field} = '3 minutes': expected a duration such as")
    assert not train.workdir.exists()


def test_a_time_is_converted_to_steps_once(train):
    fields = {"train.duration": "0.2 s", "schedule.kind": "cosine", "evaluation.every": "0"}
    code, error = train(fields)
    assert code == 0
    measured = re.search(
        r"^train.duration = '0.2 s': ([\d,]+) steps of .* ms, as measured", error, re.M
    )
    assert f"complete at step {measured[1].replace(',', '')}; " in error
    code, error = train(fields)
    assert code == 0
    assert "as measured" not in error and "nothing to do" in error
