"""A terminal that what is shown can be redrawn on."""

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.live import Live


def start_live(stream: TextIO) -> "Live | None":
    """Returns a display that is redrawn in place, None where the stream is no terminal for that."""
    # A dumb terminal cannot go back to redraw a line.
    if not stream.isatty() or os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        return None
    # Imported here: without a terminal nothing of it is needed.
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
