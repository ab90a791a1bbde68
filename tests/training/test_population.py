from pathlib import Path

import jax
import numpy as np
import pytest

from seqjax.commands.command_line import main
from seqjax.config_files import load_config_file
from seqjax.errors import UserError
from seqjax.fields import flatten, load
from seqjax.overrides import apply_overrides
from seqjax.training.population import check_members, differing

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
    "field, value, told",
    [
        ("model.encoder.layers", "3", "^model.encoder.layers differs among the trials: .* seed, "),
        ("batching.seed", "-1", "^seed differs among the trials, and with it their batches"),
    ],
)
def test_refuses_what_is_no_number_of_an_update(variants, field, value, told):
    configs = [load_config_file(f"{variants}:{name}") for name in NAMES]
    for config in configs if field == "batching.seed" else configs[:1]:
        apply_overrides(config, [(field, value)])
    with pytest.raises(UserError, match=told):
        check_members(configs)


@pytest.mark.slow
@pytest.mark.parametrize("members", ["loop", "batch"])
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


def test_together_needs_a_file_with_variants(tmp_path, capsys):
    assert main(["train", "--together=a,b", f"--workdir={tmp_path}"]) == 2
    assert "--together needs --config=FILE, whose variants it names" in capsys.readouterr().err
