import json
import os
import sys

import pytest

from seqjax.config import default_config
from seqjax.config_files import load_config_file, update_stacks
from seqjax.errors import UserError
from seqjax.fields import flatten
from seqjax.overrides import overridden

_IMPORT = "from seqjax.config import default_config\n"


def _write(folder, text):
    path = folder / "run.py"
    path.write_text(text)
    return str(path)


def test_a_variant_reaches_get_config(tmp_path):
    path = _write(
        tmp_path,
        _IMPORT
        + "def get_config(seed='3'):\n"
        + "    config = default_config()\n"
        + "    config.seed = int(seed)\n"
        + "    return config\n",
    )
    assert load_config_file(path).seed == 3
    assert load_config_file(f"{path}:7").seed == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "run.py: expected a function get_config() or get_study(); it has neither"),
        ("def get_config(): return 3\n", "run.py: get_config() returns int; expected a ConfigDict"),
        ("def get_config(:\n", "run.py: SyntaxError: invalid syntax (run.py, line 1)"),
        ("import sys\nsys.exit(1)\n", "run.py: ends the program; expected a config or a study"),
        ("\nimport no_such_module\n", "run.py:2: ModuleNotFoundError: No module named"),
        (
            _IMPORT + "def get_config():\n    c = default_config()\n    c.model.encoder.head = 4\n",
            "run.py:4: head: the config has no such field there; did you mean 'heads'?",
        ),
        (
            _IMPORT + "def get_config():\n    c = default_config()\n    c.decode.update(beam=4)\n",
            "run.py:4: beam: the config has no such field there; did you mean 'decode.beam_size'?",
        ),
        (
            _IMPORT
            + "from ml_collections import FrozenConfigDict\n"
            + "def get_config():\n    c = default_config()\n"
            + "    c.decode = FrozenConfigDict(c.decode)\n",
            "decode: expected decode.update(...), since it is a section; not a FrozenConfigDict",
        ),
        (
            "def get_config():\n    raise ValueError('long ' * 1000 + 'end')\n",
            "long end",
        ),
        (
            _IMPORT + "def get_config():\n    c = default_config()\n    c.seed = 'one'\n",
            "run.py:4: seed = 'one': expected a whole number",
        ),
        (
            _IMPORT
            + "def get_config():\n    c = default_config()\n    c.seed = None\n    return c\n",
            "run.py: seed = None: expected a whole number",
        ),
        (
            "import ml_collections as m\ndef get_config(): return m.ConfigDict({'seed': 1})",
            "missing; start the config from default_config()",
        ),
    ],
)
def test_mistakes_in_a_file_are_reported_in_one_line_with_their_place(text, message, tmp_path):
    with pytest.raises(UserError) as error:
        load_config_file(_write(tmp_path, text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(tmp_path)) + 400


def test_a_file_that_hides_a_library_is_named(tmp_path, monkeypatch):
    # What has been imported before cannot be hidden.
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    (tmp_path / "colorsys.py").write_text("")
    path = _write(tmp_path, "import colorsys\ndef get_config(): return colorsys.ONE_THIRD\n")
    with pytest.raises(UserError) as error:
        load_config_file(path)
    place = f"{path}:2: AttributeError: module 'colorsys' has no attribute 'ONE_THIRD'"
    assert str(error.value) == f"{place}; colorsys.py in its folder hides the library colorsys"
    # A file that hides nothing is not named.
    del sys.modules["colorsys"]
    (tmp_path / "colorsys.py").rename(tmp_path / "my_own.py")
    with pytest.raises(UserError) as error:
        load_config_file(_write(tmp_path, "def get_config(): return 1 / 0\n"))
    assert str(error.value).endswith("ZeroDivisionError: division by zero")


def test_no_file_is_lines(tmp_path):
    with pytest.raises(
        UserError,
        match="--config=.*none.py: expected a Python file, or FILE:VARIANT; there is none",
    ):
        load_config_file(str(tmp_path / "none.py"))


def test_an_unknown_variant_is_reported_with_the_known_ones(tmp_path):
    path = _write(
        tmp_path,
        _IMPORT
        + "from seqjax.config_files import choose_variant\n"
        + "def get_config(variant='small'):\n"
        + "    return choose_variant({'small': default_config, 'large': 0}, variant)()\n",
    )
    assert load_config_file(f"{path}:small") == default_config()
    with pytest.raises(UserError) as error:
        load_config_file(f"{path}:smal")
    expected = "variant = 'smal': expected one of 'small', 'large'; did you mean 'small'?"
    assert str(error.value) == f"{path}: {expected}"


def test_a_variant_where_there_are_none_is_lines(tmp_path):
    path = _write(tmp_path, _IMPORT + "get_config = lambda: default_config()\n")
    with pytest.raises(UserError, match="run.py:tiny: expected no variant"):
        load_config_file(f"{path}:tiny")


def test_stacks_are_updated_both_and_in_what_both_have():
    config = default_config()
    update_stacks(config, kind="lstm", width=24)
    assert config.model.encoder.kind == config.model.decoder.kind == "lstm"
    assert config.model.encoder.width == config.model.decoder.width == 24
    assert config.model.encoder.layers == default_config().model.encoder.layers
    with pytest.raises(KeyError, match="bridge"):
        update_stacks(config, bridge="zeros")


def test_a_file_is_run_as_python_runs_it(tmp_path, monkeypatch):
    """Absolute `__file__`, its module in `sys.modules`, and no bytecode of an older file."""
    _write(
        tmp_path,
        "from __future__ import annotations\n"
        + "import dataclasses, os, pickle, sys\n"
        + _IMPORT
        + "@dataclasses.dataclass\n"
        + "class Size:\n"
        + "    layers: int = 5\n"
        + "def get_config():\n"
        + "    assert os.path.isabs(__file__) and sys.modules[__name__].Size is Size\n"
        + "    config = default_config()\n"
        + "    config.model.encoder.layers = pickle.loads(pickle.dumps(Size())).layers\n"
        + "    return config\n",
    )
    monkeypatch.chdir(tmp_path)
    assert load_config_file("run.py").model.encoder.layers == 5
    before = (tmp_path / "run.py").stat()
    (tmp_path / "run.py").write_text((tmp_path / "run.py").read_text().replace("= 5", "= 6"))
    os.utime("run.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load_config_file("run.py").model.encoder.layers == 6


def test_files_beside_a_file_are_its_own(tmp_path):
    """Also if another file, in whose run it is loaded, has others of the same names beside it."""
    for name, layers in (("a", 3), ("b", 4)):
        folder = tmp_path / name
        (folder / "parts").mkdir(parents=True)
        (folder / "sizes.py").write_text(f"LAYERS = {layers}\n")
        (folder / "parts" / "__init__.py").write_text("")
        (folder / "parts" / "names.py").write_text(f"NAME = '{name}'\n")
    text = (
        _IMPORT
        + "from seqjax.config_files import load_config_file\n"
        + "from sizes import LAYERS\n"
        + "def get_config(other=''):\n"
        + "    config = load_config_file(other) if other else default_config()\n"
        + "    config.model.decoder.layers = LAYERS\n"
        + "    from parts.names import NAME\n"
        + "    config.data.train += NAME\n"
        + "    return config\n"
    )
    a, b = _write(tmp_path / "a", text), _write(tmp_path / "b", text)
    for path, layers, train in ((a, 3, "traina"), (b, 4, "trainb"), (f"{a}:{b}", 3, "trainba")):
        config = load_config_file(path)
        assert (config.model.decoder.layers, config.data.train) == (layers, train)


def test_a_name_of_the_standard_library_hides_nothing(tmp_path):
    path = tmp_path / "json.py"
    path.write_text(_IMPORT + "import json\nget_config = lambda: default_config()\n")
    import json

    assert load_config_file(str(path)) == default_config()
    assert sys.modules["json"] is json


_WIDTH = ("model.encoder.width", "64")
_TIED = (
    "from ml_collections import config_dict\n"
    + _IMPORT
    + "def get_config(variant='tied'):\n"
    + "    c = default_config()\n"
    + "    encoder, decoder = c.model.encoder, c.model.decoder\n"
    + "    if variant == 'tied':\n"
    + "        decoder.width = encoder.get_ref('width')\n"
    + "    if variant == 'oneway':\n"
    + "        decoder.width = encoder.get_oneway_ref('width')\n"
    + "    if variant == 'computed':\n"
    + "        encoder.feed_forward = encoder.get_ref('width') * 4\n"
    + "        decoder.width = encoder.get_ref('width')\n"
    + "    if variant == 'open':\n"
    + "        c.seed = config_dict.placeholder(int)\n"
    + "        c.data.directory = config_dict.required_placeholder(str)\n"
    + "    if variant == 'section':\n"
    + "        decoder = c.model.get_ref('encoder')\n"
    + "        c.model.encoder.layers = decoder.get().get_ref('heads')\n"
    + "    if variant == 'frozen':\n"
    + "        return config_dict.FrozenConfigDict(c)\n"
    + "    return c\n"
)


@pytest.mark.parametrize(
    ("variant", "overrides", "expected"),
    [
        ("tied", [_WIDTH], {"encoder.width": 64, "decoder.width": 64}),
        ("oneway", [_WIDTH], {"encoder.width": 64, "decoder.width": 64}),
        ("oneway", [("model.decoder.width", "64")], {"encoder.width": 256, "decoder.width": 64}),
        ("computed", [_WIDTH], {"encoder.feed_forward": 256, "decoder.width": 64}),
        ("computed", [_WIDTH, ("model.encoder.feed_forward", "9")], {"encoder.feed_forward": 9}),
        ("section", [("model.encoder.heads", "8")], {"encoder.layers": 8, "encoder.heads": 8}),
        ("frozen", [_WIDTH], {"encoder.width": 64, "decoder.width": 256}),
    ],
)
def test_references_follow_what_is_overridden(variant, overrides, expected, tmp_path):
    config = load_config_file(f"{_write(tmp_path, _TIED)}:{variant}")
    before = flatten(config)
    flat = flatten(overridden(config, overrides))
    assert {path: flat[f"model.{path}"] for path in expected} == expected
    assert flatten(config) == before
    # A copy's references are its own.
    assert flatten(overridden(config, [])) == before


def test_fields_that_are_tied_cannot_be_set_apart(tmp_path):
    config = load_config_file(_write(tmp_path, _TIED))
    pairs = [("model.encoder.width", "64"), ("model.decoder.width", "32")]
    with pytest.raises(UserError, match="model.encoder.width = 64: expected 32, since a reference"):
        overridden(config, pairs)


def test_what_a_config_leaves_open_must_be_given(tmp_path):
    config = load_config_file(f"{_write(tmp_path, _TIED)}:open")
    with pytest.raises(UserError, match="data.directory = None: expected a string; .* open"):
        overridden(config, [("seed", "3")])
    config = overridden(config, [("seed", "3"), ("data.directory", "d")])
    assert (config.seed, config.data.directory) == (3, "d")


def test_numbers_of_numpy_and_paths_are_taken(tmp_path):
    lines = (
        "import numpy as np, jax.numpy as jnp\nfrom pathlib import Path\n"
        + _IMPORT
        + "def get_config():\n    c = default_config()\n"
        + "".join(
            f"    c.{line}\n"
            for line in (
                "seed = np.int64(3)",
                "data.limit = np.array(7)",
                "batching.tokens = np.uint16(9)",
                "model.encoder.layers = jnp.int32(2)",
                "optimizer.learning_rate = np.float32(0.1)",
                "optimizer.clip = np.int8(2)",
                "optimizer.beta1 = np.longdouble(0.5)",
                "tokenizer.joint = np.bool_(True)",
                "data.directory = Path('a') / 'b'",
                "data.source = np.str_('en')",
                "evaluation.metrics = np.array(['bleu', 'ter'])",
            )
        )
        + "    return c\n"
    )
    config = load_config_file(_write(tmp_path, lines))
    values = [config.seed, config.data.limit, config.batching.tokens, config.model.encoder.layers]
    values += [config.optimizer.learning_rate, config.optimizer.clip, config.optimizer.beta1]
    values += [config.tokenizer.joint, config.data.directory, config.data.source]
    values += [config.evaluation.metrics]
    assert repr(values) == "[3, 7, 9, 2, 0.1, 2.0, 0.5, True, 'a/b', 'en', ('bleu', 'ter')]"
    assert json.loads(json.dumps(config.to_dict()))["seed"] == 3
