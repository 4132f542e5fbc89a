"""`POST /api/Customers/CustomersGroups/{id}/Customers`: make customers members of a group."""

from typing import Any

import pytest
from conftest import Api, problems

URL = "Customers/CustomersGroups/{}/Customers"


def groups(api: Api, number: int) -> list[int]:
    return [one["ID"] for one in api.read(number)["CustomerGroups"]["CustomerGroups"]]


@pytest.mark.parametrize("member", ["CustomersIDs", "CustomerIDs", "customersids", "CUSTOMERIDS"])
def test_customers_are_added_by_either_spelling(api: Api, member: str) -> None:
    first, second = api.new(), api.new()
    answer = api.post(URL.format(2), {member: [first, str(second)]})
    assert (answer.status_code, answer.content) == (200, b"")
    assert groups(api, first) == groups(api, second) == [2]
    assert len(api.changes(first)) == len(api.changes(second)) == 2


def test_a_customer_is_in_several_groups_in_order(api: Api, customer: int) -> None:
    for group in (2, 1):
        api.post(URL.format(group), {"CustomersIDs": [customer]})
    assert api.read(customer)["CustomerGroups"]["CustomerGroups"] == [
        {"ID": 1, "Name": "VIP", "RowStatus": 0},
        {"ID": 2, "Name": "Newsletter", "RowStatus": 0},
    ]


def test_adding_a_member_twice_is_no_error_and_no_change(api: Api, customer: int) -> None:
    assert api.post(URL.format(1), {"CustomersIDs": [customer, customer]}).status_code == 200
    with api.unchanged(customer):
        assert api.post(URL.format(1), {"CustomersIDs": [customer]}).status_code == 200
    assert len(api.changes(customer)) == 2


def test_no_customers_is_no_error(api: Api) -> None:
    assert api.post(URL.format(1), {"CustomersIDs": []}).status_code == 200


def test_an_unknown_group_is_named_and_nothing_is_added(api: Api, customer: int) -> None:
    with api.unchanged(customer):
        answer = api.post(URL.format(99), {"CustomersIDs": [customer]})
    assert (answer.status_code, answer.json()) == (404, "Could not find or load record with ID 99!")


@pytest.mark.parametrize("member", ["CustomersIDs", "customerids"])
def test_unknown_customers_are_named_and_nothing_is_added(api: Api, customer: int, member: str) -> None:
    with api.unchanged(customer):
        found = problems(api.post(URL.format(1), {member: [customer, 123456, 123457]}))
    assert set(found) == {member}
    assert "123456, 123457" in found[member][0]


@pytest.mark.parametrize("member", ["CustomersIDs", "customerids"])
def test_what_is_no_number_of_a_customer_is_named(api: Api, customer: int, member: str) -> None:
    with api.unchanged(customer):
        found = problems(api.post(URL.format(1), {member: [customer, "x", -1, 0, None, 1.5, 2**31]}))
    assert set(found) == {f"{member}[{index}]" for index in range(1, 7)}


@pytest.mark.parametrize("value", [None, {}, "1,2", 5, list(range(1, 1002))])
def test_the_list_is_required(api: Api, value: Any) -> None:
    assert set(problems(api.post(URL.format(1), {"CustomersIDs": value}))) == {"CustomersIDs"}
    assert set(problems(api.post(URL.format(1), {}))) == {"CustomersIDs"}


def test_both_spellings_at_once_are_refused(api: Api, customer: int) -> None:
    with api.unchanged(customer):
        body = {"CustomersIDs": [customer], "CustomerIDs": [customer]}
        assert len(problems(api.post(URL.format(1), body))) == 1


def test_a_customer_of_another_tenant_is_unknown(api: Api, other: Api) -> None:
    highest = other.list()["Items"][0]["UserID"] if other.list()["Items"] else 0
    while (number := api.new()) <= highest:
        pass
    assert set(problems(other.post(URL.format(1), {"CustomersIDs": [number]}))) == {"CustomersIDs"}
    assert groups(api, number) == []


@pytest.mark.parametrize("group", ["abc", "-1", "99999999999", "1.5"])
def test_the_number_of_a_group_is_a_number(api: Api, group: str) -> None:
    assert set(problems(api.post(URL.format(group), {"CustomersIDs": []}))) == {"id"}
