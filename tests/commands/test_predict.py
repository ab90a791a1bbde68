import io
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import seqjax
from seqjax.commands.command_line import main

_ROOT = Path(__file__).parents[2]
_LINES = [
    "The neighbors know that children sent the sisters the window.",
    "A woman leaves.",
    "Twenty-four cats work in a castle.",
    "Today uncles sell a lamp.",
    "Every day the students wait for the sad brother.",
    "The teachers who can speak with the dog run into this garden.",
]


@pytest.fixture
def predict(trained, monkeypatch, capfdbinary):
    """Returns a function from bytes and options: exit code, output, standard error."""

    def run(data, *options):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = main(["predict", f"--workdir={trained}", *options])
        out, error = capfdbinary.readouterr()
        return code, out.decode("utf-8"), error.decode("utf-8")

    return run


@pytest.fixture
def alone(predict):
    """What each line gives in one call of its own batch."""
    code, out, _ = predict(_bytes(_LINES))
    assert code == 0
    return out.split("\n")[:-1]


def _without_limits(error):
    """Drops the count of outputs at their limit: a model of 150 updates likes to go on."""
    return "".join(line for line in error.splitlines(True) if "reached their limit" not in line)


def _bytes(lines):
    return "".join(line + "\n" for line in lines).encode()


def test_lines_come_out_one_for_one_in_order(predict, alone):
    assert len(alone) == len(_LINES)
    # An untrained model would say the same to all.
    assert len(set(alone)) >= 4
    assert all(alone)
    code, out, error = predict(_bytes(reversed(_LINES)))
    assert (code, _without_limits(error)) == (0, "")
    assert out.split("\n")[:-1] == alone[::-1]


def test_company_and_batch_size_change_nothing(predict, alone):
    longer = _LINES * 5 + [" and ".join(_LINES[:3])]
    for options in ([], ["--config.decode.tokens=80"]):
        code, out, _ = predict(_bytes(longer), *options)
        assert code == 0
        assert out.split("\n")[:-2] == alone * 5
    code, out, _ = predict(_bytes(_LINES[2:3]))
    assert out == alone[2] + "\n"


def test_empty_lines_stay_empty_and_whatever_ends_a_line(predict, alone):
    """Carriage returns, blanks only, and a last line without an end."""
    text = f"\n{_LINES[0]}\r\n\r\n   \n\n{_LINES[1]}"
    code, out, _ = predict(text.encode())
    assert code == 0
    assert out.split("\n") == ["", alone[0], "", "", "", alone[1], ""]


def test_a_byte_order_mark_is_no_word(predict, alone):
    code, out, _ = predict(b"\xef\xbb\xbf" + _bytes(_LINES[:1]))
    assert (code, out) == (0, alone[0] + "\n")


def test_only_a_line_feed_ends_a_line(predict):
    separators = "\u2028 \u2029 \x85 \x0b \x0c \x1c"
    text = f"The cats\u2028leave. {separators}\nA lamp.\n"
    code, out, _ = predict(text.encode())
    assert code == 0
    assert out.count("\n") == 2


def test_what_the_tokenizer_has_never_seen_is_reported(predict):
    code, out, error = predict("我喜欢\nA lamp.\n".encode())
    assert code == 0 and out.count("\n") == 2
    assert "1 source(s) with words that the vocabulary lacks, read as <unk>" in error


def test_nothing_in_nothing_out(predict):
    assert predict(b"") == (0, "", "")
    assert predict(b"\n") == (0, "\n", "")


def test_n_best_is_json_with_scores_in_order(predict, alone):
    code, out, _ = predict(_bytes([*_LINES[:2], ""]), "--n_best=3")
    assert code == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [entry["source"] for entry in found] == [*_LINES[:2], ""]
    for entry, best in zip(found[:2], alone, strict=False):
        outputs = entry["outputs"]
        assert len(outputs) == 3 and outputs[0]["text"] == best
        scores = [output["score"] for output in outputs]
        assert scores == sorted(scores, reverse=True)
        assert all(set(o) == {"text", "score", "log_probability", "length"} for o in outputs)
        for output in outputs:
            norm = ((5 + output["length"]) / 6) ** 0.6
            assert output["score"] == pytest.approx(output["log_probability"] / norm, rel=1e-4)
        texts = [(o["text"], o["length"]) for o in outputs]
        assert all(a != b for a, b in itertools.combinations(texts, 2))
    assert [output["text"] for output in found[2]["outputs"]] == [""]


def test_samples_are_as_many_as_are_asked_for(predict):
    sampling = ("--config.decode.method=sample", "--config.decode.beam_size=1")
    code, out, _ = predict(_bytes(_LINES[:2]), "--n_best=5", *sampling)
    assert code == 0
    found = [json.loads(line)["outputs"] for line in out.splitlines()]
    assert [len(outputs) for outputs in found] == [5, 5]
    code, out, _ = predict(_bytes(_LINES[1:2]), *sampling)
    assert (code, out) == (0, found[1][0]["text"] + "\n")


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (b"A lamp.\n\xff\xfe\n", [], "standard input:2: expected UTF-8 (invalid start byte)"),
        (b"", ["--n_best=4"], "--n_best=4: expected at most decode.beam_size = 3; --config.decode"),
        (b"", ["--n_best=0"], "--n_best=0: expected 1 or more"),
        (b"", ["--attention="], "--attention=: expected a local folder"),
        (b"", ["--attention=gs://maps"], "--attention=gs://maps: expected a local folder"),
        (b"", [f"--attention={__file__}"], f"--attention={__file__}: expected a local folder"),
        (b"", ["--config.model.decoder.heads=4"], "model.decoder.heads = 4: expected "),
    ],
)
def test_mistakes_are_one_line(predict, data, options, message):
    code, out, error = predict(data, *options)
    assert (code, out) == (2, "")
    assert message in error
    assert error.startswith("seqjax: error: ") and error.count("\n") == 1


def test_a_closed_standard_input_is_a_mistake(trained, monkeypatch, capfd):
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["predict", f"--workdir={trained}"]) == 2
    out, error = capfd.readouterr()
    expected = "seqjax: error: standard input: expected one sentence a line; it is closed\n"
    assert (out, error) == ("", expected)


def test_a_line_is_answered_when_input_pauses(alone, trained, monkeypatch, capfdbinary):
    """As somebody types, or a program writes a line and waits for what comes back."""
    given, taken = os.pipe()
    answers = []

    def talk():
        with open(taken, "wb", buffering=0) as pipe:
            for line in _LINES[:3]:
                pipe.write(_bytes([line]))
                deadline = time.monotonic() + 60
                while not (out := capfdbinary.readouterr().out) and time.monotonic() < deadline:
                    time.sleep(0.02)
                answers.append(out.decode())

    talking = threading.Thread(target=talk)
    talking.start()
    with open(given) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert main(["predict", f"--workdir={trained}"]) == 0
    talking.join()
    assert answers == [f"{line}\n" for line in alone[:3]]


def test_outputs_at_their_limit_are_counted(predict):
    options = ["--config.decode.max_length_ratio=0", "--config.decode.max_length_extra=2"]
    code, out, error = predict(_bytes(["", *_LINES]), *options)
    assert code == 0 and out.count("\n") == 7
    assert error == (
        "seqjax: warning: decode.max_length_ratio = 0, decode.max_length_extra = 2:"
        " 6 of 7 outputs ended because they reached their limit\n"
    )


def test_maps_that_cannot_be_written_cost_no_line(predict, alone, tmp_path):
    """Root may write anywhere: the second map finds a folder in its place."""
    (tmp_path / "2.json").mkdir()
    code, out, error = predict(_bytes(_LINES[:3]), f"--attention={tmp_path}")
    assert out.split("\n")[:-1] == alone[:3]
    first, last = _without_limits(error).splitlines()
    assert code == 2 and last == (
        f"seqjax: error: --attention={tmp_path}: maps are missing (Is a directory)"
    )
    assert first.startswith(f"seqjax: warning: {tmp_path}: map ")


def test_a_folder_of_maps_is_tried_before_any_line(predict, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, error = predict(_bytes(_LINES), f"--attention={tmp_path / 'file' / 'maps'}")
    assert (code, out) == (2, "") and error.count("\n") == 1
    assert "maps: expected a folder that can be written (Not a directory)" in error


@pytest.mark.slow
def test_of_several_processes_none_waits_for_a_line_that_is_wrong(trained):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(_ROOT / "launch.py"), "predict", f"--workdir={trained}"]
    command += ["--config.parallel.data=2", "--processes=2", f"--coordinator=127.0.0.1:{port}"]
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    processes = [
        subprocess.Popen(
            [*command, f"--process={number}"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(2)
    ]
    processes[0].stdin.write(b"A lamp.\n\xff\n")
    processes[0].stdin.close()
    for process in processes:
        error = process.stderr.read().decode()
        assert process.wait(120) == 2
        assert process.stdout.read() == b""
        lines = [line for line in error.splitlines() if line.startswith("seqjax: ")]
        assert lines == ["seqjax: error: standard input:2: expected UTF-8 (invalid start byte)"]
        assert "Traceback" not in error


@pytest.mark.slow
def test_as_a_filter_in_a_plain_locale(trained, alone):
    """Bytes in, bytes out, whatever the terminal's encoding; a reader that leaves is no error."""
    command = [sys.executable, str(_ROOT / "launch.py"), "predict", f"--workdir={trained}"]
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, error = process.communicate(_bytes(_LINES))
    start = f"seqjax {seqjax.__version__}: predict in {trained}\n"
    assert (process.returncode, _without_limits(error.decode())) == (0, start)
    assert out.decode("utf-8").split("\n")[:-1] == alone

    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    _, error = process.communicate(_bytes(_LINES))
    assert (process.returncode, error.decode()) == (141, start)


def test_attention_is_drawn_for_every_line_that_is_not_empty(predict, alone, tmp_path):
    lines = [_LINES[1], "", _LINES[3]]
    code, out, _ = predict(_bytes(lines), f"--attention={tmp_path / 'maps'}")
    assert code == 0
    assert out.split("\n")[:-1] == [alone[1], "", alone[3]]
    names = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert names == ["1.json", "1.png", "3.json", "3.png"]
    for name, line in (("1", lines[0]), ("3", lines[2])):
        content = json.loads((tmp_path / "maps" / f"{name}.json").read_text(encoding="utf-8"))
        assert "".join(content["source"]).replace("▁", " ") == f" {line}</s>"
        (weights,) = content["weights"]
        assert len(weights[0]) == len(content["output"])
        assert all(abs(sum(row) - 1) < 1e-4 for head in weights for row in head)


def test_of_nothing_no_attention_is_drawn(predict, tmp_path):
    assert predict(b"\n\n", f"--attention={tmp_path / 'maps'}") == (0, "\n\n", "")
    assert not list((tmp_path / "maps").iterdir())


def test_a_model_without_attention_says_so(tiny, capfdbinary, tmp_path):
    run = tmp_path / "run"
    fields = {f"model.{side}.kind": "lstm" for side in ("encoder", "decoder")}
    fields |= {"model.decoder.attention": "none", "train.duration": 1, "evaluation.every": 0}
    config = f"--config={_ROOT / 'configs/demo.py'}"
    train = ["train", config, f"--workdir={run}", *tiny(fields)]
    assert main(train) == 0
    capfdbinary.readouterr()
    assert main(["predict", f"--workdir={run}", f"--attention={tmp_path / 'maps'}"]) == 2
    error = capfdbinary.readouterr().err
    assert b"model.decoder.attention = 'none': expected an attention to draw" in error
    assert not (tmp_path / "maps").exists()


def test_runs_translate_as_one_model(alone, monkeypatch, trained, capfdbinary, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(trained)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(_bytes(_LINES))))
    command = ["predict", f"--workdir={tmp_path}", "--ensemble=a,b"]
    assert main(command) == 0
    assert capfdbinary.readouterr().out.decode() == "".join(f"{line}\n" for line in alone)
    assert main([*command, "--attention=maps"]) == 2
    assert (
        b"--attention: expected one run, since an ensemble has no attention"
        in capfdbinary.readouterr().err
    )


def test_score_names_the_line_that_is_no_pair(trained, monkeypatch, capfd):
    data = b"A woman leaves.\tEine Frau geht.\nA woman leaves.\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["score", f"--workdir={trained}"]) == 2
    error = capfd.readouterr().err
    assert "standard input:2: expected a source and a target with one tab between them" in error
