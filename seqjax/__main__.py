"""Runs a verb wherever seqjax can be imported: `python -m seqjax train --config=...`."""

import sys

from seqjax.commands.command_line import main

if __name__ == "__main__":
    sys.exit(main())
