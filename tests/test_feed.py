"""The feed: pages without gaps from a cursor on, and CloudEvents."""

from decimal import Decimal
from typing import Any

import httpx2
import pytest
from conftest import ADMIN, Api
from test_v1_changes import newest
from test_v1_customers import refused

PATH = "/api/v1/changes"


def pull(api: Api, query: str = "", **headers: str) -> httpx2.Response:
    answer = api.get(f"{PATH}?{query}", **headers)
    assert answer.status_code == 200, answer.text
    return answer


def page(api: Api, query: str = "") -> Any:
    return pull(api, query).json(parse_float=Decimal)


def latest(api: Api) -> str:
    found = page(api, "after=latest")
    assert (found["Items"], found["More"]) == ([], False)
    return str(found["Cursor"])


def number(cursor: str) -> int:
    return int(cursor.partition("-")[2])


# ---- pages


def test_a_reader_that_goes_on_with_the_cursor_gets_every_change_once_in_order(api: Api) -> None:
    start = cursor = latest(api)
    people = [api.new() for _ in range(3)]
    for turn in range(3):
        for one in people:
            api.update(one, Fax=str(turn))
    found, more = [], True
    while more:
        one = page(api, f"after={cursor}&limit=5")
        found += one["Items"]
        cursor, more = one["Cursor"], one["More"]
        assert number(cursor) == found[-1]["ID"]
    assert [item["ID"] for item in found] == list(range(number(start) + 1, number(cursor) + 1))
    assert [(item["CustomerID"], item["Version"]) for item in found] == [(c, v + 1) for v in range(4) for c in people]
    assert found[-1] == newest(api, people[-1])
    assert page(api, f"after={cursor}") == {"Items": [], "Cursor": cursor, "More": False}


def test_it_begins_at_the_beginning_and_ends_at_the_limit(api: Api) -> None:
    api.new()
    first = page(api, "limit=1")
    assert [item["ID"] for item in first["Items"]] == [1]
    assert page(api, "after=1-0&limit=1") == first
    assert len(page(api, "limit=1000")["Items"]) <= 1000


@pytest.mark.parametrize(
    "after", ["x", "5", "1-", "1-x", "-1-5", "1-99999999999999999999", "2-0", "1-9999999", "Latest"]
)
def test_a_cursor_that_this_feed_did_not_give_is_refused(api: Api, after: str) -> None:
    end = latest(api)
    why = refused(api.get(f"{PATH}?after={after}"))["after"]
    assert f"from 1-0 to {end} now" in why and after[:20] in why


def test_a_cursor_of_another_tenant_is_refused(api: Api, other: Api) -> None:
    other.new()
    assert latest(other).startswith("2-")
    assert "from 1-0" in refused(api.get(f"{PATH}?after={latest(other)}"))["after"]


def test_everything_that_makes_no_sense_is_told(api: Api) -> None:
    assert set(refused(api.get(f"{PATH}?limit=1001&format=xml"))) == {"limit", "format"}


# ---- CloudEvents


def test_changes_as_cloud_events(api: Api, customer: int) -> None:
    after = latest(api)
    api.update(customer, Fax="1")
    api.post(f"/api/v1/changes/{newest(api, customer)['ID']}/undo", None)
    created = api.new()
    for answer in (
        pull(api, f"after={after}", Accept="application/cloudevents-batch+json"),
        pull(api, f"after={after}&format=CloudEvents"),
    ):
        assert answer.headers["Content-Type"] == "application/cloudevents-batch+json"
        updated, undone, new = answer.json()
        assert updated == {
            "specversion": "1.0",
            "id": f"1-{number(after) + 1}",
            "source": "urn:regulars:tt",
            "type": "regulars.customer.updated",
            "subject": f"customers/{customer}",
            "time": updated["data"]["At"],
            "datacontenttype": "application/json",
            "data": page(api, f"after={after}&limit=1")["Items"][0],
        }
        assert (undone["type"], undone["data"]["Kind"]) == ("regulars.customer.updated", "undone")
        assert (new["type"], new["subject"]) == ("regulars.customer.created", f"customers/{created}")
        assert page(api, f"after={new['id']}")["Items"] == []
        assert updated["data"]["Employee"] == ADMIN
