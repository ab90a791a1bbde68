import io
import json
import time

import jax.numpy as jnp
import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.reporting.progress import Progress
from seqjax.reporting.writers import MetricWriter
from seqjax.training.meter import Meter

NAN = float("nan")


@pytest.fixture
def make(tmp_path):
    """Returns a function that makes a meter, and one that reads what has been written."""
    reporting = default_config().reporting
    reporting.tensorboard = False
    writers = []

    def make(every=2, first_step=0):
        writers.append(MetricWriter(tmp_path, reporting, first_step, {}))
        meter = Meter(writers[-1], lambda t: 0.5 * (t + 1), every, 4, peak=1e11)
        meter.progress = Progress(100, first_step, stream=io.StringIO())
        return meter

    def lines():
        text = (tmp_path / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    yield make, lines
    for writer in writers:
        writer.close()


def sums(loss, tokens, norm=1.0):
    values = {name: jnp.float32(v) for name, v in zip(NAMES, (loss, tokens, norm), strict=True)}
    return lambda: values


NAMES = ("loss", "tokens", "gradient_norm")


def test_the_loss_and_the_objective_are_named_apart(make):
    make, lines = make
    meter = make(every=1)
    meter.add(1, lambda: {"loss": 6.0, "objective": 9.0, "tokens": 3.0, "gradient_norm": 1.0}, 1.0)
    meter.pause()
    assert (lines()[0]["train/loss"], lines()[0]["train/objective"]) == (2.0, 3.0)


def test_reports_the_loss_per_token_of_all_updates_since_the_last_report(make):
    make, lines = make
    meter = make(every=2)
    for step, (loss, tokens) in enumerate([(30, 10), (10, 30), (8, 2), (2, 2), (9, 1)], start=1):
        meter.add(step, sums(loss, tokens, norm=step), 1e6)
    assert [line["step"] for line in lines()] == [2, 4]
    first, second = lines()
    assert first["train/loss"] == pytest.approx(40 / 40)
    assert second["train/loss"] == pytest.approx(10 / 4)
    assert (first["train/tokens"], second["train/tokens"]) == (40, 44)
    assert (first["train/gradient_norm"], second["train/gradient_norm"]) == (2, 4)
    # Update 2 is number 1, counted from 0.
    assert (first["train/learning_rate"], second["train/learning_rate"]) == (1.0, 2.0)
    assert (first["train/epoch"], second["train/epoch"]) == (0.5, 1.0)
    spent = second["train/seconds"] - first["train/seconds"]
    assert second["train/tokens_per_second"] == pytest.approx(4 / spent, rel=1e-6)
    assert second["train/peak_share"] == pytest.approx(2e6 / spent / meter.peak, rel=1e-6)


def test_an_update_is_read_when_the_next_one_is_under_way_or_at_a_pause(make):
    make, lines = make
    meter = make(every=1)
    meter.add(1, sums(1, 1), 0.0)
    assert not lines()
    meter.add(2, sums(1, 1), 0.0)
    assert [line["step"] for line in lines()] == [1]
    meter.pause()
    meter.pause()
    assert [line["step"] for line in lines()] == [1, 2]


def test_the_last_updates_are_reported_though_no_report_is_due(make):
    make, lines = make
    meter = make(every=2)
    for step in range(1, 4):
        meter.add(step, sums(6, 3), 0.0)
    meter.finish()
    meter.finish()
    assert [line["step"] for line in lines()] == [2, 3]
    assert lines()[1]["train/loss"] == pytest.approx(2.0)
    # Training goes on after all: the report that was due anyway is what it would have been.
    meter.add(4, sums(9, 3), 0.0)
    meter.pause()
    assert lines()[2]["step"] == 4
    assert lines()[2]["train/loss"] == pytest.approx((6 + 9) / (3 + 3))


def test_pauses_take_no_time(make):
    make, lines = make
    meter = make(every=1)
    meter.add(1, sums(1, 1), 0.0)
    started = time.perf_counter()
    time.sleep(0.05)
    meter.pause()
    worked = time.perf_counter() - started
    time.sleep(0.3)
    meter.add(2, sums(1, 1), 0.0)
    started = time.perf_counter()
    meter.add(3, sums(1, 1), 0.0)
    worked += time.perf_counter() - started
    assert 0.05 <= meter.counts()["seconds"] <= worked + 0.01


def test_a_stop_does_not_show_in_the_reports(make):
    make, lines = make
    meter = make(every=4)
    for step in (1, 2):
        meter.add(step, sums(step, 2), 1e6)
    meter.pause()
    clock = json.loads(json.dumps(meter.counts()))
    meter = make(every=4, first_step=2)
    meter.recall(clock | {"evaluated": 2})
    for step in (3, 4):
        meter.add(step, sums(step, 2), 1e6)
    meter.pause()
    (line,) = lines()
    assert line["train/loss"] == pytest.approx((1 + 2 + 3 + 4) / 8)
    assert line["train/tokens"] == 8
    assert line["train/seconds"] > clock["seconds"]


def test_never_reports_if_that_is_set(make):
    make, lines = make
    meter = make(every=0)
    for step in range(1, 6):
        meter.add(step, sums(1, 1), 0.0)
    meter.finish()
    assert not lines()


@pytest.mark.parametrize(
    "bad, named", [(sums(NAN, 1), "loss is nan"), (sums(1, 1, float("inf")), "gradient is inf")]
)
def test_divergence_is_reported_with_its_step_before_anything_is_saved(bad, named, make):
    make, _ = make
    meter = make()
    meter.add(6, sums(1, 1), 0.0)
    meter.add(7, bad, 0.0)
    with pytest.raises(UserError, match=rf"{named} at step 7: training diverged; lower optimizer"):
        meter.pause()


def test_a_share_above_the_peak_is_withheld_from_then_on(make, caplog):
    make, lines = make
    meter = make(every=1)
    for step, flops in enumerate((1e-3, 1e30, 1e-3, 1e30, 1e-3), start=1):
        meter.add(step, sums(1.0, 1.0), flops)
    meter.pause()
    assert ["train/peak_share" in line for line in lines()] == [True, False, False, False, False]
    assert caplog.text.count("is too low") == 1
    assert all(0 <= line.get("train/peak_share", 0) <= 1 for line in lines())
    assert " % of peak" not in meter.progress._stream.getvalue().splitlines()[-1]


def test_the_clock_starts_before_an_update_is_dispatched(make):
    """A device that computes during the dispatch, as a CPU may, has taken that time."""
    make, lines = make
    meter = make(every=1)
    meter.begin()
    time.sleep(0.05)
    meter.add(1, sums(1.0, 1.0), 1.0)
    meter.pause()
    (line,) = lines()
    assert line["train/seconds"] >= 0.05
