"""Do recurrent networks and Transformers compose? SCAN (Lake and Baroni, 2018), three splits."""

import ml_collections

from seqjax.config import default_config
from seqjax.config_files import update_stacks
from seqjax.studies.study import Study

# Split -> its folder and file.
SPLITS = {
    "simple": ("simple_split", "tasks_{split}_simple.txt"),
    "length": ("length_split", "tasks_{split}_length.txt"),
    "jump": ("add_prim_split", "tasks_{split}_addprim_jump.txt"),
}


def get_study() -> Study:
    """Returns a trial for each split and architecture, `simple-lstm` to `jump-transformer`."""
    models = {"lstm": _lstm, "gru": _gru, "transformer": _transformer}
    trials = {}
    for split in SPLITS:
        for name, change in models.items():
            trials[f"{split}-{name}"] = config = _protocol(split)
            change(config)
    columns = ("parameters", "updates", "training_seconds", "exact_match", "loss", "accuracy")
    columns = (*columns, "output_tokens_per_second")
    by = ("data.directory", "data.files")
    return Study("SCAN", trials, splits=("test",), columns=columns, by=by)


def _protocol(split: str) -> ml_collections.ConfigDict:
    folder, files = SPLITS[split]
    config = default_config()
    config.data.update(
        corpus="pattern",
        directory=f"$SEQJAX_DATA/scan/{folder}",
        files=files,
        pattern="IN: (?P<command>.*) OUT: (?P<actions>.*)",
        source="command",
        target="actions",
        train="train",
        # SCAN has no validation split, and nothing may be selected on its test split. Validation
        # during training uses the training split, and the last checkpoint is scored.
        validation="train",
        test="test",
        max_source_length=64,
        max_target_length=64,
    )
    # An action such as I_TURN_LEFT is one token.
    config.tokenizer.update(kind="space", joint=False)
    config.model.share_embeddings = False
    config.model.tie_output = False
    config.loss.label_smoothing = 0.0
    config.optimizer.update(kind="adam", learning_rate=1e-3, beta2=0.999, epsilon=1e-8, clip=5.0)
    config.schedule.update(kind="constant", warmup="0")
    config.batching.update(kind="sentences", sentences=16, shapes=4, multiple=1)
    config.train.duration = "20000 steps"
    config.evaluation.update(every="25%", limit=500, metrics=("exact_match",))
    config.checkpoint.update(every="25%", keep_best=0)
    # The longest output has 48 actions, whatever the command's length.
    config.decode.update(beam_size=1, checkpoint="latest", max_length_ratio=0.0)
    config.decode.max_length_extra = 60
    return config


def _lstm(config: ml_collections.ConfigDict) -> None:
    """The network that was best over all splits in the paper: no attention."""
    update_stacks(config, kind="lstm", layers=2, width=200, dropout=0.5)
    # The results in README.md were measured before this field existed.
    update_stacks(config, forget_bias=0.0)
    config.model.encoder.direction = "forward"
    config.model.decoder.update(attention="none", bridge="last", readout="state")


def _gru(config: ml_collections.ConfigDict) -> None:
    """The same size with other cells and additive attention."""
    update_stacks(config, kind="gru", layers=2, width=200, dropout=0.5)
    config.model.encoder.direction = "forward"
    config.model.decoder.update(
        attention="additive", attention_order="attend_first", bridge="last", readout="deep"
    )


def _transformer(config: ml_collections.ConfigDict) -> None:
    """A small Transformer."""
    update_stacks(config, kind="transformer", layers=2, width=128, heads=8, feed_forward=512)
    update_stacks(config, normalization="pre", positions="sinusoidal", dropout=0.1)
    config.schedule.update(kind="cosine", warmup="5%")
