"""`Client` and `AsyncClient`: the customer book from Python, this server's or the vendor's.

    with Client("https://tt.api.example.com", "ann@example.com", "secret") as book:
        for listed in book.iterate_customers(corporate_name="Lovelace"):
            details = book.get_customer(listed.id)
            book.update_customer(listed.id, phone1="555-0100", rating=Rating.Satisfied, if_match=details.etag)

Every call is written once, in operations.py, as a `Call` that says what to send and how to read the answer. `Trial`
decides what happens after each attempt. Neither does I/O; the two clients only send, wait and lock.
"""

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache
from types import TracebackType
from typing import TypeVar, cast

import httpx2

from regulars import queries
from regulars.client.answers import (
    BatchOutcome,
    ChangePage,
    Choice,
    CompanyPage,
    CustomerDetails,
    CustomerPage,
    FeedPage,
    ListedCustomer,
    Updated,
)
from regulars.client.bodies import FilterValue
from regulars.client.calls import Call, Following, Outcome, Walk
from regulars.client.operations import Operations, listing
from regulars.errors import TooMany, Unavailable
from regulars.record import Change

T = TypeVar("T")

__all__ = [
    "AsyncClient",
    "BatchOutcome",
    "ChangePage",
    "Choice",
    "Client",
    "CompanyPage",
    "CustomerDetails",
    "CustomerPage",
    "FeedPage",
    "ListedCustomer",
    "Updated",
]

LONGEST_WAIT = 60.0
"""When the service asks for a longer pause than this, in seconds, the error is raised at once."""
LONGEST_PATIENCE = 20
"""For how many seconds the service is asked to wait for a change; less when the client itself waits less."""


def patience(timeout: float) -> int:
    return max(1, min(LONGEST_PATIENCE, int(timeout / 2)))


@cache
def trusted() -> ssl.SSLContext:
    """The certificates that are trusted; reading them takes longer than all else in making a client."""
    return httpx2.create_ssl_context()


class Client(Operations):
    """A customer book, called synchronously; threads may share one.

    `base_url` is `https://HOST`, `…/rest` or `…/rest/api`; `timeout` and `longest_wait` are in seconds, `retries` is
    how often a call is tried again where that is safe. `sleep`, `clock` and `transport` are for tests.
    """

    def __init__(
        self,
        base_url: str,
        username: str,
        password: str,
        *,
        timeout: float = 30,
        retries: int = 3,
        longest_wait: float = LONGEST_WAIT,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(base_url, username, password, retries, longest_wait, clock)
        self._http = httpx2.Client(timeout=timeout, transport=transport, verify=trusted())
        self._sleep = sleep
        self._patience = patience(timeout)
        self._lock = threading.Lock()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def log_in(self) -> None:
        """Get a new token now, not when it is needed (contract §2). Raises `Unauthenticated`."""
        self._renewed(self._token.text)

    def iterate_customers(self, /, **filters: FilterValue) -> Iterator[ListedCustomer]:
        """Every customer that matches, page by page, once, even while the list changes; see `list_customers`."""
        walk = Walk()
        while walk.number:
            yield from walk.take(self._send(listing(walk.number, filters)))

    def follow_changes(self, *, after: str = "latest") -> Iterator[Change]:
        """Every change after a cursor as it comes, each once and in order, for ever; an outage is waited for. To go on
        after one another time, `after` is `f"{change.tenant_id}-{change.id}"`."""
        following = Following(after)
        while True:
            try:
                page = self.read_feed(after=following.after, limit=queries.MOST_CHANGES, wait=self._patience)
            except (TooMany, Unavailable) as error:
                self._sleep(following.pause(error))
            else:
                yield from following.take(page)

    def _send(self, call: Call[T]) -> T:
        trial = self._trial(call)
        while True:
            token = self._renewed(trial.stale) if call.secured else ""
            outcome = self._attempt(self._request(call, token))
            wait = trial.judge(outcome, token)
            if wait is None:
                return call.read(cast(httpx2.Response, outcome))
            if wait:
                self._sleep(wait)

    def _attempt(self, request: httpx2.Request) -> Outcome:
        try:
            return self._http.send(request)
        except httpx2.RequestError as error:
            return error

    def _renewed(self, stale: str) -> str:
        with self._lock:
            if not self._usable(stale):
                asked = self._clock()
                self._keep(self._send(self._login), asked)
            return self._token.text


class AsyncClient(Operations):
    """A customer book, called from asyncio; tasks may share one. Every call of `Client`, to be awaited."""

    def __init__(
        self,
        base_url: str,
        username: str,
        password: str,
        *,
        timeout: float = 30,
        retries: int = 3,
        longest_wait: float = LONGEST_WAIT,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(base_url, username, password, retries, longest_wait, clock)
        self._http = httpx2.AsyncClient(timeout=timeout, transport=transport, verify=trusted())
        self._sleep = sleep
        self._patience = patience(timeout)
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def log_in(self) -> None:
        """Get a new token now, not when it is needed (contract §2). Raises `Unauthenticated`."""
        await self._renewed(self._token.text)

    async def iterate_customers(self, /, **filters: FilterValue) -> AsyncIterator[ListedCustomer]:
        """Every customer that matches, page by page, once, even while the list changes; see `list_customers`."""
        walk = Walk()
        while walk.number:
            for one in walk.take(await self._send(listing(walk.number, filters))):
                yield one

    async def follow_changes(self, *, after: str = "latest") -> AsyncIterator[Change]:
        """Every change after a cursor as it comes, each once and in order, for ever; an outage is waited for. To go on
        after one another time, `after` is `f"{change.tenant_id}-{change.id}"`."""
        following = Following(after)
        while True:
            try:
                page = await self.read_feed(after=following.after, limit=queries.MOST_CHANGES, wait=self._patience)
            except (TooMany, Unavailable) as error:
                await self._sleep(following.pause(error))
            else:
                for one in following.take(page):
                    yield one

    async def _send(self, call: Call[T]) -> T:
        trial = self._trial(call)
        while True:
            token = await self._renewed(trial.stale) if call.secured else ""
            outcome = await self._attempt(self._request(call, token))
            wait = trial.judge(outcome, token)
            if wait is None:
                return call.read(cast(httpx2.Response, outcome))
            if wait:
                await self._sleep(wait)

    async def _attempt(self, request: httpx2.Request) -> Outcome:
        try:
            return await self._http.send(request)
        except httpx2.RequestError as error:
            return error

    async def _renewed(self, stale: str) -> str:
        async with self._lock:
            if not self._usable(stale):
                asked = self._clock()
                self._keep(await self._send(self._login), asked)
            return self._token.text
