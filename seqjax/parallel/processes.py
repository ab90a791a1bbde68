"""Several processes that run one program, each on the devices of its host."""

import os
import pickle
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from seqjax.errors import Unavailable, UserError
from seqjax.parallel.partners import Partners, lost
from seqjax.stages import silence

_Made = TypeVar("_Made")

# Seconds that processes wait for each other at the start.
_PATIENCE = 300
# Seconds that one that fails waits for others that fail as well.
_PARTING = 10


class Processes(NamedTuple):
    """How a process finds the others.

    Attributes:
      count: '1', a number, or 'auto': what the cluster tells (SLURM, Kubernetes, TPU, Open MPI).
      number: this process, from 0; of a given count only.
      coordinator: HOST:PORT of process 0; of a given count only.
    """

    count: str = "1"
    number: int = -1
    coordinator: str = ""

    def check(self) -> None:
        """Raises a UserError where the three do not go together."""
        number = self.count.isascii() and self.count.isdigit() and int(self.count) > 0
        if self.count != "auto" and not number:
            raise UserError(f"--processes={self.count}: expected a number from 1, or 'auto'")
        if self.count in ("1", "auto"):
            if self.number != -1 or self.coordinator:
                raise UserError("--process and --coordinator go with a number of --processes")
            return
        if not 0 <= self.number < int(self.count):
            raise UserError(
                f"--process={self.number}: expected 0 to {int(self.count) - 1},"
                f" since --processes={self.count}"
            )
        found = re.fullmatch(r".+:(\d{1,5})", self.coordinator, re.ASCII)
        if not found or not 0 < int(found[1]) < 2**16:
            raise UserError(
                f"--coordinator={self.coordinator}: expected HOST:PORT of process 0,"
                f" since --processes={self.count}"
            )


@contextmanager
def joined(processes: Processes, tell: Callable[[BaseException], int]) -> Iterator[None]:
    """Joins the other processes, of which each sees the devices of all, and leaves them.

    Args:
      processes: how they are found.
      tell: reports an error and returns the exit code for it. What is wrong for all is reported by
        each; if the others do not fail, one that does leaves without them.

    Raises:
      UserError: no cluster is found.
      Unavailable: the others do not come. One that vanishes later ends this process likewise.
    """
    processes.check()
    if processes.count == "1":
        yield
        return
    import jax

    partners = Partners(tell)
    with partners.watched(), _own_standard_output():
        _join(processes)
        try:
            yield
            jax.distributed.shutdown()
        except BaseException as error:
            told = lost(error)
            code = partners.tell(told)
            sys.stdout.flush()
            sys.stderr.flush()
            if told is error:
                _part()
            os._exit(code)


def _part() -> None:
    """Waits a moment until the others leave too.

    With process 0 ends the service that joins all, and the runtime kills those that still need it.
    """
    import jax

    def leave():
        with suppress(Exception):  # The others may be gone; it is the error before that counts.
            jax.distributed.shutdown()

    leaving = threading.Thread(target=leave, daemon=True)
    leaving.start()
    leaving.join(_PARTING)


@contextmanager
def _own_standard_output() -> Iterator[None]:
    """Keeps standard output for results: libraries below Python (Gloo) report there."""
    sys.stdout.flush()
    results, before = os.dup(1), sys.stdout
    os.dup2(2, 1)
    with os.fdopen(results, "w", encoding="utf-8", newline="\n") as sys.stdout:
        try:
            yield
        finally:
            sys.stdout.flush()
            os.dup2(sys.stdout.fileno(), 1)
            sys.stdout = before


def _join(processes: Processes) -> None:
    import jax

    given = {}
    if processes.count != "auto":
        print(
            f"process {processes.number} of {processes.count}: waiting for the others at"
            f" {processes.coordinator}",
            file=sys.stderr,
            flush=True,
        )
        _check_coordinator(processes)
        given = {
            "coordinator_address": processes.coordinator,
            "num_processes": int(processes.count),
            "process_id": processes.number,
        }
    try:
        jax.distributed.initialize(**given, initialization_timeout=_PATIENCE)
    except ValueError as error:
        if given:
            raise Unavailable(f"the processes could not join: {error}") from error
        raise UserError(
            f"--processes=auto: no SLURM, Kubernetes, TPU or MPI tells of others ({error});"
            " give their number, with --process and --coordinator"
        ) from error
    except Exception as error:  # The runtime raises what its transport raised.
        raise Unavailable(
            f"the processes could not join within {_PATIENCE} s: {str(error).splitlines()[0]}"
        ) from error
    if not is_first():
        silence()


def _check_coordinator(processes: Processes) -> None:
    """Raises where JAX would end without a word: an unknown host, a port that is taken."""
    host, _, port = processes.coordinator.rpartition(":")
    where = f"--coordinator={processes.coordinator}"
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except OSError as error:
        raise Unavailable(f"{where}: {host} is not found ({error.strerror})") from error
    if processes.number == 0:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("", int(port)))
            except OSError as error:
                raise UserError(
                    f"{where}: process 0 cannot listen at port {port} ({error.strerror});"
                    " expected a free one"
                ) from error


def is_first() -> bool:
    """Returns whether this process is the one that writes and speaks."""
    import jax

    return jax.process_index() == 0


def all_leave(step: int) -> bool:
    """Returns whether all processes are to stop after so many steps, since some got SIGTERM.

    Every one of several has to ask after every step: they agree on one.
    """
    from jax.experimental import multihost_utils

    return multihost_utils.reached_preemption_sync_point(step)


def barrier(name: str) -> None:
    """Returns when all processes have come here."""
    import jax

    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def shared(make: Callable[[], _Made]) -> _Made:
    """Returns in every process what `make` returns in the first; all have to ask.

    What it raises there is raised in all: none is left waiting for one that has gone.
    """
    import jax

    if jax.process_count() == 1:
        return make()
    made: tuple[bool, Any] = False, None
    if is_first():
        try:
            made = True, make()
        except BaseException as error:
            made = False, error
    passed, found = pickle.loads(from_first(pickle.dumps(made)))
    if not passed:
        raise made[1] or found
    return found


def from_first(content: bytes) -> bytes:
    """Returns what the first process has; all have to ask."""
    import jax

    if jax.process_count() == 1:
        return content
    import numpy as np
    from jax.experimental.multihost_utils import broadcast_one_to_all

    length = int(broadcast_one_to_all(np.int32(len(content))))
    own = np.frombuffer(content if is_first() else bytes(length), np.uint8)
    return np.asarray(broadcast_one_to_all(own)).tobytes()
