import ast
from pathlib import Path

import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.fields import conform, expand, load, save

# The expanded text of every config under configs/.
_GOLDENS = sorted((Path(__file__).parent / "goldens" / "configs").glob("*.txt"))


def test_expand_is_sorted_python():
    lines = expand(default_config()).splitlines()
    assert lines == sorted(lines)
    assert "model.encoder.heads = 4" in lines
    assert "tokenizer.kind = 'bpe'" in lines
    for line in lines:
        ast.literal_eval(line.partition(" = ")[2])


@pytest.mark.parametrize("golden", _GOLDENS, ids=lambda path: path.stem)
def test_saved_config_is_loaded_the_same(golden, tmp_path):
    lines = [line.partition(" = ") for line in golden.read_text().splitlines()]
    config = conform({field: ast.literal_eval(value) for field, _, value in lines})
    save(config, tmp_path / "config.json")
    loaded = load(tmp_path / "config.json")
    assert loaded == config
    assert expand(loaded) == expand(config) == golden.read_text()
    assert type(loaded.evaluation.metrics) is tuple
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_numbers_survive_saving(folder):
    """A learning rate of exactly one must not come back as a whole number, nor 0.1 as 0.1000001."""
    config = default_config()
    config.optimizer.learning_rate = 1.0
    config.optimizer.epsilon = 1e-9
    save(config, folder / "config.json")
    loaded = load(folder / "config.json")
    assert (loaded.optimizer.learning_rate, loaded.optimizer.epsilon) == (1.0, 1e-9)
    assert type(loaded.optimizer.learning_rate) is float


def test_config_of_an_older_version_takes_the_default_and_says_so(folder, caplog):
    path = folder / "config.json"
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


def test_lstms_of_an_older_version_started_with_forget_gates_half_open(folder, caplog):
    """A saved run says how it was initialized; other families take the default."""
    path = folder / "config.json"
    config = default_config()
    config.model.encoder.kind = "lstm"
    save(config, path)
    text = path.read_text()
    assert text.count('"forget_bias": 1.0,') == 2
    assert load(path).model.encoder.forget_bias == 1.0
    path.write_text(text.replace('"forget_bias": 1.0,', ""))
    loaded = load(path)
    assert loaded.model.encoder.forget_bias == 0.0
    assert loaded.model.decoder.forget_bias == 1.0
    (record,) = caplog.records
    assert record.getMessage() == (
        "missing fields take their defaults: model.decoder.forget_bias = 1.0"
    )


def test_a_field_that_means_nothing_any_more_does_not_bar_an_older_run(folder):
    path = folder / "config.json"
    save(default_config(), path)
    path.write_text(path.read_text().replace('"average": 1,', '"average": 1, "n_best": 1,'))
    assert load(path) == default_config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model": {"encoder": {"head": 4}}}', "did you mean 'model.encoder.heads'"),
        ('{"seed": "zero"}', "seed = 'zero': expected a whole number"),
        ('{"seed": null}', "seed = None: expected a whole number"),
        ('{"seed": true}', "seed = True: expected a whole number"),
        ('{"evaluation": {"metrics": ["bleu", 1]}}', "expected a tuple of strings"),
        ('{"model": 3}', "model = 3: names a section; choose one of adaptive_cutoffs"),
        ("[]", "expected a saved config ("),
        ('{"seed"', "expected a saved config ("),
    ],
)
def test_damaged_configs_are_reported_with_their_path(text, message, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_no_saved_config_is_reported(folder):
    with pytest.raises(UserError, match="config.json: no such file"):
        load(folder / "config.json")
