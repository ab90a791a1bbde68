"""The families that are timed beside each other: stacks of one size with their usual attention."""

import ml_collections

# Family -> what its decoder attends by.
FAMILIES = {
    "elman": "general",
    "lstm": "general",
    "gru": "general",
    "convolutional": "dot",
    "transformer": "multi_head",
}


def choose_family(config: ml_collections.ConfigDict, family: str) -> None:
    """Makes both stacks of a config those of a family; sizes stay what they are."""
    config.model.encoder.kind = config.model.decoder.kind = family
    config.model.decoder.attention = FAMILIES[family]
