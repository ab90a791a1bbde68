"""Writes docs/CONFIG.md, every field of a config with its default, what it accepts and means.

    python -m seqjax.config_manual > docs/CONFIG.md

The meaning is the comment before a field in `seqjax.config` or `seqjax.model_fields`, the accepted
values are the rule in `seqjax.validation`.
"""

import ast
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from seqjax import config as config_module
from seqjax import model_fields
from seqjax.config import default_config
from seqjax.fields import TYPE_NAMES, flatten
from seqjax.rules import ANYTHING
from seqjax.validation import RULES

_INTRODUCTION = """\
# The fields of a config

This page is made by `python -m seqjax.config_manual > docs/CONFIG.md`; do not edit it.

A config file under `configs/` starts from `default_config()` and changes what its run needs. The
command line overrides single fields: `--config.model.encoder.layers=4`. A field that does not
exist, a value that a field cannot have, and fields that contradict each other are refused before
any work. `python launch.py explain --config=FILE` shows what a config costs.

A **duration** is a string: `'500 steps'` or a bare number (updates), `'2.5 epochs'` (passes over
the training corpus), `'4M tokens'` (target tokens), `'30 minutes'` (also `s`, `min`, `h`, `d`), or
`'10%'` of the whole training. `k`, `M`, `G` and `B` multiply counts. `'0'` means never.

A list such as `evaluation.metrics` is given as `bleu,chrf`.
"""
# A function that sets fields of a section, and the section; `*` is both stacks.
_SECTIONS = {
    "default_config": "",
    "_data": "data",
    "_tokenizer": "tokenizer",
    "_batching": "batching",
    "model_section": "model",
    "_stack": "model.*",
    "_add_transformer_fields": "model.*",
    "_add_convolutional_fields": "model.*",
    "_add_recurrent_fields": "model.*",
    "_encoder": "model.encoder",
    "_decoder": "model.decoder",
    "_loss": "loss",
    "_optimizer": "optimizer",
    "_schedule": "schedule",
    "_train": "train",
    "_evaluation": "evaluation",
    "_decode": "decode",
    "_checkpoint": "checkpoint",
    "_parallel": "parallel",
    "_reporting": "reporting",
}


def manual() -> str:
    """Returns the page."""
    sources = [Path(m.__file__).read_text(encoding="utf-8") for m in (config_module, model_fields)]
    functions = {
        node.name: (node, source)
        for source in sources
        for node in ast.parse(source).body
        if _is_function(node)
    }
    parts = [_INTRODUCTION]
    for section, names in itertools.groupby(_SECTIONS, key=_SECTIONS.get):
        found = [functions[name] for name in names]
        title = f"`{section}`" if section else "The run"
        about = f"{ast.get_docstring(found[0][0])}\n\n" if section else ""
        rows = [
            _row(section, field, text)
            for node, source in found
            for field, text in comments_of(node, source)
        ]
        head = "| field | default | accepted | meaning |\n|---|---|---|---|\n"
        parts.append(f"## {title}\n\n{about}{head}{''.join(rows)}")
    return "\n".join(parts)


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef)


def comments_of(node: ast.FunctionDef, source: str) -> Iterator[tuple[str, str]]:
    """Yields each field that a function sets, and the comment before it."""
    lines = source.splitlines()
    for statement in node.body:
        match = re.fullmatch(r"    \w+\.(\w+) = (?!\w+\(\)$).*", lines[statement.lineno - 1])
        if not match:
            continue
        above: list[str] = []
        for line in reversed(lines[: statement.lineno - 1]):
            if not line.startswith("    # "):
                break
            above.insert(0, line.removeprefix("    # "))
        yield match[1], " ".join(above)


def _row(section: str, field: str, text: str) -> str:
    path = f"{section}.{field}" if section else field
    one = path.replace("*", "encoder")
    default = flatten(default_config())[one]
    accepted = RULES[one].expected
    if accepted == ANYTHING.expected:
        accepted = TYPE_NAMES[type(default)]
    return f"| `{path}` | `{default!r}` | {_cell(accepted)} | {_cell(text)} |\n"


def _cell(text: str) -> str:
    """Returns a text for a table of Markdown: what stands in quotes is code."""
    text = re.sub(r"'[^']*'", lambda match: f"`{match[0]}`", text)
    text = re.sub(r"(?<![`\w/'])([a-z_]+\.[a-z_]+(?:\.[a-z_]+)*)(?=[\s,;.)]|$)", r"`\1`", text)
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(manual())
