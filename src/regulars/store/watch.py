"""Who waits for a tenant's next change, and how it is noticed, whichever process commits it."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Protocol

from regulars.errors import Unavailable
from regulars.record import Customer

log = logging.getLogger("regulars.store")

ASK_SECONDS = 0.1
"""How often the database is asked whether another process committed, while anybody waits."""


class Newest(Protocol):
    """What a database must be able to tell."""

    def mark(self) -> bytes:
        """What differs after each commit, where that costs nothing to see; else nothing."""
        ...

    async def newest_changes(self, tenants: Collection[int]) -> Mapping[int, int]:
        """The id of each tenant's newest change."""
        ...


class Watch:
    """Wakes those who wait. This process tells it of its own commits; of others' it learns by asking."""

    def __init__(self, backend: Newest) -> None:
        self._backend = backend
        self._newest: dict[int, int] = {}
        self._waiting: dict[int, dict[asyncio.Future[bool], int]] = {}
        """By tenant: who waits, and after which change."""
        self._task: asyncio.Task[None] | None = None
        self._mark = b""

    def newer(self, tenant_id: int, after: int, seconds: float) -> "asyncio.Future[bool]":
        """True as soon as the tenant has a change after this one, False when the time is up. Whoever has the future may
        set it to False, or cancel it, to wait no longer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        if self._newest.get(tenant_id, 0) > after:
            future.set_result(True)
            return future
        timer = loop.call_later(seconds, wake, future, False)
        waiting = self._waiting.setdefault(tenant_id, {})
        waiting[future] = after

        def end(_: object) -> None:
            timer.cancel()
            del waiting[future]
            if not waiting and self._waiting.get(tenant_id) is waiting:
                del self._waiting[tenant_id]

        future.add_done_callback(end)
        self._mark = b""  # what was seen before may have been committed after the caller looked
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ask())
        return future

    @property
    def waited_for(self) -> bool:
        """Whether anybody waits, or did a moment ago and may do so again."""
        return self._task is not None and not self._task.done()

    def tell(self, *customers: Customer) -> None:
        """These were just changed, in this order."""
        for tenant_id, newest in {one.tenant_id: one.change_id for one in customers}.items():
            self._tell(tenant_id, newest)

    def _tell(self, tenant_id: int, newest: int) -> None:
        self._newest[tenant_id] = newest
        for future, after in list(self._waiting.get(tenant_id, {}).items()):
            if newest > after:
                wake(future, True)

    async def close(self) -> None:
        """Let nobody wait any longer."""
        for waiting in list(self._waiting.values()):
            for future in list(waiting):
                wake(future, False)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _ask(self) -> None:
        """Ask while anybody waits."""
        while self._waiting:
            mark = self._backend.mark()
            if not mark or mark != self._mark:
                try:
                    for tenant_id, newest in (await self._backend.newest_changes(list(self._waiting))).items():
                        self._tell(tenant_id, newest)
                    self._mark = mark
                except Unavailable as error:  # whoever waits will read, and be told
                    log.debug("not known whether there are new changes: %s", error)
            await asyncio.sleep(ASK_SECONDS)


def wake(future: "asyncio.Future[bool]", found: bool) -> None:
    if not future.done():
        future.set_result(found)
