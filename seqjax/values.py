"""What values of a config may be given as: Python's own types, NumPy's and JAX's, and paths."""

import os
from typing import Any

import ml_collections


def plain(value: Any) -> Any:
    """Returns a scalar or an array of NumPy or JAX as Python's own type, anything else as it is.

    A number of fewer than 64 bits becomes the one that it prints as: `float32(0.1)` is 0.1.
    An array becomes a tuple.
    """
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value)) if type(value) in (tuple, list) else value
    if not (hasattr(value, "dtype") and hasattr(value, "tolist")):
        return value
    if value.ndim:
        return tuple(plain(item) for item in value)
    found = value.item()
    if hasattr(found, "dtype"):
        # A long double is its own item.
        return float(found)
    return float(str(value)) if isinstance(found, float) and value.dtype.itemsize < 8 else found


def as_held(value: Any, kind: type) -> Any:
    """Returns a value as a field of some type holds it, or as it is if the field cannot.

    Whole numbers are taken for numbers, lists for tuples, and paths for strings.
    """
    value = plain(value)
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return value
    if kind is tuple and type(value) is list:
        return tuple(value)
    if kind is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


class Section(ml_collections.ConfigDict):
    """A part of a config, whose fields take what `as_held` does."""

    def __setitem__(self, name: str, value: Any) -> None:
        held = self._fields.get(name)
        if isinstance(held, ml_collections.FieldReference):
            value = as_held(value, held.get_type())
        elif name in self._fields:
            value = as_held(value, type(held))
        super().__setitem__(name, value)
