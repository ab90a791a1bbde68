"""Lists of changes to a config, and the trials that they make.

A change maps fields to values. In a study file:

    base = load_config_file("configs/demo.py")
    rates = sweep("optimizer.learning_rate", [1e-3, 3e-4])
    sizes = zipped(sweep("model.encoder.width", [64, 128]), sweep("model.decoder.width", [64, 128]))
    Study("Rates and sizes", trials(base, product(rates, sizes)))

makes four trials, `learning_rate-0.001_encoder.width-64_decoder.width-64` and so on.
"""

import functools
import hashlib
import itertools
import random
import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import ml_collections

from seqjax.errors import UserError
from seqjax.fields import default_fields, differing_fields
from seqjax.studies.space import Domain, check_space
from seqjax.studies.trial_configs import TrialConfigs
from seqjax.validation import check_value

Change = dict[str, Any]

# Longer folder names help nobody, and some file systems allow 255 bytes.
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
        raise UserError(f"zipped: lengths = {lengths}: expected lists of one length")
    return [_merged(combination) for combination in zip(*parts, strict=True)]


def chain(*parts: Sequence[Change]) -> list[Change]:
    """Returns the changes of all lists, one list after the other."""
    return [change for part in parts for change in part]


def sample(space: Mapping[str, Domain], count: int, seed: int = 0) -> list[Change]:
    """Returns changes drawn from a space; a larger count begins with the same changes.

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
) -> MutableMapping[str, ml_collections.ConfigDict]:
    """Returns the config of each change, by a name made of the changed fields and their values.

    Raises:
      UserError: no changes, two that make the same config, an unknown field, or a value that it
        cannot have.
    """
    if not changes:
        raise UserError("trials: expected at least one change")
    changes = [{field: check_value(field, v) for field, v in change.items()} for change in changes]
    order = list(dict.fromkeys(field for change in changes for field in change))
    # Names do not matter yet; fields that follow others do.
    numbered = TrialConfigs(base, {str(number): change for number, change in enumerate(changes)})
    found = [{field: numbered.fields(name)[field] for field in order} for name in numbered]
    return TrialConfigs(base, dict(zip(_names(found), changes, strict=True)))


def differences(fields: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns, of the values of each config, those in which not all are alike, in their order."""
    differ = differing_fields(fields)
    return [{field: one[field] for field in differ} for one in fields]


def short_names(fields: Iterable[str]) -> dict[str, str]:
    """Returns for each field the fewest of its last words that no other field of a config has."""
    return dict(_short_names(tuple(fields)))


@functools.lru_cache
def _short_names(fields: tuple[str, ...]) -> Mapping[str, str]:
    others = set(default_fields()).union(fields)
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
                raise UserError(f"{field}: expected one change in a trial; use chain for lists")
        merged |= change
    return merged


def _names(found: Sequence[Change]) -> list[str]:
    """Returns a name that a folder may have for each trial's fields, 'base' if it has none.

    All fields that any trial changes are in it, and of equal names the first one stays: trials that
    are added to a study leave the other names as they are, if they change no other field.
    """
    numbers: dict[tuple[Any, ...], int] = {}
    for number, fields in enumerate(found, 1):
        first = numbers.setdefault(tuple(fields.values()), number)
        if first != number:
            raise UserError(
                f"trials: changes {first} and {number}: expected different configs, but both make"
                " the same"
            )
    names: dict[str, str] = {}
    for fields in found:
        rough, exact = (change_name(fields, digits) or "base" for digits in (4, 15))
        # Some file systems do not distinguish capitals.
        choices = (rough, exact, _with_digest(rough, fields))
        name = next(name for name in choices if name.lower() not in names)
        names[name.lower()] = name
    return list(names.values())


def change_name(fields: Change, digits: int = 4) -> str:
    """Returns fields and their values as a part of a file's name, `learning_rate-0.001_seed-1`.

    The end of one that is too long is replaced by a digest.
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
