"""Does a decoder alone translate as well as an encoder and a decoder of equal size? Multi30k."""

from pathlib import Path

import ml_collections

from seqjax.config_files import load_config_file, update_stacks
from seqjax.studies.study import Study

_CONFIG = Path(__file__).parents[2] / "configs" / "multi30k_transformer.py"


def get_study() -> Study:
    """Returns an encoder-decoder, and a decoder that reads the source causally or as a prefix."""
    trials = {name: _protocol() for name in ("encoder_decoder", "causal", "prefix")}
    for name in ("causal", "prefix"):
        # Ten layers have as many parameters as four of an encoder and four of a decoder.
        trials[name].model.encoder.kind = "none"
        trials[name].model.decoder.layers = 10
    trials["prefix"].model.decoder.prefix_lm = True
    columns = ("parameters", "updates", "training_seconds", "bleu", "loss", "perplexity")
    return Study(
        "Multi30k English to German, a decoder alone",
        trials,
        splits=("test",),
        columns=(*columns, "decoding_seconds", "output_tokens_per_second"),
        objective="bleu",
    )


def _protocol() -> ml_collections.ConfigDict:
    """The tiny Transformer on joint subwords, with a short budget."""
    config = load_config_file(f"{_CONFIG}:tiny")
    update_stacks(config, dropout=0.1)
    config.schedule.warmup = "20%"
    config.train.duration = "1200 steps"
    config.evaluation.every = config.checkpoint.every = "25%"
    config.batching.update(shapes=6, multiple=4)
    config.decode.update(average=1, checkpoint="latest")
    return config
