"""Which family models given names best with at most 200,000 parameters?"""

from pathlib import Path

from seqjax.config_files import load_config_file
from seqjax.studies.study import Study

_CONFIG = Path(__file__).parents[2] / "configs" / "names.py"


def get_study() -> Study:
    """Returns a trial for each variant of configs/names.py, scored on the test split."""
    names = ("transformer", "lstm", "gru", "elman", "convolutional")
    trials = {name: load_config_file(f"{_CONFIG}:{name}") for name in names}
    columns = ("parameters", "updates", "training_seconds", "loss", "bits_per_character")
    return Study("Given names", trials, splits=("validation", "test"), columns=columns)
