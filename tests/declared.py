"""The declaration as the tests walk it: for each field of an update what can be sent, and what then reads back."""

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any

from hypothesis import strategies as st

from regulars.fields import Field, fields_of
from regulars.record import FULL_NAME, Customer

PARTS = {"customer": "", "order_options": "OrderOptions", "shipping": "ShippingPreferences"}
"""Body → the last part of its path."""

SPECS: list[Field] = [spec for spec in fields_of(Customer).values() if spec.body in PARTS]
"""Every field of the seed, the order options and the shipping preferences, but the full name."""

NAME = FULL_NAME

KNOWN_IDS = {
    "CompanyId": (1, 2),
    "AccountManager1Id": (0, 1, 2, 3),
    "AccountManager2Id": (0, 1, 2, 3),
    "AccountManager3Id": (0, 1, 2, 3),
    "CarrierId": (0, 1, 2),
    "CarrierMethodId": (0, 11, 12),
}

OLD: Mapping[str, Mapping[str, Any]] = {
    "customer": {
        "Title": "Dr.",
        "Name": "Ada King Lovelace",
        "Email": "ada@example.com",
        "EmailCC": "one@example.com; two@example.com",
        "BusinessName": "Engines Ltd",
        "BusinessAliases": ["Engines", "Difference & Co"],
        "SourceId": "S-1",
        "IsWholesale": True,
        "CompanyId": 2,
        "AccountManager1Id": 1,
        "AccountManager1Commission": Decimal("1.10"),
        "AccountManager2Id": 2,
        "AccountManager2Commission": Decimal("2.25"),
        "AccountManager3Id": 3,
        "AccountManager3Commission": Decimal("0.000001"),
        "Salesman": "Dana",
        "Comments": "First line\nsecond line",
        "Rating": 3,
        "Phone1": "+1 555 0101",
        "Phone2": "+1 555 0102",
        "Phone3": "+1 555 0103",
        "Mobile": "+1 555 0104",
        "Fax": "+1 555 0105",
    },
    "order_options": {
        "TaxExempt": True,
        "TaxExemptType": "government",
        "OrderHandlingFee": Decimal("4.99"),
        "ApplyShippingChargesToOrderTotal": False,
        "AllowShippingUnpaidOrders": False,
        "DisableShipNotifications": True,
        "InvoiceNote": "Thank you\nand goodbye",
        "OrderPDFInvoicePlugin": "Compact",
        "SendInvoiceWithShipNotificationEmail": True,
        "SendInvoiceWithPaymentConfirmationEmail": True,
        "WholesaleDiscount": Decimal("12.50"),
        "SitePriceBasedDiscountEnabled": True,
        "SitePriceBasedDiscountValue": Decimal("7.5"),
        "CostPlusBasedWholeSalePriceEnabled": True,
        "CostPlusBasedWholeSalePricePercent": Decimal("22.75"),
        "CostPlusBasedWholeSalePriceUsingType": 2,
        "TaxID": "",
    },
    "shipping": {
        "CarrierId": 1,
        "CarrierMethodId": 0,
        "Charges": Decimal("5.95"),
        "AccountNumber": "A-77",
        "PostalCode": "10001",
        "EnableCustomerShippingAccount": True,
    },
}
"""What the customers of these tests are like before: hardly a field is at its default."""

VISIBLE = (
    "ApplyShippingChargesToOrderTotalVisible",
    "SitePriceBasedDiscountVisible",
    "CostPlusBasedWholeSalePriceVisible",
)
"""What reads back as true for a wholesale customer."""

SPELLINGS_OF_DECIMAL = (
    (Decimal("0.1"), Decimal("0.1")),
    ("1.10", Decimal("1.10")),
    (7, Decimal(7)),
    ("-3", Decimal(-3)),
)


def enum_spellings(kind: type[Enum]) -> list[tuple[Any, Any]]:
    if issubclass(kind, StrEnum):
        return [(text, one) for one in kind for text in {one.value, one.value.upper(), one.value.title()}]
    return [
        (sent, one)
        for one in kind
        for sent in (one.value, str(one.value), one.name, one.name.lower(), one.name.upper())
    ]


def spellings(spec: Field) -> list[tuple[Any, Any]]:
    """What can be sent for a field, and the value that it then has."""
    if spec.member in KNOWN_IDS:
        return [(sent, one) for one in KNOWN_IDS[spec.member] for sent in (one, str(one), Decimal(f"{one}.0"))]
    if isinstance(spec.type, type) and issubclass(spec.type, Enum):
        return enum_spellings(spec.type)
    if spec.type is bool:
        yes, no = (True, "True", "true", "TRUE", 1), (False, "False", "false", "FALSE", 0)
        return [*((sent, True) for sent in yes), *((sent, False) for sent in no)]
    if spec.type is Decimal:
        return list(SPELLINGS_OF_DECIMAL)
    if spec.type == tuple[str, ...]:
        return [(sent, tuple(sent)) for sent in ([], ["One"], ["Two", "Ünö", "Two"])]
    if spec.email:
        return [(text, text) for text in ("", "new@example.com", "Jörg@müller.example")]
    return [(text, text) for text in ("", " new ", "Zoë 石川 🙂", "x" * spec.limit)]


def texts(spec: Field) -> st.SearchStrategy[str]:
    if spec.email:
        return st.sampled_from(["", "a@example.com", "B.c@example.org"])
    lines = "\n\t" if spec.lines else ""
    allowed = st.characters(
        exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff", include_characters=lines
    )
    return st.text(allowed, max_size=min(spec.limit, 20))


DECIMALS = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places), st.integers(1 - 10**12, 10**12 - 1), st.integers(0, 6)
)


def value_of(spec: Field) -> st.SearchStrategy[Any]:
    """Any value that a field takes, in its own type."""
    if spec.member in KNOWN_IDS:
        return st.sampled_from(KNOWN_IDS[spec.member])
    if isinstance(spec.type, type) and issubclass(spec.type, Enum):
        return st.sampled_from([one.value for one in spec.type])
    if spec.type is bool:
        return st.booleans()
    if spec.type is Decimal:
        return DECIMALS
    if spec.type == tuple[str, ...]:
        return st.lists(texts(spec), max_size=3)
    return texts(spec)


def shown(spec: Field, value: Any) -> Any:
    """A value as it reads back."""
    if isinstance(value, Enum):
        value = value.value
    if spec.member == "TaxExemptType":
        return value or None
    return list(value) if isinstance(value, tuple) else value


def expect(customer: Any, spec: Field, value: Any) -> None:
    """Put a value where it must read back."""
    if spec is NAME:
        first, _, last = value.strip().partition(" ")
        customer["General"] |= {"Name": value, "FirstName": first, "MiddleName": "", "LastName": last.strip()}
    for reads in spec.reads if spec is not NAME else ():
        section, key = reads.split(".")
        customer[section][key] = shown(spec, value)
    if spec.member == "IsWholesale":
        customer["OrderOptions"] |= dict.fromkeys(VISIBLE, value)
    if spec.member == "CompanyId":
        customer["OrderOptions"]["AllowShippingUnPaidOrdersEditble"] = value == 2
