"""The way to a PostgreSQL server: its URL, connections that come back after an outage, what its errors mean, and the
migrations."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from regulars.errors import RegularsError, Unavailable
from regulars.settings import BadSetting, shown
from regulars.store import Again, Clash, migrations
from regulars.store.migrations import Schema
from regulars.store.whole import UNFINISHED, half_copied

log = logging.getLogger("regulars.store")

Connection: TypeAlias = Any
"""Of asyncpg, which has no types."""

P = ParamSpec("P")
T = TypeVar("T")

ROLE = "regulars_app"
"""The role that every transaction takes on. It owns nothing and row-level security holds for it, whoever logged in."""
SETTINGS = {"connect_timeout": 5.0, "statement_timeout": 30.0, "pool_size": 8, "statement_cache_size": 200}
"""What a URL's query may say besides what PostgreSQL itself knows: seconds, seconds, connections, statements."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 2.0
"""Seconds until a server that could not be reached is asked again; they double."""
MIGRATION_TRIES = 20
MADE_MEANWHILE = (
    asyncpg.UniqueViolationError,
    asyncpg.DuplicateObjectError,
    asyncpg.DuplicateTableError,
    asyncpg.InternalServerError,
)
"""By which the server says that somebody else made the same role or table just now, `IF NOT EXISTS` or not."""
LEAST_VERSION = 150_000

AWAY = "The store cannot be reached or written now. Try again in a moment."
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg 0.32 says of a connection that the server ended while it was idle
    asyncpg.OperatorInterventionError,
    OSError,
)
"""A connection that is of no use any more."""
FAILURES = (asyncpg.PostgresError, *LOST, TimeoutError)
"""All that can go wrong between here and the server."""
OUTAGES = ("08", "25", "53", "55", "57", "58", "XX")
"""Classes of SQLSTATE by which the server says that it cannot now: gone, read-only, full, busy, broken."""
ROWS = ("22", "23", "54")
"""Classes by which it refuses a row."""


class Link:
    """Where the server is, and how long to leave it alone after it did not answer."""

    def __init__(self, url: str) -> None:
        """Raises `BadSetting` when the URL makes no sense."""
        self.url = url
        self.dsn, numbers = taken_apart(url)
        self.pool_size = int(numbers["pool_size"])
        self.connect_timeout = numbers["connect_timeout"]
        self.statement_timeout = numbers["statement_timeout"]
        self.cached = int(numbers["statement_cache_size"])
        self.connected: Callable[[], object] = lambda: None
        """Called at each new connection; what was known of the database may be of another one."""
        self._wait = 0.0
        self._not_before = 0.0

    async def connect(self, *_: object, **__: object) -> Connection:
        """A new connection. Raises `Unavailable` at once when the server could not be reached a moment ago."""
        if time.monotonic() < self._not_before:
            raise Unavailable(AWAY, max(1, round(self._wait)))
        try:
            connection = await asyncpg.connect(
                self.dsn,
                timeout=self.connect_timeout,
                command_timeout=self.statement_timeout + self.connect_timeout,
                statement_cache_size=self.cached,
                max_cached_statement_lifetime=0,
            )
        except BaseException:
            self._wait = min(max(2 * self._wait, FIRST_WAIT), LONGEST_WAIT)
            self._not_before = time.monotonic() + self._wait * random.uniform(0.5, 1)
            raise
        self._wait = 0.0
        self.connected()
        return connection

    def begin(self, tenants: str, more: str = "", how: str = "READ COMMITTED READ WRITE") -> str:
        """The statements that begin a transaction about these tenants (their numbers, separated by commas)."""
        seconds = f"{self.statement_timeout:g}s"
        return (
            f"BEGIN ISOLATION LEVEL {how}; SELECT set_config('role', '{ROLE}', true),"
            f" set_config('regulars.tenants', '{tenants}', true), set_config('statement_timeout', '{seconds}', true),"
            f" set_config('idle_in_transaction_session_timeout', '{seconds}', true){more};"
        )


def taken_apart(url: str) -> tuple[str, dict[str, float]]:
    """The URL without what is ours, and that."""
    parts = urlsplit(url)
    numbers: dict[str, float] = dict(SETTINGS)
    rest = {"application_name": "regulars"}
    try:
        for name, value in parse_qsl(parts.query, strict_parsing=bool(parts.query)):
            if name in numbers:
                numbers[name] = float(value)
            else:
                rest[name] = value
        _ = parts.port
    except ValueError:
        raise BadSetting(
            f"{shown(url)}: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE?NAME=VALUE&…; a number is "
            f"{', '.join(SETTINGS)} and the port."
        ) from None
    if min(numbers["connect_timeout"], numbers["statement_timeout"], numbers["pool_size"]) <= 0:
        raise BadSetting(f"{shown(url)}: timeouts and pool_size must be more than 0.")
    return urlunsplit(parts._replace(query=urlencode(rest))), numbers


def database(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Errors of PostgreSQL leave as the store's own. Callers need not be tasks, as those of HTTP are not."""

    async def guarded(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            if asyncio.current_task() is None:
                return await asyncio.create_task(method(self, *args, **kwargs))
            return await method(self, *args, **kwargs)
        except (*FAILURES, ValueError) as error:
            known = meaning(error)
            if known is error:
                raise
            raise known from error

    return guarded


def meaning(error: Exception) -> Exception:
    """The store's own word for an error of PostgreSQL; a mistake of ours stays what it is."""
    state = str(getattr(error, "sqlstate", None) or "")
    if isinstance(error, asyncpg.DataError) or state[:2] in ROWS:
        return Clash(str(error))
    if state[:2] == "40" or isinstance(error, asyncpg.InvalidCachedStatementError):
        return Again(str(error))
    if isinstance(error, (*LOST, TimeoutError)) or state[:2] in OUTAGES or state[:2] == "28":
        log.error("the store failed: %s: %s", type(error).__name__, error)
        return Unavailable(AWAY, 2)
    return error


# ---- migrations


async def check(connection: Connection, url: str) -> None:
    """Raise `Schema` when this program does not know the database, or its walls do not stand."""
    try:
        version = await applied(connection)
    except asyncpg.InsufficientPrivilegeError:
        raise Schema(await not_granted(connection, url)) from None
    migrations.check("postgres", version, shown(url))
    if not await may_act(connection):
        raise Schema(await not_granted(connection, url))
    if mark := await connection.fetchval(UNFINISHED):
        raise half_copied(shown(url), mark)


async def not_granted(connection: Connection, url: str) -> str:
    user = await connection.fetchval("SELECT current_user")
    return f'{shown(url)}: the user may not act as {ROLE}. As an administrator: GRANT {ROLE} TO "{user}"'


async def may_act(connection: Connection) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL ROLE {ROLE}")
            return True
    except asyncpg.InsufficientPrivilegeError:
        return False


async def applied(connection: Connection) -> int:
    if await connection.fetchval("SELECT to_regclass('schema_version') IS NULL"):
        return 0
    return int(await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_version"))


async def migrate(url: str) -> list[int]:
    """Create or upgrade the tables; returns the numbers of the migrations that were applied. Idempotent, and safe when
    several do it at once. The user of the URL becomes the owner and must be allowed to create roles, unless the role
    `regulars_app` is there and granted to it."""
    link = Link(url)
    try:
        connection = await link.connect()
        try:
            for _ in range(MIGRATION_TRIES - 1):
                try:
                    return await _migrate(connection, url)
                except MADE_MEANWHILE:
                    await asyncio.sleep(random.uniform(0, 0.1))
            return await _migrate(connection, url)
        finally:
            connection.terminate()
    except asyncpg.InsufficientPrivilegeError as error:
        raise Schema(
            f"{shown(url)}: {error}. The user must own the database and may create roles; or an administrator does "
            f"first: CREATE ROLE {ROLE} NOLOGIN; GRANT {ROLE} TO the user"
        ) from error
    except (*FAILURES, ValueError) as error:
        raise Schema(f"{shown(url)} cannot be opened as a store: {error or type(error).__name__}") from error


async def _migrate(connection: Connection, url: str) -> list[int]:
    if connection.get_server_version().major * 10_000 < LEAST_VERSION:
        raise Schema(f"{shown(url)}: PostgreSQL 15 or newer is needed.")
    if await connection.fetchval("SHOW server_encoding") != "UTF8":
        raise Schema(f"{shown(url)}: the database must be made with ENCODING 'UTF8'.")
    if not await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", ROLE):
        await connection.execute(f"CREATE ROLE {ROLE} NOLOGIN")
    if not await may_act(connection):
        await connection.execute(f"GRANT {ROLE} TO current_user")
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (version bigint NOT NULL PRIMARY KEY, applied_at text NOT NULL)"
    )
    done = []
    async with connection.transaction():
        await connection.execute("LOCK TABLE schema_version IN ACCESS EXCLUSIVE MODE")
        for number, sql in migrations.lacking("postgres", await applied(connection), shown(url)):
            await connection.execute(sql)
            moment = datetime.now(UTC).isoformat()
            await connection.execute("INSERT INTO schema_version VALUES ($1, $2)", number, moment)
            done.append(number)
    return done


async def first(work: Callable[[], Awaitable[T]], url: str) -> T:
    """The result; whatever hinders it is said as what is wrong with the store, since nothing runs yet."""
    try:
        return await work()
    except (RegularsError, *FAILURES, ValueError) as error:
        cause = error.__cause__ or error
        raise Schema(f"{shown(url)} cannot be opened as a store: {cause or type(cause).__name__}") from error
