"""What is refused: every rule of contract §4 and §9, with the member that the problem is put under, spelt as the client
spelt it. A refused request changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from conftest import Api, problems
from declared import PARTS, SPECS
from msgspec.structs import replace

from regulars.fields import Field
from regulars.record import FULL_NAME, Customer

Members = Mapping[str, Any]


def put(api: Api, number: int, part: str, body: Any) -> Mapping[str, list[str]]:
    """The problems of a refused update, of which the customer shows nothing afterwards."""
    with api.unchanged(number):
        return problems(api.put(f"Customers/{number}/{part}", body))


# ---- rules that look at more than one value


@dataclass(frozen=True)
class Case:
    """An update that is refused: of which customer, and under which members."""

    part: str
    body: Members
    members: tuple[str, ...]
    says: str
    new: Members = field(default_factory=dict)
    before: Mapping[str, Members] = field(default_factory=dict)


WHOLESALE = {"CustomerType": "WholeSale", "BusinessName": "Engines Ltd", "CompanyID": 2}
EXEMPT = {"OrderOptions": {"TaxExempt": True, "TaxID": "T-1"}}
CHARGED = {"OrderOptions": {"ApplyShippingChargesToOrderTotal": True}}
UNPAID = {"OrderOptions": {"AllowShippingUnpaidOrders": True}}
ON_UPS = {"ShippingPreferences": {"CarrierId": 1, "CarrierMethodId": 11}}

CASES = {
    "company unknown": Case("", {"CompanyId": 99}, ("CompanyId",), "1 (Careful Ltd), 2 (Generous Ltd); got 99"),
    "company unknown, odd case": Case("", {"COMPANYid": "99"}, ("COMPANYid",), "got 99"),
    "company none": Case("", {"CompanyId": 0}, ("CompanyId",), "got 0"),
    "manager 1 unknown": Case("", {"AccountManager1Id": 99}, ("AccountManager1Id",), "0 for nobody, got 99"),
    "manager 2 unknown": Case("", {"accountmanager2id": 98}, ("accountmanager2id",), "got 98"),
    "manager 3 unknown": Case("", {"ACCOUNTMANAGER3ID": 97}, ("ACCOUNTMANAGER3ID",), "got 97"),
    "all managers unknown": Case(
        "",
        {"AccountManager1Id": 99, "AccountManager2Id": 98, "AccountManager3Id": 97},
        ("AccountManager1Id", "AccountManager2Id", "AccountManager3Id"),
        "employee",
    ),
    "tax id without exemption": Case("OrderOptions", {"taxId": "T-1"}, ("taxId",), "TaxExempt to be on"),
    "tax id while exemption ends": Case(
        "OrderOptions", {"TaxID": "T-2", "TaxExempt": False}, ("TaxID",), "TaxExempt to be on", before=EXEMPT
    ),
    "exemption ends while there is a tax id": Case(
        "OrderOptions", {"TAXEXEMPT": "false"}, ("TAXEXEMPT",), "while there is a TaxID", before=EXEMPT
    ),
    "shipping charges of a retail customer": Case(
        "OrderOptions",
        {"applyShippingChargesToOrderTotal": True},
        ("applyShippingChargesToOrderTotal",),
        "wholesale customer",
    ),
    "retail while shipping charges are on": Case(
        "", {"isWholesale": False}, ("isWholesale",), "ApplyShippingChargesToOrderTotal is on", WHOLESALE, CHARGED
    ),
    "unpaid orders where the company forbids": Case(
        "OrderOptions",
        {"AllowShippingUnPaidOrders": True},
        ("AllowShippingUnPaidOrders",),
        "Careful Ltd does not",
    ),
    "company that forbids while unpaid orders are on": Case(
        "", {"CompanyID": 1}, ("CompanyID",), "Careful Ltd does not", WHOLESALE, UNPAID
    ),
    "carrier unknown": Case("ShippingPreferences", {"CARRIERID": 9}, ("CARRIERID",), "1 (UPS), 2 (DHL); got 9"),
    "service unknown": Case(
        "ShippingPreferences", {"CarrierMethodId": 99}, ("CarrierMethodId",), "21 (DHL Paket); got 99"
    ),
    "service of another carrier": Case(
        "ShippingPreferences",
        {"CarrierId": 2, "CarrierMethodId": 11},
        ("CarrierMethodId",),
        "21 (DHL Paket); got 11",
    ),
    "service of another carrier than before": Case(
        "ShippingPreferences", {"CarrierMethodId": 21}, ("CarrierMethodId",), "got 21", before=ON_UPS
    ),
    "carrier that lacks the service": Case(
        "ShippingPreferences", {"CarrierId": 2}, ("CarrierId",), "got 11", before=ON_UPS
    ),
    "name empty": Case("", {"Name": ""}, ("Name",), "only blanks"),
    "name blank": Case("", {"nAME": "   "}, ("nAME",), "only blanks"),
    "first word too long": Case("", {"Name": "x" * 101}, ("Name",), "first word of at most 100"),
    "last name too long": Case("", {"Name": "x " + "y" * 201}, ("Name",), "200 characters after the first word"),
    "everything at once": Case(
        "",
        {"companyid": 99, "Rating": 6, "Title": 5, "AccountManager1Id": 99, "EMAIL": "no", "Name": " ", "Fax": "1"},
        ("companyid", "Rating", "Title", "AccountManager1Id", "EMAIL", "Name"),
        "Expected",
    ),
    "options at once": Case(
        "OrderOptions",
        {"TaxID": "1", "ApplyShippingChargesToOrderTotal": 1, "AllowShippingUnpaidOrders": 1, "WholesaleDiscount": "x"},
        ("TaxID", "ApplyShippingChargesToOrderTotal", "AllowShippingUnpaidOrders", "WholesaleDiscount"),
        "Expected",
    ),
    "shipping at once": Case(
        "ShippingPreferences", {"CarrierId": 9, "Charges": []}, ("CarrierId", "Charges"), "Expected"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_rule_refuses_under_the_member_that_must_change(api: Api, case: Case) -> None:
    number = api.new(**case.new)
    for part, members in case.before.items():
        api.update(number, part, **members)
    found = put(api, number, case.part, case.body)
    assert set(found) == set(case.members)
    assert all(case.says in " ".join(why) for why in found.values()), found


ALLOWED = {
    "tax id with exemption": Case("OrderOptions", {"TaxID": "T-1", "TaxExempt": True}, (), ""),
    "tax id later": Case("OrderOptions", {"TaxID": "T-2"}, (), "", before=EXEMPT),
    "exemption and tax id end together": Case("OrderOptions", {"TaxExempt": False, "TaxID": ""}, (), "", before=EXEMPT),
    "charges of a wholesale customer": Case("OrderOptions", CHARGED["OrderOptions"], (), "", WHOLESALE),
    "unpaid orders where the company allows": Case("OrderOptions", UNPAID["OrderOptions"], (), "", WHOLESALE),
    "unpaid orders off where the company forbids": Case("OrderOptions", {"AllowShippingUnpaidOrders": False}, (), ""),
    "the company as it is": Case("", {"CompanyId": 2}, (), "", WHOLESALE, UNPAID),
    "carrier and service": Case("ShippingPreferences", ON_UPS["ShippingPreferences"], (), ""),
    "carrier and service change together": Case(
        "ShippingPreferences", {"CarrierId": 2, "CarrierMethodId": 21}, (), "", before=ON_UPS
    ),
    "carrier goes, service stays": Case("ShippingPreferences", {"CarrierId": 0}, (), "", before=ON_UPS),
    "service goes": Case("ShippingPreferences", {"CarrierMethodId": 0}, (), "", before=ON_UPS),
    "wholesale without business name where that is no rule": Case("", {"IsWholesale": True}, (), ""),
    "business name goes where that is no rule": Case("", {"BusinessName": ""}, (), "", WHOLESALE),
    "e-mail address that another has": Case("", {"Email": "ann1@example.com"}, (), ""),
    "longest name": Case("", {"Name": "x" * 100 + " " + "y" * 199}, (), ""),
}


@pytest.mark.parametrize("case", ALLOWED.values(), ids=ALLOWED)
def test_what_the_rules_allow_is_done(api: Api, case: Case) -> None:
    number = api.new(**case.new)
    for part, members in case.before.items():
        api.update(number, part, **members)
    api.update(number, case.part, **case.body)


# ---- rules that a tenant can turn on


def test_wholesale_needs_a_business_name_where_the_tenant_says_so(other: Api) -> None:
    retail, wholesale = other.new(), other.new(**WHOLESALE)
    says = "Expected a business name: the customer is wholesale, and this tenant requires one."
    assert put(other, retail, "", {"IsWholesale": True}) == {"BusinessName": [says]}
    assert put(other, retail, "", {"IsWholesale": True, "businessname": ""}) == {"businessname": [says]}
    assert put(other, wholesale, "", {"BusinessName": ""}) == {"BusinessName": [says]}
    other.update(retail, IsWholesale=True, BusinessName="Engines")
    other.update(retail, IsWholesale=False)
    other.update(retail, BusinessName="")
    other.update(wholesale, IsWholesale=False, BusinessName="")


def test_the_seed_judges_a_missing_business_name_even_when_it_is_not_touched(other: Api) -> None:
    number = other.new(**WHOLESALE)
    other.server.run(other.tenant_id, lambda tx: tx.put(replace(tx.get(Customer, number), business_name="")))
    assert set(put(other, number, "", {"Phone1": "1"})) == {"BusinessName"}
    other.update(number, "OrderOptions", InvoiceNote="not the seed")
    other.update(number, Phone1="1", BusinessName="Engines")


def test_an_e_mail_address_is_taken_once_where_the_tenant_says_so(other: Api) -> None:
    first = other.new(Email="Taken@example.com")
    second = other.new(Email="second@example.com")
    found = put(other, second, "", {"EMail": "tAKEN@Example.com"})
    assert found == {"EMail": [f"Expected an address that no other customer has; customer {first} has this one."]}
    body = {"CompanyID": 1, "FirstName": "A", "LastName": "B", "email": "taken@EXAMPLE.com", "CustomerType": 1}
    assert set(problems(other.post("Customers", body))) == {"email"}
    other.update(first, Email="TAKEN@example.com")
    other.update(first, Email="")
    other.update(second, Email="taken@example.com")
    assert set(put(other, first, "", {"Email": "taken@example.com"})) == {"Email"}
    for number in (first, second):
        other.update(number, Email="")


# ---- rules of one value


def wrong(spec: Field) -> list[Any]:
    """What no field of this type takes."""
    if spec.type is str:
        found = [
            5,
            1.5,
            True,
            [],
            {},
            ["x"],
            "x" * (spec.limit + 1),
            "a\x00b",
            "a\x1fb",
            "\x7f",
            "\x9b",
            "\ufffe",
            "a\x0bb",
        ]
        found += ["\ud800"] if not spec.email else []
        found += [] if spec.lines else ["a\nb", "a\tb"]
        if spec.email:
            found += ["no", "@example.com", "a@", "a b@example.com", "a@b@example.com", "a@-example.com"]
            found += ["a@example.com, b@example.com"] if spec.many == 1 else ["a@example.com; no", "a@x.com," * 21]
        return found
    if spec.type is bool:
        return ["yes", "", "1", 2, -1, 0.5, [], {}, "wahr"]
    if spec.type is int:
        return ["x", "", True, -1, "-1", 1.5, "1.5", 2**31, 10**30, Decimal("1e30"), [], {}, "1,000", "0x10", "٣"]
    if spec.type is Decimal:
        return [
            "x", "", True, [], {}, "NaN", "Infinity", "-Infinity", "0x10", "1_000", "1,5", "٣", Decimal("0.0000001"),
            Decimal("1000000000000"), 10**12, Decimal("1e400"), Decimal("1e-400"), "1e999", "1" * 65,
            Decimal("1e999999"), Decimal("123456789012.1234567"),
        ]  # fmt: skip
    if isinstance(spec.type, type) and issubclass(spec.type, Enum):
        number = [] if isinstance(next(iter(spec.type)).value, str) else [-1, 99, "99", 1.5, ""]
        return ["x", True, [], {}, 2**40, Decimal("1e999999"), Decimal("1e1000000"), *number]
    return ["x", 5, {}, True, [5], [None], ["a", ["b"]], ["x" * (spec.limit + 1)], ["a\nb"], ["x"] * 101]


ONE_BY_ONE = [*SPECS, FULL_NAME]


@pytest.mark.parametrize("spec", ONE_BY_ONE, ids=[spec.member for spec in ONE_BY_ONE])
def test_a_value_that_a_field_does_not_take_is_refused_and_named(api: Api, customer: int, spec: Field) -> None:
    spelt = spec.member.swapcase()
    before = api.snapshot(customer)
    for value in wrong(spec):
        found = problems(api.put(f"Customers/{customer}/{PARTS[spec.body]}", {spelt: value}))
        assert list(found) == [spelt], value
        assert found[spelt][0].startswith(("Expected ", "Item ")), found
        assert len(found[spelt][0]) < 500
    assert api.snapshot(customer) == before


@pytest.mark.parametrize("body", PARTS)
def test_every_wrong_value_of_a_body_is_reported_at_once(api: Api, customer: int, body: str) -> None:
    mine = [spec for spec in ONE_BY_ONE if spec.body == body]
    found = put(api, customer, PARTS[body], {spec.member: {"not": "this"} for spec in mine})
    assert set(found) == {spec.member for spec in mine}


def test_a_message_says_what_was_expected_and_what_was_got(api: Api, customer: int) -> None:
    body = {
        "Rating": "Great",
        "Phone1": 5,
        "IsWholesale": "maybe",
        "CompanyId": "x",
        "AccountManager1Commission": "1,5",
    }
    assert put(api, customer, "", body) == {
        "Rating": [
            "Expected one of 0 (NotRated), 1 (Very_Disatisfied), 2 (Disatisfied), 3 (Neutral), 4 (Satisfied), "
            '5 (Very_Satisfied), got "Great".'
        ],
        "Phone1": ["Expected a string of at most 50 characters, got 5."],
        "IsWholesale": ['Expected true or false, got "maybe".'],
        "CompanyId": ['Expected a whole number from 0 to 2147483647, got "x".'],
        "AccountManager1Commission": [
            'Expected a decimal number with at most 12 digits before the point and 6 after it, got "1,5".'
        ],
    }


def test_a_member_that_comes_twice_is_refused(api: Api, customer: int) -> None:
    for body, member in (
        (b'{"Fax": "1", "Fax": "2"}', "Fax"),
        (b'{"Fax": "1", "FAX": "2"}', "Fax"),
        (b'{"fax": null, "Fax": "2"}', "fax"),
    ):
        with api.unchanged(customer):
            assert [name.lower() for name in problems(api.put(f"Customers/{customer}", body))] == [member.lower()]


@pytest.mark.parametrize("part", ["", "OrderOptions", "ShippingPreferences", "Addresses", "CustomColumns"])
def test_a_customer_that_is_unknown_is_not_found(api: Api, part: str) -> None:
    answer = api.put(f"Customers/123456/{part}", {"Addresses": [], "CustomColumns": []})
    assert (answer.status_code, answer.json()) == (404, "Could not find or load record with ID 123456!")


def test_a_customer_of_another_tenant_is_not_found(api: Api, other: Api) -> None:
    mine = max(api.new(), other.new()) + 1
    while (number := api.new()) < mine:
        pass
    assert other.get(f"Customers/{number}").status_code == 404
    assert other.put(f"Customers/{number}", {"Fax": "1"}).status_code == 404
    assert api.read(number)["Personal"]["Fax"] == ""
