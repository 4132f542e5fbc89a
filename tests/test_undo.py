"""Undo: of one change, and of all that a request or an employee did; refused when others went on from there."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from conftest import ADMIN, TT, Api, Clock, Running, running
from processes import write
from test_cli import call
from test_v1_changes import newest
from test_v1_customers import ADDRESS, changed, read, refused

from regulars import access, store, undo
from regulars.record import Column, ColumnType
from regulars.settings import Settings

EDITOR = "editor@example.com"
GIVEN = ("Version", "ModifiedOn")


def post(api: Api, what: int | dict[str, Any], query: str = "") -> httpx2.Response:
    path = f"/api/v1/changes/{what}/undo" if isinstance(what, int) else "/api/v1/changes:undo"
    return api.post(f"{path}?{query}", what if isinstance(what, dict) else None)


def undone(api: Api, what: int | dict[str, Any], query: str = "") -> Any:
    """What an undo says that must succeed: each customer's part."""
    answer = post(api, what, query)
    assert answer.status_code == 200, answer.text
    assert answer.json()["DryRun"] == ("dryRun=true" in query)
    return answer.json(parse_float=Decimal)["Customers"]


def overtaken(answer: httpx2.Response) -> Any:
    assert (answer.status_code, answer.headers["Content-Type"]) == (409, "application/problem+json"), answer.text
    assert answer.json()["type"] == "urn:regulars:overtaken"
    return answer.json()["conflicts"]


def plain(customer: Any) -> Any:
    """All but what each change gives."""
    return {name: value for name, value in customer.items() if name not in GIVEN}


def edited(api: Api, customer: int, part: str = "", **members: Any) -> int:
    """The id of the change that an update made."""
    api.update(customer, part, **members)
    return api.changes(customer)[0].id


# ---- one change


def test_every_member_of_a_change_goes_back_and_the_rest_stays(api: Api, customer: int) -> None:
    edited(api, customer, Phone1="1", Title="Dr")
    before = read(api, customer)
    wrong = edited(
        api, customer, Phone1="2", Rating=5, BusinessAliases=["x"], AccountManager1Commission=Decimal("2.50")
    )
    edited(api, customer, Title="Prof")
    (done,) = undone(api, wrong)
    assert plain(read(api, customer)) == plain(before | {"Title": "Prof"})
    found = newest(api, customer)
    assert (found["Kind"], found["Undoes"], found["Door"], found["Employee"]) == ("undone", [wrong], "api", ADMIN)
    assert found["Fields"]["AccountManager1Commission"] == [Decimal("2.50"), 0]
    assert done == {name: found[name] for name in ("CustomerID", "Version", "Undoes", "Fields")}


def test_an_undo_can_be_undone_and_doing_it_twice_changes_nothing(api: Api, customer: int) -> None:
    wrong = edited(api, customer, Phone1="1", Fax="2")
    undone(api, wrong)
    made = newest(api, customer)["ID"]
    with api.unchanged(customer):
        assert undone(api, wrong) == []
    undone(api, made)
    assert (read(api, customer)["Phone1"], read(api, customer)["Fax"]) == ("1", "2")
    assert newest(api, customer)["Undoes"] == [made]
    undone(api, newest(api, customer)["ID"])
    assert (read(api, customer)["Phone1"], read(api, customer)["Fax"]) == ("", "")


def test_what_was_altered_again_is_in_the_way_and_all_of_it_is_told(
    api: Api, employees: Mapping[str, Api], customer: int
) -> None:
    wrong = edited(api, customer, Phone1="1", Fax="1", Title="Dr", Mobile="1")
    edited(api, customer, Mobile="")  # that is what the undo would do
    later = edited(api, customer, Fax="2")
    employees["editor"].update(customer, Phone1="3")
    with api.unchanged(customer):
        conflicts = overtaken(post(api, wrong))
    assert [(one["Member"], one["Expected"], one["Found"], one["Employee"]) for one in conflicts] == [
        ("Phone1", "1", "3", EDITOR),
        ("Fax", "1", "2", ADMIN),
    ]
    assert conflicts[1]["ChangeID"] == later
    assert datetime.fromisoformat(conflicts[1]["At"]) <= datetime.now(UTC)
    undone(api, later)
    undone(api, api.changes(customer)[1].id)
    (done,) = undone(api, wrong)
    assert set(done["Fields"]) == {"Fax", "Phone1", "Title"}


def test_who_is_in_the_way_is_told_again_with_the_same_key(api: Api, customer: int) -> None:
    wrong = edited(api, customer, Fax="1")
    later = edited(api, customer, Fax="2")
    key = {"Idempotency_Key": f"undo-{wrong}"}
    answers = [api.post(f"/api/v1/changes/{wrong}/undo", None, **key)]
    edited(api, customer, Fax="3")
    answers.append(api.post(f"/api/v1/changes/{wrong}/undo", None, **key))
    for answer in answers:
        assert [(one["Found"], one["ChangeID"]) for one in overtaken(answer)] == [("2", later)]


def test_addresses_and_custom_columns_go_back_one_by_one(api: Api, customer: int) -> None:
    first, second = changed(api, customer, {"Addresses": [ADDRESS, ADDRESS | {"City": "Boston"}]})["Addresses"]
    added = newest(api, customer)["ID"]
    columns = {"Visits": 7, "Budget": Decimal("1.10"), "Likes": ["Tea", "Coffee"], "Catalogue": True}
    changed(api, customer, {"CustomColumns": columns})
    before = read(api, customer)
    changed(api, customer, {"Addresses": [second | {"Address2": "Floor 2"}], "CustomColumns": None})
    wrong = newest(api, customer)["ID"]
    third = changed(api, customer, {"Addresses": [second | {"Address2": "Floor 2"}, ADDRESS]})["Addresses"][1]
    undone(api, wrong)
    after = read(api, customer)
    assert after["Addresses"] == [first, second, third]
    assert plain(after) == plain(before | {"Addresses": after["Addresses"]})
    undone(api, newest(api, customer)["ID"])
    assert (read(api, customer)["Addresses"][0], read(api, customer)["CustomColumns"]) == (
        second | {"Address2": "Floor 2"},
        {},
    )
    in_the_way = overtaken(post(api, added))
    (conflict,) = in_the_way  # the first is gone already
    assert conflict["Member"] == f"Addresses[{second['ID']}]"
    assert (conflict["Expected"], conflict["Found"]) == (second, second | {"Address2": "Floor 2"})


def test_a_creation_cannot_be_undone(api: Api, customer: int) -> None:
    (problem,) = refused(post(api, api.changes(customer)[0].id)).values()
    assert "created this customer" in problem and "not deleted" in problem


@pytest.mark.parametrize("number", [0, 9_999_999, 2**63 - 1])
def test_a_change_that_is_none_is_not_found(api: Api, number: int) -> None:
    assert post(api, number).status_code == 404


def test_another_tenants_change_is_not_found(api: Api, other: Api) -> None:
    theirs = [edited(api, one, Fax="1") for one in (api.new(), api.new())][-1]
    answer = post(other, theirs)
    assert answer.status_code in (400, 404), "it may be the number of one of ours, too"
    assert api.changes(api.new())[0].id > theirs


def test_the_rules_hold_for_what_an_undo_leads_to(api: Api, other: Api) -> None:
    one, two = other.new(Email="first@example.com"), other.new(Email="second@example.com")
    moved = edited(other, one, Email="third@example.com")
    edited(other, two, Email="First@example.com")
    with other.unchanged(one):
        problems = refused(post(other, moved))
    assert f"customer {two} has this one" in problems[f"Customers[{one}].Email"]


@contextmanager
def column(server: Running, number: int, **now: Any) -> Iterator[None]:
    """A custom column is something else while the block runs."""
    was = server.wait(server.app.store.book(TT)).get(Column, number)
    server.run(TT, access.put_record, Column, number, now)
    try:
        yield
    finally:
        server.run(TT, access.put_record, Column, number, {name: getattr(was, name) for name in now})


@pytest.mark.parametrize(
    ("number", "name", "value", "now", "why"),
    [
        (8, "Tier", "Gold", {"choices": ("Silver", "Bronze")}, "Tier: Expected one of Silver, Bronze"),
        (8, "Tier", "Gold", {"choices": ("GOLD", "Silver")}, 'as the column takes it today, "GOLD"; got "Gold"'),
        (9, "Likes", ["Tea", "Coffee"], {"allow_multiple": False}, "Likes: Expected"),
        (9, "Likes", ["Tea", "Coffee"], {"choices": ()}, "Likes: Expected"),
        (2, "Visits", 7, {"data_type": ColumnType.Boolean}, "Visits: Expected"),
        (1, "Loyalty", "12", {"data_type": ColumnType.Integer}, 'as the column takes it today, 12; got "12"'),
        (1, "Loyalty", "X-1234", {"length": 5}, "Loyalty: Expected at most 5"),
    ],
)
def test_a_custom_value_goes_back_only_into_a_column_that_takes_it_today(
    server: Running, api: Api, customer: int, number: int, name: str, value: Any, now: dict[str, Any], why: str
) -> None:
    changed(api, customer, {"CustomColumns": {name: value}})
    wrong = edited(api, customer, "CustomColumns", CustomColumns=[{"ColumnName": name, "Value": ""}])
    before = read(api, customer)
    with column(server, number, **now), api.unchanged(customer):
        problems = refused(post(api, wrong))
        assert why in problems.pop(f"Customers[{customer}].CustomColumns[{number}]") and not problems
    undone(api, wrong)
    assert read(api, customer)["CustomColumns"] == before["CustomColumns"] | {name: value}


def test_an_undo_may_not_empty_what_must_have_a_value(server: Running, api: Api, customer: int) -> None:
    changed(api, customer, {"CustomColumns": {"Tier": "Gold", "Visits": 7}})
    with column(server, 8, required=True), api.unchanged(customer):
        problems = refused(post(api, newest(api, customer)["ID"]))
        assert set(problems) == {f"Customers[{customer}].CustomColumns[8]"}


def test_a_value_of_a_column_that_is_gone_stays_away_by_either_door(book: str) -> None:
    with running(book) as server:
        api = server.api()
        one, two = api.new(), api.new()
        value = {"CustomColumns": {"Tier": "Gold"}}
        api.call("PATCH", f"/api/v1/customers/{one}", value)
        emptied = edited(api, one, "CustomColumns", CustomColumns=[{"ColumnName": "Tier", "Value": ""}])
        api.call("PATCH", f"/api/v1/customers/{two}", value)
        given = api.changes(two)[0].id
    write(book, f"DELETE FROM custom_columns WHERE tenant_id = {TT} AND id = 8")
    output = call("undo", str(emptied), "--tenant", "tt", store=book, ok=False).output
    why = 'Expected a column that is still there, got "Gold" for one that is not.'
    assert f"Customers[{one}].CustomColumns[8]: {why}" in " ".join(output.split())
    with Running(Settings(store=book, webhooks=False), Clock()) as server:
        api = server.api()
        with api.unchanged(one):
            assert refused(post(api, emptied)) == {f"Customers[{one}].CustomColumns[8]": why}
        (done,) = undone(api, given)
        assert done["Fields"] == {"CustomColumns[8]": ["Gold", None]}


# ---- many changes


def test_all_that_one_request_did_is_undone_at_once(api: Api, employees: Mapping[str, Api]) -> None:
    people = [api.new() for _ in range(3)]
    before = [plain(read(api, one)) for one in people]
    api.post("Customers/CustomersGroups/1/Customers", {"CustomersIDs": people}, X_Request_Id="wrong-group")
    api.update(people[0], Fax="1")
    done = undone(api, {"RequestID": "wrong-group"}, "dryRun=true")
    assert [(one["CustomerID"], one["Fields"]) for one in done] == [
        (one, {"CustomerGroups": [[1], []]}) for one in people
    ]
    assert all(read(api, one)["CustomerGroups"] == [1] for one in people)
    done = undone(api, {"requestid": "wrong-group"})
    assert [one["CustomerID"] for one in done] == people
    assert [plain(read(api, one)) for one in people] == [before[0] | {"Fax": "1"}, *before[1:]]
    assert undone(api, {"RequestID": "wrong-group"}) == undone(api, {"RequestID": "no-such-request"}) == []


def test_one_customer_in_the_way_keeps_all_from_being_undone(api: Api, employees: Mapping[str, Api]) -> None:
    people = [api.new() for _ in range(3)]
    for one in people:
        api.call("PATCH", f"/api/v1/customers/{one}", {"Fax": "1", "Title": "Dr"}, X_Request_Id=f"r-{people[0]}")
    employees["editor"].update(people[1], Fax="2")
    with api.unchanged(people[0]), api.unchanged(people[2]):
        answer = post(api, {"RequestID": f"r-{people[0]}"})
        (conflict,) = overtaken(answer)
    assert (conflict["CustomerID"], conflict["Member"], conflict["Employee"]) == (people[1], "Fax", EDITOR)
    assert f"Fax of customer {people[1]} was altered again" in answer.json()["detail"]


def test_all_that_an_employee_did_since_a_moment_is_undone_to_the_state_before(
    api: Api, employees: Mapping[str, Api]
) -> None:
    editor, people = employees["editor"], [api.new(), api.new()]
    editor.update(people[0], Fax="before")
    since = datetime.now(UTC).isoformat()
    for number in range(3):
        for one in people:
            editor.update(one, Fax=f"{number}", Mobile="5")
    api.update(people[0], Title="Dr")
    (done, _) = undone(api, {"Employee": EDITOR.upper(), "Since": since, "Door": "api"})
    assert len(done["Undoes"]) == 3 and done["Undoes"] == sorted(done["Undoes"], reverse=True)
    found = read(api, people[0])
    assert (found["Fax"], found["Mobile"], found["Title"]) == ("before", "", "Dr")
    assert read(api, people[1])["Fax"] == ""
    assert len(api.changes(people[1])) == 5
    editor.update(people[0], Fax="a")
    api.update(people[0], Fax="b")
    editor.update(people[0], Fax="c")
    (conflict,) = overtaken(post(api, {"Employee": EDITOR, "Since": since}))
    assert (conflict["Expected"], conflict["Found"]) == ("a", "c")  # what we made of it is between the two


def test_values_that_were_exchanged_can_be_exchanged_back(other: Api) -> None:
    one, two = other.new(Email="one@example.org"), other.new(Email="two@example.org")
    name = {"X_Request_Id": f"swap-{one}"}
    for number, email in ((one, "x@example.org"), (two, "one@example.org"), (one, "two@example.org")):
        assert other.put(f"Customers/{number}", {"Email": email}, **name).status_code == 200
    assert len(undone(other, {"RequestID": f"swap-{one}"})) == 2
    assert (read(other, one)["Email"], read(other, two)["Email"]) == ("one@example.org", "two@example.org")


def test_customers_that_were_created_there_may_be_kept(api: Api) -> None:
    name = f"import-{random.random()}"
    body = {"CompanyID": 1, "FirstName": "A", "LastName": "B", "Email": "a@example.com", "CustomerType": "Retail"}
    number = int(api.post("Customers", body, X_Request_Id=name).text)
    api.put(f"Customers/{number}", {"Fax": "1"}, X_Request_Id=name)
    assert set(refused(post(api, {"RequestID": name}))) == {f"Customers[{number}]"}
    (done,) = undone(api, {"RequestID": name, "KeepCreated": True})
    assert done["Fields"] == {"Fax": ["1", ""]}


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({}, "body"),
        ([], "body"),
        ({"Employee": ADMIN}, "body"),
        ({"Since": "2026-11-23"}, "body"),
        ({"Employee": "nobody.here@example.com", "Since": "2026-11-23"}, "Employee"),
        ({"Employee": ADMIN, "since": "soon"}, "since"),
    ],
)
def test_it_must_be_said_which_changes_are_meant(api: Api, body: Any, member: str) -> None:
    assert member in refused(api.post("/api/v1/changes:undo", body))
    assert "dryRun" in refused(api.post("/api/v1/changes:undo?dryRun=maybe", body))


def test_one_undo_takes_so_many_and_looks_back_so_far(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    since = (datetime.now(UTC) - timedelta(microseconds=1)).isoformat()
    people = [api.new() for _ in range(3)]
    api.post("Customers/CustomersGroups/1/Customers", {"CustomersIDs": people}, X_Request_Id=f"many-{people[0]}")
    wanted = {"RequestID": f"many-{people[0]}"}
    for name in ("MOST_CUSTOMERS", "MOST_CHANGES"):
        with monkeypatch.context() as patch:
            patch.setattr(undo, name, 2)
            assert "Undo the newest first" in refused(post(api, wanted))["Since"]
    monkeypatch.setattr(store, "MOST_SEARCHED", 2)
    assert len(undone(api, wanted, "dryRun=true")) == 2
    why = refused(post(api, {"Door": "api", "Since": since}))["Since"]
    assert "2 changes were made since" in why


# ---- against a model


def test_undo_does_what_its_words_say_whatever_was_done_before(api: Api, employees: Mapping[str, Api]) -> None:
    """Random edits of two people and undos of random changes, against the plain rule on plain dictionaries."""
    rng = random.Random(7)
    people = [api.new() for _ in range(2)]
    members = ("Fax", "Mobile", "Phone1")
    now = {one: dict.fromkeys(members, "") for one in people}
    log: dict[int, tuple[int, dict[str, tuple[str, str]]]] = {}

    def note(customer: int, after: dict[str, str]) -> None:
        fields = {name: (now[customer][name], after[name]) for name in members if now[customer][name] != after[name]}
        if fields:
            log[api.changes(customer)[0].id] = customer, fields
        now[customer] = after

    def edit() -> None:
        customer, who = rng.choice(people), rng.choice([api, employees["editor"]])
        given = {name: rng.choice("ab") for name in rng.sample(members, 2)}
        who.update(customer, **given)
        note(customer, now[customer] | given)

    def take_back() -> None:
        number = rng.choice(list(log))
        customer, fields = log[number]
        current = now[customer]
        blocked = [name for name, pair in fields.items() if current[name] not in pair]
        answer = post(api, number)
        if blocked:
            assert {one["Member"] for one in overtaken(answer)} == set(blocked)
        else:
            assert answer.status_code == 200, answer.text
            note(customer, current | {name: old for name, (old, _) in fields.items()})

    steps: list[Callable[[], None]] = [edit, take_back]
    edit()
    for _ in range(60):
        rng.choice(steps)()
        for one in people:
            assert {name: read(api, one)[name] for name in members} == now[one]
    assert len({len(fields) for _, fields in log.values()}) > 1
