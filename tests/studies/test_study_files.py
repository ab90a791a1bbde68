import pytest

from seqjax.config_files import load_config_file
from seqjax.errors import UserError
from seqjax.studies.study_files import load_study

_FILE = """
from seqjax.config import default_config
from seqjax.studies.study import Study

def trial(layers):
    config = default_config()
    config.model.encoder.layers = layers
    return config

def get_study():
    return Study("depth", {"shallow": trial(1), "deep-6": trial(6)}, **{})
"""


def _write(folder, text):
    path = folder / "study.py"
    path.write_text(text)
    return str(path)


def _error(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_study_is_read_from_its_file(tmp_path):
    study = load_study(_write(tmp_path, _FILE))
    assert (study.name, list(study.trials)) == ("depth", ["shallow", "deep-6"])
    assert study.splits == ("validation",)


def test_a_trial_is_a_config_that_every_verb_can_take(tmp_path):
    path = _write(tmp_path, _FILE)
    assert load_config_file(f"{path}:deep-6").model.encoder.layers == 6
    message = "variant = 'deep': expected one of 'shallow', 'deep-6'; did you mean 'deep-6'?"
    assert _error(load_config_file, f"{path}:deep") == f"{path}: {message}"
    message = "variant = '': expected one of 'shallow', 'deep-6'; name it as FILE:VARIANT"
    assert message in _error(load_config_file, path)
    other = _write(tmp_path, "def get_study(): pass")
    assert _error(load_config_file, other).endswith("returns nothing; expected a Study or a Search")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "study.py: expected a function get_study()"),
        ("def get_study(): return 3\n", "study.py: get_study() returns int; expected a Study or"),
        ("def get_study():\n    return nothing\n", "study.py:2: NameError: "),
        (_FILE.replace("**{}", "columns=('bleuu',)"), "study.py: column 'bleuu': expected one of"),
    ],
)
def test_mistakes_in_a_file_are_reported_in_one_line_with_their_place(text, message, tmp_path):
    assert message in _error(load_study, _write(tmp_path, text))


def test_no_file_is_lines(tmp_path):
    message = _error(load_study, str(tmp_path / "none.py"))
    assert message == f"--study={tmp_path / 'none.py'}: expected a Python file; there is none"


def test_a_study_knows_its_own_folder_wherever_it_is_called_from(tmp_path, monkeypatch):
    text = (
        "from __future__ import annotations\n"
        + "import dataclasses, pathlib\n"
        + "from base import LAYERS\n"
        + _FILE.replace("trial(6)", "trial(Size().layers)")
        + "@dataclasses.dataclass\n"
        + "class Size:\n"
        + "    layers: int = LAYERS\n"
        + "assert pathlib.Path(__file__).parents[2].name\n"
    )
    folder = tmp_path / "studies" / "depth"
    folder.mkdir(parents=True)
    (folder / "base.py").write_text("LAYERS = 7\n")
    _write(folder, text)
    monkeypatch.chdir(folder.parent)
    study = load_study("depth/study.py")
    assert study.trials["deep-6"].model.encoder.layers == 7
    spec = study.specs("depth/study.py", [("model.encoder.layers", "5")])["deep-6"]
    assert spec.config.model.encoder.layers == 5
