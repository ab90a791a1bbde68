"""Runs a verb of seqjax from a checkout: `python launch.py train --config=configs/demo.py ...`."""

import sys

from seqjax.commands.command_line import main

if __name__ == "__main__":
    sys.exit(main())
