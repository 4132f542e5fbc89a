"""A customer as one flat object, in the member names of a request: read whole, changed by merge patch (contract §10).

A merge patch (RFC 7396) is an object with the members to change; null clears one. Lists are replaced whole, the custom
columns are an object of their own, by name.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from regulars.fields import Field, Invalid, bind, choices, expected, fields_of, shown, to_int
from regulars.record import FULL_NAME, Address, Customer
from regulars.representation import CustomColumns
from regulars.wire import (
    MOST_LISTED,
    Reading,
    Repeated,
    encode,
    legible,
    name_in_parts,
    names_of,
    whole_addresses,
)

HIDDEN = ("tenant_id", "change_id")
READ_ONLY = ("id", "version", "created_on", "modified_on")
"""Given by the service."""
PARTS_OF_NAME = ("first_name", "middle_name", "last_name")

FIELDS: Mapping[str, Field] = {name: spec for name, spec in fields_of(Customer).items() if name not in HIDDEN}
"""All that is read, by attribute; `Name` stands before its parts."""
NAMES: Mapping[str, Field] = {
    spec.member.lower(): spec for spec in (*FIELDS.values(), FULL_NAME) if spec.name not in READ_ONLY
}
"""All that can be changed, by member name in lower case."""
EMPTY: Mapping[str, Any] = {one.name: one.default for one in msgspec.structs.fields(Customer) if not one.required} | {
    "custom_values": None
}
"""What null makes of a field; of the custom columns, that all are cleared."""


# ---- reading


def shape(name: str, members: Mapping[str, str], **scope: Any) -> Callable[..., Any]:
    """The function that makes the object, from the Python source of each member's value, which may use what is in
    `scope`; built once, since a feed or an export writes very many."""
    struct = msgspec.defstruct(name, [(member, Any) for member in members], gc=False)
    source = f"lambda c, custom=None: struct({', '.join(members.values())})"
    made: Callable[..., Any] = eval(source, {**scope, "struct": struct})
    return made


ADDRESS = shape("Address", {spec.member: f"c.{name}" for name, spec in fields_of(Address).items()})
SPECIAL = {"addresses": "[address(one) for one in c.addresses]", "custom_values": "custom"}
SOURCES: dict[str, str] = {}
for _name, _spec in FIELDS.items():
    if _name == PARTS_OF_NAME[0]:
        SOURCES[FULL_NAME.member] = "c.name"
    SOURCES[_spec.member] = SPECIAL.get(_name, f"c.{_name}")
CUSTOMER = shape("Customer", SOURCES, address=ADDRESS)


def write(customer: Customer, columns: CustomColumns) -> bytes:
    """The customer whole, as JSON: times as RFC 3339, decimals as numbers, enumerations as their numbers."""
    return encode(CUSTOMER(customer, columns.named(customer.custom_values)))


# ---- changing


def read_merge(data: object, strict: bool, names: Mapping[str, Field] = NAMES) -> Reading:
    """A merge patch. What the service gives, such as `ID`, is ignored; so is `Name` beside a part of it."""
    reading = Reading()
    reading.values = values = reading.members(data, names)
    for spelt, value in data.items() if isinstance(data, dict) else ():
        spec = NAMES.get(spelt.lower())
        if value is None and spec is FULL_NAME:
            reading.refuse("Name", "Expected a name. To clear it, send null for FirstName, MiddleName and LastName.")
        elif value is None and spec is not None:
            values[spec.name] = EMPTY[spec.name]
    if "name" in values and not values.keys().isdisjoint(PARTS_OF_NAME):
        del values["name"]
        reading.ignored.append(reading.spelt["Name"])
    name_in_parts(reading)
    for name, read in (("addresses", addresses), ("custom_values", custom_values), ("group_ids", group_ids)):
        if name in values:
            try:
                values[name] = read(reading, values[name])
            except Invalid as error:
                del values[name]
                reading.refuse(FIELDS[name].member, str(error))
    if strict:
        reading.demand({**names, **names_of("address")}, strict)
    return reading


def list_of(value: Any, most: int = MOST_LISTED) -> list[Any]:
    """The items of a list; raises `Invalid`."""
    if not isinstance(value, list | tuple):
        raise expected("a list", value)
    if len(value) > most:
        raise Invalid(f"Expected at most {most} items, got {len(value)}.")
    return list(value)


def addresses(reading: Reading, value: Any) -> list[tuple[int, Address]]:
    return whole_addresses(reading, list_of(value))


def custom_values(reading: Reading, value: Any) -> list[tuple[str, str, str, Any]] | None:
    """Each with the member that is to blame for its name, and for its value."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise expected("an object of column names and values", value)
    if isinstance(value, Repeated):
        raise Invalid(f"Expected each column once, got {shown(value.names[0])} several times.")
    found = []
    for name, one in value.items():
        path = f"CustomColumns.{legible(name)}"
        found.append((path, path, name, "" if one is None else one))
    return found


def group_ids(reading: Reading, value: Any) -> tuple[int, ...]:
    return tuple(sorted({to_int(one, 1) for one in list_of(value)}))


# ---- several customers at once


class BatchAction(StrEnum):
    create = "create"
    update = "update"
    upsert = "upsert"


class BatchKey(StrEnum):
    """The member that says which customer is meant."""

    ID = "ID"
    SourceId = "SourceId"
    Email = "Email"


MOST_ITEMS = 1000


def _member(name: str, kind: Any, doc: str, **more: Any) -> tuple[str, Field]:
    return name.lower(), bind(Field(doc, name, **more), name.lower(), kind)


BATCH: Mapping[str, Field] = dict(
    (
        _member("Items", Any, "What to do, in this order; at most 1,000."),
        _member("Atomic", bool, "All or nothing: when one item is refused, nothing is done."),
    )
)
ITEM: Mapping[str, Field] = dict(
    (
        _member("Action", BatchAction, "What to do.", required=True),
        _member("Key", BatchKey, "The member that says which customer is meant; ID without it."),
        _member("ID", int, "The customer's number; none when it is new."),
        _member("Version", int, "The version that the customer must be at, as If-Match has it.", least=1),
    )
)
"""What an item has besides the members of a merge patch."""
ITEM_NAMES: Mapping[str, Field] = {**NAMES, **ITEM}


class Entry(msgspec.Struct):
    """One item as it was read: what to do, with the customer that has which value as which key, if it is at which
    version; and the merge patch."""

    action: BatchAction
    key: BatchKey
    value: int | str
    version: int | None
    reading: Reading


class BatchReading(msgspec.Struct):
    """What came of reading a batch."""

    entries: list[Entry]
    atomic: bool
    reading: Reading

    def spelt(self) -> dict[str, str]:
        """How the client spelt the members of items, where that is not as usual."""
        path = self.reading.spelt.get("Items", "Items")
        return {
            f"Items[{index}].{member}": f"{path}[{index}].{spelt}"
            for index, entry in enumerate(self.entries)
            for member, spelt in entry.reading.spelt.items()
            if spelt != member
        }


def read_batch(data: object, strict: bool) -> BatchReading:
    """`{"Items": [{"Action": …, …}], "Atomic": false}`. What is wrong with an item is told with that item."""
    reading = Reading()
    values = reading.members(data, BATCH)
    reading.demand(BATCH, strict)
    found = []
    try:
        if "items" in values:
            found = list_of(values["items"], MOST_ITEMS)
        elif isinstance(data, dict):
            reading.refuse("Items", "Expected a list: it is required.")
    except Invalid as error:
        reading.refuse("Items", str(error))
    entries = []
    for index, item in enumerate(found):
        if isinstance(item, dict):
            entries.append(read_item(item, strict))
            reading.ignored += [f"Items[{index}].{name}" for name in entries[-1].reading.ignored]
        else:
            reading.refuse(f"Items[{index}]", str(expected("a JSON object", item)))
    return BatchReading(entries, values.get("atomic", False), reading)


def read_item(data: dict[str, Any], strict: bool) -> Entry:
    reading = read_merge(data, strict, ITEM_NAMES)
    values = reading.values
    action, key = values.pop("action", None), values.pop("key", BatchKey.ID)
    number, version = values.pop("id", 0), values.pop("version", None)
    if action is None and "Action" not in reading.problems:
        reading.refuse("Action", f"Expected a value: it is required, one of {choices(BatchAction)}.")
    value = number if key is BatchKey.ID else values.get(NAMES[key.lower()].name, "")
    return Entry(action or BatchAction.update, key, value, version, reading)
