"""The store: commands go in, records come out, and a result is given only when it is on disk.

Commands queue up while the previous batch is being committed; the next batch runs them all in order, writes what
they changed in bulk, commits once, and then answers every caller (design §1).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

from regulars.errors import NotFound, Refused, Unavailable
from regulars.fields import Record, fields_of
from regulars.record import EPOCH, Change, Customer
from regulars.search import Filter
from regulars.store.backend import NEXT_CHANGE, TOTAL_CUSTOMERS, Again, Backend, Clash, Foreign, Page, Plan, TermKey
from regulars.store.batch import Batch, Item
from regulars.store.tx import UNTRACKED, Actor, Book, Tx, describe
from regulars.store.watch import Watch

__all__ = [
    "NEXT_CHANGE",
    "TOTAL_CUSTOMERS",
    "UNTRACKED",
    "Actor",
    "Again",
    "Backend",
    "Book",
    "Clash",
    "Foreign",
    "Page",
    "Plan",
    "Store",
    "TermKey",
    "Tx",
    "describe",
]

log = logging.getLogger("regulars.store")

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=Record)

EVERY_FIELD = tuple(fields_of(Customer))
MOST_IN_BATCH = 256
MOST_WAITING = 4096
MOST_TRIES = 8
"""How often a batch is run when others keep getting in its way."""
MOST_LOSSES = 2
"""A command that others were faster than so often is run while nobody else can write."""

MOST_SEARCHED = 1_000_000
"""How many changes are looked through for those of a request or an employee."""


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

    async def refresh(self) -> int:
        """Forget reference records that another process changed; a door calls it once a request. Returns a number that
        is another one after such a change."""
        revision = await self.backend.revision()
        if revision != self._revision:
            self._revision = revision
            self._forget_books()
        return revision

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

    async def having(self, kind: type[Record]) -> list[int]:
        """The tenants that have a record of a kind, or had one."""
        tenants = (await self.tenants()).values()
        return await self.backend.read_having(kind, tenants) if tenants else []

    async def changes(self, tenant_id: int, customer_id: int, limit: int = 100, before: int = 0) -> list[Change]:
        """A customer's changes, newest first; with `before`, those before this one of them."""
        return await self.backend.read_changes(tenant_id, customer_id, limit, before)

    async def changes_by(
        self, tenant_id: int, conditions: Mapping[str, Any], since: datetime | None, limit: int
    ) -> list[Change]:
        """The newest changes whose attributes are as in `conditions`, newest first. Not found are those before `since`,
        and those before the newest `MOST_SEARCHED`; raises `Refused` when `since` is before these."""
        newest = await self.newest(tenant_id)
        after, moment = max(0, newest - MOST_SEARCHED), since or EPOCH
        if after and since and (first := await self.get(Change, tenant_id, after)).at >= since:
            why = f"Expected a moment after {first.at:%Y-%m-%dT%H:%M:%SZ}: {MOST_SEARCHED:,} changes were made since."
            raise Refused({"Since": [why]})
        return await self.backend.find_changes(tenant_id, after, moment, conditions, limit)

    async def feed(self, tenant_id: int, after: int, limit: int = 100) -> tuple[list[Change], int]:
        """The tenant's changes whose ids are more than `after`, ascending, and the id of the newest there is. Ids have
        no gaps and follow the order of commits, so whoever goes on after the last one it got misses none."""
        return await self.backend.read_feed(tenant_id, after, limit)

    async def newest(self, tenant_id: int) -> int:
        """The id of the tenant's last change; 0 when there is none."""
        return (await self.backend.newest_changes([tenant_id])).get(tenant_id) or 0

    def newer(self, tenant_id: int, after: int, seconds: float) -> "asyncio.Future[bool]":
        """True as soon as the tenant has a change after this one, whichever process made it; False when the time is up.
        To wait no longer, set it to False or cancel it."""
        return self._watch.newer(tenant_id, after, seconds)

    async def expire(self, kind: type[Record], age: timedelta, limit: int = 500) -> bool:
        """Delete records that are older, the oldest first, at most so many of each tenant, which is how long the next
        batch waits. Returns whether there may be more."""
        before, tenants = self.clock() - age, (await self.tenants()).values()
        return limit in [await self.backend.expire(kind, one, before, limit) for one in tenants]

    async def between(self, kind: type[R], tenant_id: int, first: int, last: int) -> list[R]:
        """The records whose ids are from `first` to `last`, ascending."""
        return await self.backend.read_range(kind, tenant_id, first, last)

    async def secret(self, name: str, value: str) -> str:
        """The secret of this name, the same for every process; stores `value` when there is none yet."""
        return await self.backend.secret(name, value)
