import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from seqjax.errors import UserError
from seqjax.studies.sampling import Rules
from seqjax.studies.space import choice, log_uniform
from seqjax.studies.storage import open_storage, patient, shown
from seqjax.studies.trial_queue import Offer, TrialQueue


def test_the_default_is_a_file_in_the_folder(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    open_storage("", folder, 1, 2)
    assert [path.name for path in folder.iterdir()] == ["study.db"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "postgresql+pg8000://me:secret@localhost/x",
            "--storage=postgresql+pg8000://me:***@localhost/x: its driver is not installed: pip",
        ),
        ("runs/study.db", "--storage=runs/study.db: expected the URL of a database such as "),
        ("oracle9://x", "--storage=oracle9://x: expected the URL of a database such as "),
        ("postgresql://me:secret@localhost:port/x", "--storage=postgresql://...: expected the URL"),
        ("sqlite:////nowhere/x.db", "cannot be used: unable to open database file"),
    ],
)
def test_what_cannot_be_used_is_reported_in_one_line(url, message, tmp_path):
    with pytest.raises(UserError) as caught:
        open_storage(url, tmp_path, 1, 2)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_bucket_cannot_hold_a_database(bucket):
    with pytest.raises(UserError, match="a study in a bucket needs a database .* --storage=postgr"):
        open_storage("", bucket, 1, 2)


def test_a_server_that_is_not_there_is_lines(tmp_path):
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'seqjax[postgresql]'")
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/x"
    with pytest.raises(UserError) as caught:
        open_storage(url, tmp_path, 1, 2)
    message = str(caught.value)
    assert message.startswith("--storage=postgresql+psycopg://me:***@127.0.0.1:1/x: cannot be used")
    assert "refused" in message and "secret" not in message and "\n" not in message


class _Away:
    """Something that needs a storage which is away for a while."""

    url = "sqlite:///study.db"

    def __init__(self, failures, lost_after, given_up=False):
        self.failures, self.lost_after, self.calls = failures, lost_after, 0
        self.given_up = lambda: given_up

    @patient
    def ask(self):
        import sqlalchemy

        self.calls += 1
        if self.calls <= self.failures:
            raise sqlalchemy.exc.OperationalError("SELECT", {}, Exception("gone\nand more"))
        return self.calls


def test_a_storage_that_comes_back_is_waited_for(capsys):
    away = _Away(failures=2, lost_after=60)
    assert away.ask() == 3
    message = "seqjax: warning: --storage=sqlite:///study.db does not answer: gone\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("given_up", [False, True])
def test_one_that_stays_away_is_reported(given_up):
    away = _Away(failures=99, lost_after=600 if given_up else 1, given_up=given_up)
    started = time.monotonic()
    with pytest.raises(UserError, match="--storage=sqlite:///study.db: cannot be used: gone$"):
        away.ask()
    assert away.calls == 1 if given_up else 2 <= away.calls <= 4
    assert time.monotonic() - started < 60


def test_a_text_that_is_no_url_is_shown_as_it_is():
    assert shown("x") == "--storage=x"


@pytest.fixture(scope="module")
def server():
    """The URL of a PostgreSQL server that runs as long as the tests do."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'seqjax[postgresql]'")
    programs = [shutil.which(name) for name in ("initdb", "pg_ctl")]
    if not all(programs):
        pytest.skip("needs initdb and pg_ctl of PostgreSQL on the PATH")
    # It does not run as root, nor where its user may not go.
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="seqjax-pg-"))
    if user:
        try:
            shutil.chown(folder, user)
        except LookupError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")

    def call(*command):
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    initdb, pg_ctl = programs
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    call(initdb, "-D", folder / "data", "-U", "me", "-A", "trust", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    call(pg_ctl, "-D", folder / "data", "-l", folder / "log", "-o", options, "-w", "start")
    yield f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
    call(pg_ctl, "-D", folder / "data", "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_workers_share_a_study_by_a_server(server, tmp_path):
    names = [f"t{number}" for number in range(12)]
    claimed, together = [], threading.Barrier(3)

    def work(folder):
        together.wait()
        queue = TrialQueue(server, folder, "shared", Rules(higher=True, domains={}), 120)
        queue.enter({name: Offer(name) for name in names})
        while claim := queue.claim(names):
            claimed.append(claim.name)
            queue.finish(claim, {"splits": {"test": {"bleu": 1.0}}}, 1.0)

    # Machines have no folder in common.
    threads = [threading.Thread(target=work, args=(tmp_path / name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(names)
    queue = TrialQueue(server, tmp_path, "shared", Rules(higher=True, domains={}), 120)
    queue.enter({name: Offer(name) for name in names})
    standings = queue.standings()
    assert {standing.state for standing in standings.values()} == {"complete"}
    assert standings["t3"].record == {"splits": {"test": {"bleu": 1.0}}}


@pytest.mark.slow
def test_a_search_on_a_server_and_a_worker_that_dies(server, tmp_path):
    space = {"optimizer.learning_rate": log_uniform(1e-4, 1e-2), "seed": choice(1, 2)}
    rules = Rules(higher=False, domains=space, draws=True, pruner="hyperband")
    dead, alive = (TrialQueue(server, tmp_path, "search", rules, 2) for _ in range(2))
    for queue in (dead, alive):
        queue.identify({"search": {"seed": 0}, "config": {"seed": 1}})
        queue.enter({"trial-0000": Offer()})
    lost = dead.claim(["trial-0000"])
    dead.report(lost, [3.0, 2.0])
    deadline = time.monotonic() + 60
    while not (claim := alive.claim(["trial-0000"])):
        assert time.monotonic() < deadline
        time.sleep(0.2)
        alive.revive()
    assert claim.point == lost.point and not dead.beat(lost)
    alive.report(claim, [3.0, 2.0, 1.0])
    alive.finish(claim, {"curves": {"loss": [[1, 1.0]]}}, 1.0)
    assert alive.standings()["trial-0000"].state == "complete"
