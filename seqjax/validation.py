"""Checks a config: what each field holds by itself, and which fields contradict each other.

`RULES` and `RELATIONS` of `seqjax.config` say what is accepted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from seqjax.config import RELATIONS, RULES
from seqjax.errors import UserError, did_you_mean
from seqjax.fields import conformed, flatten, nested, require_known
from seqjax.overrides import overridden


def settled(config: ConfigDict, overrides: Sequence[tuple[str, str]] = ()) -> ConfigDict:
    """Returns `overrides.overridden(config, overrides)`, checked.

    Raises:
      UserError: see `overridden` and `validate`.
    """
    config = overridden(config, overrides)
    validate(config)
    return config


def validate(config: ConfigDict) -> None:
    """Checks the fields, their types, their ranges, and how they fit together.

    Raises:
      UserError: the first field found wrong, with its value and what is accepted.
    """
    validate_fields(flatten(config))


def validate_fields(flat: Mapping[str, Any]) -> None:
    """Checks what `validate` does, of a config's values by their paths; makes no config."""
    conformed(flat)
    for field in RULES:
        _check_rule(field, flat[field])
    sections = nested(flat, _Section)
    for relation in RELATIONS:
        if not relation.holds(sections):
            expected = relation.expectation(sections)
            raise UserError(f"{relation.field} = {flat[relation.field]!r}: expected {expected}")


class _Section(dict):
    """A section whose fields are attributes, as a ConfigDict's are."""

    __getattr__ = dict.__getitem__


def check_value(field: str, value: Any) -> Any:
    """Checks what one field may hold by itself; returns the value as the config holds it.

    Raises:
      UserError: an unknown field, a value of another type or out of range.
    """
    require_known(field, value)
    value = conformed({field: value}, missing="default")[field]
    _check_rule(field, value)
    return value


def _check_rule(field: str, value: Any) -> None:
    rule = RULES[field]
    if not rule.accepts(value):
        unknown = [item for item in _items(value) if item not in rule.known]
        hint = did_you_mean(unknown[0], rule.known) if unknown and rule.known else ""
        raise UserError(f"{field} = {value!r}: expected {rule.expectation(value)}{hint}")


def _items(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
