"""The embedded store: one SQLite file, one writer at a time, readers on connections of their own."""

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import apsw
import msgspec

from regulars.errors import Unavailable
from regulars.fields import Record, iso
from regulars.record import REFERENCE, Change, Customer
from regulars.search import Filter
from regulars.store import NEXT_CHANGE, Foreign, Page, Plan, TermKey, filing, statements
from regulars.store.file import BUSY_SECONDS, checked, connect, database, fetch, may_write
from regulars.store.migrations import Schema
from regulars.store.wal import Wal

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=Record)

READERS = 3
SHORT_COMMIT_SECONDS, TRY_SHORT = 0.002, 64
"""Commits that take no longer are made within the event loop: a thread would wait longer than that for the interpreter.
On a slow disk every so many commits try again."""

QUIET_SECONDS = 0.2
MOST_UNFILED = 30_000
"""How many terms may gather in the log before they are filed, a few with each batch; in a large file, as many as it has
pages: the more are filed together, the more of them share a page."""
FILED_WITH_EACH = 2
"""How many terms are filed for each one that is logged, while many wait."""
FILING_SECONDS, TURN_SECONDS = 0.004, 0.010
"""How long a batch files at most, and how long the batches wait for a turn of filing, when a search waits for that."""
MANY_NEW = 10_000
"""So many terms of new customers in one batch are worth being filed at once."""
MOST_AT_HAND = 10_000
"""How many customers are kept in memory, 3 kB each."""

DATA_VERSION = "PRAGMA data_version"
REVISION = "SELECT value FROM counters WHERE tenant_id = 0 AND name = 'revision'"
LOGGED = "SELECT 1 FROM term_log LIMIT 1"

_json = msgspec.json.encode
_rows = msgspec.json.Decoder(list[tuple[Any, ...]]).decode


class Sqlite:
    """A backend over one file. Small reads and the batch's reads run in the event loop (they are index look-ups in
    mapped memory); whatever waits for the disk or may be long runs in threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._write: apsw.Connection | None = None
        self._read: apsw.Connection | None = None
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = ThreadPoolExecutor(READERS, "store-reader")
        self._turn = asyncio.Lock()
        self._in_batch = False
        self._wal: Wal | None = None
        self._seen = self._read_seen = b""
        self._at_hand: dict[tuple[int, int], Customer] = {}
        self._unfiled = 0
        self._sweep: filing.Sweep | None = None
        self._quiet: asyncio.TimerHandle | None = None
        self._commit_seconds = 0.0
        self._commits = 0
        self._filing: asyncio.Future[None] | None = None
        self._sweeping: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Future[None]] = set()
        self._version = -1
        self._foreign = True
        self._revision = 0

    # ---- life

    async def open(self) -> None:
        self._read = checked(self.path)
        try:
            self._wal = Wal(self._read, partial(connect, self.path, write=True))
        except (apsw.Error, OSError) as error:
            raise Schema(f"{self.path} cannot be opened as a store: {error}") from error

    async def close(self) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
        if self._unfiled or self._sweep:
            self._background(self._all_filed())
        for task in list(self._tasks):
            await task
        for pool in (self._writer, self._readers):
            pool.shutdown(wait=True)
        if self._wal is not None:
            self._wal.finish()
        for connection in (self._write, self._read, *self._connections):
            if connection is not None:
                connection.close()
        if self._wal is not None:
            self._wal.close()

    def _reader(self) -> apsw.Connection:
        """The connection of this reader thread."""
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self.path)
            self._connections.append(connection)
        return connection

    async def _in(self, pool: ThreadPoolExecutor, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(call, *args))

    # ---- a batch

    @database
    async def begin(self, tenants: Collection[int], alone: bool = False) -> Foreign:
        await self._begin()
        foreign, self._foreign = self._foreign, False
        return Foreign(foreign, foreign)

    async def _begin(self) -> None:
        """Wait for one's turn, and take the write lock."""
        await self._turn.acquire()
        self._in_batch = True
        if self._writing.readonly("main"):
            self._drop_writer()  # it may be writable again
        connection = may_write(self._writing)
        try:
            connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            await self._in(self._writer, self._begin_patiently, connection)
        self._look(connection)

    def _look(self, connection: apsw.Connection) -> None:
        """Forget what is in memory when somebody else committed since the last look."""
        seen = self.wal.head()
        version = connection.execute(DATA_VERSION).get
        self._seen = seen
        if version != self._version:
            self._version = version
            self._foreign = True
            self._at_hand.clear()
            self._revision = connection.execute(REVISION).get or 0

    def _known(self) -> bool:
        """Whether what is in memory is, this instant, what the file holds."""
        if self.wal.head() != self._seen:
            if self._turn.locked():  # the connection may be at work in a thread
                return False
            self._look(self._writing)
        return True

    @property
    def wal(self) -> Wal:
        assert self._wal is not None
        return self._wal

    @staticmethod
    def _begin_patiently(connection: apsw.Connection) -> None:
        """Wait for the writer of another process, but not for ever."""
        end = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except apsw.BusyError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.002)

    @property
    def _writing(self) -> apsw.Connection:
        """The connection that writes; opened again after it broke."""
        if self._write is None:
            self._write = connect(self.path, write=True)
            self._version = -1
        return self._write

    def _end_batch(self) -> None:
        """Let the next one in."""
        if self._in_batch:
            self._in_batch = False
            self._turn.release()

    @database
    async def load(self, kind: type[Record], keys: Sequence[tuple[int, int]]) -> list[Any]:
        found = list(map(statements.reader(kind), self._load(kind, keys)))
        self._keep(found)
        return found

    def _load(self, kind: type[Record], keys: Sequence[tuple[int, int]]) -> list[Any]:
        if len(keys) == 1:
            return fetch(self._writing, statements.select_one(kind), keys[0])
        names = ", ".join(f"r.{name}" for name in statements.columns(kind))
        return fetch(
            self._writing,
            f"SELECT {names} FROM json_each(?) AS j CROSS JOIN {kind.table} AS r"
            " ON r.tenant_id = j.value ->> 0 AND r.id = j.value ->> 1",
            (_json(keys).decode(),),
        )

    def at_hand(self, kind: type[R], tenant_id: int, record_id: int) -> R | None:
        return self._at_hand.get((tenant_id, record_id)) if kind is Customer else None  # type: ignore[return-value]

    def _keep(self, records: Sequence[Record]) -> None:
        """Have customers at hand, for the next command or reader; the oldest make room."""
        for one in records:
            if isinstance(one, Customer):
                self._at_hand[one.tenant_id, one.id] = one
        while len(self._at_hand) > MOST_AT_HAND:
            del self._at_hand[next(iter(self._at_hand))]

    @database
    async def holders(self, keys: Sequence[TermKey]) -> list[tuple[int, str, int]]:
        if fetch(self._writing, LOGGED):
            await self._in(self._writer, filing.file_all, self._writing)
        return fetch(
            self._writing,
            "SELECT t.tenant_id, t.term, t.customer_id FROM json_each(?) AS j CROSS JOIN customer_terms AS t"
            " ON t.tenant_id = j.value ->> 0 AND t.term = j.value ->> 1",
            (_json(keys).decode(),),
        )

    @database
    async def counters(self, tenant_id: int) -> dict[str, int]:
        return counters(self._writing, tenant_id)

    @database
    async def reference(self, tenant_id: int) -> list[Record]:
        return reference(self._writing, tenant_id)

    @database
    async def commit(self, plan: Plan) -> Collection[tuple[int, int]]:
        connection = self._writing
        write(connection, plan)
        terms = filing.entries(plan)
        new = len(terms) > MANY_NEW and Customer not in plan.updates
        await self._commit(terms, new, FILED_WITH_EACH * len(terms), FILING_SECONDS)
        self._keep(plan.updates.get(Customer, ()))
        self._keep(plan.inserts.get(Customer, ()))
        self._end_batch()
        if terms and not new:
            self._file_later(len(terms))
        self.wal.move_soon()
        return ()

    async def _commit(self, terms: list[str], new: bool, most: int, seconds: float) -> None:
        """Log these terms, or file them when they are new customers'; file some older ones, and commit."""
        slow = self._commit_seconds > SHORT_COMMIT_SECONDS and self._commits % TRY_SHORT
        self._commits += 1
        try:
            if new or slow:
                await self._in(self._writer, self._flush, terms, new, most, seconds)
            else:
                self._flush(terms, new, most, seconds)
        except BaseException:
            self._at_hand.clear()  # it may be in the file all the same
            raise

    def _flush(self, terms: list[str], new: bool, most: int, seconds: float) -> None:
        connection = self._writing
        if terms:
            (filing.file_new if new else filing.log)(connection, terms)
        sweep, at = self._sweep, None
        if sweep is not None and most:
            try:
                at = filing.file(connection, sweep, most, seconds)
            except filing.Outdated:
                self._sweep = None
        started = time.perf_counter()
        connection.execute("COMMIT")
        self._commit_seconds = time.perf_counter() - started
        if sweep is not None and at is not None:
            sweep.at = at
            if sweep.done and self._sweep is sweep:
                self._sweep = None
        self.wal.begin_anew(connection)

    async def rollback(self) -> None:
        connection = self._write
        try:
            if connection is not None and self._in_batch and connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            self._drop_writer()
        finally:
            self._end_batch()

    def _drop_writer(self) -> None:
        if self._write is not None:
            self._write.close(True)
        self._write = None

    # ---- search terms: logged with each batch, filed as filing.py says

    def _file_later(self, count: int) -> None:
        """After so many terms were logged: see to it that they are filed before long."""
        self._unfiled += count
        if self._quiet is not None:
            self._quiet.cancel()
        if self._unfiled < max(MOST_UNFILED, self.wal.file_pages) or self._sweep:
            self._quiet = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._file_if_quiet)
        else:
            self._background(self._start_sweep())

    def _file_if_quiet(self) -> None:
        if self._turn.locked():
            self._file_later(0)
        else:
            self._background(self._all_filed())

    async def _all_filed(self) -> None:
        """See to it that every term committed so far is at its place."""
        newest = self._logged("max")
        while newest is not None:
            if self._filing is None or self._filing.done():
                self._filing = asyncio.ensure_future(self._file_turn())
            await asyncio.shield(self._filing)
            oldest = self._logged("min")
            if oldest is None or oldest > newest:
                return

    def _logged(self, which: str) -> int | None:
        found: int | None = self._reading.execute(f"SELECT {which}(id) FROM term_log").get
        return found

    async def _start_sweep(self) -> None:
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.ensure_future(self._make_sweep())
        await asyncio.shield(self._sweeping)

    @database
    async def _make_sweep(self) -> None:
        self._unfiled = 0
        found = await self._in(self._readers, lambda: filing.sweep(self._reader()))
        self._sweep = None if found.done else found

    @database
    async def _file_turn(self) -> None:
        """File some of what is logged, between two batches."""
        if self._sweep is None:
            await self._start_sweep()
        try:
            await self._begin()
            await self._commit([], new=False, most=sys.maxsize, seconds=TURN_SECONDS)
        except BaseException:
            await self.rollback()
            raise
        self._end_batch()
        self.wal.move_soon()

    def _background(self, work: Coroutine[Any, Any, object]) -> None:
        async def quietly() -> None:
            with contextlib.suppress(Unavailable):  # it is in the log, and the next search tries again
                await work

        task = asyncio.ensure_future(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- reads

    @property
    def _reading(self) -> apsw.Connection:
        assert self._read is not None
        return self._read

    @database
    async def revision(self) -> int:
        if not self._known() and (seen := self.wal.head()) != self._read_seen:
            self._revision = self._reading.execute(REVISION).get or 0
            self._read_seen = seen
        return self._revision

    @database
    async def read(self, kind: type[R], tenant_id: int, record_id: int) -> R | None:
        known = self._known()
        found = self.at_hand(kind, tenant_id, record_id) if known else None
        if found is None:
            rows = fetch(self._reading, statements.select_one(kind), (tenant_id, record_id))
            found = statements.reader(kind)(rows[0]) if rows else None
            if known and found is not None:
                self._keep([found])
        return found

    @database
    async def read_reference(self, tenant_id: int) -> list[Record]:
        return reference(self._reading, tenant_id)

    @database
    async def read_tenants(self) -> list[tuple[int, str]]:
        return fetch(self._reading, "SELECT id, name FROM tenants ORDER BY id")

    @database
    async def read_having(self, kind: type[Record], tenants: Collection[int]) -> list[int]:
        return [tenant for (tenant,) in fetch(self._reading, f"SELECT DISTINCT tenant_id FROM {kind.table}")]

    @database
    async def read_changes(self, tenant_id: int, customer_id: int, limit: int, before: int) -> list[Change]:
        start = (tenant_id, customer_id, before) if before else (tenant_id, customer_id)
        rows = fetch(self._reading, statements.history(before > 0), (*start, tenant_id, limit, tenant_id))
        return [statements.reader(Change)(row) for row in rows]

    @database
    async def read_feed(self, tenant_id: int, after: int, limit: int) -> tuple[list[Change], int]:
        return await self._in(self._readers, self._read_feed, tenant_id, after, limit)

    def _read_feed(self, tenant_id: int, after: int, limit: int) -> tuple[list[Change], int]:
        connection = self._reader()
        with connection:
            changes = at_once(connection, Change, statements.FEED, (tenant_id, after, limit))
            newest = fetch(connection, statements.NEWEST, (tenant_id,))[0][0]
        return changes, newest

    def mark(self) -> bytes:
        return self.wal.head()

    @database
    async def newest_changes(self, tenants: Collection[int]) -> dict[int, int]:
        return {one: self._reading.execute(statements.NEWEST, (one,)).get for one in tenants}

    @database
    async def find_changes(
        self, tenant_id: int, after: int, since: datetime, conditions: Mapping[str, Any], limit: int
    ) -> list[Change]:
        sql = statements.find_changes(tuple(conditions))
        values = (tenant_id, after, iso(since), *conditions.values(), limit)
        return await self._in(self._readers, lambda: at_once(self._reader(), Change, sql, values))

    @database
    async def read_range(self, kind: type[R], tenant_id: int, first: int, last: int) -> list[R]:
        def read() -> list[Any]:
            return fetch(self._reader(), statements.select_range(kind), (tenant_id, first, last))

        return list(map(statements.reader(kind), await self._in(self._readers, read)))

    @database
    async def find(
        self, tenant_id: int, filters: Sequence[Filter], limit: int, offset: int, names: tuple[str, ...]
    ) -> Page:
        if filters:
            await self._all_filed()
        return await self._in(self._readers, self._find, tenant_id, filters, limit, offset, names)

    def _find(self, tenant_id: int, filters: Sequence[Filter], limit: int, offset: int, names: tuple[str, ...]) -> Page:
        connection = self._reader()
        with connection:  # one snapshot for the count and the page
            if filters:
                query, values = statements.matches(tenant_id, self._rarest_first(connection, tenant_id, filters))
                total = fetch(connection, f"SELECT count(*) FROM ({query})", values)[0][0]
                ids = f"SELECT customer_id FROM ({query}) ORDER BY customer_id DESC LIMIT ? OFFSET ?"
            else:
                values = [tenant_id]
                total = next(
                    iter(
                        connection.execute(
                            "SELECT value FROM counters WHERE tenant_id = ? AND name = 'customers.count'", (tenant_id,)
                        )
                    ),
                    (0,),
                )[0]
                ids = "SELECT id FROM customers WHERE tenant_id = ? ORDER BY id DESC LIMIT ? OFFSET ?"
            if offset >= total:
                return Page([], total)
            # as one row: a thread may wait for the interpreter after each
            listed = ", ".join(names)
            rows = connection.execute(
                f"SELECT json_group_array(json_array({listed})) FROM (SELECT {listed} FROM customers"
                f" WHERE tenant_id = ? AND id IN ({ids}) ORDER BY id DESC)",
                [tenant_id, *values, limit, offset],
            ).get
        read = statements.reader(Customer, names)
        return Page([read(row) for row in _rows(rows)], total)

    @staticmethod
    def _rarest_first(connection: apsw.Connection, tenant_id: int, filters: Sequence[Filter]) -> list[Filter]:
        """The filters by how many customers each matches, as far as that matters."""
        if len(filters) == 1:
            return list(filters)

        def size(one: Filter) -> int:
            query, values = statements.members(tenant_id, one)
            count = f"SELECT count(*) FROM (SELECT 1 FROM ({query}) LIMIT 20000)"
            return int(fetch(connection, count, values)[0][0])

        return sorted(filters, key=size)

    @database
    async def secret(self, name: str, value: str) -> str:
        return await self._in(self._writer, self._secret, name, value)

    def _secret(self, name: str, value: str) -> str:
        connection = connect(self.path, write=True)
        try:
            found = fetch(connection, "SELECT value FROM secrets WHERE name = ?", (name,))
            if not found:
                connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
                connection.execute("INSERT OR IGNORE INTO secrets (name, value) VALUES (?, ?)", (name, value))
                found = fetch(connection, "SELECT value FROM secrets WHERE name = ?", (name,))
            return str(found[0][0])
        finally:
            connection.close()

    @database
    async def expire(self, kind: type[Record], tenant_id: int, before: datetime, limit: int) -> int:
        try:
            await self._begin()
            self._writing.execute(statements.expire(kind), (tenant_id, iso(before), limit))
            deleted: int = self._writing.changes()
            await self._commit([], new=False, most=0, seconds=0)
        except BaseException:
            await self.rollback()
            raise
        self._end_batch()
        self.wal.move_soon()
        return deleted

    @database
    async def writable(self) -> None:
        await self._in(self._readers, self._writable)

    def _writable(self) -> None:
        connection = connect(self.path, write=True)
        try:
            self._begin_patiently(may_write(connection))
            connection.execute("ROLLBACK")
        finally:
            connection.close()


def write(connection: apsw.Connection, plan: Plan) -> None:
    """Write a plan's rows and counters; not its terms."""
    for sql, plans in ((statements.insert, plan.inserts), (statements.update, plan.updates)):
        for kind, records in plans.items():
            connection.executemany(sql(kind), map(statements.writer(kind), records))
    # the last change is its own counter: one page less in each commit
    counters = [(tenant, name, value) for tenant, name, _, value in plan.counters if name != NEXT_CHANGE]
    if counters:
        connection.executemany(statements.PUT_COUNTER, counters)
    if plan.reference:
        connection.execute(statements.REVISE)


def counters(connection: apsw.Connection, tenant_id: int) -> dict[str, int]:
    """Where a tenant's counters stand."""
    found = dict(fetch(connection, "SELECT name, value FROM counters WHERE tenant_id = ?", (tenant_id,)))
    return {**found, NEXT_CHANGE: fetch(connection, statements.NEWEST, (tenant_id,))[0][0]}


def at_once(connection: apsw.Connection, kind: type[R], sql: str, values: Sequence[Any]) -> list[R]:
    """The records of a query, read as one row: a thread may wait for the interpreter after each."""
    listed = ", ".join(statements.columns(kind))
    rows = connection.execute(f"SELECT json_group_array(json_array({listed})) FROM ({sql})", values).get
    return list(map(statements.reader(kind), _rows(rows)))


def reference(connection: apsw.Connection, tenant_id: int) -> list[Record]:
    """All reference records of a tenant."""
    found: list[Record] = []
    for kind in REFERENCE:
        read = statements.reader(kind)
        found += [read(row) for row in connection.execute(statements.select_all(kind), (tenant_id,))]
    return found
