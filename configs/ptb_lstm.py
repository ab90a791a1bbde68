"""Word models of the Penn Treebank with 2 x 200 LSTM units.

Variants:

    zaremba  the small model of Zaremba et al. (2014), without dropout: rate 1 for 4 epochs, then
             half of it after each epoch, 13 epochs. They report a perplexity of 120.7 in validation
             and 114.5 in test. They draw all parameters uniformly from [-0.1, 0.1], which is not
             done here; and here token vectors are multiplied by sqrt(200), so that they change
             faster.
    tied     tied embeddings and dropout 0.2 of the inputs and between the layers. PyTorch's
             word_language_model reports 87.2 in test for a model of this form, which also drops out
             outputs and divides a rate of 20 by 4 whenever validation does not improve; here the
             rate falls linearly from 4.

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
    config.batching.update(plan="streams", kind="sentences", sentences=20, length=20)
    config.model.decoder.update(kind="lstm", layers=2, width=200, readout="state", dropout=0.0)
    config.model.decoder.forget_bias = 0.0
    config.model.tie_output = False
    config.loss.label_smoothing = 0.0
    config.optimizer.update(kind="sgd", momentum=0.0)
    _of_sums(config, learning_rate=1.0, clip=5.0)
    # 4 epochs at the peak, then half of it, a quarter, ...
    config.schedule.update(kind="step", warmup="0", hold="4 epochs", interval="1 epoch", factor=0.5)
    config.train.duration = "13 epochs"
    config.evaluation.every = "1 epoch"
    config.checkpoint.every = "1 epoch"
    choose_variant({"zaremba": lambda config: None, "tied": _tied}, variant)(config)
    return config


def _of_sums(config: ml_collections.ConfigDict, learning_rate: float, clip: float) -> None:
    """Sets the rate and the clipping that the paper states.

    Its gradient is that of the loss summed over the positions of a block, here that of the mean:
    the same update takes a rate that many times as large, and a norm that many times smaller.
    """
    length = config.batching.length
    config.optimizer.update(learning_rate=learning_rate * length, clip=clip / length)


def _tied(config: ml_collections.ConfigDict) -> None:
    """Tied embeddings, dropout, 35 steps of back-propagation and 40 epochs."""
    config.model.tie_output = True
    config.model.decoder.update(dropout=0.2, forget_bias=1.0)
    config.batching.update(length=35)
    config.optimizer.update(learning_rate=4.0, clip=0.25)
    config.schedule.kind = "linear"
    config.train.duration = "40 epochs"
