"""`POST /api/Customers`: what is required of which customer, how its type is numbered, and what is answered."""

from typing import Any

import pytest
from conftest import Api, problems

RETAIL = {"CompanyID": 1, "FirstName": "Ann", "LastName": "Lee", "Email": "ann@example.com", "CustomerType": 1}
WHOLESALE = {
    "CompanyID": 2,
    "FirstName": "Ann",
    "Email": "ann@example.com",
    "CustomerType": 0,
    "BusinessName": "Lee Ltd",
}


def without(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


def refused(api: Api, body: Any) -> Any:
    total = api.list()["TotalResults"]
    found = problems(api.post("Customers", body))
    assert api.list()["TotalResults"] == total
    return found


def test_the_answer_is_the_new_id_as_a_bare_number(api: Api) -> None:
    answer = api.post("Customers", RETAIL)
    assert answer.status_code == 200 and answer.text.isdigit()
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["ETag"] == '"1"'
    assert answer.headers["Location"] == f"/rest/api/Customers/{answer.text}"
    one = api.read(int(answer.text))
    assert one["General"] | {"Name": "Ann Lee", "Email": "ann@example.com", "IsWholeSaleUser": False} == one["General"]
    assert one["Internal"]["CompanyID"] == 1
    (change,) = api.changes(int(answer.text))
    assert (change.kind, change.version) == ("created", 1)


def test_a_trailing_slash_is_served(api: Api) -> None:
    assert api.post("Customers/", RETAIL).status_code == 200


def test_ids_ascend_and_none_is_spent_on_a_refused_customer(api: Api) -> None:
    first = api.new()
    refused(api, {})
    assert api.new() == first + 1


@pytest.mark.parametrize("kind", [0, "0", "WholeSale", "wholesale", "WHOLESALE"])
def test_type_0_is_wholesale(api: Api, kind: Any) -> None:
    number = api.new(**WHOLESALE | {"CustomerType": kind})
    assert api.read(number)["General"]["IsWholeSaleUser"] is True
    assert api.list(f"customerIds={number}&customerType=1")["TotalResults"] == 1


@pytest.mark.parametrize("kind", [1, "1", "Retail", "retail"])
def test_type_1_is_retail(api: Api, kind: Any) -> None:
    number = api.new(CustomerType=kind)
    assert api.read(number)["General"]["IsWholeSaleUser"] is False
    assert api.list(f"customerIds={number}&customerType=0")["TotalResults"] == 1


@pytest.mark.parametrize("kind", [1, "1", "Wholesale"])
def test_with_the_quirk_type_1_is_wholesale(quirky: Api, kind: Any) -> None:
    assert quirky.read(quirky.new(**WHOLESALE | {"CustomerType": kind}))["General"]["IsWholeSaleUser"] is True
    assert quirky.read(quirky.new(CustomerType=0))["General"]["IsWholeSaleUser"] is False


@pytest.mark.parametrize(
    ("body", "member"), [(body, member) for body in (RETAIL, WHOLESALE) for member in body if member != "BusinessName"]
)
def test_what_is_required_must_be_there(api: Api, body: dict[str, Any], member: str) -> None:
    absent = [
        without(body, member),
        body | {member: None},
        *([body | {member: ""}] if member != "CustomerType" else []),
    ]
    for one in absent:
        assert member in refused(api, one)
    assert set(refused(api, without(body, member))) == {member}


def test_all_that_is_missing_is_reported_at_once_and_as_the_contract_spells_it(api: Api) -> None:
    assert set(refused(api, {})) >= {"CompanyID", "FirstName", "Email", "CustomerType"}
    assert set(refused(api, {"CustomerType": 1})) == {"CompanyID", "FirstName", "LastName", "Email"}
    assert set(refused(api, {"CustomerType": 0})) == {"CompanyID", "FirstName", "Email"}
    found = refused(api, {"companyid": 99, "FIRSTNAME": 5, "email": "no", "customerTYPE": 2, "lastName": "x" * 201})
    assert set(found) == {"companyid", "FIRSTNAME", "email", "customerTYPE", "lastName"}


def test_a_business_name_is_required_of_wholesale_where_the_tenant_says_so(api: Api, other: Api) -> None:
    body = without(WHOLESALE, "BusinessName") | {"Email": "unique-for-this@example.com"}
    assert set(refused(other, body)) == {"BusinessName"}
    assert set(refused(other, body | {"BusinessName": ""})) == {"BusinessName"}
    assert other.post("Customers", body | {"BusinessName": "Lee Ltd"}).status_code == 200
    assert api.post("Customers", body).status_code == 200


@pytest.mark.parametrize("body", [[], "x", 5, None, [RETAIL]])
def test_a_body_that_is_no_object_is_refused(api: Api, body: Any) -> None:
    sent = b"null" if body is None else body
    assert set(refused(api, sent)) >= {"body"}


def test_members_that_creating_does_not_take_are_ignored_and_named(api: Api) -> None:
    answer = api.post("Customers", RETAIL | {"Phone1": "5", "Rating": 5})
    assert answer.headers["Ignored-Members"] == "Phone1, Rating"
    assert api.read(int(answer.text))["Personal"]["Phone1"] == ""
