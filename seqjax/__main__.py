"""Runs a verb from anywhere: `python -m seqjax train --config=...`."""

import sys

from seqjax.commands.command_line import main
from seqjax.studies.launcher import end_with_launcher

if __name__ == "__main__":
    end_with_launcher()
    sys.exit(main())
