"""A whole database of PostgreSQL, read from one snapshot or filled in large transactions."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from regulars import search
from regulars.fields import Record
from regulars.record import Change, Customer
from regulars.settings import shown
from regulars.store import Plan, statements
from regulars.store.link import Connection, Link, check, database, first
from regulars.store.postgres import LOOK_UP, SNAPSHOT, numbered
from regulars.store.statements import PUT_COUNTER, Row
from regulars.store.whole import FINISHED, PAGE_ROWS, PUT_SECRET, READ_TERMS, TERMS_EACH, Counters
from regulars.store.writing import REVISION

PATIENT = LOOK_UP + ", set_config('idle_in_transaction_session_timeout', '0', true)"
"""The other store may need long for something."""
PUT_TERMS = (
    "INSERT INTO customer_terms (tenant_id, term, customer_id)"
    " SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[])"
)
READ_COUNTERS = "SELECT tenant_id, name, value FROM counters WHERE tenant_id = ANY ($1::bigint[])"
ANALYZE_SECONDS = 3600.0


class WholeDatabase:
    """See `Whole`. It is read and written as the role that a server takes on; only the mark is removed as the owner."""

    page_rows = PAGE_ROWS

    def __init__(self, url: str) -> None:
        self.link = Link(url)
        self.url = shown(url)
        self._tenants = "0"
        self._connection: Connection
        self._watching: Connection = None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["WholeDatabase"]:
        async with self._opened():
            await first(lambda: check(self._connection, self.link.url), self.link.url)
            await self._begin(SNAPSHOT)
            yield self

    @asynccontextmanager
    async def filling(self) -> AsyncIterator["WholeDatabase"]:
        async with self._opened():
            await self._begin()
            yield self

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        self._connection = await first(self.link.connect, self.link.url)
        try:
            yield
        finally:
            for connection in filter(None, (self._connection, self._watching)):
                connection.terminate()

    @database
    async def _begin(self, *how: str) -> None:
        await self._connection.execute(self.link.begin(self._tenants, PATIENT, *how))

    @database
    async def about(self, tenants: Sequence[int]) -> None:
        self._tenants = ",".join(map(str, (0, *tenants)))
        await self._connection.execute("SELECT set_config('regulars.tenants', $1, true)", self._tenants)

    @database
    async def tenants(self) -> list[int]:
        return [row[0] for row in await self._connection.fetch("SELECT id FROM tenants ORDER BY id")]

    @database
    async def page(self, kind: type[Record], tenant_id: int, after: int) -> list[Row]:
        rows = await self._connection.fetch(numbered(statements.select_page(kind)), tenant_id, after, self.page_rows)
        return list(map(tuple, rows))

    @database
    async def newest(self, kind: type[Record], tenant_id: int) -> int:
        return int(await self._connection.fetchval(numbered(statements.newest(kind)), tenant_id))

    @database
    async def terms(self, tenant_id: int, after: tuple[str, int]) -> list[tuple[str, int]]:
        rows = await self._connection.fetch(numbered(READ_TERMS), tenant_id, *after, TERMS_EACH * self.page_rows)
        return list(map(tuple, rows))

    @database
    async def counters(self, now: bool = False) -> Counters:
        connection = self._connection
        if now:
            connection = self._watching = self._watching or await self.link.connect()
            await connection.execute(self.link.begin(self._tenants))
        rows = await connection.fetch(READ_COUNTERS, list(map(int, self._tenants.split(","))))
        if now:
            await connection.execute("COMMIT")
        return {(tenant, name): value for tenant, name, value in rows if tenant or name == REVISION}

    @database
    async def secrets(self) -> dict[str, str]:
        return dict(await self._connection.fetch("SELECT name, value FROM secrets"))

    @database
    async def put_secrets(self, secrets: Mapping[str, str]) -> None:
        await self._connection.executemany(numbered(PUT_SECRET), list(secrets.items()))

    @database
    async def write(self, plan: Plan) -> None:
        for kind, records in plan.inserts.items():
            rows = list(map(statements.writer(kind), records))
            written = asyncio.ensure_future(self._connection.execute(put(kind), rows))
            await asyncio.sleep(0)  # so that the terms are made while the customers are written
            terms = filed(records) if kind is Customer else []
            await written
            if terms:
                await self._connection.execute(PUT_TERMS, *map(list, zip(*terms, strict=True)))
        if plan.counters:
            rows = [(tenant, name, value) for tenant, name, _, value in plan.counters]
            await self._connection.executemany(numbered(PUT_COUNTER), rows)

    @database
    async def save(self) -> None:
        await self._connection.execute("COMMIT")
        await self._begin()

    async def file(self, report: Callable[[int], None]) -> None:
        """They were filed with their customers."""

    @database
    async def finish(self) -> None:
        await self._connection.execute("SET LOCAL ROLE NONE")
        await self._connection.execute("SET LOCAL statement_timeout = 0")
        # searches are planned by what this finds; of itself the server would look in a minute or so
        tables = f"{Customer.table}, {Change.table}, customer_terms"
        await self._connection.execute(f"ANALYZE {tables}", timeout=ANALYZE_SECONDS)
        await self._connection.execute(FINISHED)
        await self._connection.execute("COMMIT")


def filed(customers: Iterable[Any]) -> list[tuple[int, str, int]]:
    """The search terms of new customers in the order of the index."""
    return sorted((one.tenant_id, term, one.id) for one in customers for term in search.terms(one))


@cache
def put(kind: type[Record]) -> str:
    names = ", ".join(statements.columns(kind))
    return f"INSERT INTO {kind.table} ({names}) SELECT {names} FROM unnest($1::{kind.table}_row[])"
