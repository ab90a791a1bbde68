"""Writes docs/CONFIG.md, every field of a config with its default, what it accepts and means.

    python -m seqjax.config_manual > docs/CONFIG.md

The meaning of a field and what it accepts stand in the file that declares it: see `seqjax.config`.
"""

import re
import sys

from seqjax.config import SECTIONS, declared_fields
from seqjax.fields import TYPE_NAMES
from seqjax.rules import ANYTHING, Field

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


def manual() -> str:
    """Returns the page."""
    parts = [_INTRODUCTION]
    for section, (about, _) in SECTIONS.items():
        title = f"`{section}`" if section else "The run"
        about = f"{about}\n\n" if about else ""
        rows = [_row(path, field) for path, field in declared_fields(section).items()]
        head = "| field | default | accepted | meaning |\n|---|---|---|---|\n"
        parts.append(f"## {title}\n\n{about}{head}{''.join(rows)}")
    return "\n".join(parts)


def _row(path: str, field: Field) -> str:
    accepted = field.rule.expected
    if accepted == ANYTHING.expected:
        accepted = TYPE_NAMES[type(field.default)]
    return f"| `{path}` | `{field.default!r}` | {_cell(accepted)} | {_cell(field.meaning)} |\n"


def _cell(text: str) -> str:
    """Returns a text for a table of Markdown: what stands in quotes is code."""
    text = re.sub(r"'[^']*'", lambda match: f"`{match[0]}`", text)
    text = re.sub(r"(?<![`\w/'])([a-z_]+\.[a-z_]+(?:\.[a-z_]+)*)(?=[\s,;.)]|$)", r"`\1`", text)
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(manual())
