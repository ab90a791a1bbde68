"""Given names, character by character: each name is a document of its own.

Variants: transformer (the default), lstm, gru, elman and convolutional, each with at most 200,000
parameters, as the models of makemore, which take 1,000 random names as their test.

The corpus is one file, `names.txt`, in the folder $SEQJAX_DATA/names.

python launch.py train --config=configs/names.py --workdir=runs/names
python launch.py evaluate --workdir=runs/names
"""

import ml_collections

from seqjax.config import default_config
from seqjax.config_files import choose_variant


def get_config(variant: str = "transformer") -> ml_collections.ConfigDict:
    """Returns one of the variants above."""
    config = default_config()
    config.task = "language_model"
    config.data.update(corpus="text", directory="$SEQJAX_DATA/names", files="names.txt")
    # 1,000 of 32,033 names for validation, and as many for test.
    config.data.update(documents="line", split_by="line")
    config.data.update(validation_share=0.03122, test_share=0.03122)
    config.tokenizer.kind = "character"
    # No name is longer than 15 characters: one shape holds all.
    config.batching.update(plan="buckets", kind="sentences", sentences=64, shapes=1)
    config.loss.label_smoothing = 0.0
    config.optimizer.update(kind="adamw", learning_rate=3e-3, beta2=0.99, weight_decay=0.01)
    config.schedule.update(kind="cosine", warmup="5%", final=0.02)
    config.train.duration = "10 epochs"
    config.evaluation.every = "1 epoch"
    config.checkpoint.every = "1 epoch"
    decoder = config.model.decoder
    decoder.update(dropout=0.1)
    variants = {
        "transformer": dict(kind="transformer", layers=4, width=64, heads=4, feed_forward=248),
        "lstm": dict(kind="lstm", layers=1, width=176, embedding_width=64, readout="state"),
        "gru": dict(kind="gru", layers=1, width=208, embedding_width=64, readout="state"),
        "elman": dict(kind="elman", layers=2, width=236, embedding_width=64, readout="state"),
        "convolutional": dict(kind="convolutional", layers=4, width=86, positions="none"),
    }
    decoder.update(choose_variant(variants, variant))
    if decoder.kind == "transformer":
        decoder.positions = "rotary"
    if decoder.kind == "convolutional":
        decoder.max_dilation = 4
    return config
