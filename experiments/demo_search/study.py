"""Which learning rate, size and dropout suit the demo? A search with a budget of 200 updates."""

from pathlib import Path

from seqjax.config_files import load_config_file
from seqjax.studies.search import Search
from seqjax.studies.space import choice, integers, log_uniform, uniform

_DEMO = Path(__file__).parents[2] / "configs" / "demo.py"


def get_study() -> Search:
    """Returns a search of 24 trials, each evaluated ten times, bad ones ended early."""
    config = load_config_file(str(_DEMO))
    config.train.duration = "200 steps"
    config.evaluation.update(every="10%", translate=False, limit=500)
    config.checkpoint.every = "50%"
    config.reporting.tensorboard = False
    space = {
        "optimizer.learning_rate": log_uniform(3e-4, 3e-2),
        "model.encoder.layers": integers(1, 3),
        "model.decoder.layers": integers(1, 3),
        "model.encoder.dropout": uniform(0.0, 0.3),
        "schedule.kind": choice("inverse_sqrt", "cosine", "constant"),
    }
    return Search(
        "Demo search",
        config,
        space,
        objective="loss",
        trials=24,
        pruner="median",
        startup=6,
        columns=("parameters", "updates", "training_seconds", "loss", "accuracy"),
    )
