from pathlib import Path

import pytest

from seqjax.config import default_config
from seqjax.config_files import load_config_file
from seqjax.fields import expand, flatten
from seqjax.validation import validate

_ROOT = Path(__file__).parents[1]
_GOLDENS = Path(__file__).parent / "goldens" / "configs"
# Every variant of every file under configs/.
_CLASSICS = (
    ("sutskever2014", "cho2014", "bahdanau2015", "luong2015", "gehring2017", "vaswani2017")
    + ("chen2018",)
)  # fmt: skip
_CHARACTERS = ("transformer", "lstm", "gru", "elman", "convolutional")
_CONFIGS = [
    *("demo.py", "multi30k_transformer.py", "multi30k_transformer.py:tiny"),
    *(f"classics.py:{name}" for name in _CLASSICS),
    *(f"names.py:{name}" for name in _CHARACTERS),
    "gpt2.py",
    *(f"shakespeare.py:{name}" for name in (*_CHARACTERS, "char_rnn", "large")),
    *("ptb_lstm.py", *(f"ptb_lstm.py:{name}" for name in ("medium", "large", "tied", "awd"))),
]


def _load(name):
    return load_config_file(str(_ROOT / "configs" / name))


def test_every_file_under_configs_is_tested(project_files):
    tested = {name.partition(":")[0] for name in _CONFIGS}
    assert {path.name for path in project_files("configs/*.py")} == tested


@pytest.mark.parametrize("name", _CONFIGS)
def test_config_files_are_valid_and_expand_to_their_golden_text(name, update_goldens):
    config = _load(name)
    validate(config)
    golden = _GOLDENS / (name.replace(".py", "").replace(":", "-") + ".txt")
    if update_goldens:
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(expand(config))
    assert expand(config) == golden.read_text(), (
        "if the change is meant: python -m pytest tests/test_config.py --update-goldens"
    )


def test_no_golden_without_a_config():
    names = {name.replace(".py", "").replace(":", "-") for name in _CONFIGS}
    assert {path.stem for path in _GOLDENS.glob("*.txt")} == names


@pytest.mark.parametrize("name", _CONFIGS)
def test_configs_can_be_overridden_field_by_field(name):
    """The command line can set neither None nor items of a list."""
    values = flatten(_load(name)).values()
    assert {type(value) for value in values} <= {bool, int, float, str, tuple}


def test_a_misspelt_field_cannot_be_set():
    with pytest.raises(AttributeError, match="learning_rat"):
        default_config().optimizer.learning_rat = 1.0
