"""Output that is redrawn in place on a terminal."""

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.live import Live


def start_live(stream: TextIO) -> "Live | None":
    """Returns a display that is redrawn in place, None if the stream is no such terminal."""
    # A dumb terminal cannot go back to redraw a line.
    if not stream.isatty() or os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        return None
    # Imported here: it is needed on a terminal only.
    from rich.console import Console
    from rich.live import Live

    live = Live(
        console=Console(file=stream, force_terminal=True),
        auto_refresh=False,
        # Standard output is for results; only what shares the stream must not break the display.
        redirect_stdout=False,
        redirect_stderr=stream is sys.stderr,
    )
    live.start()
    return live
