"""Lists of changes to a config, made of few words, and the trials that they make of it.

A change is a dictionary of fields and their values. In a study file:

    base = load_config_file("configs/demo.py")
    rates = sweep("optimizer.learning_rate", [1e-3, 3e-4])
    sizes = zipped(sweep("model.encoder.width", [64, 128]), sweep("model.decoder.width", [64, 128]))
    Study("Rates and sizes", trials(base, product(rates, sizes)))

makes four trials, `learning_rate-0.001_encoder.width-64_decoder.width-64` and so on.
"""

import hashlib
import itertools
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_collections

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.fields import differing, duplicate, flatten, set_fields
from seqjax.studies.space import Domain, check_space
from seqjax.validation import check_value

Change = dict[str, Any]

# A longer name of a folder is no help to anybody, and some file systems end at 255 bytes.
_LONGEST_NAME = 120


def sweep(field: str, values: Iterable[Any]) -> list[Change]:
    """Returns a change for each value of a field.

    Raises:
      UserError: an unknown field, no values, or one that the field cannot have.
    """
    changes = [{field: check_value(field, value)} for value in values]
    if not changes:
        raise UserError(f"sweep({field!r}): expected at least one value")
    return changes


def product(*parts: Sequence[Change]) -> list[Change]:
    """Returns every combination of a change from each list; the last list varies fastest.

    Raises:
      UserError: two lists change the same field.
    """
    return [_merged(combination) for combination in itertools.product(*parts)]


def zipped(*parts: Sequence[Change]) -> list[Change]:
    """Returns the first changes of all lists as one, the second ones, and so on.

    Raises:
      UserError: the lists differ in length, or two of them change the same field.
    """
    lengths = sorted({len(part) for part in parts})
    if len(lengths) > 1:
        raise UserError(f"zipped: expected lists of one length, not of {lengths}")
    return [_merged(combination) for combination in zip(*parts, strict=True)]


def chain(*parts: Sequence[Change]) -> list[Change]:
    """Returns the changes of all lists, one list after the other."""
    return [change for part in parts for change in part]


def sample(space: Mapping[str, Domain], count: int, seed: int = 0) -> list[Change]:
    """Returns changes that are drawn from a space; more of them begin with the same.

    Raises:
      UserError: see `space.check_space`; or a count below 1.
    """
    check_space(space)
    if count < 1:
        raise UserError(f"sample: count = {count}: expected at least 1")
    generator = random.Random(seed)
    return [
        {field: domain.draw(generator) for field, domain in space.items()} for _ in range(count)
    ]


def trials(
    base: ml_collections.ConfigDict, changes: Sequence[Change]
) -> dict[str, ml_collections.ConfigDict]:
    """Returns the config of each change by a name that tells the fields that are changed.

    Raises:
      UserError: no changes, two that make the same config, an unknown field, or a value that it
        cannot have.
    """
    if not changes:
        raise UserError("trials: expected at least one change")
    configs = []
    for change in changes:
        config = duplicate(base)
        set_fields(config, {field: check_value(field, value) for field, value in change.items()})
        configs.append(config)
    fields = list(dict.fromkeys(field for change in changes for field in change))
    return dict(zip(_names(configs, fields), configs, strict=True))


def differences(configs: Sequence[ml_collections.ConfigDict]) -> list[dict[str, Any]]:
    """Returns, of each config, the fields in which not all are alike, sorted by their paths."""
    fields = differing(configs)
    return [{field: one[field] for field in fields} for one in map(flatten, configs)]


def short_names(fields: Iterable[str]) -> dict[str, str]:
    """Returns for each field the fewest of its last words that no other field of a config has."""
    fields = list(fields)
    others = set(flatten(default_config())).union(fields)
    names = {}
    for field in fields:
        words = field.split(".")
        ends = [".".join(words[-count:]) for count in range(1, len(words))]
        short = (end for end in ends if sum(f".{o}".endswith(f".{end}") for o in others) == 1)
        names[field] = next(short, field)
    return names


def _merged(combination: Sequence[Change]) -> Change:
    merged: Change = {}
    for change in combination:
        for field in change:
            if field in merged:
                raise UserError(f"{field}: is changed twice in one trial; use chain for lists")
        merged |= change
    return merged


def _names(configs: Sequence[ml_collections.ConfigDict], order: list[str]) -> list[str]:
    """Returns a name that a folder may have for each config, 'base' where nothing is changed.

    All fields that are changed are in it, and of equal names the first one stays: what is added to
    a study gives nothing that was there another name, if it changes none but these fields.
    """
    found = [{field: flat[field] for field in order} for flat in map(flatten, configs)]
    for number, fields in enumerate(found):
        if fields in found[:number]:
            same = f"changes {found.index(fields) + 1} and {number + 1}"
            raise UserError(f"trials: {same} make the same config; expected each of them once")
    names: dict[str, str] = {}
    for fields in found:
        rough, exact = (label(fields, digits) or "base" for digits in (4, 15))
        # Some file systems do not tell capitals apart.
        choices = (rough, exact, _with_digest(rough, fields))
        name = next(name for name in choices if name.lower() not in names)
        names[name.lower()] = name
    return list(names.values())


def label(fields: Change, digits: int = 4) -> str:
    """Returns fields and their values as a part of a file's name, `learning_rate-0.001_seed-1`.

    Of one that is too long a digest says the rest.
    """
    short = short_names(fields)
    name = "_".join(f"{short[field]}-{_word(value, digits)}" for field, value in fields.items())
    return name if len(name) <= _LONGEST_NAME else _with_digest(name, fields)


def _with_digest(name: str, fields: Change) -> str:
    digest = hashlib.sha256(repr(list(fields.items())).encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - len(digest) - 1]}-{digest}"


def _word(value: Any, digits: int) -> str:
    """Returns a value as a part of a name: letters, digits, '.', '_' and '-'."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.{digits}g}".replace("+", "")
    if isinstance(value, int):
        return str(value)
    text = "-".join(value) if isinstance(value, tuple) else value
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") or "none"
