import gzip
import json
from pathlib import Path

import jax
import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.overrides import apply_overrides, split_overrides
from seqjax.training.loop import Training
from seqjax.training.preparation import prepare
from seqjax.training.profile import Profile


@pytest.fixture(scope="module")
def training(tiny):
    """Returns a function that begins a training of 6 updates."""
    config = default_config()
    fields = {"train.duration": 6, "evaluation.every": 0, "reporting.every": 2}
    apply_overrides(config, split_overrides(tiny(fields))[1])
    prepared = prepare(config)
    return lambda workdir, kind=Training: kind.of_one(config, prepared, workdir)


def test_the_trace_holds_the_updates_that_were_asked_for(training, tmp_path, capfd):
    profiled = training(tmp_path)
    profiled.profile = Profile("3:4", tmp_path)
    assert profiled.run() == "complete"
    (path,) = (tmp_path / "profile").rglob("*.trace.json.gz")
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    steps = {event["args"]["step_num"] for event in events if event.get("name") == "update"}
    assert {int(step) for step in steps} == {3, 4}
    assert f"tensorboard --logdir={tmp_path}/profile" in capfd.readouterr().err


def test_a_profile_that_cannot_be_written_costs_no_training(training, tmp_path, caplog):
    (tmp_path / "profile").write_text("")
    profiled = training(tmp_path)
    profiled.profile = Profile("3:4", tmp_path)
    assert profiled.run() == "complete"
    (warning,) = (r.message for r in caplog.records if r.name.startswith("seqjax"))
    assert warning.startswith(f"{tmp_path}/profile: not written (") and "File exists" in warning


@pytest.mark.parametrize("text", ["4:3", "0:3", "3", "a:b", "3:", "3:4:5", "-1:2", "3:99999999999"])
def test_a_range_is_two_updates_in_order(text):
    with pytest.raises(UserError, match=f"^--profile={text}: expected FIRST:LAST"):
        Profile(text, Path("run"))


def test_a_range_lies_inside_of_what_is_left():
    Profile("3:6", Path("run")).check(2, 6)
    for text, done in (("5:7", 0), ("2:3", 2)):
        message = f"--profile={text}: expected updates between {done + 1} and 6, since step {done}"
        with pytest.raises(UserError, match=message):
            Profile(text, Path("run")).check(done, 6)
    with pytest.raises(UserError, match="expected none, since step 6 of 6 is done"):
        Profile("5:6", Path("run")).check(6, 6)


class Guarded(Training):
    """An implicit transfer between host and devices is an error while it updates."""

    def _step(self, step, batch):
        with jax.transfer_guard("disallow"):
            super()._step(step, batch)


def test_no_update_transfers_anything_by_the_way(training, tmp_path):
    assert training(tmp_path, Guarded).run() == "complete"
