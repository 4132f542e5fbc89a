"""A customer as one flat object, in the member names of a request: read whole, changed by merge patch (contract §10).

A merge patch (RFC 7396) is an object with the members to change; null clears one. Lists are replaced whole, the custom
columns are an object of their own, by name.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from regulars.fields import Field, Invalid, expected, fields_of, shown, to_int
from regulars.record import FULL_NAME, Address, Customer
from regulars.wire import (
    MOST_LISTED,
    CustomColumns,
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


def read_merge(data: object, strict: bool) -> Reading:
    """A merge patch. What the service gives, such as `ID`, is ignored; so is `Name` beside a part of it."""
    reading = Reading()
    reading.values = values = reading.members(data, NAMES)
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
    reading.demand({**NAMES, **names_of("address")}, strict)
    return reading


def items(value: Any) -> list[Any]:
    """The items of a list; raises `Invalid`."""
    if not isinstance(value, list | tuple):
        raise expected("a list", value)
    if len(value) > MOST_LISTED:
        raise Invalid(f"Expected at most {MOST_LISTED} items, got {len(value)}.")
    return list(value)


def addresses(reading: Reading, value: Any) -> list[tuple[int, Address]]:
    return whole_addresses(reading, items(value))


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
    return tuple(sorted({to_int(one, 1) for one in items(value)}))
