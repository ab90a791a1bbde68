"""What the writers leave on disk, after clean ends, kills and resumes."""

import importlib.util
import json
import math
import struct

import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.config import default_config
from seqjax.errors import Unavailable, UserError
from seqjax.fields import flatten
from seqjax.reporting.event_files import read_records
from seqjax.reporting.writers import MetricWriter


def open_writer(workdir, first_step=0, unwritten="", **fields):
    reporting = default_config().reporting
    reporting.update(fields)
    return MetricWriter(workdir, reporting, first_step, {"seed": 0}, unwritten)


def read_lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").open(encoding="utf-8")]


def read_events(workdir):
    """Returns what is in the event files: (tag, step, value)."""
    from tensorboardX.proto.event_pb2 import Event

    shown = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            shown += [
                (value.tag, event.step, value.simple_value)
                for value in event.summary.value
                if value.HasField("simple_value")
            ]
    return shown


def test_a_line_is_complete_as_soon_as_it_is_written(tmp_path):
    writer = open_writer(tmp_path / "run")
    writer.write(3, {"train/loss": jnp.float32(0.5), "train/tokens": np.int64(7), "z": 1})
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert text == '{"step": 3, "train/loss": 0.5, "train/tokens": 7, "z": 1}\n'
    writer.close()
    writer.close()
    assert ("train/loss", 3, 0.5) in read_events(tmp_path / "run")


def test_numbers_that_json_lacks_are_strings(tmp_path):
    with open_writer(tmp_path) as writer:
        writer.write(1, {"a": math.nan, "b": jnp.inf, "c": -np.inf})
    (line,) = read_lines(tmp_path)
    assert line == {"step": 1, "a": "nan", "b": "inf", "c": "-inf"}
    assert [float(line["b"]), float(line["c"])] == [math.inf, -math.inf]
    assert len(read_events(tmp_path)) == 3


def test_signatures_go_to_the_lines_only(tmp_path):
    with open_writer(tmp_path) as writer:
        writer.write(1, {"bleu": 31.5, "bleu_signature": "nrefs:1|case:mixed – é"})
    assert read_lines(tmp_path)[0]["bleu_signature"] == "nrefs:1|case:mixed – é"
    assert read_events(tmp_path) == [("bleu", 1, 31.5)]


def test_a_resumed_run_forgets_steps_that_are_run_again(tmp_path):
    with open_writer(tmp_path) as writer:
        for step in (10, 20, 30):
            writer.write(step, {"loss": float(step)})
    with open_writer(tmp_path, first_step=20) as writer:
        writer.write(30, {"loss": -30.0})
    expected = [(10, 10.0), (20, 20.0), (30, -30.0)]
    assert [(line["step"], line["loss"]) for line in read_lines(tmp_path)] == expected
    assert read_events(tmp_path) == [("loss", step, loss) for step, loss in expected]
    assert not list(tmp_path.glob("metrics.jsonl.*"))


def test_texts_and_hyperparameters_are_in_the_events(tmp_path):
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    config = default_config()
    with MetricWriter(tmp_path, config.reporting, 0, config.to_dict()) as writer:
        writer.text(10, "validation/samples", "source | output\n--- | ---\nä | ö")
        writer.text(20, "validation/samples", "later")
    MetricWriter(tmp_path, config.reporting, 10, config.to_dict()).close()
    assert read_lines(tmp_path) == []
    texts, data = [], []
    for path in sorted((tmp_path / "tensorboard").iterdir()):
        for record, step in read_records(path.read_bytes()):
            for value in Event.FromString(record[12:-4]).summary.value:
                if value.tag.startswith("_hparams_"):
                    content = value.metadata.plugin_data.content
                    data.append(HParamsPluginData.FromString(content))
                else:
                    texts.append((value.tag, step, value.tensor.string_val[0].decode()))
    assert texts == [("validation/samples/text_summary", 10, "source | output\n--- | ---\nä | ö")]
    experiment, start = data[0].experiment, data[1].session_start_info
    assert "validation/bleu" in {info.name.tag for info in experiment.metric_infos}
    fields = flatten(config)
    assert {info.name for info in experiment.hparam_infos} == set(start.hparams) == set(fields)
    assert start.hparams["seed"].number_value == 0
    assert start.hparams["evaluation.metrics"].string_value == "bleu,chrf,ter,exact_match"


def test_an_open_tensorboard_learns_which_steps_to_hide(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    for first_step in (0, 20):
        open_writer(tmp_path, first_step).close()
    starts = []
    for path in sorted((tmp_path / "tensorboard").iterdir()):
        for record, step in read_records(path.read_bytes()):
            if Event.FromString(record[12:-4]).HasField("session_log"):
                starts.append(step)
    assert starts == [1, 21]


@pytest.mark.parametrize("cut", [1, 15, 30])
def test_a_half_written_last_event_is_removed(tmp_path, cut):
    with open_writer(tmp_path) as writer:
        writer.write(10, {"loss": 1.0})
        writer.write(11, {"loss": 2.0})
    (path,) = (tmp_path / "tensorboard").iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    with open_writer(tmp_path, first_step=20) as writer:
        writer.write(30, {"loss": 3.0})
    assert read_events(tmp_path) == [("loss", 10, 1.0), ("loss", 30, 3.0)]


def test_a_full_disk_under_the_events_costs_the_curves_only(tmp_path, small_disk, caplog):
    (tmp_path / "tensorboard").symlink_to(small_disk)
    with open_writer(tmp_path) as writer:
        for step in range(2000):
            writer.write(step, {"train/loss": 1.0})
        assert writer.failure is None
    assert len(read_lines(tmp_path)) == 2000
    (warning,) = caplog.messages
    assert warning.startswith(f"{tmp_path / 'tensorboard'}: No space left on device; training")
    # What did fit can be read, also in the next session.
    open_writer(tmp_path, first_step=100).close()
    (path, *_) = sorted(small_disk.iterdir())
    assert [step for _, step in read_records(path.read_bytes())][-1] == 100


def test_events_on_a_device_that_is_full(tmp_path, fill, caplog):
    with open_writer(tmp_path) as writer:
        (events,) = writer._extras.values()
        fill(events._file)
        for step in range(5):
            writer.write(step, {"train/loss": 1.0})
    assert len(read_lines(tmp_path)) == 5
    assert len(caplog.messages) == 1 and "No space left on device" in caplog.text


def test_a_folder_of_events_that_cannot_be_made(tmp_path, caplog):
    (tmp_path / "tensorboard").write_text("a file of the user's")
    with open_writer(tmp_path) as writer:
        writer.write(1, {"train/loss": 1.0})
    assert len(read_lines(tmp_path)) == 1
    assert len(caplog.messages) == 1 and "File exists" in caplog.text
    assert (tmp_path / "tensorboard").read_text() == "a file of the user's"


class _Failing:
    """An extra writer whose service is away from the second line on."""

    lines = 0

    def write(self, step, values):
        self.lines += 1
        if self.lines > 1:
            raise ConnectionResetError("the service is away")

    def close(self):
        raise ConnectionResetError("the service is away")


def test_a_service_that_fails_is_left_out(tmp_path, caplog):
    with open_writer(tmp_path) as writer:
        failing = writer._extras["a service"] = _Failing()
        for step in range(5):
            writer.write(step, {"train/loss": float(step)})
    assert failing.lines == 2
    assert [step for _, step, _ in read_events(tmp_path)] == [0, 1, 2, 3, 4]
    assert len(caplog.messages) == 1 and "a service: the service is away" in caplog.text


@pytest.mark.parametrize("returns", [False, True], ids=["still full", "room again"])
def test_lines_that_the_disk_does_not_take_are_kept_for_the_next_session(tmp_path, fill, returns):
    writer = open_writer(tmp_path, tensorboard=False)
    writer.write(1, {"a": "ä"})
    before = writer._lines._file
    writer._lines._file = open(tmp_path / "other", "ab", buffering=0)
    fill(writer._lines)
    for step in (2, 3):
        writer.write(step, {})
    with pytest.raises(Unavailable, match=r"metrics\.jsonl: No space left on device"):
        writer.check()
    if returns:
        writer._lines._file.close()
        writer._lines._file = before
    writer.close()
    before.close()
    unwritten = writer.unwritten
    with open_writer(tmp_path, first_step=3, unwritten=unwritten, tensorboard=False) as writer:
        writer.write(4, {})
        writer.check()
        assert writer.unwritten == ""
    assert [line["step"] for line in read_lines(tmp_path)] == [1, 2, 3, 4]


def test_a_disk_that_fills_up_in_the_middle_of_a_line_and_has_room_again(small_disk):
    (small_disk / "of others").write_bytes(bytes(20000))
    writer = open_writer(small_disk / "run", tensorboard=False)
    step = 0
    while writer.failure is None:
        step += 1
        writer.write(step, {"text": "x" * 999})
    writer.close()
    assert not (small_disk / "run" / "metrics.jsonl").read_bytes().endswith(b"\n")
    # A session that begins on the full disk removes the rest of that line all the same.
    open_writer(small_disk / "run", step - 5, tensorboard=False).close()
    (small_disk / "of others").unlink()
    open_writer(small_disk / "run", step, unwritten=writer.unwritten, tensorboard=False).close()
    steps = [line["step"] for line in read_lines(small_disk / "run")]
    assert steps == [*range(1, step - 4), step]


def test_a_resumed_run_in_a_bucket_forgets_them_too(bucket):
    for first, step in ((0, 10), (10, 20), (10, 30)):
        with open_writer(bucket, first, tensorboard=False) as writer:
            writer.write(step, {})
    lines = (bucket / "metrics.jsonl").read_text()
    assert lines == '{"step": 10}\n{"step": 30}\n'


@pytest.mark.parametrize(
    "tail",
    [b'{"step": 20, "lo', b'{"step": 20, "text": "\xc3', b"20", b"\0\0\0", b'{"step": 20}', b"\n"],
)
def test_a_half_written_last_line_is_repaired(tmp_path, tail):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 10}\n' + tail)
    with open_writer(tmp_path, first_step=20) as writer:
        writer.write(30, {})
    whole = [20] if tail == b'{"step": 20}' else []
    assert [line["step"] for line in read_lines(tmp_path)] == [10, *whole, 30]


def test_untouched_lines_are_kept_to_the_byte(tmp_path):
    before = b'{"step":10,  "x": "\\u00e9"}\n{"step": 20, "y": 1e-3}\n'
    (tmp_path / "metrics.jsonl").write_bytes(before)
    open_writer(tmp_path, first_step=20).close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_no_events_when_switched_off(folder):
    with open_writer(folder, tensorboard=False) as writer:
        writer.write(1, {"loss": 1.0})
    assert [path.name for path in folder.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("value", [np.zeros(2), jnp.zeros((2, 1)), [1.0], None])
def test_only_scalars_are_metrics(tmp_path, value):
    with open_writer(tmp_path, tensorboard=False) as writer:
        with pytest.raises(ValueError, match="'loss' is not a scalar"):
            writer.write(1, {"loss": value})
    assert read_lines(tmp_path) == []


def test_a_key_that_wandb_rejects_costs_no_training(tmp_path, monkeypatch, caplog):
    def reject(*_):
        raise RuntimeError("API key is rejected")

    monkeypatch.setattr("seqjax.reporting.writers.require_wandb", lambda project: None)
    monkeypatch.setattr("seqjax.reporting.writers.WandbRun", reject)
    with open_writer(tmp_path, wandb_project="p", tensorboard=False) as writer:
        writer.write(1, {"loss": 2.0})
    assert caplog.messages == [
        "Weights & Biases: API key is rejected; training continues without it, metrics.jsonl has"
        " every metric"
    ]
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss": 2.0}\n'


def test_wandb_must_be_installed(tmp_path):
    if importlib.util.find_spec("wandb"):
        pytest.skip("wandb is installed")
    with pytest.raises(UserError, match=r"seqjax\[wandb\]"):
        open_writer(tmp_path, wandb_project="p")


@pytest.mark.slow
def test_wandb_resumes_under_the_same_id(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for first_step in (0, 10):
        with open_writer(tmp_path, first_step, wandb_project="p", tensorboard=False) as writer:
            writer.write(10 + first_step, {"loss": 1.0, "signature": "s"})
    identity = (tmp_path / "wandb_id.txt").read_text().strip()
    runs = [path for path in (tmp_path / "wandb").glob("offline-run-*") if path.is_dir()]
    assert runs and all(path.name.endswith(identity) for path in runs)
    assert [line["step"] for line in read_lines(tmp_path)] == [10, 20]
