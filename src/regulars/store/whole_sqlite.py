"""A whole SQLite file, read from one snapshot or filled in large transactions, its search terms sorted at the end."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import apsw
import msgspec

from regulars import search
from regulars.fields import Record
from regulars.record import Customer
from regulars.store import Plan, filing, statements
from regulars.store.file import checked, connect, database, fetch
from regulars.store.migrations import Schema
from regulars.store.sqlite import REVISION, counters, write
from regulars.store.statements import Row
from regulars.store.whole import FINISHED, PAGE_ROWS, PUT_SECRET, READ_TERMS, TERMS_EACH, Counters

CHECKPOINT_PAGES = 16_000
"""Pages that gather in the log before a commit moves them to the file."""
BUSY_MILLISECONDS = 1_000
"""How long another writer is waited for; there should be none."""


class WholeFile:
    """See `Whole`. Calls block: there is nobody to wait for them."""

    page_rows = PAGE_ROWS

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self._tenants: Sequence[int] = ()
        self._connection: apsw.Connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["WholeFile"]:
        self._connection = checked(self.path)
        try:
            self._connection.execute("BEGIN")
            yield self
        finally:
            self._connection.close()

    @asynccontextmanager
    async def filling(self) -> AsyncIterator["WholeFile"]:
        self._connection = connect(self.path, write=True)
        try:
            self._connection.set_busy_timeout(BUSY_MILLISECONDS)
            self._connection.wal_autocheckpoint(CHECKPOINT_PAGES)
            self._connection.execute("PRAGMA temp_store = FILE")  # all search terms may be more than memory holds
            await self._begin()
            yield self
        finally:
            self._connection.close()

    @database
    async def _begin(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            raise Schema(f"{self.url} cannot be filled: another program writes to it.") from None

    async def about(self, tenants: Sequence[int]) -> None:
        self._tenants = tenants

    @database
    async def tenants(self) -> list[int]:
        return [row[0] for row in fetch(self._connection, "SELECT id FROM tenants ORDER BY id")]

    @database
    async def page(self, kind: type[Record], tenant_id: int, after: int) -> list[Row]:
        return fetch(self._connection, statements.select_page(kind), (tenant_id, after, self.page_rows))

    @database
    async def newest(self, kind: type[Record], tenant_id: int) -> int:
        return int(fetch(self._connection, statements.newest(kind), (tenant_id,))[0][0])

    @database
    async def terms(self, tenant_id: int, after: tuple[str, int]) -> list[tuple[str, int]]:
        return fetch(self._connection, READ_TERMS, (tenant_id, *after, TERMS_EACH * self.page_rows))

    @database
    async def counters(self, now: bool = False) -> Counters:
        connection = connect(self.path) if now else self._connection
        try:
            found = {(0, "revision"): connection.execute(REVISION).get or 0}
            for tenant in self._tenants:
                found.update(((tenant, name), value) for name, value in counters(connection, tenant).items())
        finally:
            if now:
                connection.close()
        return found

    @database
    async def secrets(self) -> dict[str, str]:
        return dict(fetch(self._connection, "SELECT name, value FROM secrets"))

    @database
    async def put_secrets(self, secrets: Mapping[str, str]) -> None:
        self._connection.executemany(PUT_SECRET, secrets.items())

    @database
    async def write(self, plan: Plan) -> None:
        write(self._connection, plan)

    @database
    async def save(self) -> None:
        self._connection.execute("COMMIT")
        await self._begin()

    @database
    async def file(self, report: Callable[[int], None]) -> None:
        if fetch(self._connection, "SELECT 1 FROM customer_terms LIMIT 1"):
            return
        self._connection.execute("CREATE TEMP TABLE fresh (value TEXT NOT NULL)")
        filed = 0
        for tenant in self._tenants:
            after = -1
            while page := await self.page(Customer, tenant, after):
                self._gather(tenant, list(map(statements.reader(Customer), page)))
                report(len(page))
                after, filed = page[-1][1], filed + len(page)
        self._connection.execute(filing.INSERT % "fresh WHERE" + " ORDER BY value")
        self._connection.execute("DROP TABLE fresh")
        await self.save()
        report(filed)

    def _gather(self, tenant: int, customers: Sequence[Customer]) -> None:
        terms = filing.entries(Plan(terms=[(tenant, one.id, (), search.terms(one)) for one in customers]))
        encoded = msgspec.json.encode(terms).decode()
        self._connection.execute("INSERT INTO fresh SELECT value FROM json_each(?)", (encoded,))

    @database
    async def finish(self) -> None:
        self._connection.execute(FINISHED)
        self._connection.execute("COMMIT")
        with suppress(apsw.BusyError):  # who opened it meanwhile will do that
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
