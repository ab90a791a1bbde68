"""Runs the Python files of experiments: `configs/` has one for each run, a study one for many.

A file is run as `python FILE` would run it: `__file__` is absolute, the files beside it can be
imported, and its module is in `sys.modules`, though not as `__main__`.
"""

import contextlib
import hashlib
import importlib.machinery
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

import ml_collections

from seqjax.errors import UserError, did_you_mean
from seqjax.fields import TYPE_NAMES, default_fields, duplicate, load
from seqjax.files import run_path
from seqjax.hints import hint

_Variant = TypeVar("_Variant")

# Characters of an exception in a file that are printed.
_LONGEST = 300


def choose_variant(variants: Mapping[str, _Variant], name: str) -> _Variant:
    """Returns `variants[name]`; an unknown name is a UserError that lists the known ones."""
    if name not in variants:
        known = ", ".join(map(repr, variants))
        meant = did_you_mean(name, variants) if name else "; name it as FILE:VARIANT"
        raise UserError(f"variant = {name!r}: expected one of {known}{meant}")
    return variants[name]


def update_stacks(config: ml_collections.ConfigDict, **fields: Any) -> None:
    """Sets fields in both the encoder and the decoder."""
    config.model.encoder.update(fields)
    config.model.decoder.update(fields)


def load_config_file(spec: str) -> ml_collections.ConfigDict:
    """Returns what `get_config()` of a Python file returns, with its references and placeholders.

    Args:
      spec: `'configs/demo.py'`, or with a variant that get_config receives as
        its argument, `'configs/multi30k_transformer.py:tiny'`, or a trial of a study,
        `'experiments/scan/study.py:simple-lstm'`.

    Raises:
      UserError: no such file, get_config, variant or trial; a mistake in the file,
        reported with its line; or fields that differ from the default's.
    """
    path, colon, variant = (spec, "", "") if os.path.exists(spec) else spec.rpartition(":")
    if not colon:
        path = spec
    get_config = _get_config(run_file(path, "--config"), path)
    takes_variant = bool(inspect.signature(get_config).parameters)
    if variant and not takes_variant:
        raise UserError(f"--config={spec}: expected no variant; get_config() of {path} takes none")
    with mistakes_in(path), siblings_of(path):
        config = get_config(variant) if variant else get_config()
        if not isinstance(config, ml_collections.ConfigDict):
            raise UserError(f"get_config() returns {_kind(config)}; expected a ConfigDict")
        return duplicate(config)


def load_run_config(verb: str, spec: str | None, workdir: str) -> ml_collections.ConfigDict:
    """Returns the config of a file if one is named, else the config of the run in a folder.

    Args:
      verb: what is to be done with it.
      spec: what `load_config_file` takes, '' for none; None if the verb takes no file.
      workdir: the run's folder, '' for none.

    Raises:
      UserError: there is neither.
    """
    if spec:
        return load_config_file(spec)
    saved = run_path(workdir) / "config.json"
    if workdir and saved.is_file():
        return load(saved)
    if spec is None:
        raise UserError(f"--workdir={workdir}: expected a trained run; it has no config.json")
    where = f"; {saved} does not exist" if workdir else ""
    raise UserError(f"{verb}: expected --config=FILE or the --workdir of an existing run{where}")


def run_file(path: str, option: str) -> ModuleType:
    """Returns the module of a Python file, which the command line names by `option`.

    Raises:
      UserError: no such file, or a mistake in it, reported with its line.
    """
    if not os.path.isfile(path):
        variants = ", or FILE:VARIANT" if option == "--config" else ""
        raise UserError(f"{option}={path}: expected a Python file{variants}; there is none")
    file = os.path.abspath(path)
    # Unique, since the file may have the name of a package.
    name = f"{Path(file).stem}_{hashlib.sha256(file.encode()).hexdigest()[:8]}"
    loader = _FreshLoader(name, file)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    # Dataclasses, among others, look there for the module that they stand in.
    sys.modules[name] = module
    with mistakes_in(path), siblings_of(path):
        loader.exec_module(module)
    return module


class _FreshLoader(importlib.machinery.SourceFileLoader):
    """Compiles the file each time.

    Cached bytecode of an older file would be taken for one of the same size and second.
    """

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


# The folders of the files that were run.
_FOLDERS: set[str] = set()


@contextlib.contextmanager
def siblings_of(path: str) -> Iterator[None]:
    """Lets the code of a file import the files beside it, and not those beside another file."""
    folder = os.path.dirname(os.path.realpath(path))
    others = _FOLDERS - {folder}
    _FOLDERS.add(folder)
    tops = {
        name
        # A copy: to ask a lazy module for its folder imports it.
        for name, module in list(sys.modules.items())
        if _folder_of(module) in others
        and (os.path.isfile(f"{folder}/{name}.py") or os.path.isdir(f"{folder}/{name}"))
    }
    loaded = list(sys.modules.items())
    hidden = {name: module for name, module in loaded if name.partition(".")[0] in tops}
    for name in hidden:
        del sys.modules[name]
    importlib.invalidate_caches()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            # What it imports later is found, too, and hides nothing.
            sys.path.append(folder)
        sys.modules.update(hidden)


def _folder_of(module: ModuleType) -> str:
    """Returns the folder that a module or a package lies in, `''` if it has no file."""
    paths = list(getattr(module, "__path__", None) or ())
    return os.path.dirname(paths[0] if paths else getattr(module, "__file__", None) or "")


def no_study(found: Any) -> UserError:
    """Returns the error of a `get_study()` that returns something other than a study."""
    such = ", such as Study('NAME', trials(...))" if isinstance(found, Mapping) else ""
    return UserError(f"get_study() returns {_kind(found)}; expected a Study or a Search{such}")


def _kind(found: Any) -> str:
    """Names the type of what a function of a file has returned."""
    return "nothing" if found is None else type(found).__name__


@contextlib.contextmanager
def mistakes_in(path: str) -> Iterator[None]:
    """Turns whatever the code of a file raises into a UserError that begins with the file."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except SystemExit as error:
        raise UserError(f"{path}: ends the program; expected a config or a study") from error
    except Exception as error:
        raise _mistake(path, error) from error


def _get_config(module: ModuleType, path: str) -> Callable[..., ml_collections.ConfigDict]:
    if callable(getattr(module, "get_config", None)):
        return module.get_config
    if callable(getattr(module, "get_study", None)):
        return lambda trial="": _variant(module.get_study(), trial)
    raise UserError(f"{path}: expected a function get_config() or get_study(); it has neither")


def _variant(study: Any, trial: str) -> ml_collections.ConfigDict:
    if not hasattr(study, "variant"):
        raise no_study(study)
    return study.variant(trial)


def _mistake(path: str, error: Exception) -> UserError:
    """Returns the error for an exception in a file, with the last line of the file involved."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)]
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    own = [n for n, file in zip(lines, files, strict=True) if file == os.path.abspath(path)]
    where = f"{path}:{own[-1]}" if own else path
    message = _refused(str(error)) or f"{_shortened(error)}{_hiding(path, error)}"
    return UserError(f"{where}: {message}")


def _hiding(path: str, error: Exception) -> str:
    """Returns a hint at a file beside a file that hides the library that an error names, or ''."""
    if not isinstance(error, AttributeError | ImportError):
        return ""
    folder = os.path.dirname(os.path.realpath(path))
    own = _FOLDERS | {folder}
    elsewhere = [place for place in sys.path if os.path.realpath(place) not in own]
    for name in re.findall(r"'(\w+)", str(error)):
        if os.path.isfile(f"{folder}/{name}.py") and (
            name in sys.stdlib_module_names
            or importlib.machinery.PathFinder.find_spec(name, elsewhere)
        ):
            return f"; {name}.py in its folder hides the library {name}"
    return ""


# What ConfigDict says of a field that it lacks, and of a value of another type: it prints whole
# sections with it.
_UNKNOWN = re.compile(r'Key "(\w+)" does not exist and cannot be added')
_NEAREST = re.compile(r'Did you mean "(\w+)" instead')
_TYPE = re.compile(
    r"Could not override field '(\w+)' \(reference\)\. (.*) is of original type <class '(?:\w+\.)*"
    r"(\w+)'> and cannot be casted to type <class '(?:\w+\.)*(\w+)'>",
    re.DOTALL,
)


def _refused(message: str) -> str:
    """Words the refusal of a ConfigDict as all mistakes are; returns '' for anything else."""
    if found := _UNKNOWN.search(message):
        nearest = _NEAREST.search(message)
        meant = f"; did you mean {nearest[1]!r}?" if nearest else hint(found[1], default_fields())
        return f"{found[1]}: the config has no such field there{meant}"
    if found := _TYPE.search(message):
        name, value, given, kind = found.groups()
        if kind == "Section":
            return f"{name}: expected {name}.update(...), since it is a section; not a {given}"
        names = {held.__name__: words for held, words in TYPE_NAMES.items()}
        value = repr(value) if given == "str" else " ".join(value.split())
        return f"{name} = {value}: expected {names.get(kind, kind)}"
    return ""


def _shortened(error: Exception) -> str:
    """Returns an exception in one line of moderate length."""
    text = " ".join(str(error).split())
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return f"{type(error).__name__}: {text}"
