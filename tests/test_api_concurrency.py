"""Many callers at once: no update is lost, and every change is written down once."""

import asyncio
import json
from collections import Counter
from typing import Any

import httpx2
from conftest import Api
from declared import PARTS, SPECS

TEXTS = [spec for spec in SPECS if spec.type is str and not spec.email and spec.member != "TaxID"]


def at_once(api: Api, requests: list[tuple[str, str, object]], **headers: str) -> list[httpx2.Response]:
    """The answers to calls that are all under way together."""

    async def work() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=50)
        async with httpx2.AsyncClient(base_url=api.server.url, headers=api.headers | headers, limits=limits) as client:
            calls = (client.request(method, f"/rest/api/{path}", json=body) for method, path, body in requests)
            return list(await asyncio.gather(*calls))

    return asyncio.run(work())


def test_fifty_updates_of_one_customer_at_once_all_survive(api: Api, customer: int) -> None:
    wanted = {(spec.body, spec.member): f"{spec.member[:10]}" for spec in TEXTS}
    calls: list[tuple[str, Any]] = [
        (part, {member: value}) for (body, member), value in wanted.items() for part in [PARTS[body]]
    ]
    calls += [
        ("CustomColumns", {"CustomColumns": [{"ColumnName": name, "Value": "x"}]}) for name in ("Loyalty", "Story")
    ]
    calls += [("", {f"AccountManager{n}Commission": n}) for n in (1, 2, 3)]
    calls += [("OrderOptions", {name: True}) for name in ("TaxExempt", "DisableShipNotifications")]
    address = {
        "ID": 0, "AddressSource": 0, "AddressStatus": 0, "IsShippingAddress": True, "IsBillingAddress": True,
        "Country": "DE", "City": "Ulm", "ZipCode": "89073", "Address": "Gasse 1", "ContactName": "Ada",
    }  # fmt: skip
    calls += [("Addresses", {"Addresses": [address]})] * (50 - len(calls))
    answers = at_once(api, [("PUT", f"Customers/{customer}/{part}", body) for part, body in calls])
    assert Counter(answer.status_code for answer in answers) == {200: 50}

    stored = api.stored(customer)
    for spec in TEXTS:
        assert getattr(stored, spec.name) == wanted[spec.body, spec.member]
    assert len(stored.custom_values) == 2 and stored.tax_exempt and stored.disable_ship_notifications
    assert len(stored.addresses) == sum(part == "Addresses" for part, _ in calls) > 10
    assert stored.version == 51
    assert {answer.headers["ETag"] for answer in answers} == {f'"{version}"' for version in range(2, 52)}
    changes = api.changes(customer)
    assert [change.version for change in changes] == list(range(51, 0, -1))
    assert all(len(json.loads(change.fields)) == 1 for change in changes[:-1])


def test_of_many_updates_at_one_version_one_goes_through(api: Api, customer: int) -> None:
    calls: list[tuple[str, str, object]] = [("PUT", f"Customers/{customer}", {"Fax": str(n)}) for n in range(20)]
    answers = at_once(api, calls, **{"If-Match": '"1"'})
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 19}
    winner = next(n for n, answer in enumerate(answers) if answer.status_code == 200)
    assert api.read(customer)["Personal"]["Fax"] == str(winner)
    assert len(api.changes(customer)) == 2


def test_the_same_update_many_times_at_once_is_one_change(api: Api, customer: int) -> None:
    answers = at_once(api, [("PUT", f"Customers/{customer}", {"Fax": "1"})] * 20)
    assert {(answer.status_code, answer.headers["ETag"]) for answer in answers} == {(200, '"2"')}
    assert len(api.changes(customer)) == 2


def test_a_refused_update_among_good_ones_takes_none_with_it(api: Api, customer: int) -> None:
    calls: list[tuple[str, str, object]] = [
        ("PUT", f"Customers/{customer}", {"Phone1": str(n)} if n % 2 else {"Phone1": str(n), "CompanyId": 99})
        for n in range(20)
    ]
    answers = at_once(api, calls)
    assert [answer.status_code for answer in answers] == [400, 200] * 10
    assert api.stored(customer).version == 11
    assert int(api.read(customer)["Personal"]["Phone1"]) % 2 == 1


def test_customers_created_at_once_have_numbers_of_their_own(api: Api) -> None:
    total = api.list()["TotalResults"]
    body = {"CompanyID": 1, "FirstName": "A", "LastName": "B", "Email": "a@example.com", "CustomerType": 1}
    answers = at_once(api, [("POST", "Customers", body)] * 30)
    numbers = {int(answer.text) for answer in answers}
    assert len(numbers) == 30 and max(numbers) - min(numbers) == 29
    assert api.list()["TotalResults"] == total + 30


def test_an_e_mail_address_that_may_be_taken_once_is_taken_once(other: Api) -> None:
    body = {"CompanyID": 1, "FirstName": "A", "LastName": "B", "Email": "race@example.com", "CustomerType": 1}
    answers = at_once(other, [("POST", "Customers", body)] * 10)
    assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 9}


def test_members_of_a_group_are_added_at_once(api: Api) -> None:
    numbers = [api.new() for _ in range(5)]
    calls: list[tuple[str, str, object]] = [
        ("POST", f"Customers/CustomersGroups/{group}/Customers", {"CustomersIDs": [number]})
        for number in numbers
        for group in (1, 2)
    ]
    assert {answer.status_code for answer in at_once(api, calls)} == {200}
    assert [api.stored(number).group_ids for number in numbers] == [(1, 2)] * 5
