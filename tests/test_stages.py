"""Lines about work that takes long."""

import sys
import time

import pytest

from seqjax import stages


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Has the first line come after a moment, so that no test waits for seconds."""
    monkeypatch.setattr(stages, "FIRST", 0.05)
    monkeypatch.setattr(stages, "NEXT", 0.05)


def test_short_work_prints_nothing(capsys):
    with stages.stage("reading", 10, "lines") as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")


def test_long_work_prints_its_count_and_its_end_to_standard_error(capsys):
    with stages.stage("reading train.de", 4000, "lines") as advance:
        advance(1000)
        time.sleep(0.2)
    out, err = capsys.readouterr()
    first, *_, last = err.splitlines()
    assert first == "reading train.de: 1,000 of 4,000 lines, 0 s left"
    assert last == "reading train.de: done in 0 s"
    assert out == ""


def test_work_without_a_count_prints_the_time_so_far(capsys):
    with stages.stage("compiling the update"):
        time.sleep(0.1)
    assert capsys.readouterr().err.startswith("compiling the update: 0 s so far\n")


def test_work_that_fails_is_not_called_done(capsys):
    with pytest.raises(KeyError), stages.stage("saving"):
        time.sleep(0.1)
        raise KeyError
    assert "done" not in capsys.readouterr().err


def test_nothing_breaks_without_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with stages.stage("saving"):
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("state", "written"),
    [
        ((30, 120, "lines", 10.0), "30 of 120 lines, 30 s left"),
        ((30, 0, "lines", 100.0), "30 lines, 1 min 40 s so far"),
        ((120, 120, "", 10.0), "120 of 120, 10 s so far"),
        ((0, 120, "lines", 10.0), "10 s so far"),
    ],
)
def test_what_a_line_says(state, written):
    assert stages._state(*state) == written


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (130, "2 min 10 s"),
        (599.7, "10 min"),
        (3599, "1 h 0 min"),
        (11520, "3 h 12 min"),
        (172_800, "2 d 0 h"),
    ],
)
def test_times_are_short(seconds, text):
    assert stages.write_seconds(seconds) == text


def test_a_silenced_process_prints_errors_alone(capsys, monkeypatch):
    monkeypatch.setattr(stages, "_silent", True)
    stages.say("warning")
    stages.say("error", always=True)
    assert capsys.readouterr() == ("", "error\n")
