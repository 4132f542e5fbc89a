"""The store on PostgreSQL: any number of processes and machines over one database.

A batch is one transaction on a connection of its own. Its commands run on what is in memory or was just read, without
a lock; the statement that writes them locks the tenants, leaves out what others were faster with, and says so. A batch
that needs more certainty than that locks its tenants before. Reads that wait together are one query.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import cache, partial
from itertools import count
from typing import Any, Generic, TypeVar

import asyncpg

from regulars.errors import Unavailable
from regulars.fields import Record, fields_of, iso
from regulars.record import REFERENCE, Change, Customer
from regulars.search import Filter
from regulars.store import NEXT_CHANGE, Again, Foreign, Page, Plan, TermKey, filing_postgres, statements
from regulars.store.link import AWAY, FAILURES, LOST, Connection, Link, check, database, first
from regulars.store.writing import REFERENCE_CHANGES, Mark, Written, writing, written

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
NEVER = Mark(-1, -1)

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
"""For searches, and to delete what is old: what is best depends on what is searched for, and how much there is."""
NO_FLUSH = ", set_config('synchronous_commit', 'off', true)"
"""For what a crash may undo whole, since it is then simply done again."""
SNAPSHOT = "REPEATABLE READ READ ONLY"

READ_REVISION = "SELECT value FROM counters WHERE tenant_id = 0 AND name = 'revision'"
READ_COUNTERS = "SELECT name, value FROM counters WHERE tenant_id = $1"
READ_NEWEST = f"SELECT tenant_id, value FROM counters WHERE tenant_id = ANY ($1::bigint[]) AND name = '{NEXT_CHANGE}'"
READ_HOLDERS = (
    "SELECT t.tenant_id, t.term, t.customer_id FROM unnest($1::bigint[], $2::text[]) AS k (tenant_id, term)"
    " JOIN customer_terms AS t ON t.tenant_id = k.tenant_id AND t.term = k.term"
)
READ_NEWS = (
    "SELECT tenant_id, name, value, 0 AS version FROM counters"
    f" WHERE tenant_id = ANY ($1::bigint[]) AND name IN ('{NEXT_CHANGE}', '{REFERENCE_CHANGES}')"
    " UNION ALL SELECT m.tenant_id, '', c.customer_id, c.version FROM unnest($1::bigint[], $2::bigint[]) AS m"
    " (tenant_id, id), LATERAL (SELECT customer_id, version FROM changes AS c"
    f" WHERE c.tenant_id = m.tenant_id AND c.id > m.id ORDER BY c.id LIMIT {MOST_CHANGED + 1}) AS c"
)
"""The counters that tell whether anybody wrote, and what customers were changed since the marks, to which version. With
a plain join the server may read all changes that there are, since it expects many to be new."""
NO_CHANGE = 2**62
"""A mark that no change is after."""


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

    async def cancel(self) -> None:
        """Leave undone what is not yet answered."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(Unavailable(AWAY, 1))


class Postgres:
    """A backend over a database that a URL names: `postgresql://user:password@host:5432/database?sslmode=verify-full`.
    The query takes PostgreSQL's own parameters, and those of `link.SETTINGS`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.link = Link(url)
        self.link.connected = self._forget
        self._pool: Any = None
        self._writing: Connection | None = None
        self._marks: dict[int, Mark] = {}
        """Up to where each tenant's feed was looked through."""
        self._at_hand: Customers = {}
        """Customers as the database held them at the marks or later."""
        self._seen: Customers = {}
        """Customers as some reader found them; to be compared by version."""
        self._begun: dict[int, Mark] = {}
        """The tenants of the batch, and their marks when it began."""
        self._alone = self._locked = False
        """Whether nobody else could write them since the batch began; whether nobody can from now on."""
        self._revisions: Gathered[None, int] = Gathered(self._read_revision)
        self._records: Gathered[Question, Any] = Gathered(self._read_records)
        self._files: dict[int, Gathered[None, None]] = {}
        """For each tenant those who want its terms filed."""
        self._filing = filing_postgres.Filing(self.file)

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
        await self._filing.close()
        for files in self._files.values():
            await files.cancel()
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
    async def begin(self, tenants: Collection[int], alone: bool = False) -> Foreign:
        self._alone = self._locked = alone
        same = await self._start(sorted(tenants))
        known = self._begun
        if not same:
            self._begun = await self._look_around(known)
        return Foreign(
            books=any(mark.reference != self._begun[tenant].reference for tenant, mark in known.items()),
            counters=not same,
            changes={tenant: mark.changes for tenant, mark in self._begun.items()},
        )

    async def _start(self, tenants: list[int]) -> bool:
        """Begin; once more on a new connection when the old one broke while it was idle: it had not been asked for
        anything yet. Returns whether nobody wrote since the marks."""
        if self._writing is not None and not self._writing.is_closed():
            try:
                return await self._ask(self._writing, tenants)
            except LOST:
                self._drop()
        self._writing = await self.link.connect()
        return await self._ask(self._writing, tenants)

    async def _ask(self, connection: Connection, tenants: list[int]) -> bool:
        """The transaction's beginning: whose it is, their locks if it is to be alone, and a query for the counters that
        stand at the marks. All in one message; numbers are written into it, since it can have no parameters."""
        self._begun = {tenant: self._marks.get(tenant, NEVER) for tenant in tenants}
        begin = self.link.begin(",".join(map(str, (0, *tenants))), LOOK_UP)
        same = " OR ".join(
            f"(tenant_id = {tenant} AND (name = '{NEXT_CHANGE}' AND value = {mark.changes}"
            f" OR name = '{REFERENCE_CHANGES}' AND value = {mark.reference}))"
            for tenant, mark in self._begun.items()
        )
        locked = lock(tenants) if self._locked else ""
        found = await connection.execute(f"{begin} {locked} SELECT 1 FROM counters WHERE {same}")
        return bool(found == f"SELECT {2 * len(tenants)}")

    @property
    def _connection(self) -> Connection:
        assert self._writing is not None
        return self._writing

    def _drop(self) -> None:
        if self._writing is not None:
            self._writing.terminate()
        self._writing = None

    async def _look_around(self, known: Mapping[int, Mark]) -> dict[int, Mark]:
        """Forget those customers at hand that others changed since the marks, and all of a tenant that has none, as
        after a new connection amid a batch; returns the new marks."""
        if NEVER in known.values():
            for key in [key for key in self._at_hand if known.get(key[0]) == NEVER]:
                del self._at_hand[key]
        news = await self._news(known)
        counters = {(tenant, name): value for tenant, name, value, _ in news if name}
        if len(counters) < 2 * len(known):  # a tenant's first batch
            names = (NEXT_CHANGE, REFERENCE_CHANGES)
            values = ", ".join(f"({tenant}, '{name}', 0)" for tenant in known for name in names)
            insert = f"INSERT INTO counters (tenant_id, name, value) VALUES {values} ON CONFLICT DO NOTHING;"
            await self._connection.execute(insert + (lock(known) if self._locked else ""))
            return await self._look_around(known)
        changed = [(tenant, number, version) for tenant, name, number, version in news if not name]
        for tenant, number, version in changed:
            one = self._at_hand.get((tenant, number))
            if one is not None and one.version < version:
                del self._at_hand[tenant, number]
        if len(changed) > MOST_CHANGED:
            self._at_hand.clear()
        marks = {tenant: Mark(counters[tenant, NEXT_CHANGE], counters[tenant, REFERENCE_CHANGES]) for tenant in known}
        self._marks.update(marks)
        return marks

    async def _news(self, known: Mapping[int, Mark]) -> list[tuple[int, str, int, int]]:
        after = [NO_CHANGE if mark == NEVER else mark.changes for mark in known.values()]
        return [tuple(row) for row in await self._connection.fetch(READ_NEWS, list(known), after)]

    async def _lock(self) -> None:
        """From here on nobody else writes the batch's tenants until it ends."""
        if not self._locked:
            await self._connection.execute(lock(self._begun))
            self._locked = True

    def at_hand(self, kind: type[R], tenant_id: int, record_id: int) -> R | None:
        return self._at_hand.get((tenant_id, record_id)) if kind is Customer else None  # type: ignore[return-value]

    @database
    async def load(self, kind: type[Record], keys: Sequence[tuple[int, int]]) -> list[Any]:
        tenants, numbers = zip(*keys, strict=True)
        rows = await self._connection.fetch(select(kind), tenants, numbers)
        found = list(map(statements.reader(kind), rows))
        if kind is Customer:
            keep(self._at_hand, found)
        return found

    @database
    async def holders(self, keys: Sequence[TermKey]) -> list[tuple[int, str, int]]:
        await self._lock()  # or somebody files another customer under the term
        tenants, terms = zip(*keys, strict=True)
        for tenant in sorted(set(tenants)):
            while await filing_postgres.file(self._connection, tenant):
                pass  # nobody can log more
        return [tuple(row) for row in await self._connection.fetch(READ_HOLDERS, tenants, terms)]

    @database
    async def counters(self, tenant_id: int) -> dict[str, int]:
        await self._lock()
        return dict(await self._connection.fetch(READ_COUNTERS, tenant_id))

    @database
    async def reference(self, tenant_id: int) -> list[Record]:
        return await reference(self._connection, tenant_id)

    @database
    async def commit(self, plan: Plan) -> Collection[tuple[int, int]]:
        found = await self._write(plan)
        self._judge(plan, found)
        await self._connection.execute("COMMIT" if plan.leaves(found.lost) else "ROLLBACK")
        if any(mark.changes != self._begun[tenant].changes for tenant, mark in found.marks.items()):
            plan.renumber({tenant: mark.changes for tenant, mark in found.marks.items()}, found.lost)
        self._remember(plan, found)
        return found.lost

    async def _write(self, plan: Plan) -> Written:
        sql, values = writing(plan, self._begun)
        try:
            return written(await self._connection.fetch(sql, *values))
        except asyncpg.IntegrityConstraintViolationError as error:
            if self._alone:
                raise
            raise Again("a row clashed, perhaps with one that is newer than what the batch has seen") from error

    def _judge(self, plan: Plan, found: Written) -> None:
        """Raise `Again` when what the statement wrote must not stay."""
        if any(mark.reference != self._begun[tenant].reference for tenant, mark in found.marks.items()):
            raise Again("reference records changed")
        if found.counted != len(plan.counters):
            raise Again("somebody else took the same numbers")
        for key in found.lost:
            self._at_hand.pop(key, None)
        if found.lost and (self._locked or not found.lost.isdisjoint(plan.bound)):
            raise Again("customers changed that belong together")
        customers = plan.updates.get(Customer, ())
        if found.updated != sum((one.tenant_id, one.id) not in found.lost for one in customers):  # type: ignore[attr-defined]
            self._forget()
            raise Again("a customer was changed past its tenant's lock")

    def _remember(self, plan: Plan, found: Written) -> None:
        """After the commit. What others wrote since the marks is yet to be looked at: then they stay."""
        for tenant, mark in found.marks.items():
            if mark == self._begun[tenant]:
                made = plan.made_in(tenant)
                self._marks[tenant] = Mark(mark.changes + made, mark.reference + (tenant in plan.reference))
        if updated := plan.updates.get(Customer):
            self._filing.logged({one.tenant_id for one in updated})  # type: ignore[attr-defined]
        for records in (plan.updates.get(Customer, ()), plan.inserts.get(Customer, ())):
            keep(self._at_hand, (one for one in records if (one.tenant_id, one.id) not in found.lost))  # type: ignore[attr-defined]

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
            try:
                await connection.execute(self.link.begin(",".join(map(str, tenants)), more, how))
                yield connection
                await connection.execute("COMMIT")
            except BaseException:  # of whoever was cancelled too, be it amid BEGIN
                with suppress(*FAILURES):
                    await connection.execute("ROLLBACK")
                raise

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
    async def read_having(self, kind: type[Record], tenants: Collection[int]) -> list[int]:
        async with self._reading(tenants, PLAN_ANEW) as connection:
            return [row[0] for row in await connection.fetch(f"SELECT DISTINCT tenant_id FROM {kind.table}")]

    @database
    async def read_changes(self, tenant_id: int, customer_id: int, limit: int, before: int) -> list[Change]:
        start = (tenant_id, customer_id, before) if before else (tenant_id, customer_id)
        async with self._reading([tenant_id], LOOK_UP) as connection:
            rows = await connection.fetch(numbered(statements.history(before > 0)), *start, tenant_id, limit, tenant_id)
        return [statements.reader(Change)(row) for row in rows]

    @database
    async def read_feed(self, tenant_id: int, after: int, limit: int) -> tuple[list[Change], int]:
        async with self._reading([tenant_id], LOOK_UP) as connection:
            rows = await connection.fetch(numbered(statements.FEED), tenant_id, after, limit)
            newest = await connection.fetchval(numbered(statements.NEWEST), tenant_id)
        return [statements.reader(Change)(row) for row in rows], newest

    def mark(self) -> bytes:
        return b""

    @database
    async def newest_changes(self, tenants: Collection[int]) -> dict[int, int]:
        async with self._reading(tenants, LOOK_UP) as connection:
            return dict(map(tuple, await connection.fetch(READ_NEWEST, list(tenants))))

    @database
    async def find_changes(
        self, tenant_id: int, after: int, since: datetime, conditions: Mapping[str, Any], limit: int
    ) -> list[Change]:
        sql = numbered(statements.find_changes(tuple(conditions)))
        async with self._reading([tenant_id], LOOK_UP) as connection:
            rows = await connection.fetch(sql, tenant_id, after, iso(since), *conditions.values(), limit)
        return [statements.reader(Change)(row) for row in rows]

    @database
    async def read_range(self, kind: type[R], tenant_id: int, first: int, last: int) -> list[R]:
        async with self._reading([tenant_id], LOOK_UP) as connection:
            rows = await connection.fetch(numbered(statements.select_range(kind)), tenant_id, first, last)
        return list(map(statements.reader(kind), rows))

    async def file(self, tenant_id: int) -> None:
        """File all terms of a tenant that are in the log now. Who asks while that is done waits for the next time, and
        all of them take one connection, since they would only wait for each other there."""
        files = self._files.get(tenant_id)
        if files is None:
            files = self._files[tenant_id] = Gathered(partial(self._file, tenant_id))
        await files.ask(None)

    @database
    async def _file(self, tenant_id: int, _: Collection[None]) -> Mapping[None, None]:
        last, more = 0, True
        while more:
            async with self._reading([tenant_id], LOOK_UP + NO_FLUSH, "READ COMMITTED READ WRITE") as connection:
                last = await filing_postgres.file(connection, tenant_id, last)
            more = last > 0
        return {None: None}

    async def find(
        self, tenant_id: int, filters: Sequence[Filter], limit: int, offset: int, names: tuple[str, ...]
    ) -> Page:
        found = await self._find(tenant_id, filters, limit, offset, names)
        if found is None:
            await self.file(tenant_id)
            found = await self._find(tenant_id, filters, limit, offset, names, filed=True)
        assert found is not None
        return found

    @database
    async def _find(
        self,
        tenant_id: int,
        filters: Sequence[Filter],
        limit: int,
        offset: int,
        names: tuple[str, ...],
        filed: bool = False,
    ) -> Page | None:
        """None when terms are yet to be filed that the search may need."""
        async with self._reading([tenant_id], PLAN_ANEW) as connection:
            if filters:
                if not filed and await connection.fetchval(filing_postgres.UNFILED, tenant_id):
                    return None
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
    async def expire(self, kind: type[Record], tenant_id: int, before: datetime, limit: int) -> int:
        sql = statements.expire(kind).replace("?", "$")
        async with self._reading([tenant_id], PLAN_ANEW, "READ COMMITTED READ WRITE") as connection:
            return int((await connection.execute(sql, tenant_id, iso(before), limit)).split()[1])

    @database
    async def writable(self) -> None:
        async with self._reading([0], "", "READ COMMITTED READ WRITE") as connection:
            await connection.execute(READ_REVISION + " FOR UPDATE")


# ---- statements


def lock(tenants: Iterable[int]) -> str:
    listed = ", ".join(map(str, tenants))
    return (
        f"SELECT 1 FROM counters WHERE tenant_id IN ({listed}) AND name IN ('{NEXT_CHANGE}', '{REFERENCE_CHANGES}')"
        " ORDER BY tenant_id, name FOR UPDATE;"
    )


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


def column_type(record: type[Record], name: str) -> str:
    """The type of a field's column: as SQLite's, so that rows are the same."""
    return "bigint" if statements.sql_type(fields_of(record)[name]) == "INTEGER" else "text"
