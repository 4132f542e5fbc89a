"""Undo: what changes altered is put back, unless somebody altered it again since; that is a change like any other."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec.structs import replace

from regulars import wire
from regulars.customers import Patch, Problems, check, check_stored
from regulars.errors import Overtaken, Refused
from regulars.fields import Field, differing, fields_of, shown
from regulars.history import fields_changed
from regulars.record import Address, Change, Customer, Employee
from regulars.search import fold
from regulars.store import Store, Tx, describe

MOST_CUSTOMERS, MOST_CHANGES = 1_000, 10_000
"""What one undo takes at most."""
OPERATOR = "operator"

ATTRIBUTES = {spec.member: spec for spec in fields_of(Customer).values()}
ADDRESS_NAMES = {spec.member: name for name, spec in fields_of(Address).items()}
PART = re.compile(r"(\w+)\[(\d+)\]")
PARTS = ("addresses", "custom_values")
"""Attributes whose parts are told one by one."""


class Wanted(msgspec.Struct, frozen=True):
    """Which changes are to be undone: all that have each of these."""

    request_id: Annotated[str, Field("The request that made them.", "RequestID")] = ""
    employee: Annotated[str, Field(f"Who made them: an employee's e-mail address, or {OPERATOR}.", "Employee")] = ""
    door: Annotated[str, Field("The door they came through: api, cli, sample.", "Door")] = ""
    since: Annotated[datetime | None, Field("When the first of them was made.", "Since")] = None
    keep_created: Annotated[bool, Field("Leave customers that were created there, as created.", "KeepCreated")] = False


WANTED: wire.Names = {spec.member.lower(): spec for spec in fields_of(Wanted).values()}


class Undone(NamedTuple):
    """A customer before and after, and the changes that were undone, newest first."""

    before: Customer
    after: Customer
    changes: tuple[int, ...]


# ---- the command


def undo(tx: Tx, changes: Sequence[Change], *, keep_created: bool = False, dry_run: bool = False) -> list[Undone]:
    """Put back what these changes altered, of all customers or of none; a dry run of it writes nothing.

    A member that has its old value again needs nothing. Raises `Overtaken` with every member that has neither that
    nor the new one, and `Refused` for creations unless they are to be kept, and when a rule would be broken.
    """
    if not keep_created:
        refuse_created(changes)
    by_customer: dict[int, list[Change]] = {}
    for one in sorted(changes, key=lambda one: -one.id):
        if one.kind != "created":
            by_customer.setdefault(one.customer_id, []).append(one)
    found = tx.find_many(Customer, sorted(by_customer))
    done, conflicts = [], list[Conflict]()
    for number, before in found.items():
        assert before is not None  # it has changes, and is never deleted
        after, some = put_back(before, by_customer[number])
        conflicts += some
        if after != before:
            done.append(Undone(before, after, tuple(one.id for one in by_customer[number])))
    if conflicts:
        raise overtaken(conflicts)
    done = [one._replace(after=tx.put(one.after, undoes=one.changes)) for one in done]
    check_all(tx, done)
    if dry_run:
        tx.forget()
    return done


def refuse_created(changes: Iterable[Change]) -> None:
    problems: Problems = {
        f"Customers[{one.customer_id}]": [
            f"Change {one.id} created this customer. A creation cannot be undone, since customers are not deleted."
        ]
        for one in changes
        if one.kind == "created"
    }
    if problems:
        raise Refused(problems)


def check_all(tx: Tx, done: Iterable[Undone]) -> None:
    """Judge all, each as it would be among the others."""
    problems: Problems = {}
    for before, after, _ in done:
        patch = Patch({name: getattr(after, name) for name in differing(before, after)})
        check(tx, before, after, patch)
        check_stored(tx, before, after, patch)
        problems |= {f"Customers[{after.id}].{member}": why for member, why in patch.problems.items()}
    if problems:
        raise Refused(problems)


class Conflict(NamedTuple):
    """A member that was altered again."""

    customer_id: int
    member: str
    expected: Any
    found: Any


def put_back(before: Customer, changes: Sequence[Change]) -> tuple[Customer, list[Conflict]]:
    """A customer before these changes of it, which are the newest first, and what stands in the way."""
    steps: dict[str, list[tuple[msgspec.Raw, msgspec.Raw]]] = {}
    for change in changes:
        for member, pair in fields_changed(change).items():
            steps.setdefault(member, []).append(pair)
    put: dict[tuple[str, int], Any] = {}
    conflicts = []
    for member, some in steps.items():
        name, number = place(member)
        now = step = parts(before, name).get(number) if name in PARTS else getattr(before, name)
        wanted = put[name, number] = read(name, some[-1][0])
        for old, new in some:
            if now == wanted:
                break
            if step != read(name, new):
                conflicts.append(Conflict(before.id, member, read(name, new), now))
                break
            step = read(name, old)
    return with_values(before, put), conflicts


def parts(customer: Customer, name: str) -> dict[int, Any]:
    return {one.id: one for one in customer.addresses} if name == "addresses" else dict(customer.custom_values)


def with_values(before: Customer, put: Mapping[tuple[str, int], Any]) -> Customer:
    """The customer with these values, each of an attribute or of a part of one."""
    values = {name: one for (name, _), one in put.items() if name not in PARTS}
    for name in PARTS:
        some = {number: one for (holder, number), one in put.items() if holder == name}
        if some:
            kept = {number: one for number, one in sorted((parts(before, name) | some).items()) if one is not None}
            values[name] = tuple(kept.values()) if name == "addresses" else kept
    return replace(before, **values)


def place(member: str) -> tuple[str, int]:
    """The attribute that a member of a change is about, and the part of it."""
    match = PART.fullmatch(member)
    spec = ATTRIBUTES.get(match[1] if match else member)
    if spec is None or (match is None) == (spec.name in PARTS):
        raise Refused({member: ["Expected a member that this version knows; the change was made by another one."]})
    return spec.name, int(match[2]) if match else 0


def read(name: str, raw: msgspec.Raw) -> Any:
    """The value of a customer's attribute, or of a part of it, as a change tells it."""
    if name == "addresses":
        told = msgspec.json.decode(raw, type=dict[str, Any] | None)
        named = told and {ADDRESS_NAMES[member]: one for member, one in told.items() if member in ADDRESS_NAMES}
        return msgspec.convert(named, Address | None)
    kind = str | int | bool | tuple[str, ...] | None if name == "custom_values" else fields_of(Customer)[name].type
    return msgspec.json.decode(raw, type=kind)


def overtaken(conflicts: Sequence[Conflict]) -> Overtaken:
    people = len({one.customer_id for one in conflicts})
    listed = ", ".join(f"{one.member} of customer {one.customer_id}" for one in conflicts[:3])
    return Overtaken(
        f"Nothing was undone: {listed}{', …' if len(conflicts) > 3 else ''} {'was' if len(conflicts) == 1 else 'were'}"
        f" altered again since{'' if people == 1 else f', in all {people} customers'}. Undo those changes first.",
        [
            {
                "CustomerID": one.customer_id,
                "Member": one.member,
                "Expected": as_changes_tell(one.expected),
                "Found": as_changes_tell(one.found),
            }
            for one in conflicts
        ],
    )


def as_changes_tell(value: Any) -> Any:
    """What `read` made a value of."""
    if isinstance(value, Address):
        return {member: getattr(value, name) for member, name in ADDRESS_NAMES.items()}
    return value


# ---- which changes


async def matching(store: Store, tenant_id: int, wanted: Wanted) -> list[Change]:
    """The changes that are wanted, newest first. Raises `Refused` when it is not said well enough which those are, and
    when they are too many for one undo."""
    if not wanted.request_id and not (wanted.since and (wanted.employee or wanted.door)):
        raise Refused({"body": ["Expected a RequestID; or Since, with an Employee or a Door."]})
    conditions: dict[str, Any] = {"request_id": wanted.request_id, "door": wanted.door}
    conditions = {name: value for name, value in conditions.items() if value}
    if wanted.employee:
        conditions["employee_id"] = await employee_id(store, tenant_id, wanted.employee)
    found = await store.changes_by(tenant_id, conditions, wanted.since, MOST_CHANGES + 1)
    people = len({one.customer_id for one in found})
    if len(found) > MOST_CHANGES or people > MOST_CUSTOMERS:
        raise Refused(
            {
                "Since": [
                    f"Expected at most {MOST_CHANGES:,} changes of {MOST_CUSTOMERS:,} customers at once, got more. Undo"
                    " the newest first: name a later moment, and then this one again."
                ]
            }
        )
    return found


async def employee_id(store: Store, tenant_id: int, name: str) -> int:
    if fold(name) == OPERATOR:
        return 0
    for one in (await store.book(tenant_id)).all(Employee):
        if fold(one.email) == fold(name):
            return one.id
    raise Refused({"Employee": [f"Expected an employee's e-mail address, or {OPERATOR}, got {shown(name)}."]})


# ---- reading and writing


def read_wanted(data: object, strict: bool) -> wire.Reading:
    """A body that says which changes are wanted."""
    reading = wire.Reading()
    reading.values = reading.members(data, WANTED)
    reading.demand(WANTED, strict)
    return reading


def told(one: Undone) -> dict[str, Any]:
    """What became of a customer, or would. The change that this made is the customer's of that version."""
    fields = describe(one.before, one.after, differing(one.before, one.after))
    return {
        "CustomerID": one.after.id,
        "Version": one.after.version,
        "Undoes": one.changes,
        "Fields": msgspec.Raw(fields.encode()),
    }


def write(done: Iterable[Undone], *, dry_run: bool) -> bytes:
    body: Mapping[str, Any] = {"DryRun": dry_run, "Customers": [told(one) for one in done]}
    return wire.encode(body)
