"""16 small models with four seeds and four learning rates, trained as one program."""

from pathlib import Path

from seqjax.config_files import load_config_file, update_stacks
from seqjax.studies.grid import product, sweep, trials
from seqjax.studies.study import Study

_DEMO = Path(__file__).parents[2] / "configs" / "demo.py"


def get_study() -> Study:
    """Returns four seeds of four learning rates of a GRU with attention, on the same batches."""
    config = load_config_file(str(_DEMO))
    update_stacks(config, kind="gru", layers=1, width=64)
    config.model.decoder.attention = "general"
    config.train.duration = "200 steps"
    # The demo's limit holds for validation while training, which this study leaves out; the table
    # scores the whole test split.
    config.evaluation.update(every="0", limit=200)
    config.checkpoint.every = "100%"
    config.decode.checkpoint = "latest"
    # By default batches depend on the seed of the run and could not be shared.
    config.batching.seed = 0
    config.reporting.tensorboard = False
    changes = product(
        sweep("optimizer.learning_rate", [1e-3, 3e-3, 1e-2, 3e-2]), sweep("seed", range(4))
    )
    return Study(
        "Seeds and learning rates",
        trials(config, changes),
        splits=("test",),
        columns=("parameters", "updates", "training_seconds", "loss", "accuracy", "bleu"),
    )
