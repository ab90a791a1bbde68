"""Sample outputs: an example's source, its reference, and what the model made of it."""

from collections.abc import Iterator, Sequence

from seqjax.reporting.predictions import one_line

_NAMES = ("source", "reference", "output")
# Source, reference, output.
Sample = tuple[str, str, str]


def sample_lines(samples: Sequence[Sample], longest: int = 0) -> Iterator[str]:
    """Yields three lines for each sample, and an empty line after it.

    Args:
      samples: the texts.
      longest: characters of a text that are shown; 0 shows all.
    """
    for sample in samples:
        for name, text in zip(_NAMES, sample, strict=True):
            line = one_line(text)
            cut = longest and len(line) > longest
            yield f"{name:>9}  {line[: longest - 1] + '…' if cut else line}".rstrip()
        yield ""


def sample_text(samples: Sequence[Sample]) -> str:
    """Returns samples as Markdown, verbatim: what looks like markup is text."""
    lines = "\n".join(sample_lines(samples)).rstrip()
    return "".join(f"    {line}\n" for line in lines.splitlines())
