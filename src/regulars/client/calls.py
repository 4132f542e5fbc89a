"""One call: what to send, how to read the answer, and what to do after each attempt. No I/O."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx2

from regulars import wire
from regulars.client.answers import CustomerPage, ListedCustomer, failure
from regulars.errors import TooMany, Unauthenticated, Unavailable

T = TypeVar("T")

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
    """What to do after each attempt at a call."""

    call: Call[Any]
    retries: int
    longest_wait: float
    attempts: int = 0
    stale: str = field(default="", repr=False)
    """The token that was refused; one renewal is tried."""

    def judge(self, outcome: httpx2.Response | httpx2.RequestError, token: str) -> float | None:
        """None when the call succeeded, else after how many seconds to try again; raises the error that ends it.

        Again: whatever was not sent, was throttled, or is repeatable and met a service that is unavailable.
        """
        error = failure(self.call, outcome)
        if error is None:
            return None
        if isinstance(error, Unauthenticated) and token and not self.stale:
            self.stale = token
            return 0.0
        unsent = isinstance(outcome, UNSENT) or isinstance(error, TooMany)
        again = unsent or (self.call.repeatable and isinstance(error, Unavailable))
        wanted = error.retry_after if isinstance(error, TooMany | Unavailable) else 0.0
        if not again or self.attempts >= self.retries or wanted > self.longest_wait:
            raise error
        self.attempts += 1
        backoff = min(BACKOFF * 2 ** (self.attempts - 1), LONGEST_BACKOFF) * random.uniform(0.5, 1.0)
        return max(wanted, backoff)


class Walk:
    """Reads a list page by page while others change it: every customer once, none forgotten.

    New customers push others to later pages: those are met again, and dropped. When the total shrinks, others may have
    moved to pages that were read already: those are read again. (One case is left: an older customer enters the list
    in the very moment a newer one leaves it.)
    """

    def __init__(self) -> None:
        self.number = 1
        self.total = 0
        self.seen: set[int] = set()

    def take(self, page: CustomerPage) -> list[ListedCustomer]:
        """The new ones of this page; `number` becomes the page to read next, 0 at the end."""
        gone = max(0, self.total - page.total)
        self.total = page.total
        fresh = [one for one in page.items if one.id not in self.seen]
        self.seen.update(one.id for one in fresh)
        if gone:
            self.number = max(1, self.number - math.ceil(gone / wire.MOST_PAGE_SIZE))
        elif page.items and self.number * wire.MOST_PAGE_SIZE < page.total:
            self.number += 1
        else:
            self.number = 0
        return fresh
