import io
import os
import threading
import time

import pytest

from seqjax import line_input
from seqjax.errors import UserError
from seqjax.line_input import LineInput


def reading(data):
    return LineInput(io.TextIOWrapper(io.BytesIO(data)))


def everything(reader, most=3):
    found = []
    while (lines := reader.take(most, 10.0)) is not None:
        assert 1 <= len(lines) <= most
        found += lines
    return found


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"\xef\xbb\xbfa\r\nb\r\n\xef\xbb\xbfc\n", ["a", "b", "\ufeffc"]),
        ("a\u2028b\x85c\rd\x0be\n".encode(), ["a\u2028b\x85c\rd\x0be"]),
        (b"\n".join([b"x"] * 10), ["x"] * 10),
    ],
)
def test_only_a_line_feed_ends_a_line(data, lines):
    assert everything(reading(data)) == lines


def test_lines_longer_than_a_block_and_blocks_of_many_lines(monkeypatch):
    monkeypatch.setattr(line_input, "_BLOCK", 7)
    lines = ["x" * length for length in (0, 1, 6, 7, 8, 50, 3, 2, 1, 0)]
    assert everything(reading("\n".join([*lines, ""]).encode()), 4) == lines


def test_a_batch_is_what_is_there_when_input_pauses():
    given, taken = os.pipe()
    with open(given) as stream, open(taken, "wb", buffering=0) as pipe:
        reader = LineInput(stream)
        assert reader.take(10, 0.01) == []
        pipe.write(b"a\nb\nbegun")
        assert reader.take(10, 10.0) == ["a", "b"]
        pipe.write(b" and ended\nc\n")
        assert reader.take(1, 10.0) == ["begun and ended"]
        assert reader.take(10, 10.0) == ["c"]
        assert reader.take(10, 0.01) == []


def test_a_steady_stream_is_answered_too(monkeypatch):
    monkeypatch.setattr(line_input, "LONGEST", 0.2)
    given, taken = os.pipe()

    def write():
        with open(taken, "wb", buffering=0) as pipe:
            for _ in range(40):
                pipe.write(b"x\n")
                time.sleep(0.02)

    writing = threading.Thread(target=write)
    with open(given) as stream:
        writing.start()
        reader = LineInput(stream)
        assert 1 <= len(reader.take(1000, 10.0)) < 40
        writing.join()
        everything(reader)


def test_a_line_that_is_not_utf_8_is_named():
    reader = reading(b"a\nb\nc\xff\n")
    assert reader.take(2, 10.0) == ["a", "b"]
    with pytest.raises(UserError, match="^standard input:3: expected UTF-8"):
        reader.take(2, 10.0)


@pytest.mark.parametrize("failure", [OSError(5, "gone"), ValueError("gone")])
def test_a_stream_that_fails_gives_what_came_before(failure):
    class Failing(io.RawIOBase):
        blocks = [b"a\nb", failure]

        def readable(self):
            return True

        def readinto(self, buffer):
            block = self.blocks.pop(0)
            if isinstance(block, Exception):
                raise block
            buffer[: len(block)] = block
            return len(block)

    reader = LineInput(io.TextIOWrapper(io.BufferedReader(Failing())))
    assert reader.take(5, 10.0) == ["a", "b"]
    with pytest.raises(type(failure), match="gone"):
        reader.take(5, 10.0)


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_a_closed_stream_is_a_mistake(stream):
    if stream is not None:
        stream.close()
    with pytest.raises(UserError, match="^input: expected one sentence a line; it is closed$"):
        LineInput(stream, "input")
