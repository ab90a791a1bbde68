"""Text that is shown while its tokens are being generated, and stop strings."""

import os
import unicodedata
from collections.abc import Callable, Sequence


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """Returns what comes before the first stop string; all of the text if it has none."""
    found = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


class IncrementalText:
    """The text of tokens that arrive one by one, given out as soon as no further token changes it.

    The last token may be part of a character, a ligature or an accent that the next one completes,
    so its text waits for one more token. The parts together are `decode` of all tokens, up to the
    first stop string. Every token decodes all of them again: quadratic, but little beside a model.

    Attributes:
      stopped: whether a stop string has come; nothing follows.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()):
        """Begins with an empty text.

        Args:
          decode: `Tokenizer.decode`.
          stops: strings, not empty, at the first of which the text ends; it is left out.
        """
        self.stopped = False
        self._decode = decode
        self._stops = stops
        self._ids: list[int] = []
        self._text = ""
        self._shown = 0

    def add(self, ids: Sequence[int]) -> str:
        """Returns the text that further tokens have made final."""
        before = self._text
        for token in ids:
            self._ids.append(token)
            before, self._text = self._text, self._decode(self._ids)
        certain = os.path.commonprefix([before, self._text[: _last_starter(self._text)]])
        # A character of which the first bytes are known.
        return self._show(certain.rstrip("\ufffd"), final=False)

    def end(self) -> str:
        """Returns the rest of the text, after the last token."""
        return self._show(self._text, final=True)

    def _show(self, text: str, final: bool) -> str:
        if self.stopped:
            return ""
        kept = cut_at_stop(text, self._stops)
        self.stopped = len(kept) < len(text)
        if not final and not self.stopped:
            kept = kept[: len(kept) - self._begun(kept)]
        new = kept[self._shown :]
        self._shown = max(self._shown, len(kept))
        return new

    def _begun(self, text: str) -> int:
        """Returns how many characters at the end may belong to a stop string."""
        longest = max(map(len, self._stops), default=0)
        for count in range(min(longest - 1, len(text)), 0, -1):
            if any(stop.startswith(text[-count:]) for stop in self._stops):
                return count
        return 0


def _last_starter(text: str) -> int:
    """Returns the place of the last character that is no accent.

    Accents that follow may combine with it, or change their order.
    """
    place = max(len(text) - 1, 0)
    while place and unicodedata.combining(text[place]):
        place -= 1
    return place
