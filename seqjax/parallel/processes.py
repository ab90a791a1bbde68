"""Processes on several hosts that run one program."""

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
from seqjax.stages import say, silence

_Made = TypeVar("_Made")

# Seconds that processes wait for each other at the start.
_PATIENCE = 300
# Seconds that a failing process waits for others to fail as well.
_PARTING = 10


class Processes(NamedTuple):
    """How a process finds the others.

    Attributes:
      count: a number, or 'auto' to ask the cluster (SLURM, Kubernetes, TPU, Open MPI).
      number: number of this process, from 0; only with a given count.
      coordinator: HOST:PORT of process 0; only with a given count.
    """

    count: str = "1"
    number: int = -1
    coordinator: str = ""

    def check(self) -> None:
        """Raises a UserError if the three do not fit together."""
        number = self.count.isascii() and self.count.isdigit() and int(self.count) > 0
        if self.count != "auto" and not number:
            raise UserError(f"--processes={self.count}: expected a number from 1, or 'auto'")
        if self.count in ("1", "auto"):
            if self.number != -1 or self.coordinator:
                raise UserError(
                    f"--processes={self.count}: expected a number above 1 with --process and"
                    " --coordinator"
                )
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
def joined(processes: Processes, report: Callable[[BaseException], int]) -> Iterator[None]:
    """Joins the other processes for the time of a block; each sees the devices of all.

    Args:
      processes: how the others are found.
      report: prints an error and returns its exit code. Each process prints an error common to all.
        A process that fails alone exits without waiting for the others.

    Raises:
      UserError: no cluster is found.
      Unavailable: the others do not join. If one vanishes later, this process exits the same way.
    """
    processes.check()
    if processes.count == "1":
        yield
        return
    import jax

    partners = Partners(report)
    with partners.watched(), _own_standard_output():
        _join(processes)
        try:
            yield
            jax.distributed.shutdown()
        except BaseException as error:
            reported = lost(error)
            code = partners.report(reported)
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.flush()
            if reported is error:
                _part()
            os._exit(code)


def _part() -> None:
    """Waits briefly for the others to leave as well.

    Process 0 runs the service that joins all; when it exits, the runtime kills the processes that
    still use the service.
    """
    import jax

    def leave():
        with suppress(Exception):  # The others may be gone; only the original error matters.
            jax.distributed.shutdown()

    leaving = threading.Thread(target=leave, daemon=True)
    leaving.start()
    leaving.join(_PARTING)


@contextmanager
def _own_standard_output() -> Iterator[None]:
    """Reserves standard output for results: libraries such as Gloo print messages there."""
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
        say(
            f"process {processes.number} of {processes.count}: waiting for the others at"
            f" {processes.coordinator}",
            always=True,
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
            f"--processes=auto: expected SLURM, Kubernetes, a TPU or Open MPI ({error}); elsewhere"
            " give the number, with --process and --coordinator"
        ) from error
    except Exception as error:  # The runtime passes on any exception of its transport.
        raise Unavailable(
            f"the processes could not join within {_PATIENCE} s: {str(error).splitlines()[0]}"
        ) from error
    if not is_first():
        silence()


def _check_coordinator(processes: Processes) -> None:
    """Raises an error if the host is unknown or the port in use; JAX would exit silently."""
    host, _, port = processes.coordinator.rpartition(":")
    where = f"--coordinator={processes.coordinator}"
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except OSError as error:
        raise Unavailable(
            f"{where}: expected a known host, {host} was not found ({error.strerror})"
        ) from error
    if processes.number == 0:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("", int(port)))
            except OSError as error:
                raise UserError(
                    f"{where}: expected a free port, process 0 cannot listen on {port}"
                    f" ({error.strerror})"
                ) from error


def is_first() -> bool:
    """Returns whether this is the process that writes files and prints."""
    import jax

    return jax.process_index() == 0


def is_alone() -> bool:
    """Returns whether there is one process only."""
    import jax

    return jax.process_count() == 1


def all_leave(step: int) -> bool:
    """Returns whether all processes must stop after this step because one received SIGTERM.

    Every process must call this after every step; they agree on one step.
    """
    from jax.experimental import multihost_utils

    return multihost_utils.reached_preemption_sync_point(step)


def barrier(name: str) -> None:
    """Waits until all processes have reached this call."""
    import jax

    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def shared(make: Callable[[], _Made]) -> _Made:
    """Returns the result of `make` in the first process to all; every process must call this.

    An exception there is raised in all, so that no process is left waiting.
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
    """Returns the content of the first process to all; every process must call this."""
    import jax

    if jax.process_count() == 1:
        return content
    import numpy as np
    from jax.experimental.multihost_utils import broadcast_one_to_all

    length = int(broadcast_one_to_all(np.int32(len(content))))
    own = np.frombuffer(content if is_first() else bytes(length), np.uint8)
    return np.asarray(broadcast_one_to_all(own)).tobytes()
