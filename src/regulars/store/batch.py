"""One batch: its commands, what was loaded for them, what they have done so far, and what is to be written."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from regulars import search
from regulars.errors import RegularsError, Unauthenticated
from regulars.fields import Record
from regulars.record import REFERENCE, Change, Customer, Employee
from regulars.store.backend import NEXT_CHANGE, Plan, TermKey
from regulars.store.filed import Filed
from regulars.store.tx import Actor, Book, Key, Missing, Tx

log = logging.getLogger("regulars.store")


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
