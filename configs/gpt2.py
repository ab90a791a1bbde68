"""The small Transformer of GPT-2 (Radford et al., 2019), 12 x 768 units, on a text of your own.

With 50,257 subwords it has 124 million parameters: 12 layers, 12 heads, context 1,024, learned
positions, tied embeddings, normalization before each sublayer. Rate, decay and batch are those
of nanoGPT's reproduction: 491,520 tokens an update. Name the text, lines or whole files:

python launch.py train --config=configs/gpt2.py --config.data.directory=FOLDER --workdir=runs/gpt2

What it needs on eight H100 is a matter of seconds:

python launch.py explain --config=configs/gpt2.py --config.data.directory=FOLDER --devices=h100x8
"""

import ml_collections

from seqjax.config import default_config


def get_config() -> ml_collections.ConfigDict:
    """Returns the config."""
    config = default_config()
    config.task = "language_model"
    config.data.update(corpus="text", directory="text", files="*.txt", documents="file")
    config.data.update(split_by="order", validation_share=0.01, test_share=0.01)
    config.tokenizer.update(kind="bpe", vocabulary=50_257)
    config.batching.update(kind="sentences", sentences=480, length=1024)
    config.model.dtype = "bfloat16"
    config.model.decoder.update(kind="transformer", layers=12, width=768, heads=12)
    config.model.decoder.update(feed_forward=3072, activation="gelu", normalization="pre")
    config.model.decoder.update(positions="learned", max_positions=1024, dropout=0.0)
    config.model.decoder.scan_layers = True
    config.loss.label_smoothing = 0.0
    config.optimizer.update(kind="adamw", learning_rate=6e-4, beta2=0.95, weight_decay=0.1)
    # 96 rows at once: 12 on each of eight devices.
    config.optimizer.update(clip=1.0, accumulate=5)
    config.schedule.update(kind="cosine", warmup="2000 steps", final=0.1)
    config.train.duration = "600000 steps"
    config.evaluation.every = "2000 steps"
    config.checkpoint.every = "2000 steps"
    return config
