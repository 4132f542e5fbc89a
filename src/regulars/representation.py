"""The vendor's answers: how records are written as its JSON, key by key (contract §3)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from regulars.fields import fields_of, iso
from regulars.record import (
    ZERO,
    Address,
    Carrier,
    Column,
    ColumnType,
    Company,
    Customer,
    Group,
    PaymentTerm,
    Service,
)
from regulars.wire import encode


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
