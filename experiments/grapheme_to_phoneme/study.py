"""Letters to phonemes in four languages by four architectures, SIGMORPHON 2021, medium resource."""

import ml_collections

from seqjax.config import default_config
from seqjax.config_files import update_stacks
from seqjax.studies.study import Study

LANGUAGES = ("dut", "fre", "hun", "kor")


def get_study() -> Study:
    """Returns a trial for each language and architecture, `dut-lstm` to `kor-transformer`."""
    models = {
        "lstm": _lstm,
        "gru": _gru,
        "convolutional": _convolutional,
        "transformer": _transformer,
    }
    trials = {}
    for language in LANGUAGES:
        for name, change in models.items():
            trials[f"{language}-{name}"] = config = _protocol(language)
            change(config)
    # The first metric, the one of the shared task, ranks the trials.
    columns = ("parameters", "updates", "training_seconds", "exact_match", "error_rate", "loss")
    return Study(
        "Grapheme to phoneme",
        trials,
        splits=("validation", "test"),
        columns=(*columns, "output_tokens_per_second"),
        # Dutch words are not compared with Korean ones.
        by="data.files",
    )


def _protocol(language: str) -> ml_collections.ConfigDict:
    config = default_config()
    config.data.update(
        corpus="tsv",
        directory="$SEQJAX_DATA/sigmorphon2021_g2p_medium",
        files=f"{language}_{{split}}.tsv",
        source="0",
        target="1",
        validation="dev",
        max_source_length=64,
        max_target_length=64,
    )
    # 8,000 words contain all letters of Hangul, but not all syllables.
    kind = "decomposed" if language == "kor" else "character"
    config.tokenizer.update(kind=kind, target_kind="space", joint=False)
    config.model.share_embeddings = False
    config.model.tie_output = False
    config.loss.label_smoothing = 0.1
    config.optimizer.update(kind="adam", learning_rate=1e-3, clip=1.0)
    config.schedule.update(kind="cosine", warmup="5%")
    # Small batches, so that the few words give many updates.
    config.batching.update(kind="sentences", sentences=32, shapes=4, multiple=1)
    config.train.duration = "25 epochs"
    # The word error rate is 100 minus exact match; phonemes are separated by spaces.
    config.evaluation.update(every="10%", metrics=("exact_match", "error_rate"))
    config.checkpoint.update(every="10%", best_metric="exact_match")
    config.decode.update(beam_size=5, checkpoint="best", shapes=2)
    return config


def _lstm(config: ml_collections.ConfigDict) -> None:
    """Luong et al. (2015): general attention after the update, fed to the next position."""
    update_stacks(config, kind="lstm", layers=2, width=256, embedding_width=128, dropout=0.3)
    # The results in README.md were measured before this field existed.
    update_stacks(config, forget_bias=0.0)
    config.model.encoder.direction = "both"
    config.model.decoder.update(
        attention="general", attention_order="update_first", input_feeding=True
    )


def _gru(config: ml_collections.ConfigDict) -> None:
    """Bahdanau et al. (2015): additive attention before the update."""
    update_stacks(config, kind="gru", layers=2, width=256, embedding_width=128, dropout=0.3)
    config.model.encoder.direction = "both"
    config.model.decoder.update(
        attention="additive", attention_order="attend_first", readout="deep"
    )


def _convolutional(config: ml_collections.ConfigDict) -> None:
    """ConvS2S (Gehring et al., 2017)."""
    update_stacks(config, kind="convolutional", layers=4, width=256, embedding_width=128, kernel=3)
    update_stacks(config, positions="learned", max_positions=128, dropout=0.3)
    config.model.decoder.attention = "dot"


def _transformer(config: ml_collections.ConfigDict) -> None:
    """Vaswani et al. (2017), with normalization before each sublayer."""
    update_stacks(config, kind="transformer", layers=3, width=256, heads=4, feed_forward=512)
    update_stacks(config, normalization="pre", positions="sinusoidal", dropout=0.3)
