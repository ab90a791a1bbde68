"""The fields of a config by dotted path: names, types, and how they are printed and saved.

A config has exactly the fields of `seqjax.config.default_config`, each of the default's type. As
text it is a sorted line a field, as a file the JSON of its sections.
"""

import copy
import functools
import json
import logging
import os
import types
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from ml_collections import config_dict

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.files import as_path, replace_file
from seqjax.hints import hint
from seqjax.values import as_held

_LOG = logging.getLogger(__name__)

# What a value of each type is called in an error; there is no other type in a config.
TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "a tuple of strings such as 'bleu,chrf'",
}


def flatten(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns every field's value by its dotted path, `{'model.encoder.heads': 4, ...}`.

    References are followed; a placeholder without a value is None.
    """
    flat = {}
    for name, value in config.items(preserve_field_references=True):
        if isinstance(value, ml_collections.FieldReference):
            try:
                value = value.get()
            except config_dict.RequiredValueError:
                value = None
        if isinstance(value, ml_collections.ConfigDict):
            flat.update({f"{name}.{path}": inner for path, inner in flatten(value).items()})
        else:
            flat[name] = value
    return flat


def nested(flat: Mapping[str, Any], kind: type[dict] = dict) -> dict[str, Any]:
    """Returns the sections whose fields `flatten` returns, as dictionaries of some kind."""
    sections = {"": kind()}
    for path, value in flat.items():
        section, _, name = path.rpartition(".")
        _section(sections, section, kind)[name] = value
    return sections[""]


def _section(sections: dict[str, dict], path: str, kind: type[dict]) -> dict:
    if path not in sections:
        outer, _, name = path.rpartition(".")
        sections[path] = _section(sections, outer, kind)[name] = kind()
    return sections[path]


def has_references(config: ml_collections.ConfigDict) -> bool:
    """Returns whether a field of a config follows another one, or is a placeholder."""
    return any(
        has_references(value)
        if isinstance(value, ml_collections.ConfigDict)
        else isinstance(value, ml_collections.FieldReference)
        for value in dict(config.items(preserve_field_references=True)).values()
    )


def differing(configs: Sequence[ml_collections.ConfigDict]) -> list[str]:
    """Returns the fields in which configs are not all alike."""
    return differing_fields([flatten(config) for config in configs])


def differing_fields(flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the fields in which the values of configs are not all alike."""
    return [path for path in flat[0] if any(other[path] != flat[0][path] for other in flat)]


def expand(config: ml_collections.ConfigDict) -> str:
    """Returns one sorted line for each field, `model.encoder.heads = 4`."""
    return "".join(f"{path} = {value!r}\n" for path, value in sorted(flatten(config).items()))


# Fields that saved runs may have from before, and that mean nothing any more.
_RETIRED = ("decode.n_best",)
# Fields added to a stack of a kind later, with their values in runs from before: not the defaults.
_BEFORE = {"lstm": {"forget_bias": 0.0}}


def require_known(path: str, value: Any = None) -> None:
    """Raises UserError, with the nearest known paths, unless `path` is a field of a config."""
    known = default_fields()
    if path in known:
        return
    inside = [field[len(path) + 1 :] for field in known if field.startswith(f"{path}.")]
    if inside:
        given = "" if value is None else f" = {value!r}"
        raise UserError(f"{path}{given}: names a section; choose one of {', '.join(inside)}")
    raise UserError(f"{path}: the config has no such field{hint(path, known)}")


def conform(flat: Mapping[str, Any], missing: str = "error") -> ml_collections.ConfigDict:
    """Returns a config of exactly the default's fields and types, holding the values of `flat`.

    Values are taken as `as_held` takes them. A field that `flat` lacks is an error, or takes its
    default, with a warning (`missing='warn'`) or without one (`missing='default'`).

    Raises:
      UserError: an unknown field, a missing one, or a value of another type.
    """
    config = default_config()
    _set_all(config, conformed(flat, missing))
    return config


def conformed(flat: Mapping[str, Any], missing: str = "error") -> dict[str, Any]:
    """Returns the fields of `conform(flat, missing)` that `flat` has, without making a config."""
    defaults = default_fields()
    values = {}
    for path, value in flat.items():
        if path not in defaults:
            require_known(path, value)
        default = defaults[path]
        value = as_held(value, type(default))
        items_are_texts = type(value) is not tuple or all(type(item) is str for item in value)
        if type(value) is not type(default) or not items_are_texts:
            left_open = "; the config leaves it open" if value is None else ""
            expected = f"{TYPE_NAMES[type(default)]}{left_open}"
            raise UserError(f"{path} = {value!r}: expected {expected}")
        values[path] = value
    absent = [path for path in defaults if path not in flat]
    if absent and missing == "error":
        raise UserError(f"{absent[0]}: missing; start the config from default_config()")
    if absent and missing == "warn":
        taken = ", ".join(f"{path} = {defaults[path]!r}" for path in absent)
        _LOG.warning("missing fields take their defaults: %s", taken)
    return values


@functools.cache
def default_fields() -> Mapping[str, Any]:
    """Returns every field of a config with its default, made once."""
    return types.MappingProxyType(flatten(default_config()))


def _set_all(config: ml_collections.ConfigDict, values: Mapping[str, Any]) -> None:
    """Sets fields, which ConfigDict's own way takes quadratic time for."""
    sections: dict[str, ml_collections.ConfigDict] = {"": config}
    for path, value in values.items():
        section, _, name = path.rpartition(".")
        if section not in sections:
            sections[section] = _place(config, path)[0]
        sections[section][name] = value


def _before(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of `_BEFORE` that a saved config is about."""
    return {
        f"{stack}.{name}": value
        for stack in ("model.encoder", "model.decoder")
        for name, value in _BEFORE.get(flat.get(f"{stack}.kind"), {}).items()
    }


def duplicate(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Returns a copy of a config with references of its own that follow as those of the config do.

    Raises:
      UserError: see `conform`; a placeholder without a value is none of that yet.
    """
    if isinstance(config, ml_collections.FrozenConfigDict):
        config = config.as_configdict()
    flat, defaults = flatten(config), default_fields()
    # Nothing but a placeholder is None where a config is right.
    is_open = {path: value is None and _is_open(config, path) for path, value in flat.items()}
    conformed({path: defaults.get(path) if is_open[path] else flat[path] for path in flat})
    return copy.deepcopy(config)


def set_fields(config: ml_collections.ConfigDict, values: Mapping[str, Any]) -> None:
    """Sets fields that a config has; those that refer to them follow.

    Raises:
      UserError: a value of another type, or fields that are tied to each other get other values.
    """
    for path, value in values.items():
        section, name = _place(config, path)
        try:
            section[name] = value
        except TypeError as error:
            raise UserError(
                f"{path} = {value!r}: expected what the config takes: {error}"
            ) from error
    flat = flatten(config)
    for path, value in values.items():
        # What is not a number (nan) differs from itself.
        if flat[path] != value and value == value:
            raise UserError(
                f"{path} = {value!r}: expected {flat[path]!r}, since a reference in the config ties"
                " it to another field that is set, too"
            )


def _place(config: ml_collections.ConfigDict, path: str) -> tuple[ml_collections.ConfigDict, str]:
    """Returns the section that has a field, and the field's name there."""
    *sections, name = path.split(".")
    for section in sections:
        config = config[section]
    return config, name


def _is_open(config: ml_collections.ConfigDict, path: str) -> bool:
    """Returns whether a field is a placeholder without a value."""
    section, name = _place(config, path)
    held = dict(section.items(preserve_field_references=True))[name]
    return isinstance(held, ml_collections.FieldReference) and held.empty()


def save(config: ml_collections.ConfigDict, path: str | os.PathLike[str]) -> None:
    """Writes a config as JSON with sorted names; an existing file is replaced in one move."""
    replace_file(path, json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n")


def load(path: str | os.PathLike[str], missing: str = "warn") -> ml_collections.ConfigDict:
    """Returns the config that `save` wrote; for fields added since then see `conform`.

    Raises:
      UserError: no such file, no JSON, an unknown field or a value of a wrong type.
    """
    try:
        saved = json.loads(as_path(path).read_text())
        if not isinstance(saved, dict):
            raise ValueError("expected an object")
        flat = flatten(ml_collections.ConfigDict(saved))
        flat = {path: flat[path] for path in flat if path not in _RETIRED}
        return conform(_before(flat) | flat, missing)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected the config.json of a run") from None
    except ValueError as error:
        raise UserError(f"{path}: expected a saved config ({error})") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
