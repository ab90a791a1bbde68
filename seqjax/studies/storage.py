"""The database in which Optuna keeps studies, and the errors when it cannot be reached."""

import contextlib
import functools
import random
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqjax.errors import Unavailable, UserError
from seqjax.files import in_bucket
from seqjax.stages import say

if TYPE_CHECKING:
    import optuna
    import sqlalchemy

_FILE = "study.db"
# Seconds to wait for a first answer, and for a lock that another process holds.
_CONNECT = 10
_LOCKED = 60
# Seconds between attempts to reach a storage that was lost.
_AGAIN = 1.0
# Attempts to create tables that other processes may be creating.
_TRIES = 5
_DRIVERS = {
    "postgresql": "pip install 'seqjax[postgresql]'",
    "mysql": "pip install a driver, such as pymysql for mysql+pymysql://...",
}


def open_storage(
    url: str, workdir: Path, beat: int, lost_after: int
) -> "optuna.storages.RDBStorage":
    """Connects to a database and creates Optuna's tables if they are missing.

    Args:
      url: a database URL of SQLAlchemy; '' is an SQLite file in the folder.
      workdir: the study's folder.
      beat: seconds between the heartbeats of a worker.
      lost_after: seconds without a heartbeat after which a worker is considered dead.

    Raises:
      UserError: the URL is invalid, its driver is not installed, or the server does not answer.
    """
    # Imported here: neither --help nor a mistake waits for it.
    import optuna
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Heartbeats have been experimental since 2021.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    if not url and in_bucket(workdir):
        raise UserError(
            f"--workdir={workdir}: a study in a bucket needs a database that is not a file in it:"
            " --storage=postgresql://user@host/name"
        )
    if not url:
        file = str((workdir / _FILE).absolute())
        url = sqlalchemy.URL.create("sqlite", database=file).render_as_string()
    with _database_errors(url):
        kind = sqlalchemy.make_url(url).get_backend_name()
        options: dict[str, Any] = {"pool_pre_ping": True}
        if kind == "sqlite":
            options["connect_args"] = {"timeout": _LOCKED}
        elif kind in _DRIVERS:
            options["connect_args"] = {"connect_timeout": _CONNECT}
        make = functools.partial(
            optuna.storages.RDBStorage,
            url,
            engine_kwargs=options,
            heartbeat_interval=beat,
            grace_period=lost_after,
        )
        storage = _set_up(make)
        if kind == "sqlite":
            _serialize(storage.engine)
        return storage


def _set_up(make: Callable[[], "optuna.storages.RDBStorage"]) -> "optuna.storages.RDBStorage":
    """Returns a new storage; other processes may create the same tables at the same time."""
    import sqlalchemy

    for _ in range(_TRIES - 1):
        try:
            return make()
        except sqlalchemy.exc.DBAPIError as error:
            made = isinstance(error, sqlalchemy.exc.IntegrityError) or "exist" in str(error.orig)
            if not made:
                raise
            time.sleep(_AGAIN * random.random())
    return make()


def _serialize(engine: "sqlalchemy.Engine") -> None:
    """Makes each transaction of SQLite begin with the write lock.

    By default SQLite takes the lock at the first write, when another worker may already have
    changed what was read: two workers could claim the same trial.
    """
    import sqlalchemy

    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sqlalchemy.event.listen(engine, "connect", connect)
    sqlalchemy.event.listen(engine, "begin", begin)
    # Existing connections lack these settings.
    engine.dispose()


def patient(method: Callable[..., Any]) -> Callable[..., Any]:
    """Retries a method while the storage does not answer, for `self.lost_after` seconds.

    The method must be safe to repeat: its work may have been done before the answer was lost. A
    warning names `self.url`; `self.given_up()` ends the waiting early.

    Raises:
      Unavailable: the storage stayed away.
    """

    @functools.wraps(method)
    def tried(self, *arguments: Any, **options: Any) -> Any:
        deadline = 0.0
        while True:
            try:
                return method(self, *arguments, **options)
            except _lost() as error:
                now = time.monotonic()
                if not deadline:
                    deadline = now + self.lost_after
                    say(f"seqjax: warning: {shown(self.url)} does not answer: {_reason(error)}")
                if now > deadline or self.given_up():
                    raise _unreachable(self.url, error, Unavailable) from error
                time.sleep(_AGAIN)

    return tried


def shown(url: str) -> str:
    """Returns a URL without its password, as the option of the command line."""
    import sqlalchemy

    try:
        return f"--storage={sqlalchemy.make_url(url).render_as_string(hide_password=True)}"
    except (sqlalchemy.exc.SQLAlchemyError, ValueError):
        # It is unknown which part is the password.
        return f"--storage={url.partition('://')[0]}://..." if "@" in url else f"--storage={url}"


@contextlib.contextmanager
def _database_errors(url: str) -> Iterator[None]:
    import sqlalchemy

    try:
        yield
    except ImportError as error:
        kind = sqlalchemy.make_url(url).get_backend_name()
        advice = _DRIVERS.get(kind, "install the driver that it names")
        raise UserError(f"{shown(url)}: its driver is not installed: {advice}") from error
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        # What Python says of a port that is no number may be a part of the password.
        reason = f": {_reason(error)}" if isinstance(error, sqlalchemy.exc.ArgumentError) else ""
        raise UserError(
            f"{shown(url)}: expected the URL of a database such as"
            f" 'postgresql://user@host:5432/name' or 'sqlite:///file.db'{reason}"
        ) from error
    except (*_lost(), RuntimeError) as error:
        raise _unreachable(url, error) from error


def _lost() -> tuple[type[Exception], ...]:
    import optuna
    import sqlalchemy

    return (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)


def _unreachable(url: str, error: Exception, kind: type[UserError] = UserError) -> UserError:
    return kind(f"{shown(url)}: cannot be used: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Returns the first line of what the database said."""
    # Optuna wraps the error of SQLAlchemy, which wraps the error of the driver.
    cause = error.__cause__ if type(error).__name__ == "StorageInternalError" else error
    text = str(getattr(cause, "orig", None) or cause)
    return " ".join(next(iter(text.strip().splitlines()), type(cause).__name__).split())
