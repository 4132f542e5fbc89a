"""The store: commands go in, records come out, and a result is given only when it is on disk.

Commands queue up while the previous batch is being committed; the next batch runs them all in order, writes what
they changed in bulk, commits once, and then answers every caller (design §1).
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

import msgspec
from msgspec.structs import force_setattr

from regulars import search
from regulars.errors import NotFound, Refused, RegularsError, Unauthenticated, Unavailable
from regulars.fields import Record, differing, fields_of
from regulars.record import EPOCH, REFERENCE, Address, Change, Customer, Employee
from regulars.search import Filter
from regulars.store.filed import Filed
from regulars.store.watch import Newest, Watch

log = logging.getLogger("regulars.store")

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K", int, str)
R = TypeVar("R", bound=Record)

Key = tuple[type[Record], int, int]
"""(record type, tenant, id)"""
TermKey = tuple[int, str]
"""(tenant, term)"""

EVERY_FIELD = tuple(fields_of(Customer))
MOST_IN_BATCH = 256
MOST_WAITING = 4096
MOST_TRIES = 8
"""How often a batch is run when others keep getting in its way."""
MOST_LOSSES = 2
"""A command that others were faster than so often is run while nobody else can write."""

MOST_SEARCHED = 1_000_000
"""How many changes are looked through for those of a request or an employee."""

NEXT_CHANGE, TOTAL_CUSTOMERS = "changes", "customers.count"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: in which tenant, as whom, through which door, by which request, and of which epoch the token
    is, if there is one."""

    tenant_id: int
    employee_id: int = 0
    employee: str = ""
    door: str = "api"
    request_id: str = ""
    epoch: int | None = None


class Missing(Exception):
    """A command asked for what is not in memory yet; the store loads it and calls the command again."""


@dataclass(slots=True)
class Plan:
    """What a batch writes: rows to insert and update by record type, terms, counters."""

    inserts: dict[type[Record], list[Record]] = field(default_factory=dict)
    updates: dict[type[Record], list[Record]] = field(default_factory=dict)
    terms: list[tuple[int, int, Collection[str], Collection[str]]] = field(default_factory=list)
    """(tenant, customer, the search terms that went, those that came); each customer at most once."""
    counters: list[tuple[int, str, int | None, int]] = field(default_factory=list)
    """(tenant, name, where it stood unless it is new, where it stands now); but not how many changes there are."""
    reference: set[int] = field(default_factory=set)
    """The tenants whose reference records are written."""
    built: dict[tuple[int, int], int] = field(default_factory=dict)
    """(tenant, customer) → the version that commands which write have seen."""
    bound: set[tuple[int, int]] = field(default_factory=set)
    """(tenant, customer): what was done to it is not to be written without something else."""
    made: list[Customer] = field(default_factory=list)
    """The customers as each of the changes left them."""

    def tenants(self) -> set[int]:
        written = {one.tenant_id for some in (self.inserts, self.updates) for rows in some.values() for one in rows}  # type: ignore[attr-defined]
        return written | {tenant for tenant, *_ in self.counters}

    def leaves(self, lost: Collection[tuple[int, int]]) -> bool:
        """Whether anything is left to write without these customers."""
        kinds = {*self.inserts, *self.updates} - {Change, Customer}
        return bool(kinds or self.counters) or any((one.tenant_id, one.id) not in lost for one in self.made)

    def made_in(self, tenant: int) -> int:
        """How many changes of a tenant."""
        return sum(one.tenant_id == tenant for one in self.made)

    def renumber(self, last: Mapping[int, int], lost: Collection[tuple[int, int]]) -> None:
        """Give the customers the ids that their changes got: one after the other behind the last ones of the tenants,
        without those of lost customers."""
        ids = dict(last)
        for one in self.made:
            if (one.tenant_id, one.id) not in lost:
                ids[one.tenant_id] += 1
                force_setattr(one, "change_id", ids[one.tenant_id])  # nobody has seen it yet


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list and the exact number of all that match."""

    customers: list[Customer]
    total: int


class Foreign(NamedTuple):
    """What somebody else may have written since the last batch."""

    books: bool
    counters: bool
    changes: Mapping[int, int] = {}
    """Tenant → the number of its last change, if that is known without all counters. Ids of changes may be guessed
    from it: `commit` puts it right."""


class Backend(Newest, Protocol):
    """What a database must do for the store. Every error of the database arrives here as `Unavailable`, as `Clash`
    when a row's own constraint refused it, or as `Again` when the batch need only be run once more."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def begin(self, tenants: Collection[int], alone: bool = False) -> Foreign:
        """Start a batch that reads and writes these tenants only; `alone`: nobody else may write them meanwhile."""
        ...

    def at_hand(self, kind: type[R], tenant_id: int, record_id: int) -> R | None:
        """A record that is in memory, as the database holds it; only asked within a batch."""
        ...

    async def load(self, kind: type[Record], keys: Sequence[tuple[int, int]]) -> list[Any]: ...
    async def holders(self, keys: Sequence[TermKey]) -> list[tuple[int, str, int]]: ...
    async def counters(self, tenant_id: int) -> dict[str, int]: ...
    async def reference(self, tenant_id: int) -> list[Record]: ...
    async def commit(self, plan: Plan) -> Collection[tuple[int, int]]:
        """Write and commit. Returns the (tenant, customer) of which somebody else was faster to write a version: what
        was done to those is not written, and the commands that saw them are to be run again."""
        ...

    async def rollback(self) -> None: ...

    async def revision(self) -> int:
        """A number that changes when any reference record changes, whoever changed it."""
        ...

    async def read(self, kind: type[R], tenant_id: int, record_id: int) -> R | None: ...
    async def read_reference(self, tenant_id: int) -> list[Record]: ...
    async def read_tenants(self) -> list[tuple[int, str]]: ...
    async def read_changes(self, tenant_id: int, customer_id: int, limit: int, before: int) -> list[Change]: ...
    async def read_feed(self, tenant_id: int, after: int, limit: int) -> tuple[list[Change], int]: ...
    async def find_changes(
        self, tenant_id: int, after: int, since: datetime, conditions: Mapping[str, Any], limit: int
    ) -> list[Change]: ...
    async def read_range(self, kind: type[R], tenant_id: int, first: int, last: int) -> list[R]: ...
    async def find(
        self, tenant_id: int, filters: Sequence[Filter], limit: int, offset: int, names: tuple[str, ...]
    ) -> Page: ...
    async def secret(self, name: str, value: str) -> str:
        """The stored secret of this name; `value` is stored first when there is none."""
        ...

    async def expire(self, kind: type[Record], tenant_id: int, before: datetime, limit: int) -> int: ...
    async def writable(self) -> None:
        """Raise `Unavailable` when the database could not take a write now."""
        ...


class Clash(Exception):
    """A constraint of the database refused a row of the batch."""


class Again(Exception):
    """Another batch was in the way and this one was rolled back whole; its commands can simply be run again."""


class Book:
    """One tenant's reference records, by type and id."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.records: dict[type[Record], dict[int, Any]] = {kind: {} for kind in REFERENCE}
        self.derived: dict[str, Any] = {}
        for record in records:
            self.records[type(record)][record.id] = record  # type: ignore[attr-defined]

    def get(self, kind: type[R], record_id: int) -> R | None:
        return self.records[kind].get(record_id)

    def once(self, key: str, make: Callable[["Book"], T]) -> T:
        """What `make` derives from these records; made once, kept as long as they stay as they are."""
        if key not in self.derived:
            self.derived[key] = make(self)
        return self.derived[key]  # type: ignore[no-any-return]

    def all(self, kind: type[R]) -> list[R]:
        return list(self.records[kind].values())


class Ground(Protocol):
    """What a command stands on: the batch, or the command that it is a part of."""

    def find(self, key: Key) -> Any: ...
    def all(self, kind: type[Record], tenant_id: int) -> dict[int, Any]: ...
    def book_now(self, tenant_id: int) -> Book: ...
    def holders(self, key: TermKey) -> set[int]: ...
    def counter(self, key: tuple[int, str]) -> int: ...


def together(find: Callable[[K], T], keys: Iterable[K]) -> dict[K, T]:
    """What is found by each key; when something is missing, only after all were asked for."""
    found, waiting = {}, False
    for key in keys:
        try:
            found[key] = find(key)
        except Missing:
            waiting = True
    if waiting:
        raise Missing
    return found


class Tx:
    """One tenant, one actor, one moment: all that a command can see and do. It never waits and never commits."""

    __slots__ = (
        "_batch", "_changes", "_counters", "_filed", "_made", "_names", "_seen", "_writes", "actor", "now", "tenant_id"
    )  # fmt: skip

    def __init__(self, batch: Ground, actor: Actor, now: datetime) -> None:
        self._batch = batch
        self._filed: Filed | None = None
        self._writes: dict[Key, Any] = {}
        self._counters: dict[tuple[int, str], int] = {}
        self._changes: list[Change] = []
        self._made: list[Customer] = []
        self._seen: set[Key] = set()
        self._names: dict[Key, set[str]] = {}
        self.actor = actor
        self.tenant_id = actor.tenant_id
        self.now = now

    def find(self, kind: type[R], record_id: int) -> R | None:
        """The record, as earlier commands of the batch left it; None when there is none."""
        key: Key = (kind, self.tenant_id, record_id)
        if kind is Customer:
            self._seen.add(key)
        if key in self._writes:
            return self._writes[key]  # type: ignore[no-any-return]
        return self._batch.find(key)  # type: ignore[no-any-return]

    def get(self, kind: type[R], record_id: int) -> R:
        """The record; raises `NotFound` when there is none."""
        record = self.find(kind, record_id)
        if record is None:
            raise NotFound(f"Could not find or load record with ID {record_id}!")
        return record

    def find_many(self, kind: type[R], ids: Iterable[int]) -> dict[int, R | None]:
        """Several records at once, so that all that is missing is loaded together."""
        return together(partial(self.find, kind), ids)

    def all(self, kind: type[R]) -> list[R]:
        """All reference records of one type, ascending by id."""
        records = dict(self._batch.all(kind, self.tenant_id))
        records.update({key[2]: one for key, one in self._writes.items() if key[0] is kind})
        return [records[number] for number in sorted(records)]

    def book(self) -> Book:
        """The tenant's reference records, as earlier commands of the batch left them."""
        return self._batch.book_now(self.tenant_id)

    def holders(self, term: str) -> set[int]:
        """The ids of the customers that are filed under a term (see `search`)."""
        ids = self._batch.holders((self.tenant_id, term))
        if not self._changes:
            return ids
        self._filed = self._filed or Filed(self._changes, self._writes)
        return self._filed.amend((self.tenant_id, term), ids)

    def holders_of(self, terms: Iterable[str]) -> dict[str, set[int]]:
        """The same for several terms at once, so that all that is missing is loaded together."""
        return together(self.holders, terms)

    def forget(self) -> None:
        """Take back all that the command has written."""
        self._writes, self._counters, self._changes, self._names = {}, {}, [], {}
        self._made, self._filed = [], None

    def next_id(self, name: str) -> int:
        """The next number of a counter of this tenant; counters start at 1."""
        return self.count(name, 1)

    def count(self, name: str, by: int) -> int:
        """Move a counter of this tenant and return where it stands."""
        key = (self.tenant_id, name)
        value = self._counters.get(key)
        if value is None:
            value = self._batch.counter(key)
        self._counters[key] = value + by
        return value + by

    def counter(self, key: tuple[int, str]) -> int:
        value = self._counters.get(key)
        return self._batch.counter(key) if value is None else value

    @contextmanager
    def part(self) -> Iterator["Tx"]:
        """A part of a command: what is done through it counts only if the block does not raise."""
        part = Tx(Within(self), self.actor, self.now)
        yield part
        self._writes.update(part._writes)
        self._counters.update(part._counters)
        self._changes += part._changes
        self._made += part._made
        for key, names in part._names.items():
            self._names.setdefault(key, set()).update(names)

    def put(self, after: R, *, new: bool = False, undoes: tuple[int, ...] = ()) -> R:
        """Write a record; one that is as it was is not written. A customer gets its new version, its time of change
        and one row in `changes`. `new` says that its id was just given by `next_id`, so that nothing need be read,
        `undoes` which changes this one undoes. Returns the record as it will be stored."""
        before = None if new else self.find(type(after), after.id)  # type: ignore[attr-defined]
        if isinstance(after, Customer):
            after = self._put_customer(before, after, undoes)  # type: ignore[arg-type, assignment]
        if before is after or before == after:
            return before
        self._writes[type(after), self.tenant_id, after.id] = after  # type: ignore[attr-defined]
        return after

    def _put_customer(self, before: Customer | None, after: Customer, undoes: tuple[int, ...]) -> Customer:
        names = differing(before, after) if before else []
        if before is not None and UNTRACKED.issuperset(names):
            return before
        version = before.version + 1 if before else 1
        created = before.created_on if before else after.created_on if after.created_on > EPOCH else self.now
        modified = max(self.now, before.modified_on) if before else created
        change_id = self.next_id(NEXT_CHANGE)
        after = msgspec.structs.replace(
            after, version=version, modified_on=modified, created_on=created, change_id=change_id
        )
        if before is None:
            self.count(TOTAL_CUSTOMERS, 1)
        self._names.setdefault((Customer, self.tenant_id, after.id), {"modified_on"}).update(names)
        self._changes.append(
            Change(
                tenant_id=self.tenant_id,
                id=change_id,
                previous_id=before.change_id if before else 0,
                customer_id=after.id,
                version=version,
                at=self.now,
                employee_id=self.actor.employee_id,
                employee=self.actor.employee,
                door=self.actor.door,
                request_id=self.actor.request_id,
                kind="created" if not before else "undone" if undoes else "updated",
                undoes=undoes,
                fields=describe(before, after, names) if before else "{}",
            )
        )
        self._made.append(after)
        return after


class Within:
    """What a part of a command stands on: the batch as the command has left it so far."""

    __slots__ = ("_tx",)

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def find(self, key: Key) -> Any:
        return self._tx.find(key[0], key[2])

    def all(self, kind: type[Record], tenant_id: int) -> dict[int, Any]:
        return {one.id: one for one in self._tx.all(kind)}  # type: ignore[attr-defined]

    def holders(self, key: TermKey) -> set[int]:
        return self._tx.holders(key[1])

    def counter(self, key: tuple[int, str]) -> int:
        return self._tx.counter(key)

    def book_now(self, tenant_id: int) -> Book:
        return self._tx.book()


UNTRACKED = frozenset({"tenant_id", "id", "version", "change_id", "created_on", "modified_on"})
MEMBERS = {name: spec.member for name, spec in fields_of(Customer).items()}
ADDRESS_MEMBERS = {name: spec.member for name, spec in fields_of(Address).items()}
_json = msgspec.json.Encoder(decimal_format="number")


def describe(before: Customer, after: Customer, names: Iterable[str]) -> str:
    """JSON of what changed: member → [old, new]; addresses and custom values one by one, as `Addresses[7]`."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in names:
        old, new = getattr(before, name), getattr(after, name)
        if name in UNTRACKED:
            continue
        if name in ("addresses", "custom_values"):
            olds, news = (by_id(some) if name == "addresses" else some for some in (old, new))
            for number in sorted({**olds, **news}):
                if olds.get(number) != news.get(number):
                    found[f"{MEMBERS[name]}[{number}]"] = (olds.get(number), news.get(number))
        else:
            found[MEMBERS[name]] = (old, new)
    return _json.encode(found).decode()


def by_id(addresses: Iterable[Address]) -> dict[int, dict[str, Any]]:
    """Addresses by their ids, in the member names of a request."""
    return {one.id: {member: getattr(one, name) for name, member in ADDRESS_MEMBERS.items()} for one in addresses}


@dataclass(slots=True, eq=False)
class Item:
    """One waiting command."""

    command: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    actor: Actor
    future: "asyncio.Future[Any]"
    result: Any = None
    error: BaseException | None = None
    seen: Collection[Key] = ()
    """The customers that it looked at."""
    losses: int = 0
    """How often somebody else was faster."""


class Batch:
    """The memory of one batch: what was loaded, and what its commands have done so far."""

    def __init__(
        self,
        books: dict[int, Book],
        counters: dict[int, dict[str, int]],
        changes: Mapping[int, int],
        at_hand: Callable[[type[Record], int, int], Any],
    ) -> None:
        self.at_hand = at_hand
        self.books = books
        self.known_counters = counters
        self.known_changes = changes
        self.loaded: dict[Key, Any] = {}
        self.loaded_holders: dict[TermKey, set[int]] = {}
        self.missing: set[Key] = set()
        self.missing_terms: set[TermKey] = set()
        self.missing_books: set[int] = set()
        self.missing_counters: set[int] = set()
        self.probing = False
        """What commands do now does not count; they only tell what they need first."""
        self.current: dict[Key, Any] = {}
        self.names: dict[Key, set[str]] = {}
        self.counters: dict[tuple[int, str], int] = {}
        self.changes: list[Change] = []
        self.made: list[Customer] = []
        self.bound: set[Key] = set()
        self.filed = Filed(self.changes, self.current)

    def find(self, key: Key) -> Any:
        if key in self.current:
            return self.current[key]
        if key[0] in REFERENCE:
            return self.book(key[1]).get(key[0], key[2])
        if key not in self.loaded:
            record = self.at_hand(*key)
            if record is None:
                self.missing.add(key)
                raise Missing
            self.loaded[key] = record
        if self.probing:
            raise Missing
        return self.loaded[key]

    def book(self, tenant_id: int) -> Book:
        if tenant_id not in self.books:
            self.missing_books.add(tenant_id)
            raise Missing
        return self.books[tenant_id]

    def book_now(self, tenant_id: int) -> Book:
        """The book as the commands have left it so far."""
        book = self.book(tenant_id)
        changed = [one for (kind, tenant, _), one in self.current.items() if kind in REFERENCE and tenant == tenant_id]
        return Book([*(one for kind in REFERENCE for one in book.all(kind)), *changed]) if changed else book

    def all(self, kind: type[Record], tenant_id: int) -> dict[int, Any]:
        records = dict(self.book(tenant_id).records[kind])
        records.update({key[2]: one for key, one in self.current.items() if key[:2] == (kind, tenant_id)})
        return records

    def holders(self, key: TermKey) -> set[int]:
        if key not in self.loaded_holders:
            self.missing_terms.add(key)
            raise Missing
        ids = self.loaded_holders[key]
        return self.filed.amend(key, ids) if self.changes else set(ids)

    def counter(self, key: tuple[int, str]) -> int:
        if key in self.counters:
            return self.counters[key]
        return self.known_counter(key) or 0

    def known_counter(self, key: tuple[int, str]) -> int | None:
        """Where a counter stood before the batch; None: it is not there yet."""
        if key[1] == NEXT_CHANGE and key[0] in self.known_changes:
            return self.known_changes[key[0]]
        if key[0] not in self.known_counters:
            self.missing_counters.add(key[0])
            raise Missing
        return self.known_counters[key[0]].get(key[1])

    def admit(self, actor: Actor) -> None:
        """Raise `Unauthenticated` when the actor's token was revoked after the command was taken."""
        if actor.epoch is not None:
            employee = self.find((Employee, actor.tenant_id, actor.employee_id))
            if employee is None or not employee.admits(actor.epoch):
                raise Unauthenticated

    def run(self, item: Item, now: datetime) -> None:
        """Run one command; what it did counts only when it returns."""
        tx = Tx(self, item.actor, now)
        item.error = item.result = None
        try:
            self.admit(item.actor)
            result = item.command(tx, *item.args, **item.kwargs)
        except Missing:
            return
        except RegularsError as error:
            item.error, item.seen = error, tx._seen
            return
        except Exception as error:
            item.seen = tx._seen
            log.exception("command %s failed", item.command.__name__, extra={"request_id": item.actor.request_id})
            item.error = error
            return
        if self.probing:
            return
        item.result, item.seen = result, tx._seen
        if tx._writes and (len(tx._seen) > 1 or tx._writes.keys() != tx._seen):
            self.bound |= tx._seen
        self.current.update(tx._writes)
        for key, names in tx._names.items():
            self.names.setdefault(key, set()).update(names)
        self.changes += tx._changes
        self.made += tx._made
        self.counters.update(tx._counters)

    def _moved(self, key: Key, before: Any, after: Any) -> tuple[Collection[str], Collection[str]]:
        return search.moved(before, after, self.names[key]) if before else ((), search.terms(after))

    @property
    def incomplete(self) -> bool:
        return bool(self.missing or self.missing_terms or self.missing_books or self.missing_counters)

    def plan(self) -> Plan:
        """What must be written so that the database is as the commands left things; each row once."""
        plan = Plan()
        for key, after in self.current.items():
            kind, tenant_id, number = key
            book = self.books.get(tenant_id)
            before: Any = (book.get(kind, number) if book else None) if kind in REFERENCE else self.loaded.get(key)
            if before == after:
                continue
            (plan.inserts if before is None else plan.updates).setdefault(kind, []).append(after)
            if kind in REFERENCE:
                plan.reference.add(tenant_id)
            elif kind is Customer:
                plan.terms.append((tenant_id, number, *self._moved(key, before, after)))
                if before is not None:
                    plan.built[tenant_id, number] = before.version
        for key in self.bound:
            plan.bound.add(key[1:])
            before = self.loaded.get(key)
            if before is not None:
                plan.built[key[1:]] = before.version
        if self.changes:
            plan.inserts[Change], plan.made = list(self.changes), self.made
        for counter, value in self.counters.items():
            if counter[1] != NEXT_CHANGE:
                plan.counters.append((*counter, self.known_counter(counter), value))
        return plan


class Store:
    """Commands and reads over one database. Open it inside a running event loop; close it to finish what was taken."""

    def __init__(self, backend: Backend, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.backend = backend
        self.clock = clock
        self.batches = self.commands = 0
        self._watch = Watch(backend)
        self._waiting: list[Item] = []
        self._arrived = asyncio.Event()
        self._books: dict[int, Book] = {}
        self._counters: dict[int, dict[str, int]] = {}
        self._revision = -1
        self._tenants: dict[str, int] = {}
        self._forgotten = 0
        """How often books were forgotten: one that was asked for before is not kept."""
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.watchers: list[Callable[[Plan], None]] = []
        """Called with what each batch of this process wrote, right after its commit; they must be quick."""

    async def open(self) -> "Store":
        await self.backend.open()
        self._task = asyncio.create_task(self._work())
        return self

    async def close(self) -> None:
        """Finish every command that was taken, then let go of the database."""
        self._closing = True
        self._arrived.set()
        if self._task:
            await self._task
        await self._watch.close()
        await self.backend.close()

    async def __aenter__(self) -> "Store":
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ---- writing

    def run(
        self, actor: Actor, command: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> "asyncio.Future[T]":
        """Run a command in the next batch. The future has its result once that is on disk.

        Raises `Unavailable` when too much is waiting or the database cannot take it, and whatever the command raises.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._closing or len(self._waiting) >= MOST_WAITING:
            raise Unavailable("The service is busy. Try again in a moment.", 1)
        self._waiting.append(Item(command, args, kwargs, actor, future))
        self._arrived.set()
        return future

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
            await self._gather()
            items, self._waiting = self._waiting[:MOST_IN_BATCH], self._waiting[MOST_IN_BATCH:]
            await self._serve(items)

    async def _gather(self) -> None:
        """Let in whoever arrives now: as long as each turn of the loop brings more, one commit will do for all."""
        known = 0
        while known < len(self._waiting) < MOST_IN_BATCH:
            known = len(self._waiting)
            await asyncio.sleep(0)

    async def _serve(self, items: list[Item]) -> None:
        """Commit a batch and answer; a batch that one row spoils is run again command by command, and commands that
        somebody else was faster than are the first of the next batch."""
        losers: set[Item] = set()
        try:
            losers = await self._commit_at_last(items)
        except Clash as clash:
            if len(items) > 1:
                for item in items:
                    await self._serve([item])
                return
            items[0].error = Refused({}, f"The record clashes with another one: {clash}")
        except Unavailable as error:
            for item in items:
                item.error = error
        except Exception as error:
            log.exception("batch of %d commands failed", len(items))
            for item in items:
                item.error = error
        for item in items:
            if item in losers or item.future.done():
                continue
            if item.error is not None:
                item.future.set_exception(item.error)
            else:
                item.future.set_result(item.result)
        self._waiting[:0] = [item for item in items if item in losers]

    async def _commit_at_last(self, items: list[Item]) -> set[Item]:
        alone = any(item.losses >= MOST_LOSSES for item in items)
        for _ in range(MOST_TRIES):
            try:
                return await self._commit(items, alone)
            except Again as again:
                log.info("a batch of %d commands is run again: %s", len(items), again)
                alone = True
        raise Unavailable("Others write the same records. Try again in a moment.", 1)

    async def _commit(self, items: list[Item], alone: bool) -> set[Item]:
        """Run the commands and commit what they did; returns those that somebody else was faster than."""
        try:
            foreign = await self.backend.begin({item.actor.tenant_id for item in items}, alone)
            if foreign.books:
                self._forget_books()
            if foreign.counters:
                self._counters.clear()
            batch = Batch(dict(self._books), self._counters, foreign.changes, self.backend.at_hand)
            await self._run(batch, items)
            plan = batch.plan()
            if not plan.inserts and not plan.updates:
                await self.backend.rollback()
                return set()
            lost = {(Customer, *key) for key in await self.backend.commit(plan)}
        except BaseException:
            self._forget()
            await self.backend.rollback()
            raise
        if self._watch.waited_for:
            self._watch.tell(*(one for one in plan.made if (Customer, one.tenant_id, one.id) not in lost))
        if plan.reference:
            self._forget_books()
        for (tenant, name), value in batch.counters.items():
            if tenant in self._counters:
                self._counters[tenant][name] = value
        for watch in self.watchers:
            watch(plan)
        losers = {item for item in items if not lost.isdisjoint(item.seen)} if lost else set()
        for item in losers:
            item.losses += 1
        self.batches += 1
        self.commands += len(items) - len(losers)
        return losers

    async def _run(self, batch: Batch, items: list[Item]) -> None:
        """Run the commands in order; when one misses something, what all that follow miss is loaded with it."""
        now = self.clock()
        done = 0
        while done < len(items):
            batch.run(items[done], now)
            if batch.incomplete:
                batch.probing = True
                for item in items[done + 1 :]:
                    batch.run(item, now)
                batch.probing = False
                await self._load(batch)
            else:
                done += 1

    async def _load(self, batch: Batch) -> None:
        for kind in {key[0] for key in batch.missing}:
            keys = [(tenant, number) for one, tenant, number in batch.missing if one is kind]
            batch.loaded.update(dict.fromkeys(((kind, *key) for key in keys), None))
            for record in await self.backend.load(kind, keys):
                batch.loaded[kind, record.tenant_id, record.id] = record
        for term in batch.missing_terms:
            batch.loaded_holders[term] = set()
        if batch.missing_terms:
            for tenant, text, number in await self.backend.holders(list(batch.missing_terms)):
                batch.loaded_holders[tenant, text].add(number)
        for tenant in batch.missing_books:
            batch.books[tenant] = self._books[tenant] = Book(await self.backend.reference(tenant))
        for tenant in batch.missing_counters:
            self._counters[tenant] = await self.backend.counters(tenant)
        batch.missing, batch.missing_terms = set(), set()
        batch.missing_books, batch.missing_counters = set(), set()

    def _forget(self) -> None:
        self._forget_books()
        self._counters.clear()

    def _forget_books(self) -> None:
        self._books.clear()
        self._tenants = {}
        self._forgotten += 1

    # ---- reading

    async def get(self, kind: type[R], tenant_id: int, record_id: int) -> R:
        """One record as last committed; raises `NotFound`."""
        record = await self.backend.read(kind, tenant_id, record_id)
        if record is None:
            raise NotFound(f"Could not find or load record with ID {record_id}!")
        return record

    async def find(
        self, tenant_id: int, filters: Sequence[Filter], limit: int, offset: int, names: tuple[str, ...] = EVERY_FIELD
    ) -> Page:
        """A page of the customers that match every filter, newest first, and how many there are. Only the fields in
        `names` are read; they must begin with tenant_id and id, and the others have their defaults."""
        return await self.backend.find(tenant_id, filters, limit, offset, names)

    async def refresh(self) -> None:
        """Forget reference records that another process changed. A door calls it once a request."""
        revision = await self.backend.revision()
        if revision != self._revision:
            self._revision = revision
            self._forget_books()

    async def book(self, tenant_id: int) -> Book:
        """A tenant's reference records, as of the last `refresh` or later."""
        book = self._books.get(tenant_id)
        if book is None:
            forgotten = self._forgotten
            book = Book(await self.backend.read_reference(tenant_id))
            if forgotten == self._forgotten:  # else it may be of before
                self._books[tenant_id] = book
        return book

    async def tenants(self) -> dict[str, int]:
        """Name → number of every tenant, as of the last `refresh` or later."""
        tenants = self._tenants
        if not tenants:
            forgotten = self._forgotten
            tenants = {name: number for number, name in await self.backend.read_tenants()}
            if forgotten == self._forgotten:
                self._tenants = tenants
        return tenants

    async def changes(self, tenant_id: int, customer_id: int, limit: int = 100, before: int = 0) -> list[Change]:
        """A customer's changes, newest first; with `before`, those before this one of them."""
        return await self.backend.read_changes(tenant_id, customer_id, limit, before)

    async def changes_by(
        self, tenant_id: int, conditions: Mapping[str, Any], since: datetime | None, limit: int
    ) -> list[Change]:
        """The newest changes whose attributes are as in `conditions`, newest first. Not found are those before `since`,
        and those before the newest `MOST_SEARCHED`; raises `Refused` when `since` is before these."""
        _, newest = await self.feed(tenant_id, 2**62, 1)
        after, moment = max(0, newest - MOST_SEARCHED), since or EPOCH
        if after and since and (first := await self.get(Change, tenant_id, after)).at >= since:
            why = f"Expected a moment after {first.at:%Y-%m-%dT%H:%M:%SZ}: {MOST_SEARCHED:,} changes were made since."
            raise Refused({"Since": [why]})
        return await self.backend.find_changes(tenant_id, after, moment, conditions, limit)

    async def feed(self, tenant_id: int, after: int, limit: int = 100) -> tuple[list[Change], int]:
        """The tenant's changes whose ids are more than `after`, ascending, and the id of the newest there is. Ids have
        no gaps and follow the order of commits, so whoever goes on after the last one it got misses none."""
        return await self.backend.read_feed(tenant_id, after, limit)

    def newer(self, tenant_id: int, after: int, seconds: float) -> "asyncio.Future[bool]":
        """True as soon as the tenant has a change after this one, whichever process made it; False when the time is up.
        To wait no longer, set it to False or cancel it."""
        return self._watch.newer(tenant_id, after, seconds)

    async def expire(self, kind: type[Record], tenant_id: int, before: datetime, limit: int = 500) -> int:
        """Delete the oldest records of a tenant that are of a time before; at most so many. Returns how many."""
        return await self.backend.expire(kind, tenant_id, before, limit)

    async def between(self, kind: type[R], tenant_id: int, first: int, last: int) -> list[R]:
        """The records whose ids are from `first` to `last`, ascending."""
        return await self.backend.read_range(kind, tenant_id, first, last)

    async def secret(self, name: str, value: str) -> str:
        """The secret of this name, the same for every process; stores `value` when there is none yet."""
        return await self.backend.secret(name, value)
