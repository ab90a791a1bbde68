"""The parser of a verb's options, whose errors are worded as all mistakes are."""

import argparse
import ast
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from seqjax.config import default_config
from seqjax.errors import UserError, did_you_mean
from seqjax.fields import flatten
from seqjax.hints import hint


def _expected_number(option: str, kind: str, value: str) -> str:
    kinds = {"int": "a whole number", "float": "a number"}
    return f"{option}={ast.literal_eval(value)}: expected {kinds.get(kind, 'another value')}"


def _expected_choice(option: str, value: str, choices: str) -> str:
    *others, last = [choice.strip("'") for choice in choices.split(", ")]
    accepted = f"{', '.join(others)} or {last}" if others else last
    return f"{option}={ast.literal_eval(value)}: expected {accepted}"


# What argparse says of a mistake, and what is printed in its place.
_OPTION = r"argument (?:\S+/)?(\S+): "
_REFUSED: tuple[tuple[str, Callable[..., str]], ...] = (
    (_OPTION + r"invalid (\S+) value: (.*)", _expected_number),
    (_OPTION + r"invalid choice: (.*) \(choose from (.*)\)", _expected_choice),
    (_OPTION + r"expected (?:one|at least one) argument", "{}: expected a value".format),
    (
        _OPTION + r"ignored explicit argument (.*)",
        lambda option, value: f"{option}={ast.literal_eval(value)}: expected no value",
    ),
    (
        r"the following arguments are required: ([^,]+)(?:, .*)?",
        "{}: expected a value, since it is required".format,
    ),
)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are reported as all mistakes are: one line, exit code 2."""

    def parse_args(self, args: Sequence[str]) -> argparse.Namespace:
        arguments, unknown = self.parse_known_args(args)
        if unknown:
            hint = self._meant(unknown[0]) or f"; see {self.prog} --help"
            raise UserError(f"{' '.join(unknown)}: expected an option of {self.prog}{hint}")
        return arguments

    def _meant(self, argument: str) -> str:
        """Returns a hint at an option, or at the field that an option of this name would set."""
        option = argument.partition("=")[0]
        options = [name for action in self._actions for name in action.option_strings]
        known = flatten(default_config())
        name = option.lstrip("-")
        if name in known:
            return f"; did you mean --config.{name}?"
        return did_you_mean(option, options) or re.sub(
            r"'(\S+)'", r"--config.\1", hint(name, known)
        )

    def error(self, message: str) -> NoReturn:
        for pattern, mistake in _REFUSED:
            if found := re.fullmatch(pattern, message, flags=re.DOTALL):
                raise UserError(mistake(*found.groups()))
        raise UserError(f"{message} (see {self.prog} --help)")
