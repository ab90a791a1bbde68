"""TensorBoard's event files: records of protocol buffers, each a length, an event and checksums.

They are written in the thread that calls, without a queue. A writer thread that dies of a full disk
would leave a full queue behind, and a training that waits for room in it for ever.
"""

import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqjax.files import GrowingFile, rewrite_file

# A record is a length (8 bytes), its checksum (4), the event, and its checksum (4).
_HEAD, _TAIL = 12, 4


class EventFile:
    """A new event file, for the steps that a session of a run does."""

    def __init__(self, directory: Path, first_step: int):
        """Opens the file; `first_step` updates are done.

        Events of later steps are taken out of the files that earlier sessions left, since those
        steps are run again.
        """
        # Imported here: it takes a third of a second and may be switched off.
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        directory.mkdir(parents=True, exist_ok=True)
        forget_later_steps(directory, first_step)
        # TensorBoard reads files in the order of their names. Two may begin in the same second.
        number = len(list(directory.glob("*")))
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{number}"
        self._file = GrowingFile(directory / name)
        self._add(Event(file_version="brain.Event:2"))
        # A TensorBoard that is open has read the forgotten events: it hides them from this step on.
        start = SessionLog(status=SessionLog.START)
        self._add(Event(session_log=start, step=first_step + 1))

    def write(self, step: int, values: Mapping[str, int | float | str]) -> None:
        """Adds numbers by name; strings are left out."""
        from tensorboardX import summary

        for name, value in values.items():
            if not isinstance(value, str):
                self._summarize(step, summary.scalar(name, value))

    def text(self, step: int, name: str, text: str) -> None:
        """Adds a text, which TensorBoard shows as Markdown."""
        from tensorboardX import summary

        self._summarize(step, summary.text(name, text))

    def hyperparameters(self, fields: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """Adds the fields of the config, and the names of the metrics to compare runs by."""
        from tensorboardX import summary

        plain = {
            path: value
            if isinstance(value, bool | int | float | str)
            else ",".join(map(str, value))
            for path, value in fields.items()
        }
        # The last part would say that the run has ended.
        for part in summary.hparams(plain, dict.fromkeys(metrics, 0))[:2]:
            self._summarize(0, part)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _summarize(self, step: int, summary) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._add(Event(summary=summary, step=step))

    def _add(self, event) -> None:
        event.wall_time = time.time()
        self._file.write(_record(event.SerializeToString()))


def forget_later_steps(directory: Path, first_step: int) -> None:
    """Removes the events of steps after `first_step`, and what a kill left of a last record."""
    for path in directory.glob("*tfevents*"):
        before = path.read_bytes()
        after = b"".join(record for record, step in read_records(before) if step <= first_step)
        rewrite_file(path, before, after)


def read_records(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Yields each record of an event file with the step of its event, up to one that is broken."""
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.event_pb2 import Event

    start = 0
    while start + _HEAD <= len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        end = start + _HEAD + length + _TAIL
        if end > len(content):
            return
        try:
            event = Event.FromString(content[start + _HEAD : end - _TAIL])
        except DecodeError:
            return
        yield content[start:end], event.step
        start = end


def _record(event: bytes) -> bytes:
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(event))
    checksums = (struct.pack("<I", masked_crc32c(part)) for part in (length, event))
    return length + next(checksums) + event + next(checksums)
