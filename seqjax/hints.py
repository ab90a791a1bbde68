"""What may be meant by a field that no config has: what it is called here, or the nearest name."""

import difflib
from collections.abc import Iterable

from seqjax.other_names import FIELDS, SENTENCES

# What says in a name which side it is about.
_SIDES = {
    "encoder": "encoder source",
    "enc": "encoder source",
    "source": "encoder source",
    "src": "encoder source",
    "decoder": "decoder target",
    "dec": "decoder target",
    "target": "decoder target",
    "tgt": "decoder target",
    "trg": "decoder target",
}
# A hint that names more fields is none.
_MOST = 4
# So many fields of a section are listed.
_FEW = 16
# Likeness of two names that may be one with a slip of the finger.
_LIKE = 0.8


def hint(path: str, known: Iterable[str]) -> str:
    """Returns `"; did you mean 'FIELD'?"`, a sentence on what does it here, or `""`.

    Args:
      path: what was given.
      known: the paths of all fields.
    """
    known = list(known)
    path = path.replace("-", "_")
    section, _, name = path.rpartition(".")
    for found in (_called_elsewhere(section, name, known), _elsewhere(section, name, known)):
        if found:
            return _did_you_mean(found)
    if name in SENTENCES:
        return f"; {SENTENCES[name]}"
    found = _misspelt(section, name, known)
    if found:
        return _did_you_mean(found)
    own = [field for field in known if section and field.rpartition(".")[0] == section]
    return f"; expected one of {', '.join(own)}" if 0 < len(own) <= _FEW else ""


def _did_you_mean(found: list[str]) -> str:
    *most, last = map(repr, found)
    before = f"{', '.join(most)} or " if most else ""
    return f"; did you mean {before}{last}?"


def _called_elsewhere(section: str, name: str, known: list[str]) -> list[str]:
    """Returns the fields that stand here for a name of another framework."""
    side = next((_SIDES[part] for part in section.split(".") if part in _SIDES), "")
    prefix, _, rest = name.partition("_")
    # `src_vocab_size` is the vocabulary, as `vocab_size` is; `src` is the source language.
    names = [(f"{section}.{name}", side), (name, side or _SIDES.get(name, ""))]
    if rest and prefix in _SIDES:
        names.append((rest, _SIDES[prefix]))
    for given, side in names:
        found = [field for path in FIELDS.get(given, ()) for field in _sided(path, side, known)]
        if found:
            return list(dict.fromkeys(found))
    if rest and prefix in _SIDES:
        # `encoder_layers`: the name of a field behind the side.
        return [
            field
            for field in known
            for side in _SIDES[prefix].split()
            if field in (f"model.{side}.{rest}", f"data.max_{side}_{rest}")
        ]
    return []


def _sided(path: str, side: str, known: list[str]) -> list[str]:
    """Returns the fields that a path with `*` is, on one side if it says so."""
    if "*" not in path:
        return [path] if path in known else []
    sides = side.split() or ["encoder", "decoder", "source", "target"]
    return [field for one in sides if (field := path.replace("*", one)) in known]


def _elsewhere(section: str, name: str, known: list[str]) -> list[str]:
    """Returns the fields of other sections that have exactly this name."""
    found = [field for field in known if field.rpartition(".")[2] == name]
    side = next((_SIDES[part].split()[0] for part in section.split(".") if part in _SIDES), "")
    inside = [field for field in found if section and field.startswith(f"{section}.")]
    found = inside or [field for field in found if f".{side}." in field] or found
    found.sort(key=lambda field: (field.count("."), ".decoder." in field, field))
    return found if len(found) <= _MOST else []


def _misspelt(section: str, name: str, known: list[str]) -> list[str]:
    """Returns the fields that may be meant by a slip in a name, or in that of its section."""
    own = [field.rpartition(".")[2] for field in known if field.rpartition(".")[0] == section]
    close = difflib.get_close_matches(name, own, n=1, cutoff=_LIKE - 0.1)
    if close:
        return [f"{section}.{close[0]}" if section else close[0]]
    if section and not own:
        close = difflib.get_close_matches(f"{section}.{name}", known, n=1, cutoff=_LIKE + 0.05)
        if close:
            return close
    names = list(dict.fromkeys(field.rpartition(".")[2] for field in known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=_LIKE)
    return _elsewhere(section, close[0], known) if close else []
