import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from seqjax.studies import launcher
from seqjax.studies.launcher import Launcher


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Returns a function that puts a program in the place of seqjax."""

    def put(text):
        package = tmp_path / "seqjax"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(text)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(
            launcher, "seqjax", types.SimpleNamespace(__file__=str(package / "__init__.py"))
        )

    return put


def launch(arguments, **options):
    with Launcher() as launcher:
        return launcher(arguments, **options)


def test_a_verb_of_seqjax_from_any_folder(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    outcome = launch(["evaluate", "--workdir=none"])
    assert outcome.code == 2 and outcome.output == "" and outcome.signal == 0
    assert outcome.complaint == (
        "seqjax: error: --workdir=none: expected a trained run; it has no config.json"
    )
    assert capfd.readouterr() == ("", outcome.complaint + "\n")
    assert list(Path().iterdir()) == []


def test_output_is_kept_and_the_rest_is_shown(program, capfd):
    program(
        "import sys\nprint('x' * 1_000_000, 'ü')\nprint('one', file=sys.stderr)\n"
        "print('two  ', file=sys.stderr)\nprint(file=sys.stderr)\n"
        "sys.exit(sys.argv[1:] != ['a', 'b'])\n"
    )
    outcome = launch(["a", "b"])
    assert outcome == (0, "x" * 1_000_000 + " ü\n", "two", 0)
    assert capfd.readouterr() == ("", "one\ntwo  \n\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_handed_on_and_the_end_awaited(program, number, capfd):
    program(
        "import os, signal, sys, time\n"
        "def save(number, frame):\n"
        "    print('saved', file=sys.stderr)\n"
        "    sys.exit(128 + number)\n"
        f"signal.signal({int(number)}, save)\n"
        f"os.kill(os.getppid(), {int(number)})\n"
        "time.sleep(60)\n"
    )
    before = signal.getsignal(number)
    assert launch([]) == (128 + number, "", "saved", number)
    assert signal.getsignal(number) == before


@pytest.fixture
def hangup():
    """Returns a function that sets what a hangup does; the tests may run under nohup."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, before)


def test_a_lost_terminal_lets_the_training_save(program, hangup):
    hangup(signal.SIG_DFL)
    program(
        "import os, signal, sys, time\n"
        "def save(number, frame):\n"
        "    sys.exit(128 + number)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "os.kill(os.getppid(), signal.SIGHUP)\n"
        "time.sleep(60)\n"
    )
    assert launch([]) == (128 + signal.SIGTERM, "", "", signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_a_hangup_that_is_ignored_stays_ignored(program, hangup):
    program("import os, signal\nos.kill(os.getppid(), signal.SIGHUP)\n")
    hangup(signal.SIG_IGN)
    assert launch([]) == (0, "", "", 0)


def test_a_signal_before_the_process_runs_is_handed_on_once(program, monkeypatch):
    program("import time\ntime.sleep(60)\n")
    popen, sent = subprocess.Popen, []

    class Early(popen):
        def __init__(self, *arguments, **options):
            os.kill(os.getpid(), signal.SIGTERM)
            super().__init__(*arguments, **options)

        def send_signal(self, number):
            sent.append(number)
            super().send_signal(number)

    monkeypatch.setattr(subprocess, "Popen", Early)
    assert launch([]) == (-signal.SIGTERM, "", "", signal.SIGTERM)
    assert sent == [signal.SIGTERM]


def test_no_process_outlives_a_failure_to_show_what_it_says(program, tmp_path):
    program(
        "import os, signal, sys, time\n"
        "def save(number, frame):\n"
        "    print('saved' * 100_000, file=sys.stderr, flush=True)\n"
        "    open('saved', 'w')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "print('one', file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )

    def show(line):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        launch([], show=show)
    assert (tmp_path / "saved").exists()


def test_a_traceback_is_reported_by_its_exception(program):
    program(
        "import sys\nprint('Traceback:\\n  raise KeyError(1)\\nKeyError: 1\\n---\\nFor simplicity,"
        " JAX has removed frames', file=sys.stderr)\nsys.exit(1)\n"
    )
    assert launch([]).complaint == "KeyError: 1"


def test_a_process_that_is_killed_says_so(program):
    program("import os\nos.kill(os.getpid(), 9)")
    assert launch([]) == (-9, "", "", 0)


_SAVES = (
    "import signal, sys, time\n"
    "def save(number, frame):\n"
    "    print('saved', sys.argv[1], file=sys.stderr)\n"
    "    sys.exit(128 + number)\n"
    "signal.signal(signal.SIGTERM, save)\n"
    "print('ready', file=sys.stderr, flush=True)\n"
    "time.sleep(60)\n"
)


def test_a_process_is_stopped_when_it_is_asked_to(program):
    program(_SAVES)
    stop, lines = threading.Event(), []

    def show(line):
        lines.append(line)
        stop.set()

    assert launch(["a"], stop=stop, show=show) == (143, "", "saved a", 0)
    assert lines == ["ready", "saved a"]


def test_a_signal_reaches_the_processes_of_all_threads_and_nothing_is_launched_after_it(program):
    program(_SAVES)
    ready, outcomes = threading.Semaphore(0), {}

    def show(line):
        ready.release()

    def run(name):
        outcomes[name] = launcher([name], show=show)

    with Launcher() as launcher:
        threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert ready.acquire(timeout=60)
        os.kill(os.getpid(), signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert launcher(["c"]) == (143, "", "", 15)
    assert outcomes == {name: (143, "", f"saved {name}", 15) for name in "ab"}


def test_processes_that_run_at_a_time_have_an_environment_each(program):
    program(
        "import os, pathlib, time\nshare = os.environ['SHARE']\nprint(share)\n"
        # Each waits until the other runs.
        "pathlib.Path(share).touch()\n"
        "while len(list(pathlib.Path().glob('[ab]'))) < 2: time.sleep(0.01)\n"
    )
    with Launcher([{"SHARE": "a"}, {"SHARE": "b"}]) as launcher:
        for _ in range(2):
            with concurrent.futures.ThreadPoolExecutor(2) as threads:
                assert sorted(o.output for o in threads.map(launcher, [[], []])) == ["a\n", "b\n"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux notifies a process of its parent")
def test_no_process_outlives_a_launcher_that_is_killed(program, tmp_path):
    program(
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(Path(launcher.__file__).parents[2])!r})\n"
        # The package in its place is known already.
        "del sys.modules['seqjax']\n"
        "from seqjax.studies.launcher import end_with_launcher\n"
        "end_with_launcher()\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    sweep = (
        "import seqjax, sys, types\n"
        "from seqjax.studies import launcher\n"
        f"file = {str(tmp_path / 'seqjax' / '__init__.py')!r}\n"
        "launcher.seqjax = types.SimpleNamespace(__file__=file)\n"
        "launcher.Launcher()([])\n"
    )
    root = str(Path(launcher.__file__).parents[2])
    killed = subprocess.Popen(
        [sys.executable, "-c", sweep], env=os.environ | {"PYTHONPATH": root}, cwd="/"
    )
    pid = tmp_path / "pid"
    try:
        _until(lambda: pid.exists() and pid.read_text())
    finally:
        killed.kill()
        killed.wait()
    _until(lambda: not _runs(int(pid.read_text())))


def _until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid):
    # A process that has ended stays known until its parent, here the system, has taken note.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
