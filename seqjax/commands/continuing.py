"""What `predict` does with the lines of a language model: it goes on from each of them."""

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import ml_collections

from seqjax.errors import UserError
from seqjax.reporting.predictions import one_line

if TYPE_CHECKING:
    from seqjax.evaluation.generator import Continuation
    from seqjax.training.trained import Trained


def check_options(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> None:
    """Raises UserError if an option is for translation."""
    for option in ("n_best", "attention"):
        if (value := getattr(arguments, option)) is not None:
            raise UserError(
                f"--{option}={value}: expected no such option with task = {config.task!r}"
            )
    if arguments.samples is not None and arguments.samples < 1:
        raise UserError(f"--samples={arguments.samples}: expected 1 or more")


class Answers:
    """Continues lines by samples."""

    # What is done is printed before the next ones are begun.
    most = 256

    def __init__(self, arguments: argparse.Namespace, trained: "Trained"):
        from seqjax.evaluation.generator import Generator

        self._params, self._samples = trained.params, arguments.samples
        self.live = arguments.samples is None
        self._generator = Generator(trained.task, trained.mesh, arguments.samples or 1)
        self._count = self._last = 0

    def __call__(self, lines: Sequence[str]) -> list[str]:
        """Returns what is printed for each line: the line and its continuation."""
        self._last = len(lines)
        name = f"continuing lines {self._count + 1:,} to {self._count + len(lines):,}"
        found = self._generator(self._params, lines, name)
        if self._samples:
            return [_as_json(*pair) for pair in zip(lines, found, strict=True)]
        return [one_line(line + best.text) for line, (best,) in zip(lines, found, strict=True)]

    def parts(self, line: str) -> Iterator[str]:
        """Yields a line, then its continuation as it is drawn."""
        parts = self._generator.stream(self._params, line)
        # What is reported before the first part must not stand behind the line.
        yield line + next(parts, "")
        yield from parts

    def printed(self) -> None:
        """Counts what has been printed."""
        self._count += self._last

    def finish(self) -> None:
        """Has nothing left to do."""


def _as_json(prompt: str, found: "list[Continuation]") -> str:
    outputs = [
        {
            "text": continuation.text,
            "log_probability": continuation.log_probability,
            "length": len(continuation.tokens),
            "reason": continuation.reason,
        }
        for continuation in found
    ]
    return json.dumps({"prompt": prompt, "outputs": outputs}, ensure_ascii=False)
