"""The feed: every change of a tenant in the order of commits, without gaps, to be read on from a cursor."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from regulars.errors import Refused
from regulars.fields import INT64, shown
from regulars.flat import shape
from regulars.history import CHANGE
from regulars.record import Change, Tenant
from regulars.store import Store
from regulars.wire import encode

LATEST = "latest"
CURSOR = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")
EVENT = shape(
    "Event",
    {
        "specversion": "'1.0'",
        "id": "f'{c.tenant_id}-{c.id}'",
        "source": "custom",
        "type": "created if c.kind == 'created' else updated",
        "subject": "f'customers/{c.customer_id}'",
        "time": "c.at",
        "datacontenttype": "'application/json'",
        "data": "change(c)",
    },
    change=CHANGE,
    created="regulars.customer.created",
    updated="regulars.customer.updated",
)
"""A change in the envelope of CloudEvents 1.0. What an undo did is an update, too."""


class Page(NamedTuple):
    """Some changes of a tenant, ascending; the number of the last that was seen, and of the newest there is."""

    tenant_id: int
    changes: list[Change]
    last: int
    newest: int

    @property
    def cursor(self) -> str:
        """Where to go on."""
        return cursor(self.tenant_id, self.last)

    def without_changes(self) -> "Page":
        return self._replace(changes=[])

    @property
    def more(self) -> bool:
        return self.last < self.newest


def cursor(tenant_id: int, number: int) -> str:
    return f"{tenant_id}-{number}"


async def read(store: Store, tenant_id: int, after: str, limit: int) -> Page:
    """The changes after a cursor: an earlier one of this feed, `latest` for the end, or none for the beginning. Raises
    `Refused` for what is no cursor of this tenant, or lies ahead of its newest change."""
    if after == LATEST:
        newest = await store.newest(tenant_id)
        return Page(tenant_id, [], newest, newest)
    match = CURSOR.fullmatch(after or cursor(tenant_id, 0))
    number = min(int(match[2]), INT64) if match else 0
    page = await read_on(store, tenant_id, number, limit)
    if match is None or int(match[1]) != tenant_id or number > page.newest:
        raise Refused(
            {
                "after": [
                    f"Expected a cursor that this feed gave, from {cursor(tenant_id, 0)} to"
                    f" {cursor(tenant_id, page.newest)} now, or {LATEST}; got {shown(after)}."
                ]
            }
        )
    return page


async def read_on(store: Store, tenant_id: int, last: int, limit: int) -> Page:
    """The changes after one."""
    changes, newest = await store.feed(tenant_id, last, limit)
    return Page(tenant_id, changes, changes[-1].id if changes else last, newest)


def write(page: Page) -> bytes:
    return encode({"Items": list(map(CHANGE, page.changes)), "Cursor": page.cursor, "More": page.more})


def write_events(changes: Sequence[Change], source: str) -> bytes:
    """The changes as a batch of CloudEvents."""
    return encode([EVENT(one, source) for one in changes])


def write_change(change: Change, source: str = "") -> bytes:
    """One change; as a CloudEvent of this source, if one is given."""
    return encode(EVENT(change, source) if source else CHANGE(change))


async def source(store: Store, tenant_id: int) -> str:
    """Where a tenant's events come from."""
    tenant = (await store.book(tenant_id)).get(Tenant, tenant_id)
    return f"urn:regulars:{tenant.name if tenant else tenant_id}"
