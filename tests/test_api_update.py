"""The seed, `PUT /api/Customers/{id}`, with its order options and shipping preferences: what is set reads back, what
is not sent stays."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import Api, to_json
from declared import NAME, OLD, PARTS, SPECS, VISIBLE, expect, shown, spellings, value_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from regulars.fields import Field, fields_of
from regulars.record import Customer
from regulars.store.file import connect

ALL = [*SPECS, NAME]
BY_MEMBER = {spec.member: spec for spec in ALL}
names = [spec.member for spec in ALL]


def filled(api: Api) -> int:
    """A fresh customer with something in nearly every field."""
    number = api.new(CustomerType="WholeSale", BusinessName="Old")
    for body, members in OLD.items():
        api.update(number, PARTS[body], **members)
    return number


@pytest.fixture
def full(api: Api) -> int:
    return filled(api)


@pytest.fixture(scope="module")
def shared(api: Api) -> int:
    """A filled customer that many examples of one test change in turn."""
    return filled(api)


def path(number: int, spec: Field) -> str:
    return f"Customers/{number}/{PARTS[spec.body]}"


def test_the_tests_know_every_field_of_the_declaration() -> None:
    assert {body: set(members) for body, members in OLD.items()} == {
        body: {spec.member for spec in ALL if spec.body == body} for body in PARTS
    }


@pytest.mark.parametrize("spec", ALL, ids=names)
def test_a_field_reads_back_as_it_was_set_however_it_is_spelt(api: Api, shared: int, spec: Field) -> None:
    pairs = spellings(spec) if spec is not NAME else [("Grace Brewster Hopper", "Grace Brewster Hopper")]
    before = api.read(shared)
    for sent, value in pairs:
        answer = api.put(path(shared, spec), {spec.member: sent})
        assert (answer.status_code, answer.content) == (200, b""), (sent, answer.text)
        expect(before, spec, value)
        assert api.read(shared) == before, sent
        if spec is not NAME:
            stored = getattr(api.stored(shared), spec.name)
            assert (stored, type(stored)) == (value, type(value))
            assert str(stored) == str(value)
    api.update(shared, PARTS[spec.body], **{spec.member: OLD[spec.body][spec.member]})


@pytest.mark.parametrize("body", PARTS)
@pytest.mark.parametrize("case", [str.lower, str.upper, str.swapcase])
def test_members_are_taken_in_any_case(api: Api, body: str, case: Any) -> None:
    number = api.new(CustomerType="WholeSale", BusinessName="Old", CompanyID=2)
    api.update(number, PARTS[body], **{case(member): value for member, value in OLD[body].items()})
    stored = api.stored(number)
    for member, value in OLD[body].items():
        if member != "Name":
            spec = BY_MEMBER[member]
            assert getattr(stored, spec.name) == spec.convert(value), member
    if body == "customer":
        assert stored.name == "Ada King Lovelace"


def bodies(body: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any valid selection of a body's members."""
    optional = {spec.member: value_of(spec) for spec in SPECS if spec.body == body}
    if body == "customer":
        optional["Name"] = st.sampled_from(["Ada", "Alan Mathison Turing", "石川 明日香"])
    return st.fixed_dictionaries({}, optional=optional).map(legal)


def legal(members: dict[str, Any]) -> dict[str, Any]:
    """The same members without what the rules would refuse."""
    if members.get("TaxID"):
        members["TaxExempt"] = True
    if "TaxExempt" in members:
        members.setdefault("TaxID", "")
    if members.get("CarrierId") == 2 or (members.get("CarrierMethodId") and members.get("CarrierId") == 0):
        members["CarrierMethodId"] = 0
    elif "CarrierId" in members or "CarrierMethodId" in members:
        members = {"CarrierId": 1, "CarrierMethodId": 0, **members}
    return members


@pytest.mark.parametrize("body", PARTS)
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_what_is_not_in_the_body_stays_byte_for_byte(api: Api, full: int, body: str, data: st.DataObject) -> None:
    members = data.draw(bodies(body))
    nulls = data.draw(st.sets(st.sampled_from([spec.member for spec in ALL if spec.body == body])))
    before, stored = api.get(f"Customers/{full}"), api.stored(full)
    answer = api.put(f"Customers/{full}/{PARTS[body]}", {**dict.fromkeys(nulls), **members})
    assert answer.status_code == 200, answer.text
    now, after = api.stored(full), api.get(f"Customers/{full}")

    may_change = {place for member in members for place in places(BY_MEMBER[member])}
    old, new = leaves(before.text), leaves(after.text)
    assert old.keys() == new.keys()
    assert {place for place in new if new[place] != old[place]} <= may_change
    if "Name" in members:
        assert now.name == members["Name"]
    for spec in SPECS:
        if spec.member in members:
            assert getattr(now, spec.name) == spec.convert(members[spec.member])
        else:
            assert repr(getattr(now, spec.name)) == repr(getattr(stored, spec.name))
    changed = any(getattr(now, name) != getattr(stored, name) for name in ATTRIBUTES)
    assert now.version == stored.version + changed
    assert (answer.headers["ETag"] == before.headers["ETag"]) is not changed
    assert after.headers["ETag"] == answer.headers["ETag"]


ATTRIBUTES = fields_of(Customer).keys() - {"version", "change_id", "modified_on"}
NAMES = ("General.Name", "General.FirstName", "General.MiddleName", "General.LastName")


def places(spec: Field) -> tuple[str, ...]:
    """Where a member reads back, and what follows from it."""
    return {
        "Name": NAMES,
        "IsWholesale": (*spec.reads, *(f"OrderOptions.{key}" for key in VISIBLE)),
        "CompanyId": (*spec.reads, "OrderOptions.AllowShippingUnPaidOrdersEditble"),
    }.get(spec.member, spec.reads)


def leaves(text: str) -> dict[str, Any]:
    """A customer's values by place, numbers as they are spelt."""
    sections = json.loads(text, parse_float=str, parse_int=str)
    return {
        f"{section}.{key}": value
        for section, members in sections.items()
        for key, value in (members.items() if isinstance(members, dict) else [("", members)])
    }


@pytest.mark.parametrize("body", PARTS)
def test_null_and_absent_leave_everything_as_it_is(api: Api, full: int, body: str) -> None:
    with api.unchanged(full):
        for sent in ({}, dict.fromkeys(OLD[body])):
            assert api.put(f"Customers/{full}/{PARTS[body]}", sent).status_code == 200


@pytest.mark.parametrize("body", PARTS)
def test_an_update_that_changes_nothing_leaves_no_trace(api: Api, full: int, body: str) -> None:
    etag = api.get(f"Customers/{full}").headers["ETag"]
    modified = api.stored(full).modified_on
    with api.unchanged(full):
        answer = api.put(f"Customers/{full}/{PARTS[body]}", OLD[body])
        assert (answer.status_code, answer.headers["ETag"]) == (200, etag)
        same_number = {"AccountManager1Commission": "1.1000", "OrderHandlingFee": "4.990", "Charges": 5.95}
        answer = api.put(
            f"Customers/{full}/{PARTS[body]}", {key: one for key, one in same_number.items() if key in OLD[body]}
        )
        assert (answer.status_code, answer.headers["ETag"]) == (200, etag)
    assert api.stored(full).modified_on == modified


def test_an_update_is_one_change_with_all_that_it_altered(api: Api, full: int) -> None:
    before = api.stored(full)
    with api.server.clock.later(minutes=30):
        answer = api.put(
            f"Customers/{full}",
            {"Phone1": "9", "Title": "Dr.", "Salesman": None, "Rating": "neutral", "Fax": ""},
            X_Request_Id="one-change",
        )
    assert answer.headers["ETag"] == f'"{before.version + 1}"'
    change = api.changes(full)[0]
    assert json.loads(change.fields) == {"Phone1": ["+1 555 0101", "9"], "Fax": ["+1 555 0105", ""]}
    assert (change.version, change.kind, change.door) == (before.version + 1, "updated", "api")
    assert (change.employee, change.request_id) == ("admin@example.com", "one-change")
    assert len(api.changes(full)) == before.version + 1
    after = api.stored(full)
    assert 1790 < (after.modified_on - before.modified_on).total_seconds() < 1830
    assert after.created_on == before.created_on


TEXTS = [spec for spec in SPECS if spec.type is str]


@pytest.mark.parametrize("body", PARTS)
def test_the_empty_string_empties_a_text(api: Api, full: int, body: str) -> None:
    mine = [spec for spec in TEXTS if spec.body == body]
    api.update(full, PARTS[body], **{spec.member: "" for spec in mine})
    after, stored = api.read(full), api.stored(full)
    for spec in mine:
        assert getattr(stored, spec.name) == ""
        for reads in spec.reads:
            section, key = reads.split(".")
            assert after[section][key] == "", reads


def test_the_first_word_of_a_name_is_the_first_name_and_the_rest_the_last(api: Api, customer: int) -> None:
    for name, first, last in (
        ("Ada", "Ada", ""),
        ("Ada Lovelace", "Ada", "Lovelace"),
        ("  Ada   King  of Lovelace  ", "Ada", "King  of Lovelace"),
        ("石川 明日香", "石川", "明日香"),
    ):
        api.update(customer, Name=name)
        general = api.read(customer)["General"]
        assert (general["FirstName"], general["MiddleName"], general["LastName"]) == (first, "", last)
        assert general["Name"] == f"{first} {last}".strip()


def test_a_name_empties_the_middle_name(api: Api, customer: int) -> None:
    api.server.run(1, lambda tx: tx.put(replace(tx.get(Customer, customer), middle_name="B.")))
    assert api.read(customer)["General"]["Name"] == "Ann B. Lee"
    api.update(customer, Phone1="1")
    assert api.read(customer)["General"]["MiddleName"] == "B."
    api.update(customer, Name="Ann Lee")
    assert api.read(customer)["General"]["MiddleName"] == ""


DECIMALS = {
    "0.1": "0.1",
    "123456789012.123456": "123456789012.123456",
    '"1.10"': "1.10",
    "1e2": "100",
    "1E-6": "0.000001",
    '"2.5e1"': "25",
    "999999999999.999999": "999999999999.999999",
    "-999999999999.999999": "-999999999999.999999",
    "0.1000000000": "0.100000",
    "-0": "0",
    "-0.00": "0.00",
    '".5"': "0.5",
    '" 7. "': "7",
    "0e999999": "0",
    "3.3e0": "3.3",
}


@pytest.mark.parametrize("sent", DECIMALS)
@pytest.mark.parametrize(
    ("part", "member", "key"),
    [
        ("", "AccountManager2Commission", "Internal.AccountManager2Commission"),
        ("OrderOptions", "WholesaleDiscount", "OrderOptions.WholesaleDiscount"),
        ("ShippingPreferences", "Charges", ""),
    ],
)
def test_a_decimal_is_exact_from_the_wire_to_the_disk_and_back(
    api: Api, customer: int, sent: str, part: str, member: str, key: str
) -> None:
    answer = api.put(f"Customers/{customer}/{part}", f'{{"{member}": {sent}}}'.encode())
    assert answer.status_code == 200, answer.text
    want = DECIMALS[sent]
    if Decimal(want) == 0:
        want = "0"  # it was 0 before: no change
    spec = BY_MEMBER[member]
    store = connect(Path(api.server.settings.store.removeprefix("sqlite:///")))
    row = store.execute(f"SELECT {spec.name} FROM customers WHERE tenant_id = 1 AND id = ?", (customer,)).fetchall()
    store.close()
    assert row == [(want,)]
    if key:
        assert f'"{member}":{want},' in api.get(f"Customers/{customer}").text


def test_the_customer_is_answered_when_the_client_prefers_that(api: Api, full: int) -> None:
    for part in ("", "/OrderOptions", "/ShippingPreferences", "/Addresses", "/CustomColumns"):
        body = {part[1:]: list[int]()} if part in ("/Addresses", "/CustomColumns") else {}
        answer = api.put(f"Customers/{full}{part}", body, Prefer="return=representation")
        assert answer.headers["Preference-Applied"] == "return=representation"
        assert answer.content == api.get(f"Customers/{full}").content


GENERAL = (
    "ID Title Name FirstName MiddleName LastName Email EmailCC CorporateName BusinessAliases EBayUserID SourceId "
    "IsBlackListed IsWholeSaleUser IsModified"
)
INTERNAL = (
    "CompanyID AccountManagerId AccountManagerCommission AccountManager2Id AccountManager2Commission AccountManager3Id "
    "AccountManager3Commission SalesMan Comment LocalRating CreatedOn IsModified"
)
ORDER_OPTIONS = (
    "TaxExempt TaxExemptType OrderHandlingFee ApplyShippingChargesToOrderTotal ApplyShippingChargesToOrderTotalVisible "
    "AllowShippingUnPaidOrders AllowShippingUnPaidOrdersEditble DisableShipNotifications InvoiceNote "
    "OrderPDFInvoicePlugin SendInvoiceWithShipNotificationEmail SendInvoiceWithPaymentConfirmationEmail "
    "WholesaleDiscount SitePriceBasedDiscountVisible SitePriceBasedDiscountEnabled SitePriceBasedDiscountValue "
    "CostPlusBasedWholeSalePriceVisible CostPlusBasedWholeSalePriceEnabled CostPlusBasedWholeSalePricePercent "
    "CostPlusBasedWholeSalePriceUsingType TaxID IsModified"
)
ADDRESS = (
    "ID CompanyName AddressSource AddressStatus IsShippingAddress IsBillingAddress Address2 RowStatus ContactName "
    "Country City State Region ZipCode Address Phone Fax IsModified"
)
CUSTOM_COLUMN = (
    "ID DataType DataLength IsDropDownColumn IsDropDownCustomTextAllowed IsDropDownAllowMultipleSelection ClientID "
    "NewValue AllowHTMLPopup DataSourceContainer IsRequired IsEnabledForClient DataTypeName ColumnName DisplayName "
    "Value"
)


def test_a_customer_has_all_its_keys_in_the_order_of_the_contract(api: Api, full: int) -> None:
    address = {
        "ID": 0, "AddressSource": 0, "AddressStatus": 0, "IsShippingAddress": 1, "IsBillingAddress": 0,
        "Country": "DE", "City": "Ulm", "ZipCode": "89073", "Address": "Gasse 1", "ContactName": "Ada",
    }  # fmt: skip
    api.update(full, "Addresses", Addresses=[address])
    api.post("Customers/CustomersGroups/1/Customers", {"CustomersIDs": [full]})
    one = api.read(full)
    assert list(one) == [
        "General", "Internal", "OrderOptions", "Personal", "Addresses", "WholesaleOptions", "CustomerGroups",
        "CreditCards", "CustomColumns", "NotesCount", "IsModified",
    ]  # fmt: skip
    for section, keys in (("General", GENERAL), ("Internal", INTERNAL), ("OrderOptions", ORDER_OPTIONS)):
        assert list(one[section]) == keys.split()
    assert list(one["Personal"]) == ["Phone1", "Phone2", "Phone3", "Mobile", "Fax", "IsModified"]
    assert list(one["Addresses"][0]) == ADDRESS.split()
    assert list(one["WholesaleOptions"]) == ["CreditTerm", "CreditLimit", "BillingCycleStartdate", "IsModified"]
    assert one["CustomerGroups"] == {
        "CustomerGroups": [{"ID": 1, "Name": "VIP", "RowStatus": 0}], "IsModified": False,
    }  # fmt: skip
    assert (one["CreditCards"], one["NotesCount"], one["IsModified"]) == ([], 0, False)
    assert all(list(column) == CUSTOM_COLUMN.split() for column in one["CustomColumns"])


def test_a_customer_of_which_little_is_known_reads_as_the_contract_says(api: Api, customer: int) -> None:
    one = api.read(customer)
    nulls = [
        f"{section}.{key}"
        for section, members in one.items()
        if isinstance(members, dict)
        for key, value in members.items()
        if value is None
    ]
    assert nulls == ["OrderOptions.TaxExemptType", "WholesaleOptions.BillingCycleStartdate"]
    assert one["General"]["Title"] == one["OrderOptions"]["TaxID"] == one["Personal"]["Fax"] == ""
    assert one["Internal"]["LocalRating"] == one["WholesaleOptions"]["CreditLimit"] == 0
    assert len(one["Internal"]["CreatedOn"]) == 19 and one["Internal"]["CreatedOn"][10] == "T"
    assert (one["Addresses"], one["General"]["BusinessAliases"]) == ([], [])


def test_times_and_limits_that_no_call_sets_read_back_too(api: Api, customer: int) -> None:
    values = {
        "billing_cycle_start": datetime(2025, 3, 1, tzinfo=UTC),
        "credit_limit": Decimal("1.50"),
        "credit_term": 2,
    }
    api.server.run(1, lambda tx: tx.put(replace(tx.get(Customer, customer), **values)))
    assert (
        '"CreditTerm":2,"CreditLimit":1.50,"BillingCycleStartdate":"2025-03-01T00:00:00"'
        in api.get(f"Customers/{customer}").text
    )


def test_shipping_preferences_are_kept_though_the_vendor_shows_them_nowhere(api: Api, full: int) -> None:
    stored = api.stored(full)
    for spec in fields_of(Customer).values():
        if spec.body == "shipping":
            assert shown(spec, getattr(stored, spec.name)) == OLD["shipping"][spec.member]
    assert b"A-77" not in api.get(f"Customers/{full}").content


def test_zero_clears_a_manager(api: Api, full: int) -> None:
    api.update(full, AccountManager1Id=0, AccountManager3Id="0")
    internal = api.read(full)["Internal"]
    assert [internal[f"AccountManager{n}Id"] for n in ("", "2", "3")] == [0, 2, 0]


def test_numbers_are_sent_as_numbers(api: Api) -> None:
    # A test of the tests: decimals reach the wire as they are spelt.
    assert to_json({"a": Decimal("1.10"), "b": [Decimal("0.000001")]}) == b'{"a": 1.10, "b": [0.000001]}'
