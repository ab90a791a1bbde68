import io

from seqjax.studies.board import Board, Line

_LINES = [Line("trial-0001", "train", "40", "2.500", "2.250")]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_elsewhere_events_and_what_is_said_are_lines(tmp_path, capsys):
    for several, prefix in ((False, ""), (True, "trial-0001: ")):
        with Board(several, "loss") as board:
            board.say("[1/2] trial-0001: train")
            board.said([tmp_path / "trial-0001"], "step 1/2")
            board.show("study", _LINES)
        assert capsys.readouterr() == ("", f"[1/2] trial-0001: train\n{prefix}step 1/2\n")
    assert (tmp_path / "trial-0001" / "log.txt").read_text() == "step 1/2\nstep 1/2\n"


def test_a_line_that_another_trial_has_printed_is_not_shown_again(tmp_path, capsys):
    a, b = [tmp_path / "a"], [tmp_path / "b"]
    said = ["seqjax 0.1.0: train s.py in runs/a", "corpus: pairs 500", "reading x: 5 s so far"]
    said += ["complete at step 9; what comes next:", "  tensorboard --logdir=runs/a"]
    said += ["  echo 'one' | python launch.py predict --workdir=runs/a"]
    said += ["seqjax: error: none"]
    with Board(False, "loss") as board:
        for folders in (a, a, b):
            for line in said:
                board.said(folders, line)
        board.said(b, "corpus: pairs 600")
    progress = "reading x: 5 s so far\n"
    shown = f"corpus: pairs 500\n{progress}" * 2 + f"{progress}corpus: pairs 600\n"
    assert capsys.readouterr().err == shown
    # Each log is whole.
    assert (tmp_path / "b" / "log.txt").read_text().splitlines() == [*said, "corpus: pairs 600"]


def test_on_a_terminal_what_runs_is_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    with Board(True, "exact_match", stream) as board:
        board.say("[1/2] trial-0001: train")
        board.said([tmp_path / "trial-0001"], "step 1/2")
        board.show("study: 1 running", _LINES)
    board.say("best: trial-0001")
    text = stream.getvalue()
    for part in ("[1/2] trial-0001: train", "study: 1 running", "exact match now", "2.250"):
        assert part in text
    assert "step 1/2" not in text
    assert (tmp_path / "trial-0001" / "log.txt").read_text() == "step 1/2\n"
    assert capsys.readouterr().err == "best: trial-0001\n"


def test_a_log_that_cannot_be_written_is_one_warning(tmp_path, capsys, caplog):
    (tmp_path / "a" / "log.txt").mkdir(parents=True)
    with Board(False, "loss") as board:
        for step in (1, 2):
            board.said([tmp_path / "a", tmp_path / "b"], f"step {step}")
    assert (tmp_path / "b" / "log.txt").read_text() == "step 1\nstep 2\n"
    assert capsys.readouterr().err == "step 1\nstep 2\n"
    (warning,) = caplog.messages
    assert warning == f"{tmp_path}/a/log.txt: not written (Is a directory)"
