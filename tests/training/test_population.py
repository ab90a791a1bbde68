import json
import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from seqjax.commands.command_line import main
from seqjax.config_files import load_config_file
from seqjax.errors import UserError
from seqjax.fields import differing, flatten, load
from seqjax.overrides import apply_overrides
from seqjax.training.members import check_members
from seqjax.training.saved import saved_clock

VARIANTS = """
from pathlib import Path

from seqjax.config_files import load_config_file

DEMO = Path({demo!r})


def get_config(variant):
    config = load_config_file(str(DEMO))
    config.batching.seed = 5
    config.seed = int(variant[1:])
    # Adam would make much of gradients that are rounding alone.
    config.optimizer.kind = "sgd"
    config.optimizer.learning_rate = 0.1 * (1 + config.seed)
    config.loss.label_smoothing = 0.05 * config.seed
    config.model.encoder.dropout = 0.1 * config.seed
    return config
"""
DEMO = str(Path(__file__).parents[2] / "configs" / "demo.py")
NAMES = ["m0", "m1", "m2"]
# What the file of the variants sets must stay what it is.
KEPT = ("model.encoder.dropout",)


@pytest.fixture
def variants(tmp_path):
    path = tmp_path / "variants.py"
    path.write_text(VARIANTS.format(demo=DEMO))
    return str(path)


def options(tiny, fields=None):
    kept = tuple(f"--config.{field}=" for field in KEPT)
    # Each save is one for every member.
    fields = {"checkpoint.every": "100%"} | (fields or {})
    return [option for option in tiny(fields) if not option.startswith(kept)]


def test_finds_where_configs_differ(variants):
    configs = [load_config_file(f"{variants}:{name}") for name in NAMES]
    assert set(differing(configs)) == {
        "seed",
        "optimizer.learning_rate",
        "loss.label_smoothing",
        "model.encoder.dropout",
    }
    check_members(configs)


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("model.encoder.layers", "3", "^trained together: .*layers: expected one value, .* seed, "),
        ("batching.seed", "-1", "^trained together: batching.seed = -1: expected 0 or more"),
        (
            "parallel.model",
            "2",
            "^trained together: parallel.model = 2: expected 1, since a device",
        ),
        (
            "checkpoint.keep_latest",
            "1",
            "^trained together: checkpoint.keep_latest = 1: expected at",
        ),
        ("reporting.wandb_project", "x", "^trained together: reporting.wandb_project = 'x'"),
    ],
)
def test_refuses_what_is_no_number_of_an_update(variants, field, value, message):
    configs = [load_config_file(f"{variants}:{name}") for name in NAMES]
    for config in configs if field == "batching.seed" else configs[:1]:
        apply_overrides(config, [(field, value)])
    with pytest.raises(UserError, match=message):
        check_members(configs)


# XLA's older code for CPUs, with which the tests are compiled, adds in another order inside a loop.
as_for_users = pytest.mark.skipif(
    os.environ.get("SEQJAX_TESTS_COMPILE") != "as for users",
    reason="is run by tests/test_end_to_end.py in a process that compiles as for users",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "members",
    [pytest.param("loop", marks=as_for_users), pytest.param("batch", marks=pytest.mark.thorough)],
)
def test_each_member_is_what_it_is_alone(members, variants, tiny, saved, reported, tmp_path):
    given = options(tiny)
    together = tmp_path / "together"
    command = ["train", f"--config={variants}", f"--members={members}", *given]
    names = NAMES[1:]
    assert main([*command, f"--together={','.join(names)}", f"--workdir={together}"]) == 0
    for name in names:
        alone = tmp_path / name
        assert main(["train", f"--config={variants}:{name}", f"--workdir={alone}", *given]) == 0
        assert flatten(load(alone / "config.json")) == flatten(
            load(together / name / "config.json")
        )
        one, other = (saved(folder, 13) for folder in (alone, together / name))
        assert one.keys() == other.keys()
        for key, (_, dtype, content) in one.items():
            mine, others = (np.frombuffer(x, dtype) for x in (content, other[key][2]))
            if members == "loop":
                np.testing.assert_array_equal(mine, others, err_msg=key)
            np.testing.assert_allclose(mine, others, rtol=1e-3, atol=2e-5, err_msg=key)
        for mine, others in zip(reported(alone), reported(together / name), strict=True):
            assert mine.keys() == others.keys()
            for key in mine:
                np.testing.assert_allclose(mine[key], others[key], rtol=1e-4, err_msg=key)


@pytest.mark.slow
def test_goes_on_bit_for_bit_and_several_devices_share_the_members(variants, tiny, saved, tmp_path):
    command = ["train", f"--config={variants}", "--together=m0,m1"]
    whole, parts, shared = (tmp_path / name for name in ("whole", "parts", "shared"))
    assert main([*command, f"--workdir={whole}", *options(tiny)]) == 0
    for duration in (7, 13):
        given = options(tiny, {"train.duration": duration})
        assert main([*command, f"--workdir={parts}", *given]) == 0
    given = options(tiny, {"parallel.data": 2})
    assert jax.device_count() >= 2
    assert main([*command, f"--workdir={shared}", *given]) == 0
    for name in ("m0", "m1"):
        wanted = saved(whole / name, 13)
        assert saved(parts / name, 13) == wanted
        for key, (_, dtype, content) in saved(shared / name, 13).items():
            mine, others = (np.frombuffer(x, dtype) for x in (content, wanted[key][2]))
            np.testing.assert_allclose(mine, others, rtol=1e-3, atol=2e-5, err_msg=key)


@as_for_users
@pytest.mark.slow
def test_a_member_that_stops_early_waits_for_the_others(variants, tiny, saved, reported, tmp_path):
    # m0 is not to become better, m1 may always.
    fields = {"evaluation.every": 3, "train.stop_metric": "loss", "train.patience": 2}
    # Before it stops, its rate drops and its parameters are averaged; those of m1 are not.
    fields |= {"schedule.kind": "plateau", "optimizer.average_trigger": 1}
    path = Path(variants)
    rates = 'config.optimizer.learning_rate = {"m0": 50.0, "m1": 0.1}[variant]'
    path.write_text(path.read_text().replace("return config", f"{rates}\n    return config"))
    folder = tmp_path / "together"
    command = ["train", f"--config={variants}", "--together=m0,m1", f"--workdir={folder}"]
    for duration in (14, 20):
        assert main([*command, *options(tiny, fields | {"train.duration": duration})]) == 0
    stopped = max(int(step.name) for step in (folder / "m0" / "checkpoints").glob("[0-9]*"))
    assert stopped < 12 and saved(folder / "m1", 20)
    alone = tmp_path / "alone"
    given = options(tiny, fields | {"train.duration": 20})
    assert main(["train", f"--config={variants}:m0", f"--workdir={alone}", *given]) == 0
    assert saved(alone, stopped) == saved(folder / "m0", stopped)
    drops = [saved_clock(folder / name)["feedback"]["drops"] for name in ("m0", "m1")]
    assert drops == [2, 0]
    assert reported(alone) == reported(folder / "m0")


@pytest.mark.slow
def test_a_member_that_diverges_fails_alone(variants, tiny, saved, tmp_path, capsys):
    path = Path(variants)
    rates = 'config.optimizer.update(clip=0.0, learning_rate={"m0": 1e30, "m1": 0.1}[variant])'
    path.write_text(path.read_text().replace("return config", f"{rates}\n    return config"))
    command = ["train", f"--config={variants}", "--together=m0,m1", f"--workdir={tmp_path}"]
    assert main([*command, *options(tiny)]) == 1
    out, error = capsys.readouterr()
    failed = json.loads(out)
    assert list(failed) == ["m0"] and "training diverged; lower" in failed["m0"]
    assert f"m0: {failed['m0']}" in error
    assert saved(tmp_path / "m1", 13) and not (tmp_path / "m0" / "checkpoints" / "13").exists()
    assert "m1: step 10/13" in error
    assert f"evaluate --workdir={tmp_path} --split=test --together=m0,m1" in error
    # It stays out, and what the others have is not lost.
    before = saved(tmp_path / "m1", 13)
    assert main([*command, *options(tiny, {"train.duration": 15})]) == 1
    out, error = capsys.readouterr()
    assert json.loads(out) == failed and "continuing at step 13" in error
    assert saved(tmp_path / "m1", 13) == before and saved(tmp_path / "m1", 15)
    # By itself it may try again.
    alone = ["train", f"--config={variants}:m0", f"--workdir={tmp_path / 'm0'}", *options(tiny)]
    assert main(alone) == 2 and "training diverged" in capsys.readouterr().err
    assert not (tmp_path / "m0" / "failure.txt").exists()


@pytest.mark.slow
def test_what_a_kill_left_of_the_first_saves_is_gone_over_again(
    variants, tiny, saved, tmp_path, capsys
):
    command = ["train", f"--config={variants}", "--together=m0,m1", f"--workdir={tmp_path}"]
    fields = {"optimizer.moving_average": 0.5, "evaluation.every": 0, "checkpoint.every": "0"}
    assert main([*command, *options(tiny, fields | {"train.duration": 3})]) == 0
    wanted = {name: saved(tmp_path / name, 3) for name in ("m0", "m1")}
    shutil.rmtree(tmp_path / "m1" / "checkpoints" / "3")
    capsys.readouterr()
    assert main([*command, *options(tiny, fields | {"train.duration": 3})]) == 0
    assert "m0 goes back from step 3 to 0" in capsys.readouterr().err
    assert {name: saved(tmp_path / name, 3) for name in ("m0", "m1")} == wanted
    assert any(key.startswith("average") for key in wanted["m0"])


@pytest.mark.slow
def test_chooses_the_faster_way_once(variants, tiny, tmp_path, capsys):
    command = ["train", f"--config={variants}", "--together=m0,m1", f"--workdir={tmp_path}"]
    message = []
    for duration in (2, 4):
        given = options(tiny, {"train.duration": duration})
        assert main([*command, "--members=auto", *given]) == 0
        message.append(capsys.readouterr().err)
    way = re.search(
        r"m0, m1; --members=(\w+): an update of all .* took loop \d+ ms, batch", message[0]
    )
    assert way and "--members" not in message[1]
    sessions = json.loads((tmp_path / "m1" / "environment.json").read_text())["sessions"]
    assert [session["members"] for session in sessions] == [way[1]] * 2


@pytest.mark.parametrize(
    "given, message",
    [
        (["--together=a,b"], "--together: expected --config=FILE, whose variants it names"),
        (["--together=,", "--config=X"], "--together=,: expected names, each once, as a,b,c"),
        (["--together=", "--config=X"], "--together=: expected names, each once"),
        (["--together=m1,m1", "--config=X"], "--together=m1,m1: expected names, each"),
        (
            ["--together=m0,m1", "--config=X", "--processes=2"],
            "--together: expected no --processes, since it trains in one process",
        ),
        (["--config=X:m0", "--members=loop"], "--members=loop: expected --together with it"),
    ],
)
def test_prints_what_goes_together(given, message, variants, tmp_path, capsys):
    given = [option.replace("=X", f"={variants}") for option in given]
    assert main(["train", *given, f"--workdir={tmp_path}"]) == 2
    assert message in capsys.readouterr().err
