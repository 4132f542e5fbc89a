"""The vendor's requests: how bodies are read, member by member, and every problem of them told (contract §4 to §6).

Nothing here decides; it only translates. Query parameters are read in queries.py, answers written by representation.py.
"""

import difflib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, NoReturn

import msgspec

from regulars.errors import Refused
from regulars.fields import Field, Invalid, bind, choices, expected, fields_of, to_enum, to_int
from regulars.record import (
    FULL_NAME,
    NEW_CUSTOMER,
    Address,
    Customer,
    CustomerType,
    NewCustomerType,
)

encode = msgspec.json.Encoder(decimal_format="number").encode

MOST_LISTED = 1000
BACKSLASH = ord("\\")
LONGEST_NUMBER = 100
LONG = 10 ** (LONGEST_NUMBER - 1)
MOST_NAMED = 50
"""How many unknown or repeated members are told about at once."""


# ---- JSON


class Repeated(dict[str, Any]):
    """A JSON object that names members more than once."""

    names: list[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = Repeated(found)
    repeated.names = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
    return repeated


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if len(text) > LONGEST_NUMBER:
            raise ValueError(f"a number of {len(text)} characters is too long")
        try:
            return kind(text)
        except InvalidOperation:
            raise ValueError(f"the number {text} is out of range") from None

    return parse


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_number(Decimal), parse_int=_number(int), parse_constant=_no_number
)


_quick = msgspec.json.Decoder(float_hook=_number(Decimal)).decode
"""Reads whatever the decoder above reads, to the same value, but for numbers that are too long and for members that
are named more than once, of which it keeps the last; where it refuses, it does not say so in our words."""


def _strings(value: dict[str, Any] | list[Any], depth: int = 8) -> int:
    """How many strings a value holds, names of members counted. Raises ValueError for long numbers and deep nesting."""
    count, items = (len(value), value.values()) if isinstance(value, dict) else (0, value)
    for item in items:
        kind = type(item)
        if kind is str:
            count += 1
        elif kind is int:
            if not -LONG < item < LONG:
                raise ValueError
        elif kind is dict or kind is list:
            if not depth:
                raise ValueError
            count += _strings(item, depth - 1)
    return count


def read_json(body: bytes) -> Any:
    """The value of a JSON body, its decimals exact. Raises `Refused` that says where it is not JSON."""
    if BACKSLASH not in body:
        try:
            value = _quick(body)
            # Without a backslash every string has two quotes, so none is missing when the number is right.
            if type(value) is dict and 2 * _strings(value) == body.count(b'"'):
                return value
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass
    return read_any_json(body)


def read_any_json(body: bytes) -> Any:
    """What `read_json` gives; it knows the usual bodies that need not come here."""
    try:
        return _decoder.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        why = f"Expected UTF-8, got byte 0x{body[error.start]:02X} at position {error.start}."
    except json.JSONDecodeError as error:
        why = f"Expected JSON: {error.msg}: line {error.lineno} column {error.colno}."
    except RecursionError:
        why = "Expected JSON that is nested less deeply."
    except ValueError as error:
        why = f"Expected JSON: {error}."
    raise Refused({"body": [why]})


# ---- bodies

Names = Mapping[str, Field]
"""Member name in lower case → its field."""


class Reading(msgspec.Struct):
    """What came of reading a body: values by attribute, problems by member, how the client spelt members (those that
    are missing here, as the contract does), and which members were ignored."""

    values: dict[str, Any] = {}
    problems: dict[str, list[str]] = {}
    spelt: dict[str, str] = {}
    ignored: list[str] = []

    def refuse(self, member: str, why: str) -> None:
        self.problems.setdefault(member, []).append(why)

    def members(self, data: object, names: Names, path: str = "", spelt_path: str = "") -> dict[str, Any]:
        """The values of an object's members by attribute; null means absent."""
        values: dict[str, Any] = {}
        if not isinstance(data, dict):
            self.refuse(path.rstrip(".") or "body", str(expected("a JSON object", data)))
            return values
        seen: set[str] = set()
        for spelt, value in data.items():
            spec = names.get(spelt.lower())
            if spec is None:
                self.ignored.append(spelt_path + legible(spelt))
                continue
            member = path + spec.member
            if member in seen:
                self.refuse(member, f"Expected the member once, got it again as {spelt}.")
                continue
            seen.add(member)
            self.spelt[member] = spelt_path + spelt
            if value is None:
                continue
            try:
                values[spec.name] = spec.convert(value)
            except Invalid as error:
                self.refuse(member, str(error))
        if isinstance(data, Repeated):
            for name in data.names[:MOST_NAMED]:
                spec = names.get(name.lower())
                member = path + (spec.member if spec else legible(name))
                self.refuse(member, "Expected the member once, got it several times.")
        return values

    def demand(self, names: Names, strict: bool) -> None:
        """In strict handling what would be ignored is a problem, with the member that may have been meant."""
        if not strict:
            return
        known = {name: spec.member for name, spec in names.items()}
        for name in self.ignored[:MOST_NAMED]:
            close = difflib.get_close_matches(name.rsplit(".", 1)[-1].lower(), known, n=1)
            hint = f" Did you mean {known[close[0]]}?" if close else f" Known are {', '.join(sorted(known.values()))}."
            self.refuse(name, f"Expected a known member.{hint}")


def legible(name: str) -> str:
    """A member's name as an answer can carry it, whatever was sent."""
    return name[:60].encode("utf-8", "backslashreplace").decode()


@cache
def names_of(body: str) -> Names:
    """The members of one request body."""
    record = Address if body == "address" else Customer
    specs = [spec for spec in fields_of(record).values() if spec.body == body]
    if body == "customer":
        specs.append(FULL_NAME)
    if body == "create":
        specs = [fields_of(Customer)[name] for name in NEW_CUSTOMER]
        specs.append(bind(Field("Wholesale or retail.", "CustomerType"), "customer_type", Any))
    return {spec.member.lower(): spec for spec in specs}


@cache
def converters(body: str) -> Mapping[str, tuple[str, Callable[[object], Any]]]:
    """Member as the contract spells it → the attribute and the conversion of its values."""
    return {spec.member: (spec.name, spec.convert) for spec in names_of(body).values()}


def _inner(member: str, name: str, kind: Any = Any, **more: Any) -> Field:
    return bind(Field("", member, **more), name, kind)


LOGIN: Names = {
    "username": _inner("Username", "username", str, limit=254),
    "password": _inner("Password", "password", str, limit=1024),
}
ADDRESSES: Names = {"addresses": _inner("Addresses", "addresses")}
CUSTOM_COLUMNS: Names = {"customcolumns": _inner("CustomColumns", "custom_columns")}
CUSTOM_COLUMN: Names = {
    "columnname": _inner("ColumnName", "name", str, limit=200),
    "value": _inner("Value", "value"),
}
GROUP_MEMBERS: Names = {
    "customersids": _inner("CustomersIDs", "customer_ids"),
    "customerids": _inner("CustomersIDs", "customer_ids"),
}


LONGEST_FIRST, LONGEST_LAST = (fields_of(Customer)[name].limit for name in ("first_name", "last_name"))


def read_update(body: str, data: object, strict: bool) -> Reading:
    """A flat update: the seed, the order options or the shipping preferences."""
    reading = Reading()
    names, known = names_of(body), converters(body)
    if type(data) is dict and data.keys() <= known.keys():  # so none is spelt differently, ignored or repeated
        for member, value in data.items():
            if value is None:
                continue
            name, convert = known[member]
            try:
                reading.values[name] = convert(value)
            except Invalid as error:
                reading.refuse(member, str(error))
    else:
        reading.values = reading.members(data, names)
    name_in_parts(reading)
    reading.demand(names, strict)
    return reading


def name_in_parts(reading: Reading) -> None:
    """Of a full name, first and last name (contract §9)."""
    if "name" not in reading.values:
        return
    first, last = split_name(reading.values.pop("name"))
    if not first:
        reading.refuse("Name", "Expected a name, got only blanks. To leave it as it is send null or leave it out.")
    elif len(first) > LONGEST_FIRST:
        reading.refuse("Name", f"Expected a first word of at most {LONGEST_FIRST} characters, got {len(first)}.")
    elif len(last) > LONGEST_LAST:
        reading.refuse("Name", f"Expected at most {LONGEST_LAST} characters after the first word, got {len(last)}.")
    else:
        reading.values.update(first_name=first, middle_name="", last_name=last)


def split_name(name: str) -> tuple[str, str]:
    """The first word, and the rest (contract §9)."""
    first, _, rest = name.strip().partition(" ")
    return first, rest.strip()


@dataclass(frozen=True)
class Quirk:
    """One case in which the live service was seen to differ from good HTTP or from its own documents (contract §5)."""

    case: str
    good: Any
    live: Any


NEEDED = ("Email", "LastName for retail")

QUIRKS = {
    "not_found": Quirk("An id of no record", 404, 500),
    "too_many": Quirk("Too many calls", 429, 409),
    "customer_type": Quirk("How CustomerType is numbered on create", NewCustomerType, CustomerType),
    "needed": Quirk("What a new customer needs besides CompanyID, FirstName and CustomerType", NEEDED, ()),
}
"""By the code of the error, or the name of the thing; tenants with the setting `quirks` get the live way."""


def read_create(data: object, strict: bool, quirks: bool) -> Reading:
    """A new customer; its CustomerType is numbered the other way round than in the list filter (contract §4.1)."""
    reading = Reading()
    names = names_of("create")
    reading.values = reading.members(data, names)
    numbering = QUIRKS["customer_type"].live if quirks else QUIRKS["customer_type"].good
    kind = reading.values.pop("customer_type", None)
    if kind is None:
        if isinstance(data, dict):
            reading.refuse("CustomerType", f"Expected a value: it is required, one of {choices(numbering)}.")
    else:
        try:
            reading.values["is_wholesale"] = to_enum(numbering, kind).name.lower() == "wholesale"
        except Invalid as error:
            reading.refuse("CustomerType", str(error))
    reading.spelt.setdefault("CompanyId", "CompanyID")
    reading.demand(names, strict)
    return reading


def read_list(reading: Reading, data: object, names: Names, attribute: str, most: int) -> list[Any]:
    """The list that is the one member of a body."""
    member = next(iter(names.values())).member
    outer = reading.members(data, names)
    items = outer.get(attribute)
    if items is None:
        if isinstance(data, dict):
            reading.refuse(member, "Expected a list: it is required.")
        return []
    member = next(one for one in reading.spelt if one.lower() in names)
    if not isinstance(items, list):
        reading.refuse(member, str(expected("a list", items)))
        return []
    if len(items) > most:
        reading.refuse(member, f"Expected at most {most} items, got {len(items)}.")
        return []
    return items


def read_addresses(data: object, strict: bool) -> Reading:
    """`{"Addresses": […]}`; each address whole, so what is required must be there."""
    reading = Reading()
    items = read_list(reading, data, ADDRESSES, "addresses", MOST_LISTED)
    reading.values["addresses"] = whole_addresses(reading, items)
    reading.demand({**ADDRESSES, **names_of("address")}, strict)
    return reading


def whole_addresses(reading: Reading, items: list[Any]) -> list[tuple[int, Address]]:
    """The addresses of a list, each with its index there."""
    names = names_of("address")
    found = []
    for index, item in enumerate(items):
        path = f"Addresses[{index}]."
        values = reading.members(item, names, path, f"{reading.spelt['Addresses']}[{index}].")
        for spec in names.values():
            member = path + spec.member
            if isinstance(item, dict) and spec.required and spec.name not in values and member not in reading.problems:
                reading.refuse(member, "Expected a value: it is required, since an address is sent whole.")
        if isinstance(item, dict):
            found.append((index, Address(**{"id": 0, **values})))
    return found


def read_custom_columns(data: object, strict: bool) -> Reading:
    """`{"CustomColumns": [{"ColumnName": …, "Value": …}]}`."""
    reading = Reading()
    found = []
    for index, item in enumerate(read_list(reading, data, CUSTOM_COLUMNS, "custom_columns", MOST_LISTED)):
        path = f"CustomColumns[{index}]."
        values = reading.members(item, CUSTOM_COLUMN, path, f"{reading.spelt['CustomColumns']}[{index}].")
        if "name" in values:
            found.append((path + "ColumnName", path + "Value", values["name"], values.get("value")))
        elif isinstance(item, dict) and path + "ColumnName" not in reading.problems:
            reading.refuse(path + "ColumnName", "Expected the name of a custom column: it is required.")
    reading.values["custom_values"] = found
    reading.demand({**CUSTOM_COLUMNS, **CUSTOM_COLUMN}, strict)
    return reading


def read_group_members(data: object, strict: bool) -> Reading:
    """`{"CustomersIDs": [int, …]}`, also spelt CustomerIDs."""
    reading = Reading()
    found = []
    for index, item in enumerate(read_list(reading, data, GROUP_MEMBERS, "customer_ids", MOST_LISTED)):
        try:
            found.append(to_int(item, 1))
        except Invalid as error:
            reading.refuse(f"CustomersIDs[{index}]", str(error))
    reading.values["customer_ids"] = found
    reading.demand(GROUP_MEMBERS, strict)
    return reading


def read_login(data: object) -> Reading:
    """User name and password, both required."""
    reading = Reading()
    reading.values = reading.members(data, LOGIN)
    for spec in LOGIN.values():
        if isinstance(data, dict) and not reading.values.get(spec.name) and spec.member not in reading.problems:
            reading.refuse(spec.member, "Expected a value: it is required.")
    return reading
