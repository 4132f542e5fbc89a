"""What a command sees and does: one tenant, one actor, one moment."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from regulars.errors import NotFound
from regulars.fields import Record, differing, fields_of
from regulars.record import EPOCH, REFERENCE, Address, Change, Customer
from regulars.store.backend import NEXT_CHANGE, TOTAL_CUSTOMERS, TermKey
from regulars.store.filed import Filed

T = TypeVar("T")
K = TypeVar("K", int, str)
R = TypeVar("R", bound=Record)

Key = tuple[type[Record], int, int]
"""(record type, tenant, id)"""


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
