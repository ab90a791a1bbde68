"""YAML that says the same to every parser, whatever the values are.

Parsers disagree about plain scalars: to YAML 1.1 `no` is false and `1e3` may be a string, to the
YAML of Go both differ. Strings are therefore quoted unless they are plain words, and a file is pure
ASCII. Scripts of several lines keep their lines.
"""

import re
import sys
from collections.abc import Mapping
from typing import Any

import yaml

# Begins with a letter, so that it is neither a number nor a date.
_PLAIN = re.compile(r"[A-Za-z][\w./-]*", re.ASCII)
_WORDS = ("y", "yes", "n", "no", "on", "off", "true", "false", "null", "inf", "nan")
# Lines that a block can hold as they are: printable ASCII without spaces at an end of line.
_LINE = r"[!-~](?:[ -~]*[!-~])?\n"
_BLOCK = re.compile(f"{_LINE}(?: *{_LINE})*")


class _Dumper(yaml.SafeDumper):
    """Writes strings by the rules above, and lists farther in than their name."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"'
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        style = ""
    elif _BLOCK.fullmatch(value):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _string)


def manifest(*documents: Mapping[str, Any], comment: str = "") -> str:
    """Returns documents as one YAML file, with the lines of a comment at its head."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    return head + yaml.dump_all(
        documents,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        # Folded lines would be harder to read than long ones.
        width=sys.maxsize,
    )
