import logging
import os
import sys
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from seqjax.config import default_config
from seqjax.errors import Unavailable, UserError, passes
from seqjax.parallel.mesh import make_mesh, replicated
from seqjax.training.checkpoint_errors import hush_late_reads, is_damage, underlying
from seqjax.training.checkpoints import Checkpoints
from seqjax.training.optimizers import make_optimizer
from seqjax.training.state import TrainState

CLOCK = {"evaluated": 2, "best": 1.5, "since_report": {"loss": 0.5}}


def make_state(step, devices=1, kind="adam"):
    """A state whose numbers say which step it is from."""
    config = default_config().optimizer
    config.update(kind=kind, weight_decay=0.0 if kind == "adam" else 0.1)
    params = {"layer": {"kernel": jnp.arange(6.0).reshape(2, 3) + step, "bias": jnp.full(3, step)}}
    params = jax.tree.map(jnp.float32, params)
    optimizer = make_optimizer(config, optax.constant_schedule(0.1)).init(params)
    optimizer = jax.tree.map(lambda leaf: leaf + jnp.asarray(step, leaf.dtype), optimizer)
    state = TrainState(jnp.int32(step), params, optimizer)
    return jax.device_put(state, replicated(make_mesh(devices)))


def open_checkpoints(folder, read_only=False, **changes):
    config = default_config().checkpoint
    config.update(changes)
    return Checkpoints(folder, config, read_only)


def save(folder, metrics, **changes):
    """Saves steps 1, 2, ... with the given losses; None is a step without an evaluation."""
    checkpoints = open_checkpoints(folder, **changes)
    for step, loss in enumerate(metrics, start=1):
        checkpoints.save(make_state(step), CLOCK, None if loss is None else {"loss": loss})
    checkpoints.close()


def damage(folder, step):
    """Cuts every larger file of a checkpoint in half."""
    for directory, _, files in os.walk(folder / "checkpoints" / str(step)):
        for name in files:
            path = os.path.join(directory, name)
            os.truncate(path, os.path.getsize(path) // 2)


def assert_equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "adafactor"])
def test_restores_what_was_saved_onto_other_devices(kind, tmp_path):
    checkpoints = open_checkpoints(tmp_path)
    assert checkpoints.restore(make_state(0, kind=kind)) is None
    checkpoints.save(make_state(3, kind=kind), CLOCK, None)
    checkpoints.close()
    checkpoints = open_checkpoints(tmp_path)
    state, clock = checkpoints.restore(make_state(0, devices=8, kind=kind))
    checkpoints.close()
    assert_equal(state, make_state(3, kind=kind))
    assert clock == CLOCK
    for leaf in jax.tree.leaves(state):
        assert len(leaf.sharding.device_set) == 8


def test_restores_onto_another_division(tmp_path):
    save(tmp_path, [0.5])
    divided = NamedSharding(make_mesh(2), PartitionSpec("data"))
    like = make_state(0)
    kernel = jax.ShapeDtypeStruct((2, 3), jnp.float32, sharding=divided)
    like.params["layer"]["kernel"] = kernel
    params, _ = open_checkpoints(tmp_path, read_only=True).restore_params("latest", 1, like.params)
    assert params["layer"]["kernel"].sharding == divided
    np.testing.assert_array_equal(params["layer"]["kernel"], np.arange(6).reshape(2, 3) + 1)


@pytest.mark.parametrize(
    "losses, best_metric, kept, best",
    [
        # The best one is older than the newest two.
        ([0.5, 0.1, 0.4, 0.3, 0.6], "loss", [2, 4, 5], 2),
        # Steps without an evaluation are kept while they are new.
        ([0.5, None, 0.1, None, None], "loss", [3, 4, 5], 3),
        ([0.1, float("nan"), 0.4, None, 0.2], "loss", [1, 4, 5], 1),
        # Nothing was ever measured.
        ([None] * 5, "loss", [4, 5], 5),
        # Without a value of the metric none is better than another.
        ([0.5, 0.1, 0.4, 0.3], "accuracy", [3, 4], 4),
    ],
)
def test_keeps_the_newest_and_the_best(losses, best_metric, kept, best, tmp_path):
    save(tmp_path, losses, keep_latest=2, keep_best=1, best_metric=best_metric)
    reopened = open_checkpoints(tmp_path, read_only=True)
    assert reopened.steps() == kept
    assert reopened.restore_params("best", 1, make_state(0).params)[1] == best
    assert reopened.restore_params("latest", 1, make_state(0).params)[1] == len(losses)
    reopened.close()


def test_best_is_the_highest_of_a_metric_where_more_is_better(tmp_path):
    checkpoints = open_checkpoints(tmp_path, best_metric="bleu", keep_latest=1)
    for step, bleu in enumerate([10.0, 30.0, 20.0], start=1):
        checkpoints.save(make_state(step), CLOCK, {"loss": 1.0 / step, "bleu": bleu})
    checkpoints.wait()
    assert checkpoints.steps() == [2, 3]
    assert checkpoints.restore_params("best", 1, make_state(0).params)[1] == 2
    checkpoints.close()


def test_a_damaged_checkpoint_is_skipped_named_and_set_aside(tmp_path, caplog):
    save(tmp_path, [0.5, 0.4, 0.3], keep_latest=3)
    damage(tmp_path, 3)
    folder = tmp_path / "checkpoints" / "3"
    with caplog.at_level(logging.WARNING, logger="seqjax"):
        checkpoints = open_checkpoints(tmp_path, keep_latest=3)
        state, clock = checkpoints.restore(make_state(0))
    assert_equal(state, make_state(2))
    reported = [r.getMessage() for r in caplog.records if r.name.startswith("seqjax")]
    assert [line.split(": ")[0] for line in reported] == [f"skipping damaged checkpoint {folder}"]
    assert checkpoints.steps() == [1, 2]
    # Reading changes nothing.
    assert folder.exists()
    checkpoints.open()
    assert checkpoints.steps() == [1, 2]
    assert len(list((tmp_path / "checkpoints").glob("damaged-3-*"))) == 1
    # The run comes by step 3 again.
    checkpoints.save(make_state(3), clock, {"loss": 0.2})
    checkpoints.close()
    reopened = open_checkpoints(tmp_path, keep_latest=3)
    assert_equal(reopened.restore(make_state(0))[0], make_state(3))
    reopened.close()


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")))
    return {path: path.read_bytes() if path.is_file() else None for path in files}


def test_reading_for_a_training_changes_nothing(tmp_path):
    """Not even what is damaged or unfinished: the training may be refused yet."""
    assert open_checkpoints(tmp_path).restore(make_state(0)) is None
    assert not list(tmp_path.iterdir())
    save(tmp_path, [0.5, 0.4, 0.3], keep_latest=3)
    damage(tmp_path, 3)
    (tmp_path / "checkpoints" / "2" / "metrics" / "metrics").write_text("{")
    partial = tmp_path / "checkpoints" / "4.orbax-checkpoint-tmp"
    partial.mkdir()
    before = contents(tmp_path)
    checkpoints = open_checkpoints(tmp_path, keep_latest=3)
    assert int(checkpoints.restore(make_state(0))[0].step) == 2
    checkpoints.close()
    assert contents(tmp_path) == before
    # The same folder, once something is to be saved.
    checkpoints.open()
    assert checkpoints.steps() == [1, 2]
    checkpoints.close()
    deadline = time.monotonic() + 30
    while partial.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not partial.exists()


NAMES = "x[1]", "a*b", "c?", "[!d]/e[f-g]", "with a space"


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_no_pattern(name, tmp_path):
    """Also when the folder is renamed, in both directions."""
    folder, plain = tmp_path / name, tmp_path / "plain"
    save(folder, [0.1, 0.4])
    for place in (folder, plain, folder):
        if not place.exists():
            (folder if place == plain else plain).rename(place)
        reader = open_checkpoints(place, read_only=True)
        assert reader.steps() == [1, 2]
        params, step = reader.restore_params("best", 1, make_state(0).params)
        reader.close()
        assert step == 1
        assert_equal(params, make_state(1).params)
        writer = open_checkpoints(place)
        assert int(writer.restore(make_state(0))[0].step) == 2
        writer.close()


def test_scores_of_another_validation_do_not_compete(tmp_path):
    """Neither for what is kept nor for what is read, nor when nothing says what is measured."""
    writer = open_checkpoints(tmp_path, keep_latest=1)
    for step, (loss, examples) in enumerate([(0.1, "easy"), (0.5, "hard"), (0.6, "hard")], start=1):
        writer.measured = {"examples": examples}
        writer.save(make_state(step), CLOCK, {"loss": loss})
    writer.wait()
    assert writer.steps() == [2, 3]
    writer.close()
    reader = open_checkpoints(tmp_path, read_only=True)
    assert reader.restore_params("best", 1, make_state(0).params)[1] == 2
    reader.close()
    writer = open_checkpoints(tmp_path, keep_latest=1)
    writer.measured = {"examples": "easy"}
    writer.save(make_state(4), CLOCK, {"loss": 0.9})
    writer.save(make_state(5), CLOCK, None)
    writer.wait()
    assert writer.steps() == [4, 5]
    writer.close()
    reader = open_checkpoints(tmp_path, read_only=True)
    assert reader.restore_params("best", 1, make_state(0).params)[1] == 4
    reader.close()


def test_training_does_not_start_over_where_nothing_can_be_read(tmp_path):
    save(tmp_path, [0.5, 0.4])
    damage(tmp_path, 1)
    damage(tmp_path, 2)
    checkpoints = open_checkpoints(tmp_path)
    with pytest.raises(UserError, match=rf"^none of .* 1, 2 in {tmp_path}/checkpoints can be read"):
        checkpoints.restore(make_state(0))
    # All are where they were.
    assert checkpoints.steps() == [1, 2]
    checkpoints.close()


def test_saving_goes_on_while_the_state_is_already_overwritten(tmp_path):
    """Updates donate their state: what is saved must be what was passed in."""
    state = make_state(1)
    big = jax.device_put(jnp.arange(1 << 20, dtype=jnp.float32), replicated(make_mesh(1)))
    state.params["layer"]["big"] = big
    checkpoints = open_checkpoints(tmp_path)
    update = jax.jit(lambda params: jax.tree.map(lambda x: x * 0 - 7, params), donate_argnums=0)
    update.lower(state.params).compile()
    checkpoints.save(state, CLOCK, None)
    params = update(state.params)
    for _ in range(10):
        params = update(params)
    jax.block_until_ready(params)
    checkpoints.wait()
    restored, _ = checkpoints.restore_params("latest", 1, params)
    np.testing.assert_array_equal(restored["layer"]["big"], np.arange(1 << 20))
    checkpoints.close()


@pytest.mark.parametrize("which, average, mean", [("4", 3, 3.0), ("latest", 1, 4.0), ("2", 2, 1.5)])
def test_averages_the_chosen_checkpoint_and_those_before_it(which, average, mean, tmp_path):
    save(tmp_path, [0.5, 0.4, 0.3, 0.2], keep_latest=4)
    checkpoints = open_checkpoints(tmp_path, read_only=True)
    params, _ = checkpoints.restore_params(which, average, make_state(0).params)
    np.testing.assert_allclose(params["layer"]["bias"], mean, rtol=1e-6)
    checkpoints.close()


def test_reads_that_end_too_late_are_not_reported(monkeypatch):
    """TensorStore's reads go on after Orbax has given up, and report to a closed event loop."""
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    hush_late_reads.__wrapped__()
    late = SimpleNamespace(exc_value=RuntimeError("Event loop is closed"), object=None)
    other = SimpleNamespace(exc_value=RuntimeError("no"), object=None)
    named = SimpleNamespace(exc_value=RuntimeError("Event loop is closed"), object=reported)
    for event in (late, other, named):
        sys.unraisablehook(event)
    assert reported == [other, named]


def test_mistakes_are_reported_in_one_line(tmp_path):
    with pytest.raises(
        UserError, match=f"^{tmp_path}/checkpoints: expected a checkpoint; train first$"
    ):
        open_checkpoints(tmp_path, read_only=True)
    assert not (tmp_path / "checkpoints").exists()
    save(tmp_path, [0.5, 0.4, 0.3])
    checkpoints = open_checkpoints(tmp_path, read_only=True)
    like = make_state(0).params
    with pytest.raises(
        UserError, match=r"^decode.checkpoint = 1: expected 'best', .* in .*: 2, 3$"
    ):
        checkpoints.restore_params("1", 1, like)
    with pytest.raises(UserError, match=r"^decode.average = 3: expected at most 2, .* keeps up to"):
        checkpoints.restore_params("latest", 3, like)
    damage(tmp_path, 3)
    with pytest.raises(UserError, match=r"^checkpoint .*/3 can't be read: .* among 2$") as error:
        checkpoints.restore_params("latest", 1, like)
    assert "\n" not in str(error.value)
    checkpoints.close()


def test_reading_leaves_a_checkpoint_alone_that_is_being_written(tmp_path):
    save(tmp_path, [0.5])
    partial = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
    partial.mkdir()
    (partial / "part").write_text("half")
    reader = open_checkpoints(tmp_path, read_only=True)
    assert reader.steps() == [1]
    reader.restore_params("best", 1, make_state(0).params)
    reader.close()
    assert (partial / "part").read_text() == "half"
    # Training again is what clears it away.
    writer = open_checkpoints(tmp_path)
    writer.save(make_state(2), CLOCK, None)
    writer.close()
    assert not partial.exists()


def test_a_disk_that_fails_is_not_taken_for_damage(tmp_path):
    """Here by links to themselves: any error of the system but that there is no file."""
    save(tmp_path, [0.5, 0.4], keep_latest=2)
    kept = [
        (path, path.rename(path.with_name(f"{path.name}-kept")))
        for path in list((tmp_path / "checkpoints" / "2").glob("**/d/*"))
    ]
    assert kept
    for path, _ in kept:
        path.symlink_to(path.name)
    checkpoints = open_checkpoints(tmp_path, keep_latest=2)
    with pytest.raises(UserError, match="checkpoint .*/2 can't be read now"):
        checkpoints.restore(make_state(0))
    for path, away in kept:
        path.unlink()
        away.rename(path)
    assert int(checkpoints.restore(make_state(0))[0].step) == 2
    checkpoints.close()


@pytest.mark.parametrize(
    ("text", "damage", "passing"),
    [
        ("NOT_FOUND: Error opening file [os_error_code='2']", True, False),
        ("DATA_LOSS: Error decoding chunk", True, False),
        ("UNKNOWN: Error reading: Input/output error [os_error_code='5']", False, True),
        ("RESOURCE_EXHAUSTED: Error writing: No space left [os_error_code='28']", False, True),
        ("UNAVAILABLE: connection refused", False, True),
        ("PERMISSION_DENIED: Error opening [os_error_code='13']", False, False),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate", False, False),
    ],
)
def test_errors_of_the_storage_are_distinguished_from_damage(text, damage, passing):
    error = ValueError(text)
    assert (is_damage(error), passes(underlying(error))) == (damage, passing)


def test_an_evaluation_completes_the_only_checkpoint_without_writing_it_again(tmp_path):
    """A kill at any time in between must leave it: there is no other."""
    save(tmp_path, [None])
    folder = tmp_path / "checkpoints" / "1"
    arrays = {path: path.stat().st_mtime_ns for path in folder.glob("params/**/*")}
    assert arrays
    checkpoints = open_checkpoints(tmp_path)
    state, clock = checkpoints.restore(make_state(0))
    checkpoints.save(state, clock | {"evaluated": 1}, {"loss": 0.25})
    # Before anything is waited for.
    assert {path: path.stat().st_mtime_ns for path in arrays} == arrays
    assert checkpoints.manager.metrics(1)["loss"] == 0.25
    checkpoints.save(state, clock | {"evaluated": 1}, {"loss": 0.125})
    checkpoints.save(make_state(2), CLOCK, {"loss": 0.5})
    checkpoints.save(make_state(3), CLOCK, {"loss": 0.5})
    checkpoints.close()
    checkpoints = open_checkpoints(tmp_path, keep_latest=1)
    restored, clock = checkpoints.restore(make_state(0), last=1)
    assert_equal(restored, make_state(1))
    assert clock == CLOCK | {"evaluated": 1}
    assert checkpoints.manager.best_step() == 1
    checkpoints.close()


def test_a_full_disk_raises_unavailable(tmp_path, monkeypatch):
    checkpoints = open_checkpoints(tmp_path)

    def full(*_, **__):
        raise ValueError("RESOURCE_EXHAUSTED: Error writing local file [os_error_code='28']")

    for method, call in (
        ("save", lambda: checkpoints.save(make_state(1), CLOCK, None)),
        ("wait_until_finished", checkpoints.wait),
        ("close", checkpoints.close),
    ):
        with monkeypatch.context() as patched, pytest.raises(Unavailable, match="can't be saved"):
            patched.setattr(checkpoints.manager, method, full)
            call()
    checkpoints.close()
