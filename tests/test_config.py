import ast
from pathlib import Path

import pytest

from seqjax.config import default_config, expand, flatten, load, save
from seqjax.config_files import load_config_file
from seqjax.errors import UserError
from seqjax.validation import validate

_ROOT = Path(__file__).parents[1]
_GOLDENS = Path(__file__).parent / "goldens" / "configs"
# Every variant of every file under configs/.
_CLASSICS = (
    ("sutskever2014", "cho2014", "bahdanau2015", "luong2015", "gehring2017", "vaswani2017")
    + ("chen2018",)
)  # fmt: skip
_CONFIGS = [
    *("demo.py", "multi30k_transformer.py", "multi30k_transformer.py:tiny"),
    *(f"classics.py:{name}" for name in _CLASSICS),
]


def _load(name):
    return load_config_file(str(_ROOT / "configs" / name))


def test_every_file_under_configs_is_tested():
    tested = {name.partition(":")[0] for name in _CONFIGS}
    assert {path.name for path in (_ROOT / "configs").glob("*.py")} == tested


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


def test_expand_is_sorted_python():
    lines = expand(default_config()).splitlines()
    assert lines == sorted(lines)
    assert "model.encoder.heads = 4" in lines
    assert "tokenizer.kind = 'bpe'" in lines
    for line in lines:
        ast.literal_eval(line.partition(" = ")[2])


def test_a_misspelt_field_cannot_be_set():
    with pytest.raises(AttributeError, match="learning_rat"):
        default_config().optimizer.learning_rat = 1.0


@pytest.mark.parametrize("name", _CONFIGS)
def test_saved_config_is_loaded_the_same(name, tmp_path):
    config = _load(name)
    save(config, tmp_path / "config.json")
    loaded = load(tmp_path / "config.json")
    assert loaded == config
    assert expand(loaded) == expand(config)
    assert type(loaded.evaluation.metrics) is tuple
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_numbers_survive_saving(tmp_path):
    """A learning rate of exactly one must not come back as a whole number, nor 0.1 as 0.1000001."""
    config = default_config()
    config.optimizer.learning_rate = 1.0
    config.optimizer.epsilon = 1e-9
    save(config, tmp_path / "config.json")
    loaded = load(tmp_path / "config.json")
    assert (loaded.optimizer.learning_rate, loaded.optimizer.epsilon) == (1.0, 1e-9)
    assert type(loaded.optimizer.learning_rate) is float


def test_config_of_an_older_version_takes_the_default_and_says_so(tmp_path, caplog):
    path = tmp_path / "config.json"
    save(default_config(), path)
    text = path.read_text()
    assert '"average": 1,' in text and '"every": "50 steps",' in text
    path.write_text(text.replace('"average": 1,', "").replace('"every": "50 steps",', ""))
    assert load(path) == default_config()
    (record,) = caplog.records
    assert record.getMessage() == (
        "missing fields take their defaults: decode.average = 1, reporting.every = '50 steps'"
    )
    assert load(path, missing="default") == default_config()
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model": {"encoder": {"head": 4}}}', "did you mean 'model.encoder.heads'"),
        ('{"seed": "zero"}', "seed = 'zero': expected a whole number"),
        ('{"seed": null}', "seed = None: expected a whole number"),
        ('{"seed": true}', "seed = True: expected a whole number"),
        ('{"evaluation": {"metrics": ["bleu", 1]}}', "expected a tuple of texts"),
        ('{"model": 3}', "model = 3: is a section"),
        ("[]", "not a saved config"),
        ('{"seed"', "not a saved config"),
    ],
)
def test_damaged_configs_are_told_with_their_path(text, message, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_no_saved_config_is_told(tmp_path):
    with pytest.raises(UserError, match="config.json: no such file"):
        load(tmp_path / "config.json")
