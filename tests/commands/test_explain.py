import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seqjax.commands.command_line import main
from seqjax.commands.explain import _modules, _short, run
from seqjax.config import default_config
from seqjax.fields import default_fields, expand
from seqjax.overrides import apply_overrides, split_overrides

_DEMO = f"--config={Path(__file__).parents[2] / 'configs' / 'demo.py'}"
_STACKS = {f"model.{stack}.layers": 2 for stack in ("encoder", "decoder")}


@pytest.fixture
def explain(capfd):
    def run(*options):
        code = main(["explain", *options])
        out, error = capfd.readouterr()
        if code == 0 and "--fields" not in options:
            # What differs from the defaults comes first.
            first, _, error = error.partition("\n")
            assert first.startswith("config: differs from the defaults in ")
        return code, out, error

    return run


def test_a_config_is_explained_without_training(explain, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, error = explain(_DEMO, "--workdir=new", *tiny(_STACKS))
    assert (code, error) == (0, "")
    # Nothing is left behind, not even the folder that was named.
    assert not list(tmp_path.iterdir())
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    headings = [line.split()[0] for line in lines if line and not line.startswith(" ")]
    assert headings == ["PARAMETERS", "AN", "BATCH", "DURATIONS", "MEMORY", "TIME"]

    def row(start):
        (found,) = [line.split() for line in lines if line.strip().startswith(start)]
        return found

    # The same layer twice is one row.
    query = row("block_0-1/cross/query")
    assert query[1:7] == ["kernel", "16x16,", "bias", "16", "2", "x"]
    assert query[7] == str(2 * (16 * 16 + 16))
    assert row("train.duration") == ["train.duration", "13", "13", "2.60"]
    assert row("schedule.warmup")[1:] == ["1", "1", "0.20"]
    assert row("pairs kept") == ["pairs", "kept", "80", "of", "80"]
    assert row("share of peak")[-2:] in (["%", "assumed"], ["a", "step"])


def test_more_than_ten_layers_are_numbered_to_the_last():
    # As JAX sorts them: 'block_10' before 'block_2'.
    paths = sorted(f"block_{number}/inner" for number in range(12))
    arrays = [{"path": f"{path}/kernel", "shape": [2, 3], "count": 6} for path in paths]
    assert _modules(arrays) == [("block_0-11/inner", "kernel 2x3", 12, 72)]


def test_the_same_facts_as_json(explain, tiny):
    code, out, error = explain(_DEMO, "--json", *tiny(_STACKS))
    assert (code, error) == (0, "")
    facts = json.loads(out)
    sections = {
        "task",
        "parameters",
        "corpus",
        "batches",
        "padding",
        "epoch",
        "durations",
        "memory",
        "time",
    }
    assert set(facts) == sections
    assert facts["epoch"]["steps"] == 5
    assert facts["durations"]["schedule.warmup"] == {"written": "1", "steps": 1, "epochs": 0.2}


def test_a_run_is_explained_with_its_own_tokenizer_and_speed(explain, trained):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    code, out, error = explain(f"--workdir={trained}", "--json")
    assert (code, error) == (0, "")
    facts = json.loads(out)
    assert (facts["time"]["steps_done"], facts["time"]["steps_left"]) == (150, 0)
    assert facts["time"]["share_is_measured"]
    code, out, _ = explain(f"--workdir={trained}", "--config.train.duration=200")
    assert code == 0
    assert "after the 150 done" in out and "as this run reached" in out
    assert before == {path: path.stat().st_mtime_ns for path in trained.rglob("*")}


def test_the_tokenizers_of_a_run_are_facts_and_stay(explain, trained, tmp_path):
    code, _, error = explain(f"--workdir={trained}", "--config.tokenizer.vocabulary=50")
    assert code == 2
    assert "the run has its tokenizers" in error
    # A run that has begun, but has no checkpoint yet.
    for name in ("config.json", "tokenizer"):
        copy = shutil.copytree if (trained / name).is_dir() else shutil.copy
        copy(trained / name, tmp_path / name)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert explain(f"--workdir={tmp_path}", "--config.tokenizer.vocabulary=50")[0] == 0
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_devices_that_are_not_here(explain, tiny):
    # Two of the four are idle.
    fields = {"parallel.data": 2, "model.dtype": "bfloat16"}
    options = [*tiny(fields), "--devices=h100x4"]
    code, out, error = explain(_DEMO, "--json", *options)
    assert (code, error) == (0, "")
    facts = json.loads(out)
    memory, time = facts["memory"], facts["time"]
    assert (memory["device"], memory["fits"]) == (80 * 10**9, True)
    assert (time["devices"], time["device"], time["share_is_measured"]) == (2, "h100", False)
    assert time["peak_flops_per_second"] == 2 * 989.4e12
    assert time["device_hours"] == 4 * time["seconds"] / 3600
    code, out, error = explain(_DEMO, *options)
    assert (code, error) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "memory of h100 76,293.9 MiB" in lines
    assert "of which JAX takes 57,220.5 MiB" in lines
    assert "It fits: 0.0 %, as compiled for CPUs; an accelerator's compiler differs." in lines
    assert any(line.endswith("FLOP/s of 2 x h100, as its maker says") for line in lines)


def test_what_only_those_devices_have_is_explained_without_it(explain, tiny):
    fields = {"model.encoder.kind": "lstm", "model.encoder.implementation": "cudnn"}
    assert explain(_DEMO, *tiny(fields))[0] == 2
    config = default_config()
    apply_overrides(config, split_overrides(tiny(fields))[1])
    before = expand(config)
    arguments = argparse.Namespace(
        config="a file", workdir="", fields=False, json=True, devices="h100"
    )
    assert run(arguments, config) == 0
    # The caller's config stays what it was.
    assert expand(config) == before


def test_a_run_is_explained_for_devices_that_are_not_here(explain, trained):
    """Its speed is that of the devices it ran on."""
    options = [f"--workdir={trained}", "--config.train.duration=200", "--devices=tpu-v6e-4"]
    code, out, _ = explain(*options, "--json")
    time = json.loads(out)["time"]
    assert (code, time["steps_done"], time["steps_left"]) == (0, 150, 50)
    assert (time["bound"], time["share_is_measured"]) == ("kernels", False)
    assert time["share"] < 0.4


@pytest.mark.slow
def test_more_devices_than_there_are(tiny):
    """The layout is that of the devices named; none of them has to be here."""
    fields = {"batching.sentences": 32, "parallel.data": 1, "parallel.fsdp": -1}
    fields |= {f"model.{stack}.feed_forward": 256 for stack in ("encoder", "decoder")}
    command = [sys.executable, "launch.py", "explain", _DEMO, "--json", *tiny(fields)]

    def explained(name):
        done = subprocess.run(
            [*command, f"--devices={name}"],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    one, many = explained("tpu-v4-2"), explained("tpu-v4-32")
    assert (one["time"]["devices"], many["time"]["devices"]) == (1, 16)
    assert one["parameters"] == many["parameters"]
    assert one["memory"]["parameters"] == 4 * one["parameters"]["count"]
    # Vectors, and what does not divide, are whole.
    assert many["memory"]["parameters"] < one["memory"]["parameters"] / 2
    assert many["memory"]["total"] < one["memory"]["total"] / 2


def test_the_effective_config_with_what_differs(explain, tiny, tmp_path):
    code, out, error = explain(_DEMO, "--fields", *tiny({"seed": 7}))
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert "* seed = 7  (default 0)" in lines
    assert "  data.train = 'train'" in lines
    default = default_fields()
    assert len(lines) == len(default)
    for line in lines:
        path, _, value = line[2:].partition(" = ")
        assert (line[0] == "*") == (f"  (default {default[path]!r})" in value)
    # Nothing is read and nothing made: the corpus need not be there.
    assert explain(_DEMO, "--fields", f"--config.data.directory={tmp_path}/no")[0] == 0
    assert explain(_DEMO, "--fields", "--json")[0] == 2


@pytest.mark.parametrize(
    "seconds, written",
    [
        (0, "0 s"),
        (1.03e-5, "0.01 ms"),
        (2.1e-4, "0.21 ms"),
        (0.0031, "3.1 ms"),
        (0.124, "124 ms"),
        (0.9996, "1000 ms"),
        (2.04, "2.0 s"),
        (9.96, "10 s"),
        (130, "2 min 10 s"),
    ],
)
def test_times_have_two_or_three_digits(seconds, written):
    assert _short(seconds) == written


def test_a_duration_of_zero_is_never(explain, tiny):
    code, out, _ = explain(_DEMO, *tiny({"evaluation.every": "0"}))
    (line,) = [line for line in out.splitlines() if "evaluation.every" in line]
    assert code == 0 and line.split() == ["evaluation.every", "0", "never"]


def test_mistakes_are_one_line(explain, tmp_path):
    code, out, error = explain(f"--workdir={tmp_path}")
    assert (code, out) == (2, "")
    assert "explain: expected --config=FILE or the --workdir of an existing run" in error


@pytest.mark.parametrize(
    "options, reported",
    [
        (["--devices=h10x8"], "--devices=h10x8: expected one of tpu-v2, tpu-v3,"),
        (
            ["--devices=h100x4", "--config.parallel.data=3", "--config.parallel.fsdp=-1"],
            "parallel.data = 3, parallel.model = 1: expected their product 3 to divide 4",
        ),
        (
            ["--devices=h100x4", "--config.parallel.model=4"],
            "parallel.model = 4: expected a divisor of model.encoder.heads = 2",
        ),
    ],
)
def test_mistakes_about_devices_are_one_line(explain, tiny, options, reported):
    code, out, error = explain(_DEMO, *tiny(), *options)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert reported in error
