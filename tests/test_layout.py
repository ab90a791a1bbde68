"""The layout shows the architecture: imports run downward only."""

import ast
import sys
from pathlib import Path

import pytest

from seqjax.config import SECTIONS, declared_fields

_ROOT = Path(__file__).parents[1] / "seqjax"
# From the lowest to the highest. A name without a room is all modules beside the rooms that are not
# named themselves, and the fields of a config in whatever room.
_LEVELS = (
    "",
    "measures",
    "layers",
    "data",
    "parallel",
    "architectures",
    "search",
    "tasks",
    "evaluation",
    "reporting",
    "training",
    "submission",
    "studies",
    "trained_run",
    "commands",
    "__main__",
)


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(_ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(_ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__") if name != "__init__" else "seqjax"] = path
    return found


def _imports(path: Path) -> set[str]:
    """Returns what a file imports of the package, also inside functions, but not for types."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seqjax."):
            module = node.module.removeprefix("seqjax.")
            inside = {f"{module}.{alias.name}" for alias in node.names} & set(_MODULES)
            found |= inside or {module}
        elif isinstance(node, ast.ImportFrom) and node.module == "seqjax":
            found |= {alias.name for alias in node.names if alias.name in _MODULES}
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
            found |= {n.removeprefix("seqjax.") for n in names if n.startswith("seqjax.")}
    return found


_MODULES = _modules()


def _is_declaration(module: str) -> bool:
    """Returns whether a file of a room declares something: fields of a config, or tasks."""
    return module.endswith("_fields") or module == "tasks.declared"


def _level(module: str) -> int:
    """Returns the level of a module: of the longest name that it begins with."""
    if _is_declaration(module):
        return 0
    parts = module.split(".")
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((_LEVELS.index(name) for name in names if name in _LEVELS), 0)


@pytest.mark.parametrize("module", [name for name in _MODULES if name != "seqjax"])
def test_imports_run_downward(module):
    upward = {
        other
        for other in _imports(_MODULES[module])
        if other in _MODULES and _level(other) > _level(module)
    }
    assert not upward, f"{module} is below {', '.join(sorted(upward))}"


@pytest.mark.parametrize("module", [name for name in _MODULES if _is_declaration(name)])
def test_fields_are_the_ground_floor(module):
    """They stand beside their readers, whatever room that is, and import nothing of a room."""
    inside = {name for name in _imports(_MODULES[module]) if "." in name}
    assert all(map(_is_declaration, inside)), f"{module} imports {', '.join(sorted(inside))}"
    known = {"ml_collections", *sys.stdlib_module_names, "seqjax"}
    assert _roots(_MODULES[module]) <= known, f"{module} waits for other packages"


def _roots(path: Path) -> set[str]:
    """Returns the packages that a file imports from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
    return found


def test_the_config_has_the_fields_of_every_file():
    files = {name for name in _MODULES if name.endswith("_fields")} | {"tasks.declared"}
    assert {name for name in _imports(_MODULES["config"]) if "." in name} == files
    listed = {file for _, own in SECTIONS.values() for file in own}
    declared = [path for file in listed for path in file.FIELDS]
    assert sorted(declared) == sorted(path for name in SECTIONS for path in declared_fields(name))


def test_no_modules_import_each_other():
    imports = {name: _imports(path) & set(_MODULES) for name, path in _MODULES.items()}
    left = dict(imports)
    while left:
        free = {name for name, others in left.items() if not others & set(left) - {name}}
        assert free, f"a circle of imports among {', '.join(sorted(left))}"
        left = {name: others for name, others in left.items() if name not in free}


def test_every_level_has_a_module():
    assert {_level(module) for module in _MODULES} == set(range(len(_LEVELS)))


def test_there_is_no_room_for_whatever_fits_nowhere():
    parts = {part for module in _MODULES for part in module.split(".")}
    assert not parts & {"utils", "util", "helpers", "helper", "common", "misc"}


# What modules that are chosen among have each: verbs, schedulers, ways to answer lines.
_OF_EACH = {
    *("add_arguments", "run", "run_ensemble", "run_together"),
    *("submission", "check_options", "Answers"),
}
# Numbers that are uniform in a range: of a study, and of initial parameters.
_LIKE = {"uniform"}


def test_a_public_name_means_one_thing():
    found: dict[str, list[str]] = {}
    for module, path in _MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    several = {name: where for name, where in found.items() if len(where) > 1}
    assert not set(several) - _OF_EACH - _LIKE, several
