import pytest

from seqjax.config import default_config
from seqjax.config_files import load_config_file, update_stacks
from seqjax.errors import UserError

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
        ("x = 1\n", "run.py: has no function get_config()"),
        ("def get_config(): return 3\n", "run.py: get_config() returns int, expected a ConfigDict"),
        ("def get_config(:\n", "run.py: SyntaxError: invalid syntax (run.py, line 1)"),
        ("\nimport no_such_module\n", "run.py:2: ModuleNotFoundError: No module named"),
        (
            _IMPORT + "def get_config():\n    c = default_config()\n    c.model.encoder.head = 4\n",
            "run.py:4: AttributeError: ",
        ),
        (
            _IMPORT + "def get_config():\n    c = default_config()\n    c.seed = 'one'\n",
            "run.py:4: TypeError: ",
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
def test_mistakes_in_a_file_are_told_in_one_line_with_their_place(text, message, tmp_path):
    with pytest.raises(UserError) as error:
        load_config_file(_write(tmp_path, text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file_is_told(tmp_path):
    with pytest.raises(UserError, match="no file .*none.py"):
        load_config_file(str(tmp_path / "none.py"))


def test_an_unknown_variant_is_told_with_the_known_ones(tmp_path):
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
    expected = "no variant 'smal': expected 'small', 'large'; did you mean 'small'?"
    assert str(error.value) == f"{path}: {expected}"


def test_a_variant_where_there_are_none_is_told(tmp_path):
    path = _write(tmp_path, _IMPORT + "get_config = lambda: default_config()\n")
    with pytest.raises(UserError, match="has no variants, 'tiny' was given"):
        load_config_file(f"{path}:tiny")


def test_stacks_are_updated_both_and_in_what_both_have():
    config = default_config()
    update_stacks(config, kind="lstm", width=24)
    assert config.model.encoder.kind == config.model.decoder.kind == "lstm"
    assert config.model.encoder.width == config.model.decoder.width == 24
    assert config.model.encoder.layers == default_config().model.encoder.layers
    with pytest.raises(KeyError, match="bridge"):
        update_stacks(config, bridge="zeros")
