"""Our own face of a customer: read flat, changed by merge patch; preconditions on both faces."""

from decimal import Decimal
from typing import Any

import httpx2
import pytest
from conftest import Api, Running

from regulars import access, flat
from regulars.fields import fields_of
from regulars.record import Customer, PaymentTerm, Tenant

PATH = "/api/v1/customers/{}"
ADDRESS = {
    "ID": 0,
    "AddressSource": "LocalSite",
    "AddressStatus": "Confirmed",
    "IsShippingAddress": True,
    "IsBillingAddress": False,
    "ContactName": "Ann Lee",
    "Address": "350 5th Ave",
    "City": "New York",
    "State": "NY",
    "ZipCode": "10118",
    "Country": "US",
}


def read(api: Api, customer: int) -> Any:
    answer = api.get(PATH.format(customer))
    assert answer.status_code == 200, answer.text
    return answer.json(parse_float=Decimal)


def change(api: Api, customer: int, body: Any, **headers: str) -> httpx2.Response:
    return api.call("PATCH", PATH.format(customer), body, **headers)


def changed(api: Api, customer: int, body: Any) -> Any:
    """The customer after a patch that must succeed, as the answer and as reading it tell."""
    answer = change(api, customer, body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["ETag"] == f'"{answer.json()["Version"]}"'
    assert answer.json(parse_float=Decimal) == read(api, customer)
    return read(api, customer)


def refused(answer: httpx2.Response) -> dict[str, str]:
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    return {one["member"]: one["detail"] for one in answer.json()["errors"]}


def test_every_declared_member_is_read(api: Api, customer: int) -> None:
    hidden = {"tenant_id", "change_id"}
    members = {spec.member for name, spec in fields_of(Customer).items() if name not in hidden}
    assert set(read(api, customer)) == members | {"Name"}


def test_what_the_vendor_gives_no_way_to_read_is_read_here(api: Api, customer: int) -> None:
    api.update(customer, "ShippingPreferences", Charges=Decimal("5.95"), AccountNumber="A-77")
    found = read(api, customer)
    assert (found["Charges"], found["AccountNumber"], found["Version"]) == (Decimal("5.95"), "A-77", 2)


def test_null_clears_and_what_is_not_named_stays(api: Api, customer: int) -> None:
    api.update(customer, Phone1="1", Phone2="2", Rating=5, BusinessAliases=["x"], AccountManager1Commission=Decimal(3))
    before = read(api, customer)
    cleared = {"Phone1": None, "Rating": None, "BusinessAliases": None, "AccountManager1Commission": None}
    after = changed(api, customer, cleared)
    expected = {"Phone1": "", "Rating": 0, "BusinessAliases": [], "AccountManager1Commission": 0, "Version": 3}
    assert after == before | expected | {"ModifiedOn": after["ModifiedOn"]}


@pytest.mark.parametrize(
    "spec", [one for one in flat.NAMES.values() if one.name not in ("name",)], ids=lambda s: s.name
)
def test_every_member_but_the_name_can_be_cleared(api: Api, customer: int, spec: Any) -> None:
    if spec.name == "company_id":
        assert "CompanyId" in refused(change(api, customer, {"CompanyId": None}))
        return
    after = changed(api, customer, {spec.member: None})
    assert after[spec.member] in ("", 0, False, None, [], {})


def test_members_that_no_call_of_the_vendor_writes(server: Running, api: Api, customer: int) -> None:
    term = server.run(api.tenant_id, access.put_record, PaymentTerm, None, {"name": "Net 90"})
    body = {
        "MiddleName": "B.",
        "CreditTerm": term.id,
        "CreditLimit": Decimal("2500.5"),
        "BillingCycleStartdate": "2026-03-01T00:00:00Z",
        "IsBlackListed": True,
        "Channel": 4,
        "Subscribed": True,
    }
    after = changed(api, customer, body)
    assert {name: after[name] for name in body} == body
    assert api.read(customer)["WholesaleOptions"]["CreditLimit"] == Decimal("2500.5")
    assert "CreditTerm" in refused(change(api, customer, {"CreditTerm": 9999}))


def test_the_full_name_is_a_way_to_write_its_parts(api: Api, customer: int) -> None:
    assert changed(api, customer, {"Name": "Ada King Lovelace"})["LastName"] == "King Lovelace"
    answer = change(api, customer, {"Name": "Ignored Beside", "FirstName": "Augusta"})
    assert (answer.json()["Name"], answer.headers["Ignored-Members"]) == ("Augusta King Lovelace", "Name")
    assert "Name" in refused(change(api, customer, {"Name": None}))


def test_addresses_are_replaced_whole_so_that_one_can_be_removed(api: Api, customer: int) -> None:
    first, second = changed(api, customer, {"Addresses": [ADDRESS, ADDRESS | {"City": "Boston"}]})["Addresses"]
    after = changed(api, customer, {"Addresses": [second | {"Address2": "Floor 2"}]})["Addresses"]
    assert after == [second | {"Address2": "Floor 2"}]
    assert first["ID"] != second["ID"]
    assert "Addresses[0].ID" in refused(change(api, customer, {"Addresses": [first]}))
    assert "Addresses[0].City" in refused(change(api, customer, {"Addresses": [ADDRESS | {"City": ""}]}))
    assert changed(api, customer, {"Addresses": None})["Addresses"] == []


def test_custom_columns_are_merged_one_by_one(api: Api, customer: int) -> None:
    assert changed(api, customer, {"CustomColumns": {"Tier": "Gold", "visits": 7}})["CustomColumns"] == {
        "Tier": "Gold",
        "Visits": 7,
    }
    assert changed(api, customer, {"CustomColumns": {"Tier": None}})["CustomColumns"] == {"Visits": 7}
    problems = refused(change(api, customer, {"CustomColumns": {"Nonsense": 1, "Visits": "x"}}))
    assert set(problems) == {"CustomColumns.Nonsense", "CustomColumns.Visits"}
    assert changed(api, customer, {"CustomColumns": None})["CustomColumns"] == {}


def test_groups_are_replaced_whole(api: Api, customer: int) -> None:
    assert changed(api, customer, {"CustomerGroups": [1, 1]})["CustomerGroups"] == [1]
    assert "CustomerGroups" in refused(change(api, customer, {"CustomerGroups": [1, 9999]}))
    assert changed(api, customer, {"CustomerGroups": []})["CustomerGroups"] == []


def test_reading_changing_a_member_and_sending_all_of_it_back(api: Api, customer: int) -> None:
    before = read(api, customer)
    assert changed(api, customer, before) == before
    assert changed(api, customer, before | {"Fax": "1"})["Fax"] == "1"


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (b"[]", "body"),
        (b'{"Phone1": 5, "Rating": 9}', "Rating"),
        (b'{"Phone1": "1", "phone1": null}', "Phone1"),
        (b'{"Addresses": {}}', "Addresses"),
        (b'{"CustomColumns": []}', "CustomColumns"),
        (b'{"CustomColumns": {"a": 1, "a": 2}}', "CustomColumns"),
        (b'{"CustomerGroups": ["x"]}', "CustomerGroups"),
        (b'{"BillingCycleStartdate": "soon"}', "BillingCycleStartdate"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(api: Api, customer: int, body: bytes, member: str) -> None:
    with api.unchanged(customer):
        assert member in refused(change(api, customer, body))


def test_the_media_type_of_merge_patches(api: Api, customer: int) -> None:
    for kind, status in (("application/merge-patch+json", 200), ("application/json-patch+json", 415)):
        assert change(api, customer, {"Fax": kind}, Content_Type=kind).status_code == status


def test_errors_are_problems_and_quirks_do_not_hold(quirky: Api) -> None:
    answer = quirky.get(PATH.format(123456))
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:regulars:not_found")
    assert quirky.get("Customers/123456").status_code == 500
    assert quirky.get("/api/v1/nonsense").json()["status"] == 404


# ---- preconditions


@pytest.mark.parametrize("path", ["/rest/api/Customers/{}", PATH])
def test_a_customer_that_the_client_has_is_not_sent_again(api: Api, customer: int, path: str) -> None:
    for tag in ('"1"', 'W/"1"', '"7", "1"', "*"):
        answer = api.get(path.format(customer), If_None_Match=tag)
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"1"')
        assert "Content-Length" not in answer.headers
    api.update(customer, Fax="1")
    assert api.get(path.format(customer), If_None_Match='"1"').status_code == 200
    assert api.get(path.format(123456), If_None_Match="*").status_code == 404


def test_a_conflict_tells_both_versions_and_what_was_changed_meanwhile(api: Api, customer: int) -> None:
    for members in ({"Fax": "1"}, {"Phone1": "2"}, {"Fax": "3", "Title": "Dr"}):
        api.update(customer, **members)
    with api.unchanged(customer):
        answer = api.put(f"Customers/{customer}", {"Fax": "4"}, If_Match='"2"')
        own = change(api, customer, {"Fax": "4"}, If_Match='"2", "1"')
    assert answer.status_code == own.status_code == 412
    assert {name: answer.json()[name] for name in ("Version", "Expected", "Members")} == {
        "Version": 4,
        "Expected": [2],
        "Members": ["Phone1", "Title", "Fax"],
    }
    assert (own.json()["version"], own.json()["expected"]) == (4, [1, 2])
    assert own.json()["members"] == ["Phone1", "Title", "Fax"]


def test_a_tenant_may_demand_preconditions(server: Running, other: Api) -> None:
    customer = other.new()
    server.run(other.tenant_id, access.put_record, Tenant, other.tenant_id, {"require_if_match": True})
    try:
        with other.unchanged(customer):
            for answer in (other.put(f"Customers/{customer}", {"Fax": "1"}), change(other, customer, {"Fax": "1"})):
                assert answer.status_code == 428
        assert 'such as "1"' in other.put(f"Customers/{customer}", {"Fax": "1"}).json()["Message"]
        assert other.put(f"Customers/{customer}", {"Fax": "1"}, If_Match='"1"').status_code == 200
        assert change(other, customer, {"Fax": "2"}, If_Match="*").status_code == 200
    finally:
        server.run(other.tenant_id, access.put_record, Tenant, other.tenant_id, {"require_if_match": False})
