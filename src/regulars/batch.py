"""Several customers in one command: each is created, updated or neither, and all that was done is one commit
(contract §10).

Items are done in order, and each sees what those before it did.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from regulars import customers
from regulars.customers import MEMBERS, Patch, Problems
from regulars.errors import Conflict, NotFound, Refused, RegularsError, Unconditional
from regulars.fields import differing
from regulars.flat import ITEM, BatchAction, BatchKey
from regulars.record import Customer, Tenant
from regulars.search import CODES, fold
from regulars.store import UNTRACKED, Tx

ATTRIBUTES = {BatchKey.ID: "id", BatchKey.SourceId: "source_id", BatchKey.Email: "email"}
LETTERS = {BatchKey.SourceId: CODES["sourceId"], BatchKey.Email: CODES["email"]}
"""Of the terms that customers are filed under by a key."""
UNCLEAR = frozenset(spec.member for spec in ITEM.values())
"""Members without which it is not clear what is wanted."""
MOST_NAMED = 10

Done = Literal["created", "updated", "unchanged", "refused"]


@dataclass(slots=True)
class Item:
    """What is wanted of one customer: `value` is what it has as `key`, `expect` the versions that it may be at."""

    action: BatchAction
    key: BatchKey
    value: Any
    patch: Patch
    expect: Collection[int] | None = None

    @property
    def term(self) -> str:
        return LETTERS[self.key] + fold(self.value)


@dataclass(slots=True)
class Outcome:
    """What came of an item: what was done, to which customer, its version now, the members that changed, and why
    nothing was done, by member."""

    done: Done = "refused"
    id: int = 0
    version: int = 0
    members: list[str] = field(default_factory=list)
    problems: Mapping[str, list[str]] = field(default_factory=dict)


def apply(tx: Tx, items: Sequence[Item], atomic: bool = False) -> list[Outcome]:
    """Do what the items say. One that is refused changes nothing; if they are `atomic`, then none does: raises
    `Refused` with the problems of all of them."""
    bring(tx, items)
    outcomes = [outcome(tx, item) for item in items]
    if atomic:
        problems = {
            f"Items[{n}].{member}": why for n, one in enumerate(outcomes) for member, why in one.problems.items()
        }
        if problems:
            raise Refused(problems)
    return outcomes


def bring(tx: Tx, items: Sequence[Item]) -> None:
    """Have all that the items look at loaded together."""
    tx.find_many(Customer, {item.value for item in items if item.key is BatchKey.ID and item.value})
    sought = {item.term for item in items if item.key is not BatchKey.ID and item.value}
    emails = set[str]()
    if tx.get(Tenant, tx.tenant_id).block_duplicate_email:
        given = (item.patch.values.get("email") for item in items)
        emails = {LETTERS[BatchKey.Email] + fold(email) for email in given if email}
    found = tx.holders_of(sought | emails)
    tx.find_many(Customer, {number for term in sought for number in found[term] if len(found[term]) <= MOST_NAMED})


def outcome(tx: Tx, item: Item) -> Outcome:
    told = Outcome()
    try:
        with tx.part() as part:
            before = meant(part, item)
            if before is None:
                return create(part, item)
            told.id, told.version = before.id, before.version
            return update(part, item, before)
    except (Refused, NotFound, Conflict, Unconditional) as error:
        told.problems = problems_of(error, item)
        return told


def create(tx: Tx, item: Item) -> Outcome:
    if item.expect is not None:
        raise Refused({"Version": ["Expected none, as there is no such customer yet."]})
    after = customers.create_whole(tx, item.patch)
    blank = Customer(tenant_id=tx.tenant_id, id=after.id)
    return Outcome("created", after.id, after.version, list(changed(blank, after)))


def update(tx: Tx, item: Item, before: Customer) -> Outcome:
    patch, name = item.patch, ATTRIBUTES[item.key]
    if name in patch.values:  # it says which customer is meant, not what to change
        patch = Patch({one: value for one, value in patch.values.items() if one != name}, patch.problems)
    after = customers.merge(tx, before.id, patch, item.expect)
    if after.version == before.version:
        return Outcome("unchanged", after.id, after.version)
    return Outcome("updated", after.id, after.version, list(changed(before, after)))


def problems_of(error: RegularsError, item: Item) -> Problems:
    """Why an item was refused, by member."""
    match error:
        case Refused():
            return error.problems
        case Conflict():
            expected = ", ".join(map(str, error.expected))
            return {"Version": [f"Expected the version that the customer is at, {error.version}, got {expected}."]}
        case Unconditional():
            return {"Version": ["Expected the version that is meant: this tenant demands it."]}
    return {item.key: [error.message]}


# ---- which customer is meant


def meant(tx: Tx, item: Item) -> Customer | None:
    """The customer that an item is about; None when one is to be created. Raises `Refused` or `NotFound`."""
    if not UNCLEAR.isdisjoint(item.patch.problems):
        raise Refused(item.patch.problems)
    new = item.action is BatchAction.create
    if not item.value and (new or (item.action is BatchAction.upsert and item.key is BatchKey.ID)):
        return None
    if not item.value:
        raise Refused({item.key: ["Expected a value: it says which customer is meant."], **item.patch.problems})
    if new and item.key is BatchKey.ID:
        raise Refused({item.key: [f"Expected none for a new customer, got {item.value}: numbers are given."]})
    found = holders(tx, item)
    if new and found:
        raise Refused({item.key: [f"Expected one that no customer has, got that of {named(found)}."]})
    if len(found) > 1:
        raise Refused({item.key: [f"Expected one that a single customer has, got that of {named(found)}."]})
    if found:
        return found[0]
    if item.action is BatchAction.update or item.key is BatchKey.ID:
        raise NotFound(f"Could not find or load record with {item.key} {item.value}!")
    return None


def holders(tx: Tx, item: Item) -> list[Customer]:
    """The customers that have what the item's key says, ascending by id. Ids of other systems are compared exactly."""
    ids = [item.value] if item.key is BatchKey.ID else sorted(tx.holders(item.term))
    found = [one for one in tx.find_many(Customer, ids).values() if one is not None]
    return [one for one in found if one.source_id == item.value] if item.key is BatchKey.SourceId else found


def named(some: Sequence[Customer]) -> str:
    ids = ", ".join(str(one.id) for one in some[:MOST_NAMED]) + (", …" if len(some) > MOST_NAMED else "")
    return f"customer{'s' if len(some) > 1 else ''} {ids}"


def changed(before: Customer, after: Customer) -> Iterator[str]:
    """The members that differ."""
    return (MEMBERS[name] for name in differing(before, after) if name not in UNTRACKED)
