"""A word model of the Penn Treebank: the small LSTM of Zaremba et al. (2014), 2 x 200 units.

Variants: zaremba (the default), without dropout as the paper's small model, and tied, with tied
embeddings and dropout 0.2, as in the examples of PyTorch. The corpus is a folder with the files of
Mikolov's version, ptb.train.txt, ptb.valid.txt and ptb.test.txt: a sentence a line, words between
spaces, rare ones as <unk>. They are not free, so name your own folder:

python launch.py train --config=configs/ptb_lstm.py --config.data.directory=PTB --workdir=runs/ptb
python launch.py evaluate --workdir=runs/ptb

Perplexity is per token, ends of lines among them, as is usual for this corpus.
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
    config.optimizer.update(kind="sgd", momentum=0.0, learning_rate=1.0, clip=5.0)
    config.schedule.update(kind="linear", warmup="0", final=0.0)
    config.train.duration = "13 epochs"
    config.evaluation.every = "1 epoch"
    config.checkpoint.every = "1 epoch"
    choose_variant({"zaremba": lambda config: None, "tied": _tied}, variant)(config)
    return config


def _tied(config: ml_collections.ConfigDict) -> None:
    """Tied embeddings, dropout, 35 steps of back-propagation and 40 epochs."""
    config.model.tie_output = True
    config.model.decoder.update(dropout=0.2, forget_bias=1.0)
    config.batching.update(length=35)
    config.optimizer.update(learning_rate=4.0, clip=0.25)
    config.train.duration = "40 epochs"
