"""Which learning rate suits a small GRU on Tiny Shakespeare? Eight models as one program."""

from pathlib import Path

from seqjax.config_files import load_config_file
from seqjax.studies.grid import product, sweep, trials
from seqjax.studies.study import Study

_CONFIG = Path(__file__).parents[2] / "configs" / "shakespeare.py"


def get_study() -> Study:
    """Returns two seeds of four learning rates of a GRU, on the same streams."""
    config = load_config_file(f"{_CONFIG}:gru")
    config.model.decoder.update(layers=1, width=64, embedding_width=0)
    config.train.duration = "400 steps"
    config.schedule.warmup = "25%"
    config.evaluation.every = "50%"
    config.checkpoint.every = "50%"
    config.batching.seed = 0
    changes = product(
        sweep("optimizer.learning_rate", [1e-3, 4e-3, 1.6e-2, 6.4e-2]), sweep("seed", range(2))
    )
    columns = ("parameters", "updates", "training_seconds", "loss", "bits_per_character")
    return Study("Learning rates on Tiny Shakespeare", trials(config, changes), columns=columns)
