"""The history of a customer: who changed what, when, from which value, page by page."""

from decimal import Decimal
from typing import Any

import pytest
from conftest import ADMIN, Api
from test_v1_customers import ADDRESS, change, read, refused

from regulars import history
from regulars.fields import fields_of
from regulars.record import Change

PATH = "/api/v1/customers/{}/changes"


def page(api: Api, customer: int, query: str = "") -> Any:
    answer = api.get(f"{PATH.format(customer)}?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json(parse_float=Decimal)


def newest(api: Api, customer: int) -> Any:
    return page(api, customer, "limit=1")["Items"][0]


def test_a_change_tells_who_changed_what_when_and_from_which_value(api: Api, customer: int) -> None:
    answer = api.call("PATCH", f"/api/v1/customers/{customer}", {"Phone1": "1", "Rating": 4}, X_Request_Id="r-1")
    assert answer.status_code == 200
    found = page(api, customer)
    assert found["Next"] is None
    after, before = found["Items"]
    assert set(after) == {spec.member for name, spec in fields_of(Change).items() if name not in history.HIDDEN}
    assert after["Fields"] == {"Phone1": ["", "1"], "Rating": [0, 4]}
    assert (after["Kind"], after["Version"], after["CustomerID"], after["Undoes"]) == ("updated", 2, customer, [])
    assert (after["Employee"], after["Door"], after["RequestID"]) == (ADMIN, "api", "r-1")
    assert after["At"] == read(api, customer)["ModifiedOn"]
    assert (before["Kind"], before["Version"], before["Fields"]) == ("created", 1, {})
    assert before["ID"] < after["ID"]


def test_decimals_are_exact_and_parts_are_told_one_by_one(api: Api, customer: int) -> None:
    change(api, customer, {"AccountManager1Commission": Decimal("123456789012.123456")})
    exact = [0, Decimal("123456789012.123456")]
    assert newest(api, customer)["Fields"] == {"AccountManager1Commission": exact}
    home = change(api, customer, {"Addresses": [ADDRESS]}).json()["Addresses"][0]
    assert newest(api, customer)["Fields"] == {f"Addresses[{home['ID']}]": [None, home]}
    change(api, customer, {"Addresses": [home | {"City": "Boston"}], "CustomColumns": {"Visits": 7}})
    moved = [home, home | {"City": "Boston"}]
    assert newest(api, customer)["Fields"] == {f"Addresses[{home['ID']}]": moved, "CustomColumns[2]": [None, 7]}


def test_pages_lead_to_the_creation_whatever_happens_meanwhile(api: Api, customer: int) -> None:
    for number in range(6):
        api.update(customer, Fax=str(number))
    found, cursor = [], ""
    while True:
        one = page(api, customer, f"limit=3{cursor}")
        found += [item["Version"] for item in one["Items"]]
        if one["Next"] is None:
            break
        cursor = f"&cursor={one['Next']}"
        api.update(customer, Fax=f"meanwhile {cursor}")
    assert found == [7, 6, 5, 4, 3, 2, 1]
    assert page(api, customer, "limit=9")["Next"] is None


@pytest.mark.parametrize("query", ["cursor=0", "cursor=x", "cursor=9999999999", "cursor=99999999999999999999"])
def test_a_cursor_that_is_no_change_is_refused(api: Api, customer: int, query: str) -> None:
    assert "cursor" in refused(api.get(f"{PATH.format(customer)}?{query}"))


def test_what_makes_no_sense_is_refused(api: Api, customer: int) -> None:
    theirs = newest(api, api.new())["ID"]
    assert "cursor" in refused(api.get(f"{PATH.format(customer)}?cursor={theirs}"))
    assert set(refused(api.get(f"{PATH.format(customer)}?limit=1001&cursor=-1"))) == {"limit", "cursor"}
    assert "limit" in refused(api.get(f"{PATH.format(customer)}?limit=0"))
    for number in (9_999_999, customer + 1000):
        assert api.get(PATH.format(number)).status_code == 404
