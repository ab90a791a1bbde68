"""Limits of length, and what they cut: outputs that end because they must, sources that are cut."""

import logging
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from seqjax.tasks.text_to_text import TextToText

log = logging.getLogger(__name__)

# References beyond their limit are reported from this share on: data has its odd pairs.
_WORTH_SAYING = 0.01


def warn_of_limits(
    task: "TextToText", source_lengths: np.ndarray, target_lengths: np.ndarray, split: str
) -> None:
    """Warns if 1 % or more of the references are longer than the outputs for their sources may be.

    A model that has learned everything would still lose what is beyond the limit.

    Args:
      task: gives the limit of each source (`TextToText.max_output`).
      source_lengths, target_lengths: int [N], tokens of each pair with EOS.
      split: what the pairs are called.
    """
    if not len(source_lengths):
        return
    lengths, which = np.unique(source_lengths, return_inverse=True)
    limits = np.array([task.max_output(int(length)) for length in lengths])[which]
    beyond = target_lengths > limits
    count = int(beyond.sum())
    if count < _WORTH_SAYING * len(beyond):
        return
    worst = int(np.argmax(target_lengths - limits))
    log.warning(
        "%s: %d of %d references of %s are longer than any output may be, such as one of %d tokens"
        " for a source of %d, with %d allowed%s",
        _fields(task),
        count,
        len(beyond),
        split,
        target_lengths[worst],
        source_lengths[worst],
        limits[worst],
        _remedy(task, source_lengths, target_lengths),
    )


def warn_of_positions(positions: float, lengths: np.ndarray, split: str) -> None:
    """Warns if documents are longer than a model has positions for.

    All tokens beyond them have the last position.
    """
    if count := int(np.sum(lengths > positions)):
        log.warning(
            "model.decoder.max_positions = %d: %d of %d documents of %s are longer, the longest %d"
            " tokens; those beyond it all have the last position",
            positions,
            count,
            len(lengths),
            split,
            lengths.max(),
        )


def limited_outputs(task: "TextToText", count: int, total: int) -> str:
    """Says how many outputs ended at their limit, and which fields set it."""
    return f"{_fields(task)}: {count} of {total} outputs ended because they reached their limit"


def _fields(task: "TextToText") -> str:
    decode, positions = task.config.decode, task.model.longest_target(0)
    fields = (
        f"decode.max_length_ratio = {decode.max_length_ratio:g}, decode.max_length_extra ="
        f" {decode.max_length_extra}"
    )
    if math.isfinite(positions):
        fields += f", model.decoder.max_positions = {positions}"
    return fields


def _remedy(task: "TextToText", source_lengths: np.ndarray, target_lengths: np.ndarray) -> str:
    """Returns the least ratio that would hold all references, unless something else limits them."""
    if target_lengths.max() > task.model.longest_target(0):
        return ""
    needed = (target_lengths - task.config.decode.max_length_extra) / source_lengths
    # Rounded up, so that the limit holds after the product is rounded down.
    ratio = np.ceil(10 * needed.max() + 1e-9) / 10
    return f"; decode.max_length_ratio={ratio:g} would hold them all"
