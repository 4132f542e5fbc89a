"""What runs in the background of a serving process: the delivery of webhooks.

Of all processes over a store one at a time delivers a tenant's events: the one that holds the lease. It reads the feed
once for all endpoints, when there are new changes. Each endpoint has a task of its own, so that one that hangs delays
nobody else.
"""

import asyncio
import contextlib
import logging
import os
import random
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from regulars import webhooks
from regulars.app import App
from regulars.errors import Unavailable
from regulars.fields import INT64
from regulars.posting import TOTAL_SECONDS, Poster
from regulars.record import Change, Endpoint, Lease, Progress
from regulars.store import Actor, Book, Plan, Store
from regulars.store.watch import wake
from regulars.webhooks import Outcome, Taken, Waiting

log = logging.getLogger("regulars.worker")

TICK_SECONDS = 0.2
"""How often it is looked whose turn it is, while nothing happens."""
LOOK_SECONDS = 1.0
"""How often a process looks whether others changed endpoints or the progress of its own, or a lease is free."""
CLOCKS = timedelta(seconds=5)
"""So far apart may the clocks of two nodes be."""
LEASE = timedelta(seconds=30)
RENEW = timedelta(seconds=25)
"""A lease is renewed when it lasts no longer than this."""
LAST_CALL = timedelta(seconds=TOTAL_SECONDS) + CLOCKS
"""An event is sent only while the lease lasts longer than sending can: else another process might be sending, too."""
AT_ONCE = 8
"""How many events one endpoint is sent at once, of different customers."""
READ_AT_ONCE = 200
MOST_REMEMBERED = 1000
"""How many of the last changes are in memory, for all endpoints of a tenant."""
MOST_UNSAVED = 1000
"""After so many changes that an endpoint does not want, its place in the feed is written down."""
LAST_SECONDS = 3.0
"""How long what is being sent may go on when the process stops."""


def place() -> str:
    """Where process numbers mean something: this boot of the machine, this container. Empty when that is not known."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def new_holder() -> str:
    """The name of this process in a lease: place, process number, and something of its own."""
    return f"{place()} {os.getpid()} {secrets.token_hex(6)}"


def is_dead(holder: str, mine: str) -> bool:
    """Whether the holder of a lease is known to be gone, as after a crash, so that nobody need wait for its end."""
    where, _, rest = holder.partition(" ")
    number = rest.partition(" ")[0]
    if holder in _here or not where or where != mine.partition(" ")[0] or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
        with open(f"/proc/{number}/stat", encoding="utf-8") as file:
            ended = file.read().rpartition(")")[2].split()[0] in "ZX"
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return ended or int(number) == os.getpid()


_here: set[str] = set()
"""The holders that live in this process."""


class Worker:
    """The background work of one process. Start it when the app is open, stop it before that is closed."""

    def __init__(self, app: App, luck: Callable[[], float] = random.random) -> None:
        self.app = app
        self.store: Store = app.store
        self.luck = luck
        self.holder = new_holder()
        self._rounds: dict[int, Round] = {}
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._revision = -1
        """Up to which change of reference records others are known to have endpoints."""

    def start(self) -> None:
        _here.add(self.holder)
        self.store.watchers.append(self.watch)
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Let what is being sent end, if that is soon, and leave the rest to whoever comes next."""
        if self._task is None:
            return
        self.store.watchers.remove(self.watch)
        self._stopping.set()  # a look is not broken off: it may be reading from the store
        await self._task
        await asyncio.gather(*(one.stop() for one in self._rounds.values()))
        _here.discard(self.holder)

    def watch(self, plan: Plan) -> None:
        """See what a batch of this process wrote."""
        for tenant_id in plan.reference:
            if tenant_id in self._rounds or Endpoint in plan.inserts:
                self._see_to(tenant_id)
        for one in plan.updates.get(Progress, ()):
            if isinstance(one, Progress) and (found := self._rounds.get(one.tenant_id)) and one.id in found.couriers:
                found.couriers[one.id].told(one)

    async def _work(self) -> None:
        while not self._stopping.is_set():
            with survived():
                await self._look()
            await waited(self._stopping, LOOK_SECONDS)

    async def _look(self) -> None:
        """See whether others gave a tenant its first endpoint, or changed one."""
        revision = await self.store.refresh()
        if revision != self._revision:
            for tenant_id in await self.store.having(Endpoint):
                self._see_to(tenant_id)
            self._revision = revision

    def _see_to(self, tenant_id: int) -> None:
        if tenant_id in self._rounds:
            self._rounds[tenant_id].wake()
        else:
            self._rounds[tenant_id] = Round(self, tenant_id)


class Round:
    """A tenant's deliveries: holds the lease, reads the feed, and has a `Courier` for each endpoint."""

    def __init__(self, worker: Worker, tenant_id: int) -> None:
        self.worker = worker
        self.store = worker.store
        self.tenant_id = tenant_id
        self.actor = Actor(tenant_id, 0, "webhooks", "worker")
        self.endpoints: dict[int, Endpoint] = {}
        self.couriers: dict[int, Courier] = {}
        self.lease: Lease | None = None
        self.newest = 0
        """The last change that is known of."""
        self.last: list[Change] = []
        """The changes up to that one, as far as they are remembered."""
        self._looked = 0.0
        self._book: Book | None = None
        self._news = True
        """There may be changes that were not read."""
        self._woken = self._stopping = False
        self._pause: asyncio.Future[bool] | None = None
        self._task = asyncio.create_task(self._work())

    def wake(self) -> None:
        """Have it look again at once."""
        self._woken = True
        if self._pause is not None:
            wake(self._pause, False)

    async def stop(self) -> None:
        self._stopping = True
        self.wake()
        await self._task
        await asyncio.gather(*(one.stop(LAST_SECONDS) for one in self.couriers.values()))
        if self.lease is not None:
            with contextlib.suppress(Unavailable):
                await self.store.run(self.actor, webhooks.release, self.worker.holder)

    @property
    def now(self) -> datetime:
        return self.store.clock()

    @property
    def may_send(self) -> bool:
        return self.lease is not None and self.lease.until - self.now > LAST_CALL

    @property
    def idle(self) -> bool:
        """Whether some courier has seen all that was read."""
        return any(one.taken.cursor >= self.newest for one in self.couriers.values())

    async def _work(self) -> None:
        while not self._stopping:
            self._woken = False
            with survived():
                await self._step()
            if not self._woken:
                after = self.newest if self.lease and self.idle else INT64
                self._pause = self.store.newer(self.tenant_id, after, TICK_SECONDS if self.lease else LOOK_SECONDS)
                self._news = await self._pause
                self._pause = None

    async def _step(self) -> None:
        await self._look()
        if not self.endpoints:
            await self._leave()
        elif await self._holding():
            changes, newest = list[Change](), 0
            if self.idle and self._news:
                changes, newest = await self.store.feed(self.tenant_id, self.newest, MOST_REMEMBERED)
            await self._see_to_couriers()  # as endpoints were when the last of these changes was made, or later
            self.last = [*self.last, *changes][-MOST_REMEMBERED:]
            self.newest = changes[-1].id if changes else self.newest
            self._news = self.newest < newest
            if self._news:
                self.wake()
            for courier in self.couriers.values():
                courier.woken.set()

    async def _look(self) -> None:
        """See which endpoints are on."""
        book = await self.store.book(self.tenant_id)
        if book is not self._book:
            self._book = book
            self.endpoints = {one.id: one for one in webhooks.present(book.all(Endpoint)) if one.enabled}

    async def _leave(self) -> None:
        """Nobody is to be told of anything, or somebody else does it."""
        for number in [*self.couriers]:
            await self.couriers.pop(number).stop(0)
        if self.lease is not None:
            self.lease = None
            await self.store.run(self.actor, webhooks.release, self.worker.holder)

    async def _holding(self) -> bool:
        """Whether this process has the lease, which is taken or renewed when that is time."""
        now, mine = self.now, self.worker.holder
        if self.lease is not None and self.lease.until <= now:
            self.lease = None  # another process may have had it since
        if self.lease is not None and self.lease.until - now > RENEW:
            return True
        held = await self.store.between(Lease, self.tenant_id, webhooks.WEBHOOKS, webhooks.WEBHOOKS)
        found = held[0] if held else None
        dead = found.holder if found and is_dead(found.holder, mine) else ""
        if found is None or found.holder in ("", mine, dead) or found.until <= now:
            found = await self.store.run(self.actor, webhooks.hold, mine, LEASE, dead)
        if found.holder != mine:
            self.lease = None
            await self._leave()
            return False
        if self.lease is None:
            await self._leave()  # what is known may be of before
            self.newest, self.last = await self.store.newest(self.tenant_id), []
        self.lease = found
        return True

    async def after(self, cursor: int) -> list[Change]:
        """Some changes after this one, ascending: from memory, or from the store when they are older."""
        if cursor >= self.newest:
            return []
        first = self.newest - len(self.last) + 1
        if cursor + 1 >= first:
            start = cursor + 1 - first
            return self.last[start : start + READ_AT_ONCE]
        changes, _ = await self.store.feed(self.tenant_id, cursor, READ_AT_ONCE)
        return changes

    async def change(self, number: int) -> Change:
        place = number - self.newest - 1
        if -len(self.last) <= place < 0:
            return self.last[place]
        return await self.store.get(Change, self.tenant_id, number)

    async def _see_to_couriers(self) -> None:
        """A courier for each endpoint that is on; from time to time see what others did to their progress."""
        await self._look()
        for number, courier in [*self.couriers.items()]:
            endpoint = self.endpoints.get(number)
            if endpoint is not None and endpoint.url == courier.endpoint.url:
                courier.endpoint = endpoint
            else:
                await self.couriers.pop(number).stop(0)
        moment = asyncio.get_running_loop().time()
        again = moment - self._looked > LOOK_SECONDS
        if again:
            self._looked = moment
        numbers = [one for one in self.endpoints if again or one not in self.couriers]
        found = await self.store.between(Progress, self.tenant_id, min(numbers), max(numbers)) if numbers else []
        for progress in found:
            if known := self.couriers.get(progress.id):
                known.told(progress)
            elif endpoint := self.endpoints.get(progress.id):
                self.couriers[progress.id] = Courier(self, endpoint, progress)


class Courier:
    """Brings one endpoint its events."""

    def __init__(self, round_: Round, endpoint: Endpoint, progress: Progress) -> None:
        self.round = round_
        self.endpoint = endpoint
        self.stored = progress
        """The progress as it is on disk."""
        self.taken = Taken(progress.cursor)
        """What was read since."""
        self.events = webhooks.waiting(progress)
        """All that waits: on disk, and read since."""
        self.under_way: dict[int, asyncio.Task[None]] = {}
        self.woken = asyncio.Event()
        self.poster = Poster(round_.worker.app.settings.webhook_allow_private)
        self._stopping = False
        self._task = asyncio.create_task(self._work())

    async def stop(self, seconds: float) -> None:
        """Stop; what is being sent may go on for so long."""
        self._stopping = True
        self.woken.set()
        await self._task
        if self.under_way and seconds:
            await asyncio.wait(self.under_way.values(), timeout=seconds)
        await asyncio.gather(*map(cancelled, [*self.under_way.values()]))
        await self.poster.close()

    def told(self, progress: Progress) -> None:
        """Take over the progress as it is on disk now."""
        if progress.attempts < self.stored.attempts or progress.cursor < self.stored.cursor:
            return  # it was read before it was written again
        self.stored = progress
        if self.taken.cursor < progress.cursor:
            self.taken = Taken(progress.cursor)
        events = webhooks.waiting(webhooks.joined(progress, self.taken))
        if events != self.events:
            self.events = events
            self.woken.set()

    async def _work(self) -> None:
        while not self._stopping:
            self.woken.clear()
            with survived():
                await self._take()
                if not self._stopping:
                    self._send()
            if not self._stopping:
                await self.woken.wait()

    async def _take(self) -> None:
        """Read on in the feed, as long as there is room for events that wait."""
        while len(self.events) < webhooks.MOST_WAITING:
            changes = await self.round.after(self.taken.cursor)
            for change in changes:
                if len(self.events) >= webhooks.MOST_WAITING:
                    break
                self._consider(change)
            if not changes:
                break
        if self.taken.cursor - self.stored.cursor > MOST_UNSAVED and not self.under_way and self.round.may_send:
            await self._settle()

    def _consider(self, change: Change) -> None:
        """Take the next change of the feed."""
        events = [one for one in self.taken.events if one.change_id > self.stored.cursor]
        if webhooks.wanted(self.endpoint, change):
            new = Waiting(change.id, change.customer_id)
            self.events.append(new)
            events.append(new)
        self.taken = Taken(change.id, tuple(events))
        if change.id >= self.round.newest:
            self.round.wake()  # there may be more by now

    def _send(self) -> None:
        """Begin to send those whose turn it is."""
        room = AT_ONCE - len(self.under_way)
        if room > 0 and self._may_send:
            for one in webhooks.sendable(self.events, self.under_way, self.round.now)[:room]:
                self.under_way[one.change_id] = asyncio.create_task(self._deliver(one))

    @property
    def _may_send(self) -> bool:
        pause = self.stored.paused_until
        return self.round.may_send and self.endpoint.enabled and not (pause and pause > self.round.now)

    async def _deliver(self, event: Waiting) -> None:
        """Send one event, and write down what came of it."""
        try:
            change = await self.round.change(event.change_id)
            if not self._may_send:
                return  # reading the change took long
            body, endpoint = webhooks.payload(change), self.endpoint
            message = webhooks.message_id(endpoint, change.id)
            headers = webhooks.signing(endpoint, message, body, self.round.now)
            answer = await self.poster.post(endpoint.url, headers, body)
            await self._settle(Outcome(event, endpoint.url, self.round.now, answer, self.round.worker.luck()))
        except Unavailable as error:
            await asyncio.sleep(error.retry_after)
        except Exception:
            log.exception("event %d could not be sent", event.change_id)
            await asyncio.sleep(webhooks.RETRIES[0].total_seconds())
        finally:
            del self.under_way[event.change_id]
            self.woken.set()

    async def _settle(self, *outcomes: Outcome) -> None:
        """Write down how far it is and what came of events; again and again while the store cannot take it."""
        round_, number = self.round, self.endpoint.id
        while True:
            try:
                found = await round_.store.run(
                    round_.actor, webhooks.settle, number, round_.worker.holder, self.taken, outcomes
                )
                break
            except Unavailable as error:
                if self._stopping and not outcomes:
                    return  # how far it is will be found out again
                await asyncio.sleep(error.retry_after)
        if found is None:
            round_.lease = None
        elif self.endpoint.enabled and not found.enabled:  # or it was removed
            self.endpoint = found
            round_.endpoints.pop(number, None)
            if found.disabled_because:
                log.warning("webhook endpoint %d of tenant %d: %s", number, round_.tenant_id, found.disabled_because)


# ---- tasks


async def cancelled(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.contextmanager
def survived() -> Iterator[None]:
    """Whatever goes wrong in here is logged, and tried again the next time."""
    try:
        yield
    except Unavailable as error:
        log.info("the store is not available: %s", error)
    except Exception:
        log.exception("a round of the background work failed")


async def waited(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not for longer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
