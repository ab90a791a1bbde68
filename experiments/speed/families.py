"""The families that are timed: stacks of equal size with their usual attention."""

import ml_collections

# Family -> attention of its decoder.
FAMILIES = {
    "elman": "general",
    "lstm": "general",
    "gru": "general",
    "convolutional": "dot",
    "transformer": "multi_head",
}


def choose_family(config: ml_collections.ConfigDict, family: str) -> None:
    """Sets both stacks of a config to a family; sizes are unchanged."""
    config.model.encoder.kind = config.model.decoder.kind = family
    config.model.decoder.attention = FAMILIES[family]
