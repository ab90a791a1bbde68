"""Reads `--config.model.encoder.layers=4` from a command line into a config.

The texts are read as the type that the field has, so `'8'` stays a text where a
text is expected and no quoting is needed on the command line.
"""

import ast
import re
from collections.abc import Sequence
from typing import Any

import ml_collections

from seqjax.errors import UserError
from seqjax.fields import TYPE_NAMES, flatten, require_known

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
    """Sets each `(path, text)` in the config, the last one of a path wins.

    Raises:
      UserError: an unknown field with the nearest known one, a section, or a text
        that is not of the field's type.
    """
    for path, text in overrides:
        require_known(path, text)
        config.update_from_flattened_dict({path: _read(path, text, flatten(config)[path])})


def _read(path: str, text: str, current: Any) -> Any:
    try:
        return _READERS[type(current)](text)
    except (ValueError, SyntaxError):
        expected = TYPE_NAMES[type(current)]
        raise UserError(f"{path} = {text!r}: expected {expected}") from None


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


_READERS = {bool: _read_boolean, int: int, float: float, str: str, tuple: _read_tuple}
