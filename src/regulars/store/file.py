"""One SQLite file: made, upgraded, opened and checked; its errors are told as the store's own."""

import logging
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from regulars.errors import Unavailable
from regulars.store import Clash, migrations
from regulars.store.migrations import Schema
from regulars.store.whole import UNFINISHED, half_copied

log = logging.getLogger("regulars.store")

P = ParamSpec("P")
T = TypeVar("T")

BUSY_SECONDS = 10.0
MAPPED_BYTES = 8 << 30
CACHE_KIB = 16 << 10


def connect(path: Path, *, write: bool = False, create: bool = False) -> apsw.Connection:
    """A connection with the settings that durability and speed need (docs/decisions/0002)."""
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOMUTEX | (apsw.SQLITE_OPEN_CREATE if create else 0)
    connection = apsw.Connection(str(path), flags=flags, statementcachesize=200)
    connection.set_busy_timeout(0 if write else int(BUSY_SECONDS * 1000))
    for pragma in (
        "synchronous = FULL",
        "wal_autocheckpoint = 0",
        f"mmap_size = {MAPPED_BYTES}",
        f"cache_size = -{CACHE_KIB}",
        "temp_store = MEMORY",
        "foreign_keys = ON",
        *([] if write else ["query_only = ON"]),
    ):
        fetch(connection, f"PRAGMA {pragma}")
    return connection


def migrate(path: Path) -> list[int]:
    """Create or upgrade the file; returns the numbers of the migrations that were applied. Idempotent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = connect(path, write=True, create=True)
    connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
    try:
        connection.execute("PRAGMA query_only = OFF")
        fetch(connection, "PRAGMA journal_mode = WAL")
        applied = []
        with connection:
            for number, sql in migrations.lacking("sqlite", connection.pragma("user_version"), f"sqlite:///{path}"):
                connection.execute(sql)
                connection.execute(f"PRAGMA user_version = {number}")
                applied.append(number)
        return applied
    finally:
        connection.close()


def checked(path: Path) -> apsw.Connection:
    """A connection to read from a store. Raises `Schema` when there is none that this program can serve."""
    if not path.exists():
        raise Schema(f"There is no store at {path}. Create it: regulars init --store sqlite:///{path}")
    try:
        connection = connect(path)
        try:
            check(connection, path)
        except BaseException:
            connection.close()
            raise
    except (apsw.Error, OSError) as error:
        raise Schema(f"{path} cannot be opened as a store: {error}") from error
    return connection


def check(connection: apsw.Connection, path: Path) -> None:
    """Raise `Schema` unless the file has the tables that this program knows, and is whole."""
    migrations.check("sqlite", connection.pragma("user_version"), f"sqlite:///{path}")
    for (mark,) in fetch(connection, UNFINISHED):
        raise half_copied(f"sqlite:///{path}", mark)


def database(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Errors of SQLite leave as the store's own."""

    async def guarded(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(self, *args, **kwargs)
        except apsw.ConstraintError as error:
            raise Clash(str(error)) from error
        except apsw.SQLError:
            raise  # a mistake in a statement of ours is no outage
        except apsw.Error as error:
            log.error("the store failed: %s: %s", type(error).__name__, error)
            raise Unavailable("The store cannot be reached or written now. Try again in a moment.", 2) from error

    return guarded


def may_write(connection: apsw.Connection) -> apsw.Connection:
    """The connection; raises `ReadOnlyError`, which SQLite itself would do no sooner than at the first row."""
    if connection.readonly("main"):
        raise apsw.ReadOnlyError(f"{connection.filename} may only be read")
    return connection


def fetch(connection: apsw.Connection, sql: str, values: Sequence[Any] = ()) -> list[Any]:
    """All rows of a query."""
    return connection.execute(sql, values).fetchall()
