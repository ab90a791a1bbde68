"""The side of a contest that works: waits for its turn, does some work, says how long it took.

It needs the standard library only, since it also runs where seqjax is not installed.
"""

import json
import os
import sys
import time
from collections.abc import Callable

Work = Callable[[int], dict]


def serve(prepare: Callable[[dict], tuple[dict, Work]]) -> None:
    """Prepares, says so on standard output, then takes turns until standard input ends.

    Args:
      prepare: maps the sizes (JSON, first argument of the program) to what is to be told about
        this contender and its work: amount -> figures of this turn. The work is warm by then, and
        is done when it returns.
    """
    # Libraries may print: only replies go to the standard output that the contest reads.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(message: dict) -> None:
        print(json.dumps(message), file=replies, flush=True)

    about, work = prepare(json.loads(sys.argv[1]))
    reply(about)
    for line in sys.stdin:
        start = time.perf_counter()
        figures = work(int(line))
        reply({"seconds": time.perf_counter() - start, **figures})


def threads() -> int:
    """Returns how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
