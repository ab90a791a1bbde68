"""What a verb needs of this machine besides its corpus, looked for before any work."""

import functools
from collections.abc import Iterable

from ml_collections import ConfigDict

from seqjax.duration import parse_duration
from seqjax.evaluation.metrics import check_scorers
from seqjax.files import cache_folder
from seqjax.reporting.weights_and_biases import require_wandb


def check_needs(verb: str, configs: Iterable[ConfigDict]) -> None:
    """Checks that scorers, writers and the cache that configs ask for are here.

    Raises:
      UserError: one is not, with the field that asks for it.
      Unavailable: a scorer has to be downloaded, and that failed.
    """
    check = functools.cache(check_scorers)
    for config in configs:
        cache_folder(config.data.cache)
        evaluation = config.evaluation
        if verb != "evaluate":
            require_wandb(config.reporting.wandb_project)
        never = not evaluation.translate or parse_duration(evaluation.every)[0] == 0
        if verb != "train" or not never:
            check(evaluation.metrics, evaluation.lowercase, evaluation.tokenize)
