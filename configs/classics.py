"""Seven models of the field on the embedded corpus, small, close to what their papers describe.

Variants: sutskever2014, cho2014, bahdanau2015 (the default), luong2015, gehring2017, vaswani2017
and chen2018, a Transformer encoder with an LSTM decoder. The data and the
budget are those of demo.py, and the whole validation split is evaluated.

python launch.py train --config=configs/classics.py:chen2018 --workdir=runs/chen2018
python launch.py evaluate --workdir=runs/chen2018 --split=test
echo 'A woman leaves.' | python launch.py predict --workdir=runs/chen2018 --attention=runs/maps

The default, on two busy cores of an Intel Xeon (2026-11-30): test 84.8 BLEU, 60.7 % exact match.
"""

import ml_collections

from seqjax.config import default_config
from seqjax.config_files import choose_variant, update_stacks


def get_config(variant: str = "bahdanau2015") -> ml_collections.ConfigDict:
    """Returns one of the variants above."""
    config = default_config()
    # The grammar has fewer than a thousand word forms on a side: words keep sentences short.
    config.tokenizer.update(kind="word", joint=False)
    config.model.update(share_embeddings=False, tie_output=False)
    update_stacks(config, layers=2, width=128, dropout=0.0)
    config.loss.label_smoothing = 0.0
    # Each shape is compiled, which costs as much as a hundred updates of this size.
    config.batching.update(tokens=2048, shapes=3, multiple=1)
    config.optimizer.learning_rate = 2e-3
    config.schedule.kind = "cosine"
    config.train.duration = "500 steps"
    config.evaluation.update(every="50%", metrics=("bleu", "chrf", "exact_match"))
    config.checkpoint.every = "50%"
    config.decode.update(beam_size=1, shapes=2)
    variants = {
        "sutskever2014": _sutskever,
        "cho2014": _cho,
        "bahdanau2015": _bahdanau,
        "luong2015": _luong,
        "gehring2017": _gehring,
        "vaswani2017": _vaswani,
        "chen2018": _chen,
    }
    choose_variant(variants, variant)(config)
    return config


def _sutskever(config: ml_collections.ConfigDict) -> None:
    """LSTMs and a fixed vector; the source is read from its end."""
    update_stacks(config, kind="lstm")
    config.model.encoder.direction = "backward"
    config.model.decoder.update(attention="none", bridge="last", readout="state")


def _cho(config: ml_collections.ConfigDict) -> None:
    """GRUs and a fixed vector that every position reads."""
    update_stacks(config, kind="gru", layers=1)
    config.model.encoder.direction = "forward"
    config.model.decoder.update(attention="none", feed_summary=True, readout="deep")


def _bahdanau(config: ml_collections.ConfigDict) -> None:
    """GRUs with additive attention by the state before.

    The readout is linear, not a maxout; the decoder starts from both directions' last states, in
    the paper from the backward one's.
    """
    update_stacks(config, kind="gru", layers=1)
    config.model.decoder.update(
        attention="additive", attention_order="attend_first", readout="deep"
    )


def _luong(config: ml_collections.ConfigDict) -> None:
    """LSTMs with general attention by the new state, and input feeding."""
    update_stacks(config, kind="lstm")
    config.model.encoder.direction = "forward"
    config.model.decoder.update(attention="general", input_feeding=True, bridge="last")


def _gehring(config: ml_collections.ConfigDict) -> None:
    """Gated convolutions with attention in every layer."""
    update_stacks(config, kind="convolutional", layers=4, kernel=3, positions="learned")
    config.model.decoder.attention = "dot"


def _vaswani(config: ml_collections.ConfigDict) -> None:
    """Self-attention, normalized after each sublayer; the output is the target's embedding."""
    config.model.tie_output = True
    update_stacks(config, kind="transformer", heads=4, feed_forward=512, normalization="post")


def _chen(config: ml_collections.ConfigDict) -> None:
    """A Transformer's encoder, an LSTM's decoder with additive attention."""
    config.model.encoder.update(kind="transformer", heads=4, feed_forward=512)
    config.model.decoder.update(kind="lstm", attention="additive", attention_order="attend_first")
