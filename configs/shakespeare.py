"""Tiny Shakespeare, character by character: one small language model of each family.

Variants: transformer (the default), lstm, gru, elman and convolutional, each with about 800,000
parameters, context 64, 12 rows a batch and 2,000 steps, the setting for CPUs of nanoGPT; char_rnn,
the LSTM of 2 x 128 units of tensorflow-char-rnn, which is trained for 50 epochs; and large,
nanoGPT's Transformer of 6 x 384 units for a GPU.

The corpus is one file, `input.txt`, in the folder $SEQJAX_DATA/tinyshakespeare. Its last 10 %
are for validation, as in nanoGPT; those of char_rnn are 5 % for validation and 5 % for test.

python launch.py train --config=configs/shakespeare.py:lstm --workdir=runs/shakespeare-lstm
python launch.py evaluate --workdir=runs/shakespeare-lstm --split=validation
"""

import ml_collections

from seqjax.config import default_config
from seqjax.config_files import choose_variant


def get_config(variant: str = "transformer") -> ml_collections.ConfigDict:
    """Returns one of the variants above."""
    config = default_config()
    config.task = "language_model"
    config.data.update(corpus="text", directory="$SEQJAX_DATA/tinyshakespeare", files="input.txt")
    config.data.update(documents="file", split_by="order", validation_share=0.1, test_share=0.0)
    config.tokenizer.kind = "character"
    config.batching.update(kind="sentences", sentences=12, length=64)
    config.model.decoder.update(dropout=0.0)
    config.loss.label_smoothing = 0.0
    config.optimizer.update(kind="adamw", learning_rate=1e-3, beta2=0.99, epsilon=1e-8)
    config.optimizer.update(weight_decay=0.1)
    config.schedule.update(kind="cosine", warmup="5%", final=0.1)
    config.train.duration = "2000 steps"
    config.evaluation.every = "25%"
    config.checkpoint.every = "25%"
    variants = {
        "transformer": _transformer,
        "lstm": _lstm,
        "gru": _gru,
        "elman": _elman,
        "convolutional": _convolutional,
        "char_rnn": _char_rnn,
        "large": _large,
    }
    choose_variant(variants, variant)(config)
    return config


def _transformer(config: ml_collections.ConfigDict) -> None:
    """Four layers, with rotary positions where nanoGPT learns them."""
    config.model.decoder.update(kind="transformer", layers=4, width=128, heads=4, feed_forward=512)
    config.model.decoder.update(positions="rotary", activation="gelu")
    config.optimizer.learning_rate = 4e-3


def _recurrent(config: ml_collections.ConfigDict) -> None:
    """A stream in each row, whose state goes on from batch to batch."""
    config.batching.plan = "streams"
    config.model.update(tie_output=False)
    config.model.decoder.update(readout="state", embedding_width=64)
    config.optimizer.update(weight_decay=0.0, learning_rate=4e-3)


def _lstm(config: ml_collections.ConfigDict) -> None:
    _recurrent(config)
    config.model.decoder.update(kind="lstm", layers=2, width=248)


def _gru(config: ml_collections.ConfigDict) -> None:
    _recurrent(config)
    config.model.decoder.update(kind="gru", layers=2, width=286)


def _elman(config: ml_collections.ConfigDict) -> None:
    _recurrent(config)
    config.model.decoder.update(kind="elman", layers=2, width=496)
    config.optimizer.learning_rate = 1e-3


def _convolutional(config: ml_collections.ConfigDict) -> None:
    """Gated convolutions of growing dilation, which see 63 characters."""
    config.model.decoder.update(kind="convolutional", layers=5, width=144, kernel=3)
    config.model.decoder.update(embedding_width=144, max_dilation=16, positions="none")
    config.optimizer.learning_rate = 4e-3


def _char_rnn(config: ml_collections.ConfigDict) -> None:
    """Ozair's setting: 50 streams, 50 steps of back-propagation, Adam at a rate of 0.002."""
    _recurrent(config)
    config.data.update(validation_share=0.05, test_share=0.05)
    config.model.decoder.update(kind="lstm", layers=2, width=128, embedding_width=0)
    config.batching.update(sentences=50, length=50)
    config.optimizer.update(kind="adam", learning_rate=2e-3, beta2=0.999, clip=5.0)
    config.schedule.update(kind="cosine", warmup="0.5%", final=0.0)
    config.train.duration = "50 epochs"
    config.evaluation.every = "5 epochs"
    config.checkpoint.every = "5 epochs"


def _large(config: ml_collections.ConfigDict) -> None:
    """nanoGPT's setting for a GPU: dropout 0.2, context 256, 64 rows, 5,000 steps."""
    config.model.decoder.update(kind="transformer", layers=6, width=384, heads=6)
    config.model.decoder.update(feed_forward=1536, activation="gelu", positions="rotary")
    config.model.decoder.update(dropout=0.2, attention_dropout=0.2)
    config.batching.update(sentences=64, length=256)
    config.schedule.warmup = "2%"
    config.train.duration = "5000 steps"
    config.evaluation.every = "250 steps"
    config.checkpoint.every = "250 steps"
