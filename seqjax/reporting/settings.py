"""The effective config of a run, with what differs from the defaults."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from seqjax.fields import default_fields, flatten

# Characters of the line that `train` and `explain` begin with, at most.
_LENGTH = 160


def non_defaults(fields: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns the fields that differ from the defaults: path -> (value, default)."""
    default = default_fields()
    return {
        path: (value, default[path]) for path, value in fields.items() if value != default[path]
    }


def write_fields(config: ml_collections.ConfigDict) -> str:
    """Writes one line for each field; a star marks those that differ, with the default behind."""
    default = default_fields()
    lines = []
    for path, value in sorted(flatten(config).items()):
        differs = value != default[path]
        line = f"{'*' if differs else ' '} {path} = {value!r}"
        lines.append(f"{line}  (default {default[path]!r})" if differs else line)
    return "\n".join(lines)


def summarize_changes(config: ml_collections.ConfigDict) -> str:
    """Says in one line which fields differ from the defaults, as many as fit."""
    changed = [f"{path}={value}" for path, (value, _) in non_defaults(flatten(config)).items()]
    if not changed:
        return "config: the defaults"
    shown = [changed[0]]
    for setting in changed[1:]:
        if len(", ".join([*shown, setting])) > _LENGTH:
            break
        shown.append(setting)
    rest = len(changed) - len(shown)
    more = f" and {rest} more ('explain --fields' lists all)" if rest else ""
    return f"config: differs from the defaults in {', '.join(shown)}{more}"
