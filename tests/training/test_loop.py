import errno
import math
import shutil
import signal

import jax
import numpy as np
import pytest

from seqjax.config import default_config
from seqjax.data.examples import Examples
from seqjax.data.tokenizer import save_tokenizers
from seqjax.errors import Unavailable, UserError
from seqjax.overrides import apply_overrides, split_overrides
from seqjax.training.checkpoints import Checkpoints
from seqjax.training.loop import Training
from seqjax.training.optimizers import learning_rate
from seqjax.training.preparation import prepare
from seqjax.validation import validate


@pytest.fixture(scope="module")
def configured(tiny):
    """Returns a function from overrides to a config and what was prepared for it."""
    known = {}

    def configure(fields=None):
        key = repr(fields)
        if key not in known:
            config = default_config()
            apply_overrides(config, split_overrides(tiny(fields))[1])
            validate(config)
            known[key] = config, prepare(config)
        return known[key]

    return configure


class Watched(Training):
    """Notes what the loop does; at chosen steps a signal arrives while the update is under way."""

    @classmethod
    def of_one(cls, *arguments, stops=(), number=signal.SIGTERM):
        training = super().of_one(*arguments)
        training.done = []
        training._stops, training._number = stops, number
        return training

    def _step(self, batch, meter):
        self.done.append(("step", int(self.state.step)))
        if int(self.state.step) in self._stops:
            signal.raise_signal(self._number)
        return super()._step(batch, meter)

    def _evaluate(self, step, *arguments):
        self.done.append(("evaluate", step))
        return super()._evaluate(step, *arguments)

    def _save(self, step, *arguments):
        self.done.append(("save", step))
        super()._save(step, *arguments)


def _steps(workdir, config):
    checkpoints = Checkpoints(workdir, config.checkpoint)
    steps = checkpoints.steps()
    checkpoints.close()
    return steps


@pytest.fixture(scope="module")
def whole(configured, tmp_path_factory):
    """A run that nothing stopped."""
    workdir = tmp_path_factory.mktemp("whole")
    config, prepared = configured()
    training = Watched.of_one(config, prepared, workdir)
    assert training.run() == "complete"
    return workdir, training


def test_a_run_does_not_go_on_with_other_batches(whole, configured, tmp_path):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    config, prepared = configured({"batching.sentences": 8})
    with pytest.raises(UserError, match="expected the batches of the run: this version divides"):
        Training.of_one(config, prepared, tmp_path)


def test_a_run_does_not_go_on_with_other_words_of_the_same_lengths(whole, configured, tmp_path):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    config, prepared = configured()
    ids = prepared.examples
    other = Examples(ids.features, ids.indices, ids.report, "other")
    with pytest.raises(UserError, match="expected the batches of the run: the corpus has changed"):
        Training.of_one(config, prepared._replace(examples=other), tmp_path)


@pytest.mark.parametrize(
    "kind", [pytest.param("inverse_sqrt", marks=pytest.mark.thorough), "cosine"]
)
def test_a_longer_training_keeps_its_warm_up_and_cadences(kind, configured, tmp_path, caplog):
    """Shares are those of the training as it began; what must change is reported in figures."""
    fields = {
        "schedule.kind": kind,
        "schedule.warmup": "50%",
        "evaluation.every": "50%",
        "checkpoint.every": "25%",
        "train.duration": 8,
    }
    config, prepared = configured(fields)
    assert Training.of_one(config, prepared, tmp_path).run() == "complete"
    save_tokenizers(prepared.tokenizers, tmp_path / "tokenizer")
    config, _ = configured(fields | {"train.duration": 16})
    prepared = prepare(config, tmp_path)
    assert prepared.durations == (16, 4, 4, 2, 5, 0, 1)
    caplog.clear()
    training = Training.of_one(config, prepared, tmp_path)
    before = learning_rate(config.optimizer.learning_rate, config.schedule, 4, 8)
    after = training.program.rates[0]
    if kind in ("cosine", "linear"):
        assert (
            f"the learning rate of the next update is {after(8):.3g} instead of {before(8):.3g}:"
            f" schedule.kind = {kind!r} takes the end of training, which was step 8 and is step 16"
        ) in caplog.text
    else:
        assert [after(step) for step in range(8)] == [before(step) for step in range(8)]
        assert "learning rate" not in caplog.text
    training.runs[0].checkpoints.close()


def test_another_metric_to_watch_starts_from_scratch(whole, configured, tmp_path):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    config, prepared = configured({"train.stop_metric": "accuracy"})
    training = Training.of_one(config, prepared, tmp_path)
    training.runs[0].checkpoints.close()
    assert math.isnan(training.runs[0].clock["best"]) and training.runs[0].clock["worse"] == 0


def test_what_is_wrong_with_the_validation_shows_before_any_update(configured, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        configured({"data.validation": "nowhere"})
    # Also of what was there when the batches were planned.
    config, prepared = configured({"data.validation": "test_long"})
    prepared.task.config.data.validation = "nowhere"
    with pytest.raises(UserError, match="nowhere"):
        Training.of_one(config, prepared, tmp_path)


def test_at_each_step_evaluation_comes_first_then_saving_then_the_update(whole):
    """Evaluations at multiples of 4 and saves at multiples of 3, both at the end, too."""
    _, training = whole
    assert training.done == [
        *[("step", s) for s in range(3)],
        ("save", 3),
        ("step", 3),
        ("evaluate", 4),
        ("save", 4),
        ("step", 4),
        ("step", 5),
        ("save", 6),
        ("step", 6),
        ("step", 7),
        ("evaluate", 8),
        ("save", 8),
        ("step", 8),
        ("save", 9),
        *[("step", s) for s in range(9, 12)],
        ("evaluate", 12),
        ("save", 12),
        ("step", 12),
        ("evaluate", 13),
        ("save", 13),
    ]
    assert training.prepared.plan.steps_per_epoch == 5


def test_metrics_are_reported_of_the_steps_they_belong_to(whole, reported):
    workdir, _ = whole
    entries = reported(workdir)
    kinds = [
        (entry["step"], next(iter(entry.keys() - {"step"})).split("/")[0]) for entry in entries
    ]
    assert kinds == [
        (4, "validation"),
        (5, "train"),
        (8, "validation"),
        (10, "train"),
        (12, "validation"),
        (13, "validation"),
        (13, "train"),
    ]
    assert [e["train/epoch"] for e in entries if "train/epoch" in e] == [1.0, 2.0, 2.6]


def test_a_run_stopped_again_and_again_ends_as_if_it_had_not_been(
    configured, whole, tmp_path, saved, reported
):
    """After a save, an evaluation, an epoch; before the last update and amid a report."""
    config, prepared = configured()
    for stop in (3, 4, 5, 12):
        # A signal that arrives during an update is answered after it.
        training = Watched.of_one(config, prepared, tmp_path, stops=[stop - 1])
        assert training.run() == "SIGTERM"
        assert int(training.state.step) == stop
    assert Training.of_one(config, prepared, tmp_path).run() == "complete"
    assert saved(tmp_path, 13) == saved(whole[0], 13)
    assert reported(tmp_path) == reported(whole[0])
    # The comparison can distinguish states.
    assert saved(tmp_path, 12) != saved(whole[0], 13)


@pytest.mark.parametrize(
    "translate, at", [pytest.param(False, 4, marks=pytest.mark.thorough), (True, 13)]
)
def test_an_evaluation_is_given_up_at_once_and_made_anew(
    translate, at, configured, tmp_path, saved, reported
):
    """Before the first batch, and at the end of the training between loss and translation."""
    config, prepared = configured({"evaluation.translate": translate, "checkpoint.keep_latest": 1})
    assert Training.of_one(config, prepared, tmp_path / "whole").run() == "complete"

    training = Training.of_one(config, prepared, tmp_path / "parts")
    evaluate, given_up = training.evaluator, []

    def stopped(params, translate, check):
        if training.step != at:
            return evaluate(params, translate, check)
        calls = iter(range(100))

        def check_after_a_signal():
            number = next(calls)
            if number == (len(evaluate.plan) - 1 if translate else 0):
                signal.raise_signal(signal.SIGTERM)
            if number == len(evaluate.plan) or not translate:
                check()

        given_up.append(at)
        return evaluate(params, translate, check_after_a_signal)

    stopped.count, stopped.available = evaluate.count, evaluate.available
    stopped.task = evaluate.task
    training.evaluator = stopped
    assert training.run() == "SIGTERM" and given_up == [at]
    checkpoints = Checkpoints(tmp_path / "parts", config.checkpoint)
    assert checkpoints.steps()[-1] == at and checkpoints.manager.metrics(at) is None
    checkpoints.close()
    assert Training.of_one(config, prepared, tmp_path / "parts").run() == "complete"
    for step in _steps(tmp_path / "whole", config):
        assert saved(tmp_path / "parts", step) == saved(tmp_path / "whole", step)
    assert reported(tmp_path / "parts") == reported(tmp_path / "whole")
    ways = [Checkpoints(tmp_path / part, config.checkpoint) for part in ("whole", "parts")]
    assert len({way.manager.best_step() for way in ways}) == 1
    for way in ways:
        way.close()


def test_a_run_that_lost_its_end_ends_the_same(configured, whole, tmp_path, saved, reported):
    """As after a kill: metrics are further than the newest checkpoint."""
    config, prepared = configured()
    workdir = tmp_path / "run"
    shutil.copytree(whole[0], workdir)
    for step in _steps(workdir, config):
        if step > 3:
            shutil.rmtree(workdir / "checkpoints" / str(step))
    training = Watched.of_one(config, prepared, workdir)
    training.run()
    assert training.done == whole[1].done[3:]
    assert saved(workdir, 13) == saved(whole[0], 13)
    assert reported(workdir) == reported(whole[0])


@pytest.mark.slow
def test_random_numbers_and_sums_do_not_depend_on_a_stop(configured, tmp_path, saved, reported):
    """Subwords are sampled, weights dropped, gradients added over two parts on two devices, and the
    parameters' average moves."""
    fields = {
        "tokenizer.kind": "bpe",
        "tokenizer.vocabulary": 100,
        "tokenizer.sampling": 0.1,
        "model.encoder.attention_dropout": 0.2,
        "optimizer.accumulate": 2,
        "optimizer.moving_average": 0.9,
        "parallel.data": 2,
        "train.duration": 8,
    }
    config, prepared = configured(fields)
    Training.of_one(config, prepared, tmp_path / "whole").run()
    assert Watched.of_one(config, prepared, tmp_path / "parts", stops=[5]).run() == "SIGTERM"
    assert Training.of_one(config, prepared, tmp_path / "parts").run() == "complete"
    assert saved(tmp_path / "parts", 8) == saved(tmp_path / "whole", 8)
    assert reported(tmp_path / "parts") == reported(tmp_path / "whole")


@pytest.mark.slow
def test_what_the_validation_has_changed_does_not_depend_on_a_stop(
    configured, tmp_path, saved, reported
):
    """The learning rate drops and averaging begins, both before and after a stop."""
    fields = {
        "optimizer.kind": "sgd",
        "optimizer.learning_rate": 3.0,
        "optimizer.average_trigger": 1,
        "schedule.kind": "plateau",
        "schedule.factor": 0.75,
        "evaluation.every": 1,
        "evaluation.translate": False,
        "reporting.every": 1,
        "train.duration": 8,
    }
    config, prepared = configured(fields)
    whole = Training.of_one(config, prepared, tmp_path / "whole")
    whole.run()
    history = whole.runs[0].clock["feedback"]
    assert history["drops"] > 1 and history["since"] < 6, history["losses"]
    assert whole.state.feedback.scale == np.float32(0.75 ** history["drops"])
    for stop in (4, 6):
        # The first stop comes before an evaluation, whose checkpoint then gets metrics alone.
        training = Watched.of_one(config, prepared, tmp_path / "parts", stops=[stop])
        assert training.run() == "SIGTERM"
    again = Training.of_one(config, prepared, tmp_path / "parts")
    assert again.run() == "complete"
    assert saved(tmp_path / "parts", 8) == saved(tmp_path / "whole", 8)
    assert reported(tmp_path / "parts") == reported(tmp_path / "whole")
    assert again.runs[0].clock["feedback"] == history


def test_never_evaluated_and_never_saved_still_leaves_a_checkpoint(configured, tmp_path):
    fields = {"train.duration": 3, "evaluation.every": "0", "checkpoint.every": "0"}
    config, prepared = configured(fields)
    training = Watched.of_one(config, prepared, tmp_path)
    assert training.run() == "complete"
    assert training.done == [*[("step", s) for s in range(3)], ("save", 3)]
    assert _steps(tmp_path, config) == [3]


def test_training_stops_early_once_and_for_all_unless_patience_grows(configured, tmp_path):
    """With a learning rate too small to change anything no evaluation is better than the first."""
    fields = {
        "optimizer.learning_rate": 1e-30,
        "evaluation.every": 2,
        "train.stop_metric": "loss",
    }
    config, prepared = configured(fields | {"train.patience": 1})
    training = Watched.of_one(config, prepared, tmp_path)
    assert training.run() == "stopped early"
    assert int(training.state.step) == 4
    again = Watched.of_one(config, prepared, tmp_path)
    assert again.run() == "stopped early"
    assert {kind for kind, _ in again.done} <= {"save"}
    assert _steps(tmp_path, config)[-1] == 4
    config, prepared = configured(fields | {"train.patience": 3})
    training = Training.of_one(config, prepared, tmp_path)
    assert training.run() == "stopped early"
    assert int(training.state.step) == 8


def test_a_longer_duration_goes_on_from_the_end(configured, whole, tmp_path, saved, reported):
    config, prepared = configured({"train.duration": 8})
    assert Training.of_one(config, prepared, tmp_path).run() == "complete"
    config, prepared = configured()
    assert Training.of_one(config, prepared, tmp_path).run() == "complete"
    assert saved(tmp_path, 13) == saved(whole[0], 13)
    # What was left to report when the first training ended is one line more.
    first_end = [e for e in reported(tmp_path) if e["step"] == 8 and "train/loss" in e]
    assert len(first_end) == 1
    assert [e for e in reported(tmp_path) if e not in first_end] == reported(whole[0])


def test_a_second_ctrl_c_does_not_wait_for_the_step(configured, tmp_path):
    config, prepared = configured()
    before = signal.getsignal(signal.SIGINT)

    class Impatient(Watched):
        def _evaluate(self, *arguments):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Impatient.of_one(config, prepared, tmp_path).run()
    assert _steps(tmp_path, config) == [3]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_goes_on_under_another_layout(configured, tmp_path, saved):
    # Adam would make much of gradients that are rounding alone.
    fields = {"optimizer.kind": "sgd", "optimizer.learning_rate": 0.1, "evaluation.every": 0}
    layouts = (1, 1, 1), (1, 2, 2), (2, 1, 1)
    for duration, layout in zip((3, 5, 8), layouts, strict=True):
        axes = dict(zip(("parallel.data", "parallel.fsdp", "parallel.model"), layout, strict=True))
        config, prepared = configured(fields | axes | {"train.duration": duration})
        assert Training.of_one(config, prepared, tmp_path / "moved").run() == "complete"
    config, prepared = configured(fields | {"train.duration": 8})
    assert Training.of_one(config, prepared, tmp_path / "stayed").run() == "complete"
    one, other = (saved(tmp_path / name, 8) for name in ("stayed", "moved"))
    assert one.keys() == other.keys()
    for key, (_, dtype, content) in one.items():
        mine, others = (np.frombuffer(x, dtype) for x in (content, other[key][2]))
        np.testing.assert_allclose(mine, others, rtol=1e-3, atol=2e-5, err_msg=key)


def test_the_state_lives_on_the_devices_of_the_mesh(configured, tmp_path):
    config, prepared = configured({"parallel.data": 2})
    state = Training.of_one(config, prepared, tmp_path).state
    assert {len(leaf.devices()) for leaf in jax.tree.leaves(state)} == {2}


def test_metrics_that_cannot_be_written_end_a_training_that_is_saved(
    configured, whole, tmp_path, saved, reported, fill
):
    config, prepared = configured()

    class Full(Watched):
        def _step(self, step, batch):
            if step == 7:
                fill(self.runs[0]._writer._lines)
            super()._step(step, batch)

    # Step 8 is evaluated.
    with pytest.raises(Unavailable, match=r"metrics\.jsonl: No space left on device"):
        Full.of_one(config, prepared, tmp_path).run()
    assert _steps(tmp_path, config)[-1] == 8
    assert Watched.of_one(config, prepared, tmp_path).run() == "complete"
    assert reported(tmp_path) == reported(whole[0])
    assert saved(tmp_path, 13) == saved(whole[0], 13)


def test_a_training_goes_on_without_a_folder_for_its_events(configured, tmp_path, caplog):
    config, prepared = configured({"reporting.tensorboard": True})
    (tmp_path / "tensorboard").write_text("")
    assert Watched.of_one(config, prepared, tmp_path).run() == "complete"
    (warning,) = (r.message for r in caplog.records if r.name.startswith("seqjax"))
    assert "File exists" in warning


def test_checkpoints_are_closed_though_the_metrics_cannot_be(configured, tmp_path, monkeypatch):
    (run,) = Training.of_one(*configured(), tmp_path).runs
    checkpoints, closed = run.checkpoints, []

    class Full:
        def close(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    close = checkpoints.close
    monkeypatch.setattr(run, "_writer", Full())
    monkeypatch.setattr(checkpoints, "close", lambda: closed.append(close()))
    with pytest.raises(OSError, match="No space left"):
        run.close()
    assert closed == [None]
