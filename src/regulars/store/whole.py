"""A whole store, for one who copies it: what a database must do for that, and the mark of a copy that is not finished.

The mark is a row in `secrets`, the one table that belongs to no tenant. While it is there, nothing but the copy opens
the store.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from regulars.fields import Record
from regulars.store import Plan
from regulars.store.migrations import Schema
from regulars.store.statements import Row

COPYING = "copying"
UNFINISHED = f"SELECT value FROM secrets WHERE name = '{COPYING}'"
FINISHED = f"DELETE FROM secrets WHERE name = '{COPYING}'"
PUT_SECRET = "INSERT INTO secrets (name, value) VALUES (?, ?)"
READ_TERMS = (
    "SELECT term, customer_id FROM customer_terms WHERE tenant_id = ? AND (term, customer_id) > (?, ?)"
    " ORDER BY term, customer_id LIMIT ?"
)

PAGE_ROWS = 2_000
"""How many rows are read, written and committed at once."""
TERMS_EACH = 10
"""How many times as many search terms."""

Counters = dict[tuple[int, str], int]
"""(tenant, name) → value"""
Report = Callable[[str, int, int], None]
"""Told how far the work is: the part of it (none: too short to tell of), how many rows that has, how many more are
done."""


class Mark(msgspec.Struct, frozen=True):
    """Of what a copy was begun: the source's name, and where its counters stood. Each change moves one of them."""

    source: str
    counters: list[tuple[int, str, int]]


def half_copied(url: str, mark: str) -> Schema:
    """What to say of a store that has a mark."""
    source = msgspec.json.decode(mark, type=Mark).source
    return Schema(f"{url} is a copy that is not finished. Finish it: regulars copy --from {source} --to {url}")


class Whole(Protocol):
    """All of a store, for all tenants. Rows are as `statements.writer` makes them. Errors are those of a `Backend`."""

    url: str
    """Without its password."""
    page_rows: int
    """How many rows a page has that is not the last one."""

    def reading(self) -> AbstractAsyncContextManager[object]:
        """Open it to be read, as it is now and stays for this reader. Raises `Schema`."""
        ...

    def filling(self) -> AbstractAsyncContextManager[object]:
        """Open it to be written. What was not saved when the block ends is gone."""
        ...

    async def tenants(self) -> list[int]: ...
    async def about(self, tenants: Sequence[int]) -> None:
        """Name the tenants whose rows are read and written from now on."""
        ...

    async def page(self, kind: type[Record], tenant_id: int, after: int) -> list[Row]:
        """The next rows of a tenant by id."""
        ...

    async def newest(self, kind: type[Record], tenant_id: int) -> int:
        """The highest id; -1 when there is none."""
        ...

    async def terms(self, tenant_id: int, after: tuple[str, int]) -> list[tuple[str, int]]:
        """The next search terms and whose they are, in the order of the index."""
        ...

    async def counters(self, now: bool = False) -> Counters:
        """Where the counters stand for this reader, or `now`."""
        ...

    async def secrets(self) -> dict[str, str]: ...
    async def put_secrets(self, secrets: Mapping[str, str]) -> None: ...
    async def write(self, plan: Plan) -> None:
        """Write what is inserted, and counters."""
        ...

    async def save(self) -> None:
        """Commit."""
        ...

    async def file(self, report: Callable[[int], None]) -> None:
        """See to it that all customers are filed under their search terms, and save that. Reports each one twice."""
        ...

    async def finish(self) -> None:
        """Take the mark away, commit, and leave the store as one that is to be served."""
        ...
