"""The configs of trials that are changes to one config, each made when it is first asked for."""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import ml_collections

from seqjax.fields import duplicate, flatten, has_references, set_fields


class TrialConfigs(MutableMapping[str, ml_collections.ConfigDict]):
    """Configs by the names of their trials, as a dictionary has them.

    A study of 1,000 trials makes one config where one is wanted: `train --config=FILE:TRIAL` starts
    as fast as for a study of two. What was made stays, so that it can be changed further.
    """

    def __init__(self, base: ml_collections.ConfigDict, changes: Mapping[str, Mapping[str, Any]]):
        """Takes the config that is changed, and the changed fields of each trial, checked."""
        self._base = duplicate(base)
        self._tied = has_references(base)
        self._fields = flatten(self._base)
        self._changes: dict[str, Mapping[str, Any]] = dict(changes)
        self._made: dict[str, ml_collections.ConfigDict] = {}

    def __getitem__(self, name: str) -> ml_collections.ConfigDict:
        if name not in self._made:
            change = self._changes[name]
            config = duplicate(self._base)
            set_fields(config, change)
            self._made[name] = config
        return self._made[name]

    def __setitem__(self, name: str, config: ml_collections.ConfigDict) -> None:
        self._changes[name] = {}
        self._made[name] = config

    def __delitem__(self, name: str) -> None:
        del self._changes[name]
        self._made.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._changes)

    def __len__(self) -> int:
        return len(self._changes)

    def __contains__(self, name: object) -> bool:
        return name in self._changes

    def __or__(self, others: Mapping[str, ml_collections.ConfigDict]) -> "TrialConfigs":
        together = TrialConfigs(self._base, self._changes)
        together._made.update(self._made)
        together.update(others)
        return together

    def __ror__(self, others: Mapping[str, ml_collections.ConfigDict]) -> dict[str, Any]:
        return {**others, **self}

    def fields(self, name: str) -> dict[str, Any]:
        """Returns what `flatten` returns of a config, without creating the config if possible."""
        if name in self._made or self._tied:
            return flatten(self[name])
        return self._fields | self._changes[name]

    def field(self, name: str, path: str) -> Any:
        """Returns the value of one field in a config, as `fields` does."""
        if name in self._made or self._tied:
            return flatten(self[name])[path]
        return self._changes[name].get(path, self._fields[path])

    def tied(self, name: str) -> bool:
        """Returns whether fields of a config may follow others."""
        return has_references(self._made[name]) if name in self._made else self._tied


def fields_of(trials: Mapping[str, ml_collections.ConfigDict], name: str) -> dict[str, Any]:
    """Returns every field's value in the config of a trial, as `flatten` does."""
    return trials.fields(name) if isinstance(trials, TrialConfigs) else flatten(trials[name])


def is_tied(trials: Mapping[str, ml_collections.ConfigDict], name: str) -> bool:
    """Returns whether fields in the config of a trial may follow others."""
    return trials.tied(name) if isinstance(trials, TrialConfigs) else has_references(trials[name])
