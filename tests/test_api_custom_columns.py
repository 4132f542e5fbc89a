"""`PUT /api/Customers/{id}/CustomColumns`: values of the columns that the tenant defined."""

from decimal import Decimal
from typing import Any

import pytest
from conftest import REFERENCE, Api, problems

from regulars.record import Column

COLUMNS = [one for one in REFERENCE if isinstance(one, Column)]


def values(api: Api, number: int) -> dict[str, Any]:
    """The columns that have a value."""
    columns = api.read(number)["CustomColumns"]
    assert [one["ColumnName"] for one in columns] == [one.name for one in COLUMNS]
    return {one["ColumnName"]: one["Value"] for one in columns if one["Value"] is not None}


def given(**columns: Any) -> dict[str, Any]:
    return {"CustomColumns": [{"ColumnName": name, "Value": value} for name, value in columns.items()]}


def refused(api: Api, number: int, body: Any) -> Any:
    with api.unchanged(number):
        return problems(api.put(f"Customers/{number}/CustomColumns", body))


TAKEN = [
    ("Loyalty", "L-000017", "L-000017"),
    ("Loyalty", "x" * 20, "x" * 20),
    ("LOYALTY", "any case", "any case"),
    ("Visits", 7, 7),
    ("Visits", "7", 7),
    ("Visits", -7, -7),
    ("Visits", 0, 0),
    ("Budget", Decimal("123456789012.123456"), Decimal("123456789012.123456")),
    ("Budget", "0.10", Decimal("0.10")),
    ("Budget", 5, Decimal(5)),
    ("LastVisit", "11/23/2026", "2026-11-23T00:00:00"),
    ("LastVisit", "11/23/2026 14:30", "2026-11-23T14:30:00"),
    ("LastVisit", "2026-11-23T14:30:00+02:00", "2026-11-23T12:30:00"),
    ("LastVisit", "0001-02-03T00:00:00", "0001-02-03T00:00:00"),
    ("Catalogue", True, True),
    ("Catalogue", "False", False),
    ("Story", "a\nb", "a\nb"),
    ("Story", "x" * 8000, "x" * 8000),
    ("Site", "https://example.com/?q=1", "https://example.com/?q=1"),
    ("Tier", "Gold", "Gold"),
    ("Tier", "sILVER", "Silver"),
    ("Likes", ["Tea", "coffee"], ["Tea", "Coffee"]),
    ("Likes", "tea", "Tea"),
    ("HeardFrom", "friend", "Friend"),
    ("HeardFrom", "a magazine", "a magazine"),
    ("Badge", "B", "B"),
]


@pytest.mark.parametrize(("name", "sent", "reads"), TAKEN, ids=lambda one: str(one)[:24])
def test_a_value_reads_back_in_its_columns_type(api: Api, customer: int, name: str, sent: Any, reads: Any) -> None:
    api.update(customer, "CustomColumns", **given(**{name: sent}))
    (found,) = values(api, customer).values()
    assert (found, type(found)) == (reads, type(reads) if not isinstance(reads, Decimal) else type(found))
    assert str(found) == str(reads)
    assert len(api.changes(customer)) == 2
    with api.unchanged(customer):
        api.update(customer, "CustomColumns", **given(**{name.lower(): sent}))


REFUSED = [
    ("Loyalty", ["x" * 21, 5, True, [], {}, "a\nb"]),
    ("Visits", ["x", 1.5, True, 2**31, []]),
    ("Budget", ["x", True, Decimal("0.0000001"), Decimal("1e1000000"), "NaN"]),
    ("LastVisit", ["yesterday", "31/31/2026", "2026-02-30", 5, "11/23/26", "2026-11-23T25:00:00", True]),
    ("Catalogue", ["yes", 2, []]),
    ("Story", ["x" * 8001, "a\x00b", 5]),
    ("Site", ["javascript:alert(1)", "example.com", 5, "ftp://example.com"]),
    ("Tier", ["Bronze", 5, ["Gold"]]),
    ("Likes", [["Tea", "Beer"], "Beer", [5], {}]),
    ("HeardFrom", ["x" * 11, 5]),
    ("Badge", ["", 5]),
]


@pytest.mark.parametrize(("name", "wrong"), REFUSED, ids=[name for name, _ in REFUSED])
def test_a_value_of_the_wrong_type_is_refused_and_its_column_named(
    api: Api, customer: int, name: str, wrong: list[Any]
) -> None:
    for value in wrong:
        found = (
            refused(api, customer, given(Visits=1, **({name: value} if name != "Visits" else {})))
            if (name != "Visits")
            else refused(api, customer, given(Tier="Gold", Visits=value))
        )
        assert set(found) == {"CustomColumns[1].Value"}, value
        assert found["CustomColumns[1].Value"][0].startswith(f"{name}: Expected ")


def test_an_unknown_column_is_refused_and_the_known_ones_listed(api: Api, customer: int) -> None:
    body = {"customColumns": [{"columnName": "Tier", "value": "Gold"}, {"COLUMNNAME": "Tear", "Value": "Gold"}]}
    found = refused(api, customer, body)
    assert set(found) == {"customColumns[1].COLUMNNAME"}
    assert 'HeardFrom, Badge, got "Tear".' in found["customColumns[1].COLUMNNAME"][0]


def test_every_problem_is_reported_at_once(api: Api, customer: int) -> None:
    items = [{"ColumnName": "Nope", "Value": 1}, {"ColumnName": "Visits", "Value": "x"}, {"Value": 5}, 7, None]
    items += [{"ColumnName": 5, "Value": 5}, {"ColumnName": "Tier", "Value": "Silver"}]
    assert set(refused(api, customer, {"CustomColumns": items})) == {
        "CustomColumns[0].ColumnName",
        "CustomColumns[1].Value",
        "CustomColumns[2].ColumnName",
        "CustomColumns[3]",
        "CustomColumns[4]",
        "CustomColumns[5].ColumnName",
    }


def test_null_leaves_a_value_and_the_empty_string_empties_it(api: Api, customer: int) -> None:
    api.update(customer, "CustomColumns", **given(Tier="Gold", Visits=0, Catalogue=False, Likes=["Tea"]))
    with api.unchanged(customer):
        api.update(customer, "CustomColumns", **given(Tier=None, Visits=None))
        api.update(customer, "CustomColumns", CustomColumns=[{"ColumnName": "Tier"}])
        api.update(customer, "CustomColumns", CustomColumns=[])
    api.update(customer, "CustomColumns", **given(Tier="", Visits="", Likes=[]))
    assert values(api, customer) == {"Catalogue": False}
    api.update(customer, "CustomColumns", **given(Catalogue=""))
    assert values(api, customer) == {}


def test_columns_that_are_not_named_stay(api: Api, customer: int) -> None:
    api.update(customer, "CustomColumns", **given(Tier="Gold", Budget="1.10", Site="http://a.example"))
    api.update(customer, "CustomColumns", **given(Visits=3))
    assert values(api, customer) == {"Tier": "Gold", "Budget": Decimal("1.10"), "Site": "http://a.example", "Visits": 3}
    assert '"Value":1.10}' in api.get(f"Customers/{customer}").text


def test_a_column_comes_once(api: Api, customer: int) -> None:
    items = [{"ColumnName": "Tier", "Value": "Gold"}, {"ColumnName": "TIER", "Value": "Silver"}]
    assert set(refused(api, customer, {"CustomColumns": items})) == {"CustomColumns[1].ColumnName"}


@pytest.mark.parametrize(
    "body", [{}, {"CustomColumns": None}, {"CustomColumns": {"Tier": "Gold"}}, {"CustomColumns": 1}]
)
def test_the_list_is_required(api: Api, customer: int, body: Any) -> None:
    assert set(refused(api, customer, body)) == {"CustomColumns"}


def test_a_list_shows_the_columns_that_have_a_value(api: Api, customer: int) -> None:
    def listed() -> Any:
        return api.list(f"customerIds={customer}")["Items"][0]["CustomColumns"]

    assert listed() is None
    api.update(customer, "CustomColumns", **given(Tier="Gold", Budget="1.5", Catalogue=False))
    assert listed() == [
        {"ColumnName": "Budget", "Value": 1.5},
        {"ColumnName": "Catalogue", "Value": False},
        {"ColumnName": "Tier", "Value": "Gold"},
    ]


def test_drop_downs_and_types_read_back(api: Api, customer: int) -> None:
    columns = {one["ColumnName"]: one for one in api.read(customer)["CustomColumns"]}
    tier, likes, heard = columns["Tier"], columns["Likes"], columns["HeardFrom"]
    assert tier["DataSourceContainer"] == [
        {"Key": "Gold", "Value": "Gold", "Additional": None},
        {"Key": "Silver", "Value": "Silver", "Additional": None},
    ]
    assert (tier["IsDropDownColumn"], columns["Loyalty"]["IsDropDownColumn"]) == (True, False)
    assert (likes["IsDropDownAllowMultipleSelection"], heard["IsDropDownCustomTextAllowed"]) == (True, True)
    assert (columns["Loyalty"]["DataLength"], columns["Loyalty"]["DisplayName"]) == (20, "Loyalty number")
    assert columns["Badge"]["IsRequired"] is True
    assert [(one["DataType"], one["DataTypeName"]) for one in list(columns.values())[:7]] == [
        (0, "String"), (1, "Integer"), (2, "Decimal"), (3, "DateTime"), (4, "Boolean"), (5, "nText"), (6, "Hyperlink"),
    ]  # fmt: skip
