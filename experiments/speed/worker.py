"""The working side of a contest: waits for its turn, works, reports the time.

It uses the standard library alone, since it also runs without seqjax.
"""

import json
import os
import sys
import time
from collections.abc import Callable

Work = Callable[[int], dict]


def serve(prepare: Callable[[dict], tuple[dict, Work]]) -> None:
    """Prepares, replies on standard output, then takes turns until standard input ends.

    Args:
      prepare: maps the sizes (JSON, first argument of the program) to facts about this contender
        and a function from an amount of work to the figures of a turn. The function is warmed up,
        and returns when the work is done.
    """
    # Libraries may print; only replies go to the standard output that the contest reads.
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
    """Returns the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
