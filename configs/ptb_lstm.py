"""Word models of the Penn Treebank by LSTMs.

Variants, with the perplexity that their authors report in validation and test:

    zaremba  the small model of Zaremba et al. (2014), 2 x 200 units without dropout: rate 1 for 4
             epochs, then half of it after each epoch, 13 epochs; 120.7 and 114.5
    medium   theirs of 2 x 650 units, dropout 0.5, 39 epochs; 86.2 and 82.7
    large    theirs of 2 x 1500 units, dropout 0.65, 55 epochs; 82.2 and 78.4
    tied     PyTorch's word_language_model with tied embeddings, 2 x 200 units and dropout 0.2: a
             rate of 20, a quarter of it whenever validation does not improve, 40 epochs; 87.2 in
             test. There the LSTM's initial range is 0.07, and only the vectors' is 0.1
    awd      AWD-LSTM (Merity et al., 2018), 3 layers of up to 1150 units; 60.0 and 57.3. Their
             blocks vary in length around 70 positions, here all have 70; and they draw initial
             parameters uniformly.

The corpus is a folder with the files of Mikolov's version, ptb.train.txt, ptb.valid.txt and
ptb.test.txt: a sentence a line, words between spaces, rare ones as <unk>. They are not free, so
name your own folder:

python launch.py train --config=configs/ptb_lstm.py --config.data.directory=PTB --workdir=runs/ptb
python launch.py evaluate --workdir=runs/ptb

The vocabulary is that of the training file: 9,999 words, <unk> among them, and the end of a line.
`perplexity` is per token, ends of lines among them, as is usual for this corpus.
"""

import ml_collections

from seqjax.config import default_config
from seqjax.config_files import choose_variant


def get_config(variant: str = "zaremba") -> ml_collections.ConfigDict:
    """Returns one of the variants above."""
    config = default_config()
    config.task = "language_model"
    config.data.update(corpus="text", directory="ptb", files="ptb.{split}.txt")
    config.data.update(validation="valid", documents="line")
    config.tokenizer.update(kind="space", vocabulary=10_003)
    config.batching.update(plan="streams", kind="sentences", sentences=20)
    config.model.update(tie_output=False, scale_embeddings=False)
    config.model.decoder.update(kind="lstm", layers=2, readout="state", dropout=0.0)
    config.loss.label_smoothing = 0.0
    config.optimizer.update(kind="sgd", momentum=0.0)
    config.schedule.warmup = "0"
    config.evaluation.every = "1 epoch"
    config.checkpoint.every = "1 epoch"
    variants = {
        "zaremba": _small,
        "medium": _medium,
        "large": _large,
        "tied": _tied,
        "awd": _awd,
    }
    choose_variant(variants, variant)(config)
    return config


def _small(config: ml_collections.ConfigDict) -> None:
    """2 x 200 units and 20 steps of back-propagation."""
    config.batching.length = 20
    config.model.initial_range = 0.1
    config.model.decoder.width = 200
    _of_sums(config, clip=5.0)
    config.schedule.update(hold="4 epochs", factor=0.5)
    config.train.duration = "13 epochs"


def _medium(config: ml_collections.ConfigDict) -> None:
    """2 x 650 units and 35 steps of back-propagation."""
    config.batching.length = 35
    config.model.initial_range = 0.05
    config.model.decoder.update(width=650, dropout=0.5, output_dropout=0.5)
    _of_sums(config, clip=5.0)
    config.schedule.update(hold="6 epochs", factor=1 / 1.2)
    config.train.duration = "39 epochs"


def _large(config: ml_collections.ConfigDict) -> None:
    """2 x 1500 units and 35 steps of back-propagation."""
    config.batching.length = 35
    config.model.initial_range = 0.04
    config.model.decoder.update(width=1500, dropout=0.65, output_dropout=0.65)
    _of_sums(config, clip=10.0)
    config.schedule.update(hold="14 epochs", factor=1 / 1.15)
    config.train.duration = "55 epochs"


def _of_sums(config: ml_collections.ConfigDict, clip: float) -> None:
    """Sets the rate of 1 and the clipping that Zaremba et al. state, and what else is theirs.

    Their gradient is that of the loss summed over the positions of a block, here that of the mean:
    the same update takes a rate that many times as large, and a norm that many times smaller.
    """
    length = config.batching.length
    config.optimizer.update(learning_rate=float(length), clip=clip / length)
    config.schedule.update(kind="step", interval="1 epoch")
    config.model.decoder.forget_bias = 0.0


def _tied(config: ml_collections.ConfigDict) -> None:
    """Tied embeddings, dropout of inputs, layers and outputs, and a rate that validation lowers."""
    config.batching.length = 35
    config.model.update(tie_output=True, initial_range=0.1)
    config.model.decoder.update(width=200, dropout=0.2, output_dropout=0.2, forget_bias=0.0)
    config.optimizer.update(learning_rate=20.0, clip=0.25)
    config.schedule.update(kind="plateau", factor=0.25)
    config.train.duration = "40 epochs"


def _awd(config: ml_collections.ConfigDict) -> None:
    """All that Merity et al. regularize, and averaged SGD that validation triggers."""
    config.batching.length = 70
    config.model.update(tie_output=True, embedding_dropout=0.1)
    decoder = config.model.decoder
    decoder.update(layers=3, width=1150, embedding_width=400, last_width=400, forget_bias=0.0)
    decoder.update(input_dropout=0.4, dropout=0.25, output_dropout=0.4, variational=True)
    decoder.recurrent_dropout = 0.5
    config.loss.update(activation=2.0, temporal_activation=1.0)
    config.optimizer.update(learning_rate=30.0, clip=0.25, weight_decay=1.2e-6)
    config.optimizer.average_trigger = 5
    config.schedule.kind = "constant"
    config.train.duration = "500 epochs"
