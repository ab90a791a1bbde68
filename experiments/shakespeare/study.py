"""Which family models characters best at one size and budget? Tiny Shakespeare (Karpathy, 2015)."""

from pathlib import Path

from seqjax.config_files import load_config_file
from seqjax.studies.study import Study

_CONFIG = Path(__file__).parents[2] / "configs" / "shakespeare.py"


def get_study() -> Study:
    """Returns a trial for each small variant of configs/shakespeare.py."""
    names = ("transformer", "lstm", "gru", "elman", "convolutional", "char_rnn")
    trials = {name: load_config_file(f"{_CONFIG}:{name}") for name in names}
    columns = ("parameters", "updates", "training_seconds", "loss", "perplexity")
    columns = (*columns, "bits_per_character", "accuracy")
    # Another division of the text.
    by = "data.test_share"
    return Study("Tiny Shakespeare", trials, columns=columns, by=by)
