"""The store on PostgreSQL: any number of processes and machines over one database.

A batch is one transaction on a connection of its own. It begins by locking its tenants' counters of changes, so that
the batches of all nodes follow each other tenant by tenant: what it has in memory is true until it commits, change ids
have no gaps, and nothing is lost. Reads that wait together are one query.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from itertools import count
from typing import Any, Generic, TypeVar

import asyncpg

from regulars.errors import Unavailable
from regulars.fields import Record, fields_of
from regulars.record import REFERENCE, Change, Customer
from regulars.search import Filter
from regulars.store import NEXT_CHANGE, Again, Foreign, Page, Plan, TermKey, statements
from regulars.store.link import AWAY, FAILURES, LOST, Connection, Link, check, database, first

T = TypeVar("T")
K = TypeVar("K")
R = TypeVar("R", bound=Record)

Customers = dict[tuple[int, int], Customer]
Question = tuple[type[Record], int, int]
"""(record type, tenant, id)"""

MOST_AT_HAND = 10_000
"""How many customers are kept in memory, 3 kB each."""
MOST_CHANGED = 1_000
"""So many changes of others are looked through for whose customers they were; after more, all are forgotten."""
MOST_ASKED = 500
"""How many records one query reads."""
REVISION = "revision"

LOOK_UP = "".join(
    f", set_config('{name}', '{value}', true)"
    for name, value in (
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("jit", "off"),
        ("plan_cache_mode", "force_generic_plan"),
    )
)
"""For statements that look rows up by their keys: planned once, whatever the tables held then."""
PLAN_ANEW = ", set_config('plan_cache_mode', 'force_custom_plan', true)"
"""For searches: what is best depends on what is searched for."""
SNAPSHOT = "REPEATABLE READ READ ONLY"

READ_REVISION = "SELECT value FROM counters WHERE tenant_id = 0 AND name = 'revision'"
READ_COUNTERS = "SELECT tenant_id, name, value FROM counters WHERE tenant_id = ANY ($1::bigint[])"
READ_HOLDERS = (
    "SELECT t.tenant_id, t.term, t.customer_id FROM unnest($1::bigint[], $2::text[]) AS k (tenant_id, term)"
    " JOIN customer_terms AS t ON t.tenant_id = k.tenant_id AND t.term = k.term"
)
READ_CHANGED = "SELECT DISTINCT customer_id FROM changes WHERE tenant_id = $1 AND id > $2"


class Gathered(Generic[K, T]):
    """Questions that come while others are being answered wait, and are then answered together."""

    def __init__(self, answer: Callable[[Collection[K]], Awaitable[Mapping[K, T]]]) -> None:
        self._answer = answer
        self._waiting: list[tuple[K, asyncio.Future[T]]] = []
        self._task: asyncio.Task[None] | None = None

    def ask(self, question: K) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return future

    async def _work(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[:MOST_ASKED], self._waiting[MOST_ASKED:]
            try:
                answers = await self._answer(dict.fromkeys(question for question, _ in taken))
            except BaseException as error:
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error if isinstance(error, Exception) else Unavailable(AWAY, 1))
                if not isinstance(error, Exception):
                    raise
            else:
                for question, future in taken:
                    if not future.done():
                        future.set_result(answers[question])

    async def close(self) -> None:
        if self._task is not None:
            await self._task


class Postgres:
    """A backend over a database that a URL names: `postgresql://user:password@host:5432/database?sslmode=verify-full`.
    The query takes PostgreSQL's own parameters, and those of `link.SETTINGS`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.link = Link(url)
        self.link.connected = self._forget
        self._pool: Any = None
        self._writing: Connection | None = None
        self._marks: dict[int, int] = {}
        """Where the counters that tell whether somebody else wrote stood last: of changes by tenant, at 0 revision."""
        self._at_hand: Customers = {}
        """Customers as the database held them at the marks."""
        self._seen: Customers = {}
        """Customers as some reader found them; to be compared by version."""
        self._based: dict[tuple[int, int], int] = {}
        """On which versions the batch builds."""
        self._counted: dict[int, dict[str, int]] = {}
        """What the batch found counters at when it began, unless that was known."""
        self._revisions: Gathered[None, int] = Gathered(self._read_revision)
        self._records: Gathered[Question, Any] = Gathered(self._read_records)

    # ---- life

    async def open(self) -> None:
        async def work() -> None:
            self._writing = await self.link.connect()
            await check(self._writing, self.url)
            self._pool = await asyncpg.create_pool(
                min_size=0, max_size=self.link.pool_size, connect=self.link.connect, reset=untouched
            )

        try:
            await first(work, self.url)
        except BaseException:
            self._drop()
            raise

    async def close(self) -> None:
        for gathered in (self._revisions, self._records):
            await gathered.close()
        self._drop()
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), self.link.connect_timeout)
            except TimeoutError:
                self._pool.terminate()

    def _forget(self) -> None:
        for known in (self._marks, self._at_hand, self._seen):
            known.clear()

    # ---- a batch

    @database
    async def begin(self, tenants: Collection[int]) -> Foreign:
        numbers = sorted(tenants)
        self._based, self._counted = {}, {}
        if await self._start(self._opening(numbers)) == f"SELECT {len(numbers) + 1}":
            return Foreign(False, False)
        found = await self._count(numbers)
        if new := [tenant for tenant in numbers if NEXT_CHANGE not in found[tenant]]:
            values = ", ".join(f"({tenant}, '{NEXT_CHANGE}', 0)" for tenant in new)
            await self._connection.execute(
                f"INSERT INTO counters (tenant_id, name, value) VALUES {values} ON CONFLICT DO NOTHING"
            )
            await self._connection.execute(self._lock(numbers))
            found = await self._count(numbers)
        for tenant in numbers:
            await self._catch_up(tenant, found[tenant][NEXT_CHANGE])
        books = self._marks.get(0) != found[0][REVISION]
        self._marks[0] = found[0][REVISION]
        self._counted = found
        return Foreign(books, True)

    def _opening(self, numbers: list[int]) -> str:
        """The transaction's beginning: whose it is, their locks, and a query for the counters that are as we know
        them. All in one message; numbers are written into it, since such a message takes no parameters."""
        known = [(0, REVISION, self._marks.get(0, -1))]
        known += [(tenant, NEXT_CHANGE, self._marks.get(tenant, -1)) for tenant in numbers]
        same = " OR ".join(f"(tenant_id = {one} AND name = '{name}' AND value = {at})" for one, name, at in known)
        begin = self.link.begin(",".join(map(str, (0, *numbers))), LOOK_UP)
        return f"{begin} {self._lock(numbers)}; SELECT 1 FROM counters WHERE {same}"

    @staticmethod
    def _lock(numbers: list[int]) -> str:
        listed = ", ".join(map(str, numbers))
        return (
            f"SELECT 1 FROM counters WHERE tenant_id IN ({listed}) AND name = '{NEXT_CHANGE}'"
            " ORDER BY tenant_id FOR UPDATE"
        )

    async def _start(self, sql: str) -> str:
        """Begin; once more on a new connection when the old one broke while it was idle: it had not been asked for
        anything yet."""
        if self._writing is not None and not self._writing.is_closed():
            try:
                return str(await self._writing.execute(sql))
            except LOST:
                self._drop()
        self._writing = await self.link.connect()
        return str(await self._writing.execute(sql))

    @property
    def _connection(self) -> Connection:
        assert self._writing is not None
        return self._writing

    def _drop(self) -> None:
        if self._writing is not None:
            self._writing.terminate()
        self._writing = None

    async def _count(self, numbers: list[int]) -> dict[int, dict[str, int]]:
        found: dict[int, dict[str, int]] = {tenant: {} for tenant in (0, *numbers)}
        for tenant, name, value in await self._connection.fetch(READ_COUNTERS, [0, *numbers]):
            found[tenant][name] = value
        return found

    async def _catch_up(self, tenant: int, newest: int) -> None:
        """Forget those customers at hand that others changed since the mark."""
        mark = self._marks.get(tenant, -1)
        if mark == newest:
            return
        if 0 <= newest - mark <= MOST_CHANGED and mark >= 0:
            for (number,) in await self._connection.fetch(READ_CHANGED, tenant, mark):
                self._at_hand.pop((tenant, number), None)
        else:
            for key in [key for key in self._at_hand if key[0] == tenant]:
                del self._at_hand[key]
        self._marks[tenant] = newest

    def at_hand(self, kind: type[R], tenant_id: int, record_id: int) -> R | None:
        found = self._at_hand.get((tenant_id, record_id)) if kind is Customer else None
        if found is not None:
            self._based[tenant_id, record_id] = found.version
        return found  # type: ignore[return-value]

    @database
    async def load(self, kind: type[Record], keys: Sequence[tuple[int, int]]) -> list[Any]:
        tenants, numbers = zip(*keys, strict=True)
        rows = await self._connection.fetch(select(kind), tenants, numbers)
        found = list(map(statements.reader(kind), rows))
        if kind is Customer:
            self._based.update(((one.tenant_id, one.id), one.version) for one in found)
            keep(self._at_hand, found)
        return found

    @database
    async def holders(self, keys: Sequence[TermKey]) -> list[tuple[int, str, int]]:
        tenants, terms = zip(*keys, strict=True)
        return [tuple(row) for row in await self._connection.fetch(READ_HOLDERS, tenants, terms)]

    @database
    async def counters(self, tenant_id: int) -> dict[str, int]:
        if tenant_id == 0:  # not locked with the batch's tenants, as few batches change reference records
            return {REVISION: await self._connection.fetchval(READ_REVISION + " FOR UPDATE")}
        if tenant_id not in self._counted:
            self._counted.update(await self._count([tenant_id]))
        return self._counted[tenant_id]

    @database
    async def reference(self, tenant_id: int) -> list[Record]:
        return await reference(self._connection, tenant_id)

    @database
    async def commit(self, plan: Plan) -> None:
        sql, values, expected = writing(plan, self._based)
        if await self._connection.fetchval(sql, *values) != expected:
            self._forget()
            raise Again("a customer was changed past its tenant's lock")
        await self._connection.execute("COMMIT")
        for tenant, name, value in plan.counters:
            if name in (NEXT_CHANGE, REVISION):
                self._marks[tenant] = value
        keep(self._at_hand, plan.updates.get(Customer, ()))
        keep(self._at_hand, plan.inserts.get(Customer, ()))

    async def rollback(self) -> None:
        connection = self._writing
        if connection is None:
            return
        try:
            if connection.is_closed() or connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        except FAILURES:
            self._drop()

    # ---- reads

    @asynccontextmanager
    async def _reading(self, tenants: Iterable[int], more: str, how: str = SNAPSHOT) -> AsyncIterator[Connection]:
        """A connection in a transaction that may see these tenants."""
        async with self._pooled() as connection:
            await connection.execute(self.link.begin(",".join(map(str, tenants)), more, how))
            try:
                yield connection
            except BaseException:
                with suppress(*FAILURES):
                    await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    @asynccontextmanager
    async def _pooled(self) -> AsyncIterator[Connection]:
        """A connection of the pool; one that was lost while it was idle is replaced."""
        assert self._pool is not None
        async with self._pool.acquire(timeout=self.link.connect_timeout) as connection:
            yield connection

    async def revision(self) -> int:
        return await self._revisions.ask(None)

    @database
    async def _read_revision(self, _: Collection[None]) -> Mapping[None, int]:
        async with self._pooled() as connection:
            return {None: await connection.fetchval(READ_REVISION)}

    async def read(self, kind: type[R], tenant_id: int, record_id: int) -> R | None:
        found: R | None = await self._records.ask((kind, tenant_id, record_id))
        return found

    @database
    async def _read_records(self, questions: Collection[Question]) -> Mapping[Question, Any]:
        found: dict[Question, Any] = dict.fromkeys(questions)
        async with self._reading(sorted({tenant for _, tenant, _ in questions}), LOOK_UP) as connection:
            for kind in {one for one, _, _ in questions}:
                keys = [(tenant, number) for one, tenant, number in questions if one is kind]
                read = self._read_customers if kind is Customer else read_all
                for record in await read(connection, kind, keys):
                    found[kind, record.tenant_id, record.id] = record
        return found

    async def _read_customers(
        self, connection: Connection, kind: type[Record], keys: Sequence[tuple[int, int]]
    ) -> list[Any]:
        """The customers; of those that we have only the versions are looked at."""
        have = [self._at_hand.get(key) or self._seen.get(key) for key in keys]
        versions = [one.version if one else 0 for one in have]
        tenants, numbers = zip(*keys, strict=True)
        rows = await connection.fetch(select_newer(), tenants, numbers, versions)
        newer = list(map(statements.reader(kind), rows))
        keep(self._seen, newer)
        return [one for one in have if one] + newer

    @database
    async def read_reference(self, tenant_id: int) -> list[Record]:
        async with self._reading([tenant_id], LOOK_UP) as connection:
            return await reference(connection, tenant_id)

    @database
    async def read_tenants(self) -> list[tuple[int, str]]:
        async with self._pooled() as connection:
            return [tuple(row) for row in await connection.fetch("SELECT id, name FROM tenants ORDER BY id")]

    @database
    async def read_changes(self, tenant_id: int, customer_id: int, limit: int) -> list[Change]:
        names = ", ".join(f"c.{name}" for name in statements.columns(Change))
        async with self._reading([tenant_id], LOOK_UP) as connection:
            rows = await connection.fetch(
                "WITH RECURSIVE chain (id, n) AS ("
                " SELECT change_id, 1::bigint FROM customers WHERE tenant_id = $1 AND id = $2"
                " UNION ALL SELECT c.previous_id, n + 1 FROM chain"
                " JOIN changes AS c ON c.tenant_id = $1 AND c.id = chain.id WHERE n < $3)"
                f" SELECT {names} FROM chain JOIN changes AS c ON c.tenant_id = $1 AND c.id = chain.id ORDER BY n",
                tenant_id,
                customer_id,
                limit,
            )
        return [statements.reader(Change)(row) for row in rows]

    @database
    async def read_feed(self, tenant_id: int, after: int, limit: int) -> tuple[list[Change], int]:
        async with self._reading([tenant_id], LOOK_UP) as connection:
            rows = await connection.fetch(numbered(statements.FEED), tenant_id, after, limit)
            newest = await connection.fetchval(numbered(statements.NEWEST), tenant_id)
        return [statements.reader(Change)(row) for row in rows], newest

    @database
    async def find(
        self, tenant_id: int, filters: Sequence[Filter], limit: int, offset: int, names: tuple[str, ...]
    ) -> Page:
        async with self._reading([tenant_id], PLAN_ANEW) as connection:
            if filters:
                query, values = statements.matches(tenant_id, await rarest_first(connection, tenant_id, filters))
                total = await connection.fetchval(numbered(f"SELECT count(*) FROM ({query}) AS found"), *values)
                ids = f"SELECT customer_id FROM ({query}) AS found ORDER BY customer_id DESC LIMIT ? OFFSET ?"
            else:
                values = [tenant_id]
                count = "SELECT value FROM counters WHERE tenant_id = $1 AND name = 'customers.count'"
                total = await connection.fetchval(count, tenant_id) or 0
                ids = "SELECT id FROM customers WHERE tenant_id = ? ORDER BY id DESC LIMIT ? OFFSET ?"
            if offset >= total:
                return Page([], total)
            rows = await connection.fetch(
                numbered(
                    f"SELECT {', '.join(names)} FROM customers WHERE tenant_id = ? AND id IN ({ids}) ORDER BY id DESC"
                ),
                tenant_id,
                *values,
                limit,
                offset,
            )
        return Page(list(map(statements.reader(Customer, names), rows)), total)

    @database
    async def secret(self, name: str, value: str) -> str:
        async with self._reading([], "", "READ COMMITTED READ WRITE") as connection:
            await connection.execute(
                "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING", name, value
            )
            return str(await connection.fetchval("SELECT value FROM secrets WHERE name = $1", name))

    @database
    async def writable(self) -> None:
        async with self._reading([0], "", "READ COMMITTED READ WRITE") as connection:
            await connection.execute(READ_REVISION + " FOR UPDATE")


# ---- statements


async def untouched(connection: object) -> None:
    """A connection goes back to the pool as it is: all that was set ended with its transaction."""


def keep(known: Customers, records: Iterable[Any]) -> None:
    """Have customers in memory; the oldest make room."""
    for one in records:
        known[one.tenant_id, one.id] = one
    while len(known) > MOST_AT_HAND:
        del known[next(iter(known))]


def numbered(sql: str) -> str:
    """A statement with the marks `?` as PostgreSQL spells them."""
    number = count(1)
    return "".join(part if index == 0 else f"${next(number)}{part}" for index, part in enumerate(sql.split("?")))


@cache
def select(kind: type[Record]) -> str:
    names = ", ".join(f"r.{name}" for name in statements.columns(kind))
    return (
        f"SELECT {names} FROM unnest($1::bigint[], $2::bigint[]) AS k (tenant_id, id)"
        f" JOIN {kind.table} AS r ON r.tenant_id = k.tenant_id AND r.id = k.id"
    )


@cache
def select_newer() -> str:
    """Customers whose version is another one than the reader has."""
    return (
        select(Customer)
        .replace("$2::bigint[])", "$2::bigint[], $3::bigint[])")
        .replace("k (tenant_id, id)", "k (tenant_id, id, version)")
        + " AND r.version <> k.version"
    )


async def read_all(connection: Connection, kind: type[Record], keys: Sequence[tuple[int, int]]) -> list[Any]:
    tenants, numbers = zip(*keys, strict=True)
    return list(map(statements.reader(kind), await connection.fetch(select(kind), tenants, numbers)))


async def reference(connection: Connection, tenant_id: int) -> list[Record]:
    """All reference records of a tenant."""
    found: list[Record] = []
    for kind in REFERENCE:
        read = statements.reader(kind)
        found += [read(row) for row in await connection.fetch(numbered(statements.select_all(kind)), tenant_id)]
    return found


async def rarest_first(connection: Connection, tenant_id: int, filters: Sequence[Filter]) -> list[Filter]:
    """The filters by how many customers each matches, as far as that matters."""
    if len(filters) == 1:
        return list(filters)
    sizes = {}
    for one in filters:
        query, values = statements.members(tenant_id, one)
        sql = f"SELECT count(*) FROM (SELECT 1 FROM ({query}) AS found LIMIT 20000) AS few"
        sizes[one] = await connection.fetchval(numbered(sql), *values)
    return sorted(filters, key=sizes.__getitem__)


def writing(plan: Plan, based: Mapping[tuple[int, int], int]) -> tuple[str, list[Any], int]:
    """The one statement that writes a batch, its values, and how many rows it must update. Rows are written in the
    order of their ids; a customer only if it is at the version that the batch builds on."""
    values: list[Any] = []
    inserts, updates = (sorted(some, key=lambda kind: kind.table) for some in (plan.inserts, plan.updates))
    for kind in inserts:
        values.append(list(map(statements.writer(kind), plan.inserts[kind])))
    for kind in updates:
        rows = sorted(map(statements.writer(kind), plan.updates[kind]))
        values.append(rows)
        if kind is Customer:
            values.append([based[row[:2]] for row in rows])
    gone = sorted((tenant, term, number) for tenant, number, some, _ in plan.terms for term in some)
    come = sorted((tenant, term, number) for tenant, number, _, some in plan.terms for term in some)
    for some in (gone, come, sorted(plan.counters)):
        if some:
            values += map(list, zip(*some, strict=True))
    sql = write(tuple(inserts), tuple(updates), bool(gone), bool(come))
    return sql, values, sum(map(len, plan.updates.values()))


@cache
def write(inserts: tuple[type[Record], ...], updates: tuple[type[Record], ...], gone: bool, come: bool) -> str:
    number = count(1)
    parts = [insert(kind, next(number)) for kind in inserts]
    for kind in updates:
        parts.append(update(kind, next(number), next(number) if kind is Customer else 0))
    if gone:
        parts.append(
            f"gone AS (DELETE FROM customer_terms AS t USING {unnest(number, 'bigint', 'text', 'bigint')}"
            " AS v (tenant_id, term, customer_id)"
            " WHERE t.tenant_id = v.tenant_id AND t.term = v.term AND t.customer_id = v.customer_id)"
        )
    if come:
        parts.append(
            "come AS (INSERT INTO customer_terms (tenant_id, term, customer_id)"
            f" SELECT * FROM {unnest(number, 'bigint', 'text', 'bigint')} AS v)"
        )
    parts.append(
        "counted AS (INSERT INTO counters (tenant_id, name, value)"
        f" SELECT * FROM {unnest(number, 'bigint', 'text', 'bigint')} AS v"
        " ON CONFLICT (tenant_id, name) DO UPDATE SET value = excluded.value)"
    )
    updated = " + ".join(f"(SELECT count(*) FROM changed_{kind.table})" for kind in updates) or "0"
    return f"WITH {', '.join(parts)} SELECT {updated}"


def unnest(number: "count[int]", *types: str) -> str:
    return f"unnest({', '.join(f'${next(number)}::{one}[]' for one in types)})"


def insert(kind: type[Record], number: int) -> str:
    names = ", ".join(statements.columns(kind))
    return (
        f"new_{kind.table} AS (INSERT INTO {kind.table} ({names})"
        f" SELECT {names} FROM unnest(${number}::{kind.table}_row[]))"
    )


def update(kind: type[Record], number: int, versions: int) -> str:
    names = statements.columns(kind)
    sets = ", ".join(f"{name} = v.{name}" for name in names[2:])
    return (
        f"changed_{kind.table} AS (UPDATE {kind.table} AS r SET {sets}"
        f" FROM unnest(${number}::{kind.table}_row[]) WITH ORDINALITY AS v ({', '.join(names)}, n)"
        " WHERE r.tenant_id = v.tenant_id AND r.id = v.id"
        + (f" AND r.version = (${versions}::bigint[])[v.n]" if versions else "")
        + " RETURNING 1)"
    )


def column_type(record: type[Record], name: str) -> str:
    """The type of a field's column: as SQLite's, so that rows are the same."""
    return "bigint" if statements.sql_type(fields_of(record)[name]) == "INTEGER" else "text"
