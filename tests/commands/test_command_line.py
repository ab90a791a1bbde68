import errno
import importlib.metadata
import logging
import os
import platform
import shlex
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

import seqjax
from seqjax import stages
from seqjax.commands.command_line import VERBS, Command, main
from seqjax.config import default_config
from seqjax.errors import Unavailable
from seqjax.fields import load, save

_ROOT = Path(__file__).parents[2]
_DEMO = str(_ROOT / "configs" / "demo.py")
_FAILURES = {
    "interrupt": KeyboardInterrupt(),
    "bug": ZeroDivisionError(),
    "away": Unavailable("the others do not come"),
    "full": OSError(errno.ENOSPC, "No space left on device", "runs/x"),
    "network": TimeoutError("timed out"),
}


@pytest.fixture
def verb(monkeypatch):
    """A small verb: prints a field of its config, or raises a given error."""
    module = types.ModuleType("seqjax.commands.show")
    module.HELP = "show the number of layers"
    module.calls = []

    def add_arguments(parser):
        parser.add_argument("--raise", dest="failure", default="")

    def run(arguments, config):
        module.calls.append((arguments, config))
        if arguments.failure:
            raise _FAILURES[arguments.failure]
        print(config.model.encoder.layers)
        return 0

    module.add_arguments, module.run = add_arguments, run
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(VERBS, "show", Command("show", takes_config=True, needs_workdir=False))
    return module


@pytest.fixture
def trained_verb(verb, monkeypatch):
    """The same verb, with its config from a run as `evaluate` has it."""
    monkeypatch.setitem(VERBS, "show", Command("show", takes_config=False, needs_workdir=True))
    return verb


@pytest.fixture
def workdir(tmp_path):
    config = default_config()
    config.model.encoder.layers = 5
    save(config, tmp_path / "config.json")
    return str(tmp_path)


def _fails(capsys, *argv):
    assert main(argv) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("seqjax: error: ")
    assert error.count("\n") == 1 and error.endswith("\n")
    return error


def test_a_config_file_with_overrides_reaches_the_verb(verb, capsys):
    argv = ["show", "--config", _DEMO, "--config.model.encoder.layers=7", "--config.seed", "3"]
    assert main(argv) == 0
    assert capsys.readouterr().out == "7\n"
    assert verb.calls[0][1].seed == 3


def test_overrides_may_stand_anywhere(verb, capsys):
    assert main(["show", "--config.model.encoder.layers=7", f"--config={_DEMO}"]) == 0
    assert capsys.readouterr().out == "7\n"


def test_without_a_config_file_the_run_is_continued(verb, workdir, capsys):
    assert main(["show", f"--workdir={workdir}"]) == 0
    assert capsys.readouterr().out == "5\n"


def test_a_tilde_is_the_home_folder(verb, workdir, capsys, monkeypatch):
    """A shell leaves it alone after `=`."""
    monkeypatch.setenv("HOME", workdir)
    assert main(["show", "--workdir=~"]) == 0
    assert capsys.readouterr().out == "5\n"
    assert verb.calls[0][0].workdir == workdir


def test_a_config_file_wins_over_the_run(verb, workdir, capsys):
    assert main(["show", f"--workdir={workdir}", f"--config={_DEMO}"]) == 0
    assert capsys.readouterr().out != "5\n"


def test_a_trained_run_can_be_overridden_but_stays_as_it_is(trained_verb, workdir, capsys):
    assert main(["show", f"--workdir={workdir}", "--config.decode.beam_size=8"]) == 0
    assert capsys.readouterr().out == "5\n"
    assert trained_verb.calls[0][1].decode.beam_size == 8
    assert load(Path(workdir) / "config.json").decode.beam_size == default_config().decode.beam_size


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "expected a verb: train, evaluate"),
        (
            ["shwo"],
            f"unknown verb 'shwo': expected {', '.join([*VERBS, 'show'])}; did you mean 'show'?",
        ),
        (["--config=x"], "unknown verb '--config=x'"),
        (["show"], "show: expected --config=FILE or the --workdir of an existing run"),
        (["show", "--workdir=none"], "none/config.json does not exist"),
        (
            ["show", "--config=none.py"],
            "--config=none.py: expected a Python file, or FILE:VARIANT; there is none",
        ),
        (["show", f"--config={_DEMO}:small"], "small"),
        (
            ["show", f"--config={_DEMO}", "--bogus=1"],
            "an option of seqjax show; see seqjax show --help",
        ),
        (["show", "--worfdir=a"], "an option of seqjax show; did you mean '--workdir'?"),
        (
            ["show", "--seed=3"],
            "an option of seqjax show; did you mean --config.seed?",
        ),
        (
            ["show", "--epochs", "3"],
            "3: expected an option of seqjax show; did you mean --config.train.duration?",
        ),
        (
            ["show", "--output-dir=a"],
            "an option of seqjax show; the run's folder is --workdir=DIR",
        ),
        (["show", "--config"], "error: --config: expected a value\n"),
        (["show", f"--config={_DEMO}", "--config.seed=x"], "seed = 'x': expected a whole number"),
        (["show", f"--config={_DEMO}", "--config.sed=1"], "did you mean 'seed'?"),
        (
            ["show", f"--config={_DEMO}", "--config.model.encoder.heads=7"],
            "model.encoder.heads = 7: expected a divisor of model.encoder.width",
        ),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(verb, capsys, argv, message):
    assert message in _fails(capsys, *argv)
    assert not verb.calls


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["show"], "error: --workdir: expected a value, since it is required\n"),
        (
            ["show", "--workdir=none"],
            "expected a trained run; it has no config.json",
        ),
        (["show", "--workdir="], "--workdir=: expected the run's folder"),
        (["show", "--workdir=a", f"--config={_DEMO}"], ": expected an option of seqjax show"),
    ],
)
def test_a_verb_on_a_run_needs_one(trained_verb, capsys, argv, message):
    assert message in _fails(capsys, *argv)


def test_what_the_system_refuses_is_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    error = _fails(capsys, "train", f"--config={_DEMO}", f"--workdir={tmp_path / 'file'}")
    assert error == f"seqjax: error: --workdir={tmp_path / 'file'}: expected a folder\n"
    error = _fails(capsys, "evaluate", f"--workdir={tmp_path / 'file' / 'run'}")
    assert error == f"seqjax: error: --workdir={tmp_path / 'file' / 'run'}: expected a folder\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["predict", "--workdir=a", "--n_best=x"], "--n_best=x: expected a whole number"),
        (["predict", "--workdir=a", "--n_best=it's"], "--n_best=it's: expected a whole number"),
        (["predict", "--workdir=a", "--process=1.5"], "--process=1.5: expected a whole number"),
        (["train", "--workdir=a", "--members=x"], "--members=x: expected loop, batch or auto"),
        (["evaluate", "--workdir=a", "--split"], "--split: expected a value"),
        (["explain", "--json=3"], "--json=3: expected no value"),
        (["predict", "--help=x"], "--help=x: expected no value"),
    ],
)
def test_what_argparse_refuses_is_said_as_all_mistakes_are(argv, message, capsys):
    assert _fails(capsys, *argv) == f"seqjax: error: {message}\n"


def test_a_full_disk_under_standard_output_is_named(verb, capsys, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with monkeypatch.context() as patch:
        full = open("/dev/full", "w")
        patch.setattr(sys, "stdout", full)
        assert main(["show", f"--config={_DEMO}"]) == 75
    assert capsys.readouterr().err == ("seqjax: error: standard output: No space left on device\n")


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("away", "the others do not come"),
        ("full", "runs/x: No space left on device"),
        ("network", "timed out"),
    ],
)
def test_what_may_pass_has_an_exit_code_of_its_own(failure, message, verb, capsys):
    assert main(["show", f"--config={_DEMO}", f"--raise={failure}"]) == 75
    assert capsys.readouterr().err == f"seqjax: error: {message}\n"


def test_an_interrupt_is_not_an_error_of_the_user(verb, capsys):
    assert main(["show", f"--config={_DEMO}", "--raise=interrupt"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(verb):
    with pytest.raises(ZeroDivisionError):
        main(["show", f"--config={_DEMO}", "--raise=bug"])


def test_help_of_a_verb_lists_its_options(verb, capsys):
    assert main(["show", "--help"]) == 0
    text = capsys.readouterr().out
    for part in ("show the number of layers", "--config FILE[:VARIANT]", "--workdir", "--raise"):
        assert part in text


def _launch(*argv, **options):
    return subprocess.run(
        [sys.executable, str(_ROOT / "launch.py"), *argv], capture_output=True, text=True, **options
    )


def test_help_lists_the_verbs_without_waiting_for_jax():
    script = (
        "import sys; from seqjax.commands.command_line import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('jax', 'flax', 'orbax')))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], cwd=_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f"  {name} " in done.stdout for name in VERBS)
    # Half a second on an idle machine; JAX alone takes two, and more on a busy one.
    assert time.perf_counter() - start < 5


def test_launch_leaves_with_the_exit_code():
    done = _launch("trian")
    assert done.returncode == 2
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert "did you mean 'train'?" in done.stderr


@pytest.mark.parametrize(
    "closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", ">/dev/full", "2>/dev/full"]
)
def test_closed_streams_are_no_error_and_take_nothing_that_is_written(closed, tmp_path):
    """The next file that is opened would get the number of one that is closed."""
    config = tmp_path / "run.py"
    config.write_text(
        "import os, sys\n"
        "file = open('kept.txt', 'w')\n"
        "assert file.fileno() > 2\n"
        "file.write('kept')\n"
        "def get_config(): raise ValueError('mistake')\n"
    )
    script = f"{sys.executable} {_ROOT / 'launch.py'}"
    command = f"{script} --version {closed}; {script} explain --config={config} {closed}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert (tmp_path / "kept.txt").read_text() == "kept"
    assert bool(done.stdout) == (">" not in closed.replace("2>", ""))
    assert ("ValueError: mistake" in done.stderr) == ("2>" not in closed)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_work_succeeds_though_its_progress_cannot_be_printed():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    code = (
        "import sys\n"
        "from seqjax.commands import command_line\n"
        "from seqjax.stages import say\n"
        "command_line._run = lambda *_: say('progress') or print('result') or 0\n"
        "sys.exit(command_line.main())\n"
    )
    # What cannot be printed at once would be tried again when Python exits.
    environment = {name: v for name, v in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = f"{shlex.join([sys.executable, '-c', code])} 2>/dev/full"
    done = subprocess.run(
        command, shell=True, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stdout) == (0, "result\n")


def test_an_output_that_is_open_to_be_read_only_counts_as_closed():
    code = (
        "import os, sys\n"
        "from seqjax.commands.standard_streams import open_standard_streams\n"
        "open_standard_streams()\n"
        "os.write(2, b'lost')\n"
        "print('lost', file=sys.stderr, flush=True)\n"
        "print('kept')\n"
    )
    command = f"{shlex.join([sys.executable, '-c', code])} 2</dev/null"
    done = subprocess.run(command, shell=True, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (0, "kept\n")


def test_versions_are_those_that_are_installed(capsys):
    for argument in ("--version", "-V", "version"):
        assert main([argument]) == 0
        out, error = capsys.readouterr()
        assert out.startswith(f"seqjax {seqjax.__version__}, Python {platform.python_version()}, ")
        assert f"JAX {importlib.metadata.version('jax')}" in out and error == ""


def test_help_is_a_verb_too(verb, capsys):
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert main(["help"]) == 0
    assert capsys.readouterr().out == overview
    assert main(["show", "--help"]) == 0
    text = capsys.readouterr().out
    assert main(["help", "show"]) == 0
    assert capsys.readouterr().out == text
    assert "unknown verb 'shwo'" in _fails(capsys, "help", "shwo")


def test_a_start_is_announced_before_jax_is_imported():
    script = (
        "import sys, time, types\n"
        "from seqjax.commands import command_line\n"
        "verb = types.ModuleType('seqjax.commands.rest')\n"
        "verb.HELP, verb.add_arguments = '', lambda parser: None\n"
        "verb.run = lambda arguments, config: time.sleep(1.5) or 'jax' in sys.modules\n"
        "sys.modules[verb.__name__] = verb\n"
        "command_line.VERBS['rest'] = command_line.Command('', True, False)\n"
        "sys.exit(command_line.main())\n"
    )
    command = [sys.executable, "-c", script, "rest", f"--config={_DEMO}", "--workdir=runs/x"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"seqjax {seqjax.__version__}: rest {_DEMO} in runs/x\n"


def test_a_reader_that_goes_away_is_no_error():
    script = (
        "import sys, types\n"
        "from seqjax.commands import command_line\n"
        "verb = types.ModuleType('seqjax.commands.pour')\n"
        "verb.HELP, verb.add_arguments = '', lambda parser: None\n"
        "def run(arguments, config):\n"
        "    while True: print('x' * 1000)\n"
        "verb.run = run\n"
        "sys.modules[verb.__name__] = verb\n"
        "command_line.VERBS['pour'] = command_line.Command('', True, False)\n"
        f"sys.exit(command_line.main(['pour', '--config={_DEMO}']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=30) == 141
    process.stderr.close()


@pytest.mark.parametrize("level, printed", [("warning", False), ("error", True)])
def test_of_several_processes_only_the_first_prints_warnings(
    level, printed, verb, capsys, monkeypatch
):
    def run(arguments, config):
        getattr(logging.getLogger("seqjax.show"), level)("the disk\nis slow")
        return 0

    verb.run = run
    assert main(["show", f"--config={_DEMO}"]) == 0
    line = f"seqjax: {level}: the disk is slow\n"
    assert line in capsys.readouterr().err
    # As another process of the same program does it.
    monkeypatch.setattr(stages, "_silent", True)
    assert main(["show", f"--config={_DEMO}"]) == 0
    assert capsys.readouterr().err == (line if printed else "")
