"""What happened to customers: who altered what, when, from which value, and what follows from that."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from regulars.errors import Conflict, NotFound, Overtaken, Refused
from regulars.fields import Field, fields_of
from regulars.flat import shape
from regulars.record import Change, Customer
from regulars.store import Actor, Store, Tx
from regulars.wire import encode

P = ParamSpec("P")
T = TypeVar("T")

MOST_LOOKED_AT = 100
"""How many changes of a customer are looked through for what others changed."""
MOST_EXPLAINED = 20
"""Of so many customers it is said who altered what stands in the way of an undo."""
HIDDEN = ("tenant_id", "previous_id")

FIELDS: Mapping[str, Field] = {name: spec for name, spec in fields_of(Change).items() if name not in HIDDEN}
"""What is told of a change, by attribute."""
CHANGE = shape(
    "Change",
    {spec.member: "raw(c.fields)" if name == "fields" else f"c.{name}" for name, spec in FIELDS.items()},
    raw=msgspec.Raw,
)


# ---- one customer's


async def page(store: Store, tenant_id: int, customer_id: int, limit: int, cursor: int = 0) -> tuple[list[Change], int]:
    """A customer's changes, newest first, or those before the one that `cursor` names; and the cursor to go on with, 0
    at the end. Raises `NotFound`, and `Refused` for a cursor that is none of this customer's changes."""
    if cursor:
        try:
            known = (await store.get(Change, tenant_id, cursor)).customer_id == customer_id
        except NotFound:
            known = False
        if not known:
            raise Refused(
                {"cursor": [f"Expected the Next of a page of customer {customer_id}'s changes, got {cursor}."]}
            )
    changes = await store.changes(tenant_id, customer_id, limit, cursor)
    if not changes and not cursor:
        await store.get(Customer, tenant_id, customer_id)
    return changes, changes[-1].id if changes and changes[-1].previous_id else 0


def write_page(changes: Iterable[Change], following: int) -> bytes:
    return encode({"Items": list(map(CHANGE, changes)), "Next": str(following) if following else None})


# ---- what others changed meanwhile


async def run(
    store: Store, actor: Actor, command: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """The result of a command. What it meets of others, `Conflict` and `Overtaken`, is told with what they changed."""
    try:
        return await store.run(actor, command, *args, **kwargs)
    except Conflict as error:
        if error.customer_id and error.expected:
            error.members = await members_since(
                store, actor.tenant_id, error.customer_id, error.expected[-1], error.version
            )
        raise
    except Overtaken as error:
        await explain(store, actor.tenant_id, error.conflicts)
        raise


async def members_since(store: Store, tenant_id: int, customer_id: int, since: int, until: int) -> list[str]:
    """The members that were changed after one version of a customer, up to another; none when that is too long ago."""
    if not 0 < until - since <= MOST_LOOKED_AT:
        return []
    changes = await store.changes(tenant_id, customer_id, MOST_LOOKED_AT)
    found = [fields_changed(one) for one in reversed(changes) if since < one.version <= until]
    return list(dict.fromkeys(member for fields in found for member in fields))


async def explain(store: Store, tenant_id: int, conflicts: Sequence[dict[str, Any]]) -> None:
    """Add to each conflict which change altered the member last, as far as that is not too long ago."""
    known: dict[int, list[Change]] = {}
    for one in conflicts:
        number = one["CustomerID"]
        if number not in known:
            many = len(known) >= MOST_EXPLAINED
            known[number] = [] if many else await store.changes(tenant_id, number, MOST_LOOKED_AT)
        last = next((change for change in known[number] if one["Member"] in fields_changed(change)), None)
        one |= {
            "ChangeID": last and last.id,
            "Employee": last and last.employee,
            "Door": last and last.door,
            "At": last and last.at,
        }


# ---- one change


_fields = msgspec.json.Decoder(dict[str, tuple[msgspec.Raw, msgspec.Raw]]).decode


def fields_changed(change: Change) -> dict[str, tuple[Any, Any]]:
    """Member → the JSON of its old value and of its new one."""
    return _fields(change.fields)
