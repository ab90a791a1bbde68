"""Reads `--config.model.encoder.layers=4` from a command line into a config.

A value is read as the type of its field. `'8'` stays a string if the field holds one; nothing has
to be quoted.
"""

import ast
import math
import re
import sys
from collections.abc import Sequence
from typing import Any

import ml_collections

from seqjax.errors import UserError
from seqjax.fields import (
    TYPE_NAMES,
    conform,
    default_fields,
    duplicate,
    flatten,
    require_known,
    set_fields,
)

_OVERRIDE = re.compile(r"--?config\.([^=]*)(=.*)?", re.DOTALL)


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Returns the other arguments, and `(path, text)` of each `--config.PATH=TEXT` in order.

    `--config.PATH TEXT` is read too. Everything after a bare `--` is left alone.

    Raises:
      UserError: an override without a value.
    """
    others: list[str] = []
    overrides: list[tuple[str, str]] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            return [*others, argument, *remaining], overrides
        match = _OVERRIDE.fullmatch(argument)
        if not match:
            others.append(argument)
            continue
        path, text = match[1], match[2]
        value = text[1:] if text else next(remaining, "--")
        if text is None and value.startswith("--"):
            require_known(path)
            raise UserError(f"--config.{path}: expected a value, --config.{path}=VALUE")
        overrides.append((path, value))
    return others, overrides


def apply_overrides(
    config: ml_collections.ConfigDict, overrides: Sequence[tuple[str, str]]
) -> None:
    """Sets each `(path, text)` in the config; the last one of a path wins.

    Fields that refer to one of them follow (`ConfigDict.get_ref`).

    Raises:
      UserError: an unknown field, with the nearest known one; a section; a text that is not of the
        field's type; or different values for fields that are tied to each other.
    """
    set_fields(config, read_overrides(overrides))


def read_overrides(overrides: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Returns the values of overrides by their paths; see `apply_overrides`."""
    values = {}
    for path, text in overrides:
        require_known(path, text)
        values[path] = _read(path, text)
    return values


def overridden(
    config: ml_collections.ConfigDict, overrides: Sequence[tuple[str, str]]
) -> ml_collections.ConfigDict:
    """Returns the config of a run: with overrides, and values in place of references.

    The config that is given stays as it is.

    Raises:
      UserError: see `duplicate`, `apply_overrides` and `conform`.
    """
    config = duplicate(config)
    apply_overrides(config, overrides)
    return conform(flatten(config))


def _read(path: str, text: str) -> Any:
    kind = type(default_fields()[path])
    try:
        return _READERS[kind](text)
    except (ValueError, SyntaxError):
        expected = TYPE_NAMES[kind]
        raise UserError(f"{path} = {text!r}: expected {expected}") from None
    except OverflowError as error:
        raise UserError(f"{path} = {text!r}: expected {error}") from None


def _read_number(text: str) -> float:
    """Reads a number; one that no float can hold becomes neither infinity nor zero."""
    value = float(text)
    if math.isinf(value) and "inf" not in text.lower():
        raise OverflowError(f"a number of 64 bits, at most {sys.float_info.max:.2g} in size")
    if value == 0 and re.search("[1-9]", text.lower().partition("e")[0]):
        raise OverflowError("0 or a number of 64 bits, at least 4.9e-324 in size")
    return value


def _read_whole_number(text: str) -> int:
    """Reads `8`, `10_000` and `1e4`."""
    try:
        return int(text)
    except ValueError:
        value = _read_number(text)
        if not value.is_integer():
            raise ValueError(text) from None
        return int(value)


def _read_boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _read_tuple(text: str) -> tuple[str, ...]:
    """Reads `bleu,chrf`, `('bleu', 'chrf')`, and an empty text as no items."""
    if not text.startswith(("(", "[")):
        return tuple(item.strip() for item in text.split(",") if item.strip())
    value = ast.literal_eval(text)
    items = value if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(item, str) for item in items):
        raise ValueError(text)
    return tuple(items)


_READERS = {
    bool: _read_boolean,
    int: _read_whole_number,
    float: _read_number,
    str: str,
    tuple: _read_tuple,
}
