"""The composition root: from settings to an open store, access and server."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from regulars import webhooks
from regulars.access import Access
from regulars.errors import Unavailable
from regulars.fields import Record
from regulars.record import Answer, Customer, Delivery
from regulars.settings import BadSetting, Settings, shown
from regulars.store import Backend, Book, Store
from regulars.store.whole import Whole

Clock = Callable[[], datetime]


TIDY_SECONDS = 600
"""How often what has expired is deleted."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def store_path(url: str) -> Path | None:
    """The file that a store URL names: `sqlite:///book.db` relative, `sqlite:////var/book.db` absolute; None when it
    names a database of PostgreSQL."""
    parts = urlsplit(url)
    if parts.scheme in ("postgresql", "postgres"):
        return None
    if parts.scheme != "sqlite" or parts.netloc or not parts.path.strip("/"):
        raise BadSetting(
            "Expected a store such as sqlite:///book.db, sqlite:////var/lib/book.db or "
            f"postgresql://user:password@host/database, got {shown(url)!r}."
        )
    return Path(parts.path.removeprefix("/"))


def backend(url: str) -> Backend:
    """The database that a URL names."""
    path = store_path(url)
    if path is None:
        from regulars.store.postgres import Postgres

        return Postgres(url)
    from regulars.store.sqlite import Sqlite

    return Sqlite(path)


def whole(url: str) -> Whole:
    """The store that a URL names, for one who copies it."""
    path = store_path(url)
    if path is None:
        from regulars.store.whole_postgres import WholeDatabase

        return WholeDatabase(url)
    from regulars.store.whole_sqlite import WholeFile

    return WholeFile(path)


async def migrate(url: str) -> list[int]:
    """Create or upgrade the store; returns the migrations that were applied."""
    path = store_path(url)
    if path is None:
        from regulars.store import link

        return await link.migrate(url)
    from regulars.store import file

    return file.migrate(path)


class App:
    """An open store and who may use it."""

    def __init__(self, settings: Settings, clock: Clock = utc_now) -> None:
        self.settings = settings
        self.store = Store(backend(settings.store), clock)
        self.access = Access(self.store, timedelta(minutes=settings.token_minutes))
        self.written: dict[tuple[int, int], tuple[Customer, Book, bytes]] = {}
        """By tenant and id: customers that were read lately, and how they were answered."""
        self.streams = 0
        """How many read the feed as a stream."""
        self.running: set[tuple[int, int]] = set()
        """Tenant and number of the idempotency keys whose first request is being answered here."""
        self.batching = asyncio.Lock()
        """Held by the one batch call that is being worked on: others wait for that one, not for all that came."""
        self._tidying: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def open(self) -> "App":
        await self.store.open()
        await self.access.open()
        self._tidying = asyncio.create_task(self._tidy())
        return self

    async def close(self) -> None:
        self._closing.set()
        if self._tidying is not None:
            await asyncio.wait([self._tidying])
        self.access.close()
        await self.store.close()

    async def _tidy(self) -> None:
        """Delete what has expired, now and then."""
        ages: dict[type[Record], timedelta] = {
            Answer: timedelta(hours=self.settings.idempotency_hours),
            Delivery: webhooks.KEPT_FOR,
        }
        while not self._closing.is_set():
            more = False
            with suppress(Unavailable):  # it is in the log, and there is a next time
                more = any([await self.store.expire(kind, age) for kind, age in ages.items()])
            if not more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), TIDY_SECONDS)

    async def __aenter__(self) -> "App":
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()
