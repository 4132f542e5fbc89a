"""The vendor's shapes: how requests are read and answers are written, member by member (contract §3 to §6).

Nothing here decides; it only translates between JSON and records; query parameters are in queries.py.
"""

import difflib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, NoReturn

import msgspec

from regulars.errors import Refused
from regulars.fields import Field, Invalid, bind, choices, expected, fields_of, iso, to_enum, to_int
from regulars.record import (
    FULL_NAME,
    NEW_CUSTOMER,
    ZERO,
    Address,
    Carrier,
    Column,
    ColumnType,
    Company,
    Customer,
    CustomerType,
    Group,
    NewCustomerType,
    PaymentTerm,
    Service,
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


# ---- answers


def _after(section: list[tuple[str, str]], key: str, new: str, value: str) -> None:
    place = next(index for index, (name, _) in enumerate(section) if name == key) + 1 if key else len(section)
    section.insert(place, (new, value))


COMPUTED = (
    # section, after which key, key, value: `c` is the customer, `paid` whether the company ships unpaid orders
    ("General", "Title", "Name", "c.name"),
    ("General", "", "IsModified", "False"),
    ("Internal", "", "IsModified", "False"),
    ("OrderOptions", "ApplyShippingChargesToOrderTotal", "ApplyShippingChargesToOrderTotalVisible", "c.is_wholesale"),
    ("OrderOptions", "AllowShippingUnPaidOrders", "AllowShippingUnPaidOrdersEditble", "unpaid"),
    ("OrderOptions", "WholesaleDiscount", "SitePriceBasedDiscountVisible", "c.is_wholesale"),
    ("OrderOptions", "SitePriceBasedDiscountValue", "CostPlusBasedWholeSalePriceVisible", "c.is_wholesale"),
    ("OrderOptions", "", "IsModified", "False"),
    ("Personal", "", "IsModified", "False"),
    ("Addresses", "Address2", "RowStatus", "0"),
    ("Addresses", "", "IsModified", "False"),
    ("WholesaleOptions", "", "IsModified", "False"),
)
"""What reads back without being kept (contract §3.2)."""

SPECIAL = {"tax_exempt_type": "c.tax_exempt_type or None", "created_on": "second(c.created_on)"}
SPECIAL["billing_cycle_start"] = "(second(c.billing_cycle_start) if c.billing_cycle_start else None)"
"""What reads back in another form than it is kept."""

USUAL = {Decimal: "0 if c.{0} is ZERO else c.{0}"}
"""What is written in another way, by type: most decimals are the shared zero, and an integer takes less time."""


def second(moment: datetime) -> str:
    """A time as the vendor writes it: UTC, no zone, no fraction."""
    return iso(moment)[:19]


def layout(section: str) -> list[tuple[str, str]]:
    """The keys of one section in the contract's order, each with the expression of its value."""
    record = Address if section == "Addresses" else Customer
    keys = [
        (reads.split(".")[1], SPECIAL.get(name) or USUAL.get(spec.type, "c.{}").format(name))
        for name, spec in fields_of(record).items()
        for reads in spec.reads
        if reads.startswith(section + ".")
    ]
    for place, after, key, value in COMPUTED:
        if place == section:
            _after(keys, after, key, value)
    return keys


def shape(section: str) -> tuple[type[msgspec.Struct], Callable[..., Any]]:
    """A struct for one section, and the function that fills it from a customer (or address)."""
    keys = layout(section)
    struct = msgspec.defstruct(section, [(key, Any) for key, _ in keys], gc=False)
    source = f"lambda c, unpaid=False: struct({', '.join(value for _, value in keys)})"
    return struct, eval(source, {"struct": struct, "second": second, "ZERO": ZERO})


SECTIONS = {
    name: shape(name)[1]
    for name in ("General", "Internal", "OrderOptions", "Personal", "Addresses", "WholesaleOptions")
}


def column_head(column: Column) -> bytes:
    """A custom column of the tenant as JSON (contract §3.2), up to its value."""
    head = {
        "ID": column.id,
        "DataType": column.data_type,
        "DataLength": column.length,
        "IsDropDownColumn": bool(column.choices),
        "IsDropDownCustomTextAllowed": column.allow_custom_text,
        "IsDropDownAllowMultipleSelection": column.allow_multiple,
        "ClientID": column.tenant_id,
        "NewValue": None,
        "AllowHTMLPopup": False,
        "DataSourceContainer": [{"Key": choice, "Value": choice, "Additional": None} for choice in column.choices],
        "IsRequired": column.required,
        "IsEnabledForClient": True,
        "DataTypeName": column.data_type.name,
        "ColumnName": column.name,
        "DisplayName": column.display_name or column.name,
    }
    return encode(head)[:-1] + b',"Value":'


class CustomColumns:
    """How the tenant's custom columns are written: made once, since all but the values is the same for everyone."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = {column.id: column for column in columns}
        self.heads = {column.id: column_head(column) for column in columns}
        self.unset = {number: head + b"null}" for number, head in self.heads.items()}

    def whole(self, values: Mapping[int, Any]) -> msgspec.Raw:
        """Every column, with or without a value."""
        found = self.unset.copy()
        for number, value in values.items():
            if column := self.columns.get(number):
                found[number] = self.heads[number] + encode(custom_value(column, value)) + b"}"
        return msgspec.Raw(b"[" + b",".join(found.values()) + b"]")

    def named(self, values: Mapping[int, Any]) -> dict[str, Any]:
        """Name → value of the columns that have one."""
        return {
            column.name: custom_value(column, value)
            for number, value in values.items()
            if (column := self.columns.get(number))
        }

    def listed(self, values: Mapping[int, Any]) -> list[dict[str, Any]] | None:
        """The columns that have a value (contract §3.1)."""
        return [{"ColumnName": name, "Value": value} for name, value in self.named(values).items()] or None


def custom_value(column: Column, value: Any) -> Any:
    """A stored value as it reads back: decimals as numbers."""
    return Decimal(value) if column.data_type is ColumnType.Decimal and isinstance(value, str) else value


def write_customer(
    customer: Customer, company: Company | None, columns: CustomColumns, groups: Sequence[Group]
) -> bytes:
    """The whole customer (contract §3.2). `groups` are those it is a member of."""
    address = SECTIONS["Addresses"]
    return encode(
        {
            "General": SECTIONS["General"](customer),
            "Internal": SECTIONS["Internal"](customer),
            "OrderOptions": SECTIONS["OrderOptions"](
                customer, company.allow_shipping_unpaid_orders if company else False
            ),
            "Personal": SECTIONS["Personal"](customer),
            "Addresses": [address(one) for one in customer.addresses],
            "WholesaleOptions": SECTIONS["WholesaleOptions"](customer),
            "CustomerGroups": {
                "CustomerGroups": [{"ID": group.id, "Name": group.name, "RowStatus": 0} for group in groups],
                "IsModified": False,
            },
            "CreditCards": [],
            "CustomColumns": columns.whole(customer.custom_values),
            "NotesCount": 0,
            "IsModified": False,
        }
    )


class Listed(msgspec.Struct, gc=False):
    """One customer of a list, in the contract's order (§3.1)."""

    UserID: int
    Email: str
    FirstName: str
    LastName: str
    MiddleInitial: str
    EmailCC: str
    Rating: int
    CorporateName: str
    IsWholeSaleUser: bool
    IsWholesaleString: str
    CustomColumns: list[dict[str, Any]] | None


LISTED = (
    "tenant_id",
    "id",
    "first_name",
    "middle_name",
    "last_name",
    "email",
    "email_cc",
    "business_name",
    "is_wholesale",
    "rating",
    "custom_values",
)
"""The fields that a list needs, in the order of declaration."""


def listed(customer: Customer, columns: CustomColumns) -> Listed:
    return Listed(
        customer.id,
        customer.email,
        customer.first_name,
        customer.last_name,
        customer.middle_name[:1],
        customer.email_cc,
        customer.rating,
        customer.business_name,
        customer.is_wholesale,
        "Yes" if customer.is_wholesale else "Retail",
        columns.listed(customer.custom_values) if customer.custom_values else None,
    )


def write_page(customers: Sequence[Customer], total: int, columns: CustomColumns) -> bytes:
    return encode({"Items": [listed(customer, columns) for customer in customers], "TotalResults": total})


def write_company(company: Company) -> dict[str, Any]:
    return {
        "ID": company.id,
        "CompanyName": company.name,
        "AllowShippingUnpaidOrders": company.allow_shipping_unpaid_orders,
    }


def write_choices(records: Sequence[PaymentTerm | Carrier | Service]) -> bytes:
    """A list that gives meaning to a key."""
    return encode([{"ID": one.id, "Name": one.name} for one in records])
