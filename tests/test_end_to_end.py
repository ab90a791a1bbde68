"""The promises of a whole run, kept in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from seqjax.commands.command_line import main

_ROOT = Path(__file__).parents[1]
_DEMO = f"--config={_ROOT / 'configs' / 'demo.py'}"
_FIELDS = {
    "train.duration": 200,
    "evaluation.every": 60,
    "checkpoint.every": 25,
    "checkpoint.keep_latest": 3,
    "reporting.every": 10,
}


def _train_until(arguments, workdir, step, number):
    """Starts training and sends a signal once `step` has been reported; returns the process."""
    process = subprocess.Popen(
        [sys.executable, str(_ROOT / "launch.py"), "train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = workdir / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        lines = metrics.read_bytes().splitlines() if metrics.exists() else []
        if lines and lines[-1].endswith(b"}") and json.loads(lines[-1])["step"] >= step:
            break
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    process.send_signal(number)
    out, error = process.communicate(timeout=120)
    assert out == ""
    return process.returncode, error


@pytest.mark.slow
def test_terminated_and_killed_a_run_ends_bit_for_bit_the_same(tiny, tmp_path, saved, reported):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = [_DEMO, *tiny(_FIELDS)]
    assert main(["train", f"--workdir={whole}", *options]) == 0

    command = [f"--workdir={parts}", *options]
    code, error = _train_until(command, parts, 40, signal.SIGTERM)
    assert code == 143
    assert "SIGTERM: saved step " in error and "Traceback" not in error
    code, error = _train_until(command, parts, 110, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert "continuing at step " in error
    assert main(["train", *command]) == 0

    assert saved(parts, 200) == saved(whole, 200)
    assert reported(parts) == reported(whole)
    kept = [sorted(int(p.name) for p in run.glob("checkpoints/[0-9]*")) for run in (whole, parts)]
    assert kept[0][-3:] == kept[1][-3:] == [175, 180, 200]
    starts = json.loads((parts / "environment.json").read_text())["sessions"]
    assert [" train " in start["command"] for start in starts] == [True, True, False]


def _as_for_users():
    """Returns the environment of a process that compiles as it does for a user."""
    flags = [flag for flag in os.environ["XLA_FLAGS"].split() if "host_platform" in flag]
    return os.environ | {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
        "SEQJAX_TESTS_COMPILE": "as for users",
        "XLA_FLAGS": " ".join(flags),
    }


@pytest.mark.slow
def test_compiled_anew_a_run_ends_bit_for_bit_the_same(tiny, tmp_path, saved, reported):
    """The other tests share what was compiled, and not at its best; two starts of a user do not."""
    environment = _as_for_users() | {"JAX_ENABLE_COMPILATION_CACHE": "0"}
    options = tiny({"train.duration": 4, "reporting.every": 2, "evaluation.every": "0"})
    runs = []
    for name in ("one", "other"):
        arguments = ["train", f"--workdir={tmp_path / name}", _DEMO, *options]
        command = [sys.executable, str(_ROOT / "launch.py"), *arguments]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        runs.append((saved(tmp_path / name, 4), reported(tmp_path / name)))
    assert runs[0] == runs[1]


@pytest.fixture
def object_store(monkeypatch):
    """Has processes find their buckets in a stand-in for Google's; yields its address."""
    pytest.importorskip("gcsfs", reason="gcsfs is not installed: pip install 'seqjax[gs]'")
    script = Path(__file__).parent / "object_store.py"
    process = subprocess.Popen(
        [sys.executable, str(script), "bucket"], stdout=subprocess.PIPE, text=True
    )
    address = process.stdout.readline().strip()
    for name in ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"):
        monkeypatch.setenv(name, address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "none")
    # So that nobody looks for credentials.
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "none")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    yield address
    process.kill()
    process.communicate()


def _in_a_bucket(verb, *options):
    """Runs a verb on gs://bucket/run; returns what it says on standard output and error."""
    command = [sys.executable, str(_ROOT / "launch.py"), verb, "--workdir=gs://bucket/run"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.slow
def test_a_run_in_a_bucket_is_that_of_a_folder(tiny, tmp_path, object_store, capsys):
    fields = {"train.duration": 6, "reporting.tensorboard": True}
    _in_a_bucket("train", _DEMO, *tiny(fields))
    error = _in_a_bucket("train", _DEMO, *tiny(fields | {"train.duration": 9}))[1]
    assert "continuing at step 6" in error
    # An object that is no checkpoint any more: the one before it is taken.
    name = urllib.parse.quote("run/checkpoints/9/params/manifest.ocdbt", safe="")
    address = f"{object_store}/upload/storage/v1/b/bucket/o?uploadType=media&name={name}"
    urllib.request.urlopen(address, data=b"damaged").read()
    error = _in_a_bucket("train", _DEMO, *tiny(fields | {"train.duration": 10}))[1]
    assert "skipping damaged checkpoint gs://bucket/run/checkpoints/9: " in error
    out, error = _in_a_bucket("evaluate", "--split=validation", "--config.evaluation.limit=-1")
    assert "hypotheses: gs://bucket/run/predictions/validation-" in error
    found = json.loads(out)

    options = [_DEMO, f"--workdir={tmp_path}"]
    assert main(["train", *options, *tiny(fields | {"train.duration": 10})]) == 0
    evaluate = ["--split=validation", "--config.evaluation.limit=-1"]
    capsys.readouterr()
    assert main(["evaluate", f"--workdir={tmp_path}", *evaluate]) == 0
    wanted = json.loads(capsys.readouterr().out)
    for facts in (found, wanted):
        del facts["workdir"], facts["decoding_seconds"]
    assert found == wanted
    names = urllib.request.urlopen(f"{object_store}/storage/v1/b/bucket/o?delimiter=/&prefix=run/")
    listed = json.loads(names.read())
    files = {item["name"] for item in listed["items"]}
    assert files == {f"run/{name}.json" for name in ("config", "environment")} | {
        "run/metrics.jsonl"
    }
    folders = ("checkpoints", "predictions", "tensorboard", "tokenizer")
    assert listed["prefixes"] == [f"run/{name}/" for name in folders]


@pytest.mark.slow
def test_an_evaluation_made_later_completes_a_checkpoint_in_a_bucket(tiny, object_store):
    fields = {"train.duration": 4, "evaluation.every": "0"}
    _in_a_bucket("train", _DEMO, *tiny(fields))
    unranked = "no checkpoint has a validation loss"
    assert unranked in _in_a_bucket("evaluate", "--split=validation")[1]
    _in_a_bucket("train", _DEMO, *tiny(fields | {"evaluation.every": "4"}))
    assert unranked not in _in_a_bucket("evaluate", "--split=validation")[1]


@pytest.mark.slow
@pytest.mark.thorough
def test_layers_are_right_as_they_are_compiled_for_users():
    """The other tests do without most of XLA's optimizations.

    What a model computes with and without them is compared in architectures/test_optimized.py.
    """
    layers = ("dense", "attention", "multi_head_attention", "recurrent")
    tests = [*(f"layers/test_{name}.py" for name in layers), "architectures/test_contract.py"]
    # Against torch and NumPy, and in few bits; one family's contract does, for compilation is slow.
    chosen = [
        "-k",
        "torch or numpy or equations or written or float or finite or (families and transformer)",
    ]
    paths = [str(_ROOT / "tests" / test) for test in tests]
    command = [sys.executable, "-m", "pytest", "-q", *chosen, *paths]
    run = subprocess.run(command, cwd=_ROOT, env=_as_for_users(), capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:]


@pytest.mark.slow
def test_members_of_a_population_are_exact_as_they_are_compiled_for_users():
    tests = "test_each_member_is_what_it_is_alone and loop or test_a_member_that_stops_early"
    path = str(_ROOT / "tests" / "training" / "test_population.py")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "", "-k", tests, path]
    environment = _as_for_users() | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    run = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0 and "2 passed" in run.stdout, run.stdout[-3000:]


@pytest.mark.slow
def test_what_is_trained_with_subwords_on_two_devices_can_be_used_on_one(tiny, tmp_path, capfd):
    workdir = f"--workdir={tmp_path}"
    fields = {
        "tokenizer.kind": "unigram",
        "tokenizer.vocabulary": 120,
        "tokenizer.joint": True,
        "tokenizer.sampling": 0.3,
        "model.share_embeddings": True,
        "batching.kind": "tokens",
        "batching.tokens": 1024,
        "optimizer.accumulate": 2,
        "parallel.data": 2,
        "evaluation.translate": True,
        "train.duration": "2 epochs",
        "evaluation.every": "1 epoch",
        "checkpoint.best_metric": "chrf",
        "decode.max_length_ratio": 1,
    }
    assert main(["train", workdir, _DEMO, *tiny(fields)]) == 0
    capfd.readouterr()
    assert main(["evaluate", workdir, "--config.parallel.data=1", "--split=train"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["examples"] == 80
    chrf = {entry["step"]: entry["validation/chrf"] for entry in _validations(tmp_path)}
    assert chrf[found["step"]] == max(chrf.values())
    for step in chrf:
        lines = (tmp_path / "predictions" / f"validation-{step}.txt").read_text().split("\n")
        assert len(lines) == 17


def _validations(workdir):
    entries = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [entry for entry in entries if "validation/chrf" in entry]
