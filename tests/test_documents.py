"""README.md and docs/ keep their word: each command there is run, and prints what is shown.

A document shows a command as a reader types it, and below it what it prints:

    ```console
    $ python launch.py explain --config=configs/demo.py
    ...
    ```

A line `...` stands for any lines, `...` in a line for any text. The word after `console` says what
a reader may find otherwise:

    console             the output is printed exactly so, on any machine
    console figures     the numbers differ between machines, the words do not
    console sample      the output differs between machines, but not in its number of lines
    console elsewhere   the command needs what a test does not have: an accelerator, a scheduler,
                        a corpus, the network, or much time

Blocks marked `python` are run too, those of a document as one script. Those marked with a file as
well are what a reader writes there before the first command: ```python my/config.py is the whole
file, ```python seqjax/tasks/declared.py after "TASKS = {" stands in it after that line.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, NamedTuple

import pytest

_ROOT = Path(__file__).parents[1]
_DOCUMENTS = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
# What is in the checkout of a reader.
_CHECKOUT = ("seqjax", "configs", "experiments", "launch.py", "Makefile", "pyproject.toml")
_BLOCK = re.compile(
    r"^```(?P<kind>console|python)(?P<word>[ a-z]*)\n(?P<body>.*?)^```$", re.M | re.S
)
_FILE = re.compile(r"^```python (\S+)(?: after \"([^\"\n]*)\")?\n(.*?)^```$", re.M | re.S)
_NUMBER = r"\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
_WORDS = ("", "figures", "sample", "elsewhere")
# Seconds that a command may take on a busy machine.
_LONGEST = 1800
# What seqjax.stages prints of a stage that takes longer than five seconds: on one machine it does,
# on another it does not.
_STAGE = re.compile(r"[^:]+: (?:.* (?:so far|left)|done in [\dh mins]+)")


class _Command(NamedTuple):
    """A command of a document, and the output that is shown.

    Attributes:
      line: number of its line in the document, from 1.
      text: what is typed, several lines where lines are continued.
      output: what is shown below it.
      word: how the output is compared; see above.
    """

    line: int
    text: str
    output: str
    word: str


def _commands(document: Path) -> list[_Command]:
    """Returns the commands of a document, in order."""
    found = []
    text = document.read_text()
    for block in _BLOCK.finditer(text):
        word = block["word"].strip()
        assert word in _WORDS, f"{document}: ```console {word}: expected one of {_WORDS}"
        if block["kind"] != "console":
            continue
        line = text.count("\n", 0, block.start("body")) + 1
        parts = re.split(r"^\$ ", block["body"], flags=re.M)
        assert not parts[0].strip(), f"{document}:{line}: expected a command, '$ ...'"
        line += parts[0].count("\n")
        for part in parts[1:]:
            typed, output = _typed(part)
            found.append(_Command(line, typed, output, word))
            line += part.count("\n")
    return found


def _typed(part: str) -> tuple[str, str]:
    """Splits a command from its output: it goes on after a backslash, or to the END of `<<END`."""
    lines = part.splitlines(keepends=True)
    count = 1
    if heredoc := re.search(r"<<\s*'?(\w+)'?", lines[0]):
        count = lines.index(f"{heredoc[1]}\n") + 1
    else:
        while lines[count - 1].endswith("\\\n"):
            count += 1
    return "".join(lines[:count]).rstrip("\n"), "".join(lines[count:])


def _script(document: Path) -> str:
    """Returns the Python blocks of a document as one script."""
    found = _BLOCK.finditer(document.read_text())
    return "\n".join(block["body"] for block in found if block["kind"] == "python")


def _write_files(document: Path, checkout: Path) -> None:
    """Writes the files that a document has a reader write."""
    for name, after, text in _FILE.findall(document.read_text()):
        path = checkout / name
        if after:
            before = path.read_text()
            assert before.count(f"{after}\n") == 1, f"{document}: {name}: {after}"
            text = before.replace(f"{after}\n", f"{after}\n{text}")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def _agrees(shown: str, printed: str, word: str) -> bool:
    """Returns whether what a command printed is what a document shows."""
    if word == "elsewhere" or not shown.strip():
        return True
    parts = [re.escape(line) for line in _tidy(shown)]
    if word == "sample":
        parts = [part if part == r"\.\.\." else ".+" for part in parts]
    pattern = "".join("(?:.*\n)*?" if part == r"\.\.\." else f"{part}\n" for part in parts)
    pattern = pattern.replace(r"\.\.\.", ".*")
    if word == "figures":
        # Columns are as wide as their numbers.
        pattern = re.sub(_NUMBER.replace(r"\.", r"\\\."), lambda _: _NUMBER, pattern)
        pattern = re.sub(r"(?:\\ )+", lambda _: " +", pattern)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _tidy(printed))) is not None


def _tidy(text: str) -> list[str]:
    """Splits a text into lines, without those of stages and the empty ones at its ends."""
    lines = [line for line in text.splitlines() if not _STAGE.fullmatch(line)]
    return [line.rstrip() for line in "\n".join(lines).strip("\n").split("\n")]


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert "://" in target or (document.parent / target).exists(), target


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_are_there(document):
    text = document.read_text()
    # What a reader writes is not there yet.
    written = re.findall(r"^```python (\S+)$", text, re.M)
    for name in re.findall(r"`((?:seqjax|configs|experiments|tests|docs)/[\w/.]*\.\w+)", text):
        assert name in written or (_ROOT / name).exists(), name


def test_a_task_is_added_inside_the_room_of_tasks():
    written = _FILE.findall((_ROOT / "docs" / "ADDING.md").read_text())
    of_the_house = {name for name, *_ in written if name.startswith("seqjax/")}
    assert of_the_house == {"seqjax/tasks/word_count.py", "seqjax/tasks/declared.py"}


def test_the_field_that_is_shown_is_declared_so():
    page = (_ROOT / "docs" / "ADDING.md").read_text()
    (shown,) = re.findall(
        r"^```text (\S+)\nFIELDS = \{\n    \.\.\.\n(.*?)^\}\n```$", page, re.M | re.S
    )
    assert shown[1] in (_ROOT / shown[0]).read_text()


def test_the_first_page_is_short():
    assert len((_ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout of a reader, in which everything is installed."""
    folder = tmp_path_factory.mktemp("reader") / "seqjax"
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for name in _CHECKOUT:
        source = _ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    # `make` finds an environment that is as new as it must be.
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    # No link: Python would look for its packages beside it.
    _shim(binaries / "python")
    for name in ("installed", "installed-dev"):
        (folder / ".venv" / name).touch()
    shutil.copy(_ROOT / "constraints.txt", folder)
    os.utime(folder / "constraints.txt", (0, 0))
    os.utime(folder / "pyproject.toml", (0, 0))
    return folder


# The first need seconds for each command, the others train models as a reader does.
_QUICK = ("DATA.md", "ARCHITECTURES.md", "LANGUAGE_MODELS.md", "ADDING.md")
_TOUR = ("README.md", "TOUR.md", "PYTHON.md", "LAUNCH.md")


def test_every_document_with_commands_is_run():
    found = {path.name for path in _DOCUMENTS if _commands(path) or _script(path)}
    assert found == {*_QUICK, *_TOUR}


@pytest.mark.parametrize(
    ("names", "optimizations"),
    [
        pytest.param(_QUICK, "off", marks=pytest.mark.slow, id="quick"),
        pytest.param(_TOUR, "on", marks=pytest.mark.minutes, id="tour"),
    ],
)
def test_every_command_does_what_is_shown(names, optimizations, checkout):
    flags = [flag for flag in os.environ["XLA_FLAGS"].split() if "host_platform" not in flag]
    environment = os.environ | {
        "PATH": f"{_shims(checkout)}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
        "HOME": str(checkout.parent),
        "COLUMNS": "100",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1" if optimizations == "off" else "0",
        # One device, as a reader has.
        "XLA_FLAGS": " ".join(flags) if optimizations == "off" else "",
    }
    wrong = []
    by_name = {path.name: path for path in _DOCUMENTS}
    for document in map(by_name.get, names):
        behind = []
        _write_files(document, checkout)
        for command in _commands(document):
            if command.word == "elsewhere":
                continue
            if command.text.endswith("&"):
                behind.append(_run(["bash", "-c", command.text[:-1]], checkout, environment))
                continue
            code, printed = _ended(_run(["bash", "-c", command.text], checkout, environment))
            expected = 2 if "seqjax: error: " in command.output else 0
            if code != expected or not _agrees(command.output, printed, command.word):
                place = f"{document.name}:{command.line}"
                wrong.append(f"{place}: $ {command.text}\n[{code}] {printed[-3000:]}")
            for code, printed in map(_ended, behind):
                if code:
                    wrong.append(f"{document.name}: in the background\n[{code}] {printed[-3000:]}")
            behind = []
        if text := _script(document):
            code, printed = _ended(_run([sys.executable, "-c", text], checkout, environment))
            if code:
                wrong.append(f"{document.name}: python\n{printed[-3000:]}")
    assert not wrong, "\n\n".join(wrong)


def _run(
    command: list[str], folder: Path, environment: dict[str, str]
) -> tuple[subprocess.Popen, IO[str]]:
    """Starts a command, with its output in a file that does not keep it waiting."""
    output = tempfile.TemporaryFile("w+")
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return process, output


def _ended(started: tuple[subprocess.Popen, IO[str]]) -> tuple[int | str, str]:
    """Returns the exit code of a command and what it has printed."""
    process, output = started
    with output:
        try:
            code = process.wait(timeout=_LONGEST)
        except subprocess.TimeoutExpired:
            # With what it has started: a training would go on.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = f"killed after {_LONGEST} seconds"
        output.seek(0)
        return code, output.read()


def _shims(checkout: Path) -> Path:
    """Returns a folder with the `python` and the `seqjax` of a reader."""
    folder = checkout.parent / "bin"
    folder.mkdir(exist_ok=True)
    _shim(folder / "python")
    _shim(folder / "seqjax", " -m seqjax")
    return folder


def _shim(path: Path, words: str = "") -> None:
    """Writes a command that is this Python."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("shown", "printed", "word", "same"),
    [
        ("a\nb", "a\nb\n", "", True),
        ("a\nb", "a\nc\n", "", False),
        ("a", "a\nb\n", "", False),
        ("a\n...", "a\nb\nc\n", "", True),
        ("...\nc", "a\nb\nc\n", "", True),
        ("a ... d", "a b c d", "", True),
        ("a ... d", "a b c", "", False),
        ("step 10  loss 1.25", "step 10  loss 2.5", "", False),
        ("step 10  loss 1.25", "step 10   loss 2,222.5", "figures", True),
        ("step 10  loss 1.25", "step 10  lost 1.25", "figures", False),
        ("in 3 s", "in 3 min", "figures", False),
        ("a", "b", "sample", True),
        ("a", "b\nc", "sample", False),
        ("...\na", "b\nc", "sample", True),
        ("a", "", "sample", False),
    ],
)
def test_output_is_compared_as_the_block_says(shown, printed, word, same):
    assert _agrees(shown, printed, word) == same


def test_commands_are_found_with_their_output(tmp_path):
    document = tmp_path / "d.md"
    document.write_text(
        "Text.\n\n```console\n$ one \\\n  two\nout\n$ three <<'END'\nin\nEND\nmore\nand\n```\n"
        "```console figures\n$ four\n```\n"
    )
    assert _commands(document) == [
        (4, "one \\\n  two", "out\n", ""),
        (7, "three <<'END'\nin\nEND", "more\nand\n", ""),
        (14, "four", "", "figures"),
    ]
