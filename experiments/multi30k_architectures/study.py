"""Five architectures as published, with one protocol, on Multi30k, German to English.

Models and protocol follow bentrevett/pytorch-seq2seq: lower-cased words with at least two
occurrences, 128 sentences per batch, 10 epochs of Adam without warm-up or label smoothing, the
epoch with the lowest validation loss, greedy search.
"""

import ml_collections

from seqjax.config import default_config
from seqjax.config_files import update_stacks
from seqjax.studies.study import Study

# Largest number of tokens in a sentence, with EOS; longer ones are dropped.
LONGEST = 100


def get_study() -> Study:
    """Returns one trial for each architecture, from the oldest to the newest."""
    models = {
        "lstm": _lstm,
        "gru_fed_summary": _gru_fed_summary,
        "gru_attention": _gru_attention,
        "convolutional": _convolutional,
        "transformer": _transformer,
    }
    trials = {name: _protocol() for name in models}
    for name, change in models.items():
        change(trials[name])
    columns = ("parameters", "updates", "training_seconds", "bleu", "loss", "perplexity")
    return Study(
        "Multi30k German to English, five architectures",
        trials,
        splits=("test",),
        columns=(*columns, "decoding_seconds", "output_tokens_per_second"),
    )


def _protocol() -> ml_collections.ConfigDict:
    config = default_config()
    config.data.update(
        corpus="text",
        directory="$SEQJAX_DATA/multi30k",
        source="de",
        target="en",
        train="train",
        validation="val",
        test="test_2016_flickr",
        max_source_length=LONGEST,
        max_target_length=LONGEST,
    )
    config.tokenizer.update(kind="word", joint=False, lowercase=True, minimum_frequency=2)
    # Never reached, so that the frequency alone selects the words.
    config.tokenizer.vocabulary = 100_000
    config.model.share_embeddings = False
    config.model.tie_output = False
    config.loss.label_smoothing = 0.0
    config.optimizer.update(kind="adam", learning_rate=1e-3, beta2=0.999, epsilon=1e-8, clip=1.0)
    config.schedule.update(kind="constant", warmup="0")
    # Each shape is compiled once, and less than a tenth of a batch is padding.
    config.batching.update(kind="sentences", sentences=128, shapes=12, multiple=1)
    config.train.duration = "10 epochs"
    config.evaluation.update(every="1 epoch", translate=False, lowercase=True)
    config.checkpoint.update(every="1 epoch", best_metric="loss")
    config.decode.update(beam_size=1, checkpoint="best")
    return config


def _lstm(config: ml_collections.ConfigDict) -> None:
    """A vector between two LSTMs (Sutskever et al., 2014)."""
    update_stacks(config, kind="lstm", layers=2, width=512, embedding_width=256, dropout=0.5)
    # The results in README.md were measured before this field existed.
    update_stacks(config, forget_bias=0.0)
    # The source is read from its end, as in the paper.
    config.model.encoder.direction = "backward"
    config.model.decoder.update(attention="none", bridge="last", readout="state")


def _gru_fed_summary(config: ml_collections.ConfigDict) -> None:
    """The vector is read at every position (Cho et al., 2014)."""
    update_stacks(config, kind="gru", layers=1, width=512, embedding_width=256, dropout=0.5)
    config.model.encoder.direction = "forward"
    config.model.decoder.update(
        attention="none", feed_summary=True, bridge="last", readout="deep"
    )  # fmt: skip


def _gru_attention(config: ml_collections.ConfigDict) -> None:
    """Attention to a bidirectional encoder (Bahdanau et al., 2015)."""
    update_stacks(config, kind="gru", layers=1, width=512, embedding_width=256, dropout=0.5)
    config.model.encoder.direction = "both"
    config.model.decoder.update(
        attention="additive", attention_order="attend_first", bridge="projection", readout="deep"
    )


def _convolutional(config: ml_collections.ConfigDict) -> None:
    """ConvS2S (Gehring et al., 2017)."""
    update_stacks(config, kind="convolutional", layers=10, width=512, embedding_width=256, kernel=3)
    update_stacks(config, positions="learned", max_positions=LONGEST, dropout=0.25)
    # Otherwise compiling twenty layers in twelve shapes would take longer than a short training.
    update_stacks(config, scan_layers=True)
    config.model.decoder.attention = "dot"
    config.optimizer.clip = 0.1


def _transformer(config: ml_collections.ConfigDict) -> None:
    """Vaswani et al. (2017), with learned positions and a constant rate."""
    update_stacks(config, kind="transformer", layers=3, width=256, heads=8, feed_forward=512)
    update_stacks(config, activation="relu", normalization="post")
    update_stacks(config, positions="learned", max_positions=LONGEST)
    update_stacks(config, dropout=0.1, attention_dropout=0.1, activation_dropout=0.1)
    config.model.embedding_initializer = "xavier"
    config.optimizer.learning_rate = 5e-4
