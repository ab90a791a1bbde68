"""`predict` with a language model: lines are continued."""

import argparse
import io
import json
from types import SimpleNamespace

import jax
import pytest

from seqjax.commands import predict
from seqjax.commands.continuing import Answers
from seqjax.config import default_config
from seqjax.data.symbols import Symbols
from seqjax.data.tokenizer import Tokenizers
from seqjax.parallel.mesh import make_mesh
from seqjax.reporting.predictions import one_line
from seqjax.tasks.language_model import LanguageModelling

LINES = ["abc", "", "fed cba"]


@pytest.fixture(scope="module")
def trained(filled):
    """A language model that says many different things, also line feeds."""
    config = default_config()
    config.task = "language_model"
    config.model.decoder.update(kind="gru", layers=1, width=8)
    config.decode.max_new_tokens = 16
    config.decode.min_length = 3
    task = LanguageModelling(config, Tokenizers({"text": Symbols("character", "abcdefg \n")}))
    params = filled(jax.eval_shape(task.init, jax.random.key(0)))
    mesh = make_mesh(1, devices=jax.devices()[:1])
    return SimpleNamespace(task=task, params=params, mesh=mesh)


def answers(trained, samples=None):
    return Answers(argparse.Namespace(samples=samples), trained)


def test_lines_are_continued_and_samples_are_json(trained):
    found = answers(trained)(LINES)
    assert all(out.startswith(line) and out != line for line, out in zip(LINES, found, strict=True))
    several = [json.loads(line) for line in answers(trained, 2)(LINES)]
    assert [entry["prompt"] for entry in several] == LINES
    for entry, out in zip(several, found, strict=True):
        assert len(entry["outputs"]) == 2
        assert one_line(entry["prompt"] + entry["outputs"][0]["text"]) == out
        assert entry["outputs"][0]["length"] >= 4


class _Terminal(io.StringIO):
    def __init__(self):
        super().__init__()
        self.parts = []

    def isatty(self):
        return True

    def write(self, text):
        self.parts.append(text)
        return super().write(text)


def test_a_terminal_shows_a_continuation_while_it_is_drawn(trained, monkeypatch):
    monkeypatch.setattr("sys.stdout", terminal := _Terminal())
    lines = "".join(f"{line}\n" for line in LINES).encode()
    stdin = io.TextIOWrapper(io.BytesIO(lines))
    monkeypatch.setattr("sys.stdin", stdin)
    assert predict._answer(argparse.Namespace(samples=None), trained) == 0
    expected = [
        line + json.loads(out)["outputs"][0]["text"]
        for line, out in zip(LINES, answers(trained, 1)(LINES), strict=True)
    ]
    assert terminal.getvalue() == "".join(f"{text}\n" for text in expected)
    assert len(terminal.parts) > 10
