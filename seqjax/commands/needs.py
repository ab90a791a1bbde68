"""What a verb needs of this machine, looked for before any work."""

import functools
from collections.abc import Iterable, Sequence

from ml_collections import ConfigDict

from seqjax.duration import parse_duration
from seqjax.errors import UserError
from seqjax.fields import flatten
from seqjax.files import cache_folder
from seqjax.measures.translation import check_scorers
from seqjax.reporting.weights_and_biases import require_wandb
from seqjax.tasks.declared import ANSWERED, TASKS


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
        searched = set(ANSWERED) & set(TASKS[config.task].measures)
        never = not (evaluation.translate and searched) or parse_duration(evaluation.every)[0] == 0
        if searched and (verb != "train" or not never):
            check(evaluation.metrics, evaluation.lowercase, evaluation.tokenize)


def check_corpora(configs: Iterable[ConfigDict], splits: Sequence[str]) -> None:
    """Checks that the corpora of a study's trials are here, unless some of them are.

    A trial whose corpus is missing fails by itself; all of them need not begin to find that out.

    Args:
      configs: those of the trials.
      splits: the splits that each trial is evaluated on.

    Raises:
      UserError: no trial has its corpus; the message is the first trial's.
    """
    from seqjax.data.corpus import look_for

    first, seen = None, set()
    for config in configs:
        watched = parse_duration(config.evaluation.every)[0] > 0
        wanted = dict.fromkeys(("train", *(["validation"] if watched else []), *splits))
        roles = TASKS[config.task].roles
        place = (*flatten(config.data).items(), *wanted, *roles)
        if place in seen:
            continue
        seen.add(place)
        try:
            look_for(config.data, wanted, roles)
            return
        except UserError as error:
            first = first or error
    if first:
        raise first
