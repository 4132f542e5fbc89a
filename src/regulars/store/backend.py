"""What a database must do for the store, and what a batch gives it to write."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

from msgspec.structs import force_setattr

from regulars.fields import Record
from regulars.record import Change, Customer
from regulars.search import Filter
from regulars.store.watch import Newest

R = TypeVar("R", bound=Record)

TermKey = tuple[int, str]
"""(tenant, term)"""

NEXT_CHANGE, TOTAL_CUSTOMERS = "changes", "customers.count"


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
    async def read_having(self, kind: type[Record], tenants: Collection[int]) -> list[int]: ...
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
