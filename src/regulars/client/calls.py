"""One call: what to send, how to read the answer, and what to do after each attempt. No I/O."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx2
from msgspec.structs import replace

from regulars import queries
from regulars.client.answers import CustomerPage, FeedPage, ListedCustomer, failure
from regulars.errors import RegularsError, Running, TooMany, Unauthenticated, Unavailable
from regulars.record import Change

T = TypeVar("T")

Outcome = httpx2.Response | httpx2.RequestError
"""What came of an attempt: an answer, or none."""
BACKOFF, LONGEST_BACKOFF = 0.5, 8.0
"""Seconds before the first repetition, doubled for each further one up to the longest."""
UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""What fails before a request is sent, so that any request can be sent again."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read. `repeatable`: sending it twice does what sending it once does."""

    method: str
    path: str
    read: Callable[[httpx2.Response], T]
    query: Sequence[tuple[str, str]] = ()
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    secured: bool = True


@dataclass
class Trial:
    """What to do after each attempt at a call; waits are in seconds."""

    call: Call[Any]
    retries: int
    longest_wait: float
    repeated: int = 0
    stale: str = field(default="", repr=False)
    """The token that was refused; after that one renewal is tried."""

    def judge(self, outcome: Outcome, token: str) -> float | None:
        """None when the call succeeded, else after how long to try again; raises the error that ends it.

        Tried again is what was not sent, what was throttled, and what is repeatable and met an unavailable service,
        or one that was still busy with it.
        """
        error = self.unanswered(outcome) if isinstance(outcome, httpx2.RequestError) else failure(outcome)
        if error is None:
            return None
        if isinstance(error, Unauthenticated) and token and not self.stale:
            self.stale = token
            return 0.0
        if not isinstance(error, TooMany | Unavailable | Running):
            raise error
        again = self.call.repeatable or isinstance(error, TooMany) or isinstance(outcome, UNSENT)
        if not again or self.repeated >= self.retries or error.retry_after > self.longest_wait:
            raise error
        backoff = min(BACKOFF * 2.0**self.repeated, LONGEST_BACKOFF) * random.uniform(0.5, 1.0)
        self.repeated += 1
        return max(error.retry_after, backoff)

    def unanswered(self, error: httpx2.RequestError) -> RegularsError:
        """Without the original error, which holds the request and with it the token."""
        known = self.call.method == "GET" or isinstance(error, UNSENT)
        doubt = "" if known else " Whether it took effect is not known."
        why = f"{type(error).__name__}: {error}".rstrip(": .")
        return Unavailable(f"No answer to {self.call.method} {self.call.path}: {why}.{doubt}")


class Following:
    """Where a reader of the feed is, and how long it waits after a failure."""

    def __init__(self, after: str) -> None:
        self.after = after
        self.failures = 0

    def pause(self, error: TooMany | Unavailable) -> float:
        backoff = min(BACKOFF * 2.0**self.failures, LONGEST_BACKOFF) * random.uniform(0.5, 1.0)
        self.failures = min(self.failures + 1, 10)
        return max(error.retry_after, backoff)

    def take(self, page: FeedPage) -> Iterator[Change]:
        """The page's changes, as those of their tenant; the reader is behind them then."""
        self.failures = 0
        tenant_id = int(page.cursor.partition("-")[0])
        for one in page.items:
            yield replace(one, tenant_id=tenant_id)
        self.after = page.cursor


class Walk:
    """Reads a list page by page while others change it: every customer once, none forgotten.

    New customers push others to later pages: those are met again, and dropped. When the total shrinks, others may have
    moved to pages that were read already: those are read again. One case is left: between two pages, an older customer
    begins to match while a newer one ceases to.
    """

    def __init__(self) -> None:
        self.number = 1
        self.total = 0
        self.seen: set[int] = set()

    def take(self, page: CustomerPage) -> list[ListedCustomer]:
        """The new ones of this page; `number` becomes the page to read next, 0 at the end."""
        gone, self.total = self.total - page.total, page.total
        fresh = [one for one in page.items if one.id not in self.seen]
        self.seen.update(one.id for one in fresh)
        if gone > 0:
            self.number = max(1, self.number - math.ceil(gone / queries.MOST_PAGE_SIZE))
        elif page.items and self.number * queries.MOST_PAGE_SIZE < page.total:
            self.number += 1
        else:
            self.number = 0
        return fresh
