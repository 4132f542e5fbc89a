"""Several customers in one call: each created, updated or neither, in one commit."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest
from conftest import CAREFUL, Api, Running
from test_v1_customers import refused

from regulars import access
from regulars.record import Tenant

PATH = "/api/v1/customers:batch"


def send(api: Api, *items: Any, atomic: bool = False, **headers: str) -> httpx2.Response:
    return api.post(PATH, {"Items": list(items), "Atomic": atomic}, **headers)


def done(answer: httpx2.Response) -> list[Any]:
    """The items of an answer, whose counts must be right."""
    assert answer.status_code == 200, answer.text
    items: list[Any] = answer.json()["Items"]
    for name in ("created", "updated", "unchanged", "refused"):
        assert answer.json()[name.title()] == sum(one["Outcome"] == name for one in items)
    assert all((one["Outcome"] == "refused") == bool(one["Problems"]) for one in items)
    return items


def told(answer: httpx2.Response) -> list[tuple[str, int, int, list[str]]]:
    return [(one["Outcome"], one["ID"], one["Version"], one["Members"]) for one in done(answer)]


def why(answer: httpx2.Response) -> list[dict[str, str]]:
    """For each item its first problem by member."""
    return [{name: reasons[0] for name, reasons in one["Problems"].items()} for one in done(answer)]


def newcomer(**members: Any) -> dict[str, Any]:
    given = {"FirstName": "Ada", "LastName": "Lovelace", "Email": f"{uuid4().hex}@example.com", "CompanyId": CAREFUL}
    return {"Action": "create", "IsWholesale": False, **given, **members}


def update(customer: int, **members: Any) -> dict[str, Any]:
    return {"Action": "update", "ID": customer, **members}


def count(api: Api) -> int:
    return int(api.list()["TotalResults"])


# ---- what is done


def test_each_item_is_told_what_came_of_it(api: Api) -> None:
    one, two = api.new(), api.new()
    api.update(two, Fax="2")
    answer = send(
        api,
        update(one, Phone1="555", Rating=5),
        update(two, Fax="2"),
        newcomer(Title="Dr.", CreditLimit=5, CustomColumns={"Tier": "Gold"}, CustomerGroups=[1]),
        update(one, CompanyId=9999),
        update(99999999, Fax="1"),
    )
    new = max(row["UserID"] for row in api.list()["Items"])
    members = ["Title", "FirstName", "LastName", "Email", "CompanyId", "CreditLimit", "CustomColumns", "CustomerGroups"]
    assert told(answer) == [
        ("updated", one, 2, ["Rating", "Phone1"]),
        ("unchanged", two, 2, []),
        ("created", new, 1, members),
        ("refused", one, 2, []),
        ("refused", 0, 0, []),
    ]
    assert [set(reasons) for reasons in why(answer)] == [set(), set(), set(), {"CompanyId"}, {"ID"}]
    assert api.read(one)["Personal"]["Phone1"] == "555"
    assert api.stored(new).custom_values and api.stored(new).group_ids == (1,)
    assert [len(api.changes(number)) for number in (one, two, new)] == [2, 2, 1]


def test_what_was_done_is_one_commit_under_one_request(server: Running, api: Api) -> None:
    customers = [api.new() for _ in range(3)]
    before = server.app.store.batches
    done(send(api, *(update(one, Fax="9") for one in customers), X_Request_Id="batch-1"))
    assert server.app.store.batches == before + 1
    changes = [api.changes(one)[0] for one in customers]
    assert {change.request_id for change in changes} == {"batch-1"}
    assert [change.id for change in changes] == list(range(changes[0].id, changes[0].id + 3))


def test_later_items_see_what_earlier_ones_did(api: Api, customer: int) -> None:
    source, email = uuid4().hex, f"{uuid4().hex}@example.com"
    answer = send(
        api,
        update(customer, Fax="1"),
        update(customer, Fax="2", Version=2),
        update(customer, Fax="2"),
        update(customer, SourceId=source),
        {"Action": "update", "Key": "SourceId", "SourceId": source, "Email": email},
        {"Action": "update", "Key": "Email", "Email": email, "SourceId": ""},
        {"Action": "update", "Key": "SourceId", "SourceId": source, "Fax": "3"},
    )
    assert [row[0] for row in told(answer)] == ["updated"] * 2 + ["unchanged"] + ["updated"] * 3 + ["refused"]
    assert (api.stored(customer).version, len(api.changes(customer))) == (6, 6)
    assert api.stored(customer).fax == "2"


def test_an_upsert_creates_once_and_then_updates(api: Api) -> None:
    source = f"shop/{uuid4().hex}"
    item = newcomer(Action="upsert", Key="SourceId", SourceId=source)
    first, second = done(send(api, item, item | {"Fax": "1"}))
    assert (first["Outcome"], second["Outcome"], second["ID"]) == ("created", "updated", first["ID"])
    assert told(send(api, item | {"Fax": "1"})) == [("unchanged", first["ID"], 2, [])]
    assert api.stored(first["ID"]).source_id == source
    other = done(send(api, item | {"SourceId": source.upper()}))[0]
    assert other["Outcome"] == "created", "ids of other systems are compared exactly"
    assert api.list(f"keyword={source.removeprefix('shop/')}")["TotalResults"] == 2


def test_an_upsert_by_id_creates_without_one(api: Api, customer: int) -> None:
    for nobody in ({}, {"ID": 0}, {"ID": None}):
        assert done(send(api, newcomer(Action="upsert") | nobody))[0]["Outcome"] == "created"
    assert told(send(api, {"Action": "upsert", "ID": customer, "Fax": "1"}))[0][:2] == ("updated", customer)
    assert "99999999" in why(send(api, newcomer(Action="upsert", ID=99999999)))[0]["ID"]


def test_an_e_mail_that_is_the_key_is_found_in_any_case_and_stays_as_it_is(api: Api) -> None:
    item = newcomer(Email=f"Ada.{uuid4().hex}@example.com")
    number = done(send(api, item))[0]["ID"]
    again = {"Action": "upsert", "Key": "email", "Email": item["Email"].upper(), "Fax": "1"}
    assert told(send(api, again)) == [("updated", number, 2, ["Fax"])]
    assert api.stored(number).email == item["Email"]


def test_a_customer_as_it_was_read_can_be_sent_back(api: Api, customer: int) -> None:
    before = api.get(f"/api/v1/customers/{customer}").json()
    assert told(send(api, {"Action": "update", **before})) == [("unchanged", customer, 1, [])]
    assert told(send(api, {"Action": "UPDATE", **before, "Fax": "1"})) == [("updated", customer, 2, ["Fax"])]
    assert "Version" in why(send(api, {"Action": "update", **before, "Fax": "2"}))[0]


def test_an_empty_batch_does_nothing(server: Running, api: Api) -> None:
    before = server.app.store.batches
    for atomic in (False, True):
        assert done(send(api, atomic=atomic)) == []
    assert server.app.store.batches == before


def test_a_thousand_at_once(api: Api) -> None:
    customers = [one["ID"] for one in done(send(api, *(newcomer() for _ in range(1000))))]
    assert customers == list(range(customers[0], customers[0] + 1000))
    by_email = [newcomer(Action="upsert", Key="Email", Email=api.stored(one).email, Fax="7") for one in customers[:100]]
    assert [row[:3] for row in told(send(api, *by_email))] == [("updated", one, 2) for one in customers[:100]]


# ---- what is refused


def test_a_version_that_is_not_the_customers_refuses_its_item(api: Api, customer: int) -> None:
    api.update(customer, Fax="1")
    answer = send(api, update(customer, Fax="2", Version=1), update(customer, Fax="3", Version=2))
    assert [row[:3] for row in told(answer)] == [("refused", customer, 2), ("updated", customer, 3)]
    assert why(answer)[0] == {"Version": "Expected the version that the customer is at, 2, got 1."}
    assert "Version" in why(send(api, newcomer(Version=1)))[0]


def test_a_tenant_that_demands_versions(server: Running, other: Api) -> None:
    customer = other.new()
    server.run(other.tenant_id, access.put_record, Tenant, other.tenant_id, {"require_if_match": True})
    try:
        answer = send(other, update(customer, Fax="1"), update(customer, Fax="2", Version=1), newcomer())
        assert [row[0] for row in told(answer)] == ["refused", "updated", "created"]
        assert "demands" in why(answer)[0]["Version"]
    finally:
        server.run(other.tenant_id, access.put_record, Tenant, other.tenant_id, {"require_if_match": False})


def test_a_key_that_several_have_is_refused_with_their_ids(api: Api) -> None:
    source, email = uuid4().hex, f"{uuid4().hex}@example.com"
    ids = [one["ID"] for one in done(send(api, *(newcomer(SourceId=source, Email=email) for _ in range(2))))]
    for item in ({"Key": "SourceId", "SourceId": source}, {"Key": "Email", "Email": email}):
        for action in ("update", "upsert"):
            answer = send(api, newcomer(**{"Action": action, **item}))
            assert f"customers {ids[0]}, {ids[1]}" in why(answer)[0][item["Key"]]
        assert "that no customer has" in why(send(api, newcomer(**item)))[0][item["Key"]]


def test_a_key_that_many_have_names_some_of_them(api: Api) -> None:
    source = uuid4().hex
    ids = [one["ID"] for one in done(send(api, *(newcomer(SourceId=source) for _ in range(12))))]
    told = why(send(api, {"Action": "update", "Key": "SourceId", "SourceId": source}))[0]["SourceId"]
    assert f"customers {', '.join(map(str, ids[:10]))}, …" in told


def test_a_new_customer_needs_what_creating_one_asks_for(api: Api) -> None:
    bare = {"Action": "create"}
    answer = send(api, bare, bare | {"IsWholesale": True}, newcomer(LastName=""), newcomer(ID=5), newcomer(Email="x"))
    assert [set(reasons) for reasons in why(answer)] == [
        {"IsWholesale", "CompanyId", "FirstName", "Email"},
        {"CompanyId", "FirstName", "Email"},
        {"LastName"},
        {"ID"},
        {"Email"},
    ]
    assert done(send(api, newcomer(IsWholesale=True, LastName="")))[0]["Outcome"] == "created"


def test_an_e_mail_may_be_taken_by_an_earlier_item(other: Api) -> None:
    email = f"{uuid4().hex}@example.com"
    answer = send(other, newcomer(Email=email), newcomer(Email=email.upper()), newcomer())
    assert [row[0] for row in told(answer)] == ["created", "refused", "created"]
    first = done(answer)[0]["ID"]
    assert f"customer {first} has this one" in why(answer)[1]["Email"]
    assert told(send(other, update(first, Email=""), newcomer(Email=email)))[1][0] == "created"


@pytest.mark.parametrize(
    ("item", "members"),
    [
        ({}, {"Action"}),
        ({"Action": "delete", "ID": 1}, {"Action"}),
        ({"Action": "update"}, {"ID"}),
        ({"Action": "update", "ID": "x"}, {"ID"}),
        ({"Action": "update", "ID": -1}, {"ID"}),
        ({"action": "update", "id": 1, "version": "x"}, {"version"}),
        ({"Action": "update", "Key": "Phone1", "Phone1": "1"}, {"Key"}),
        ({"Action": "upsert", "Key": "SourceId"}, {"SourceId"}),
        ({"Action": "upsert", "Key": "Email", "email": None}, {"email"}),
        ({"Action": "upsert", "Key": "Email", "Email": "none"}, {"Email"}),
        ({"Action": "update", "ID": 1, "phone1": 5, "Rating": 9}, {"phone1", "Rating"}),
    ],
)
def test_an_item_that_makes_no_sense_is_refused_and_the_others_go_on(
    api: Api, customer: int, item: Any, members: set[str]
) -> None:
    before = count(api)
    answer = send(api, item, update(customer, Fax="1"))
    assert [row[0] for row in told(answer)] == ["refused", "updated"]
    assert set(why(answer)[0]) == members
    assert count(api) == before


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (b"[]", "body"),
        (b"{}", "Items"),
        (b'{"Items": 5}', "Items"),
        (b'{"Items": null}', "Items"),
        (b'{"Items": [5]}', "Items[0]"),
        (b'{"Items": [], "Atomic": "perhaps"}', "Atomic"),
        (b'{"Items": [], "items": []}', "Items"),
    ],
)
def test_what_is_no_batch_is_refused_whole(api: Api, body: bytes, member: str) -> None:
    assert set(refused(api.post(PATH, body))) == {member}


def test_too_many_items_are_refused_whole(api: Api, customer: int) -> None:
    with api.unchanged(customer):
        answer = send(api, *[update(customer, Fax="1")] * 1001)
        assert refused(answer) == {"Items": "Expected at most 1000 items, got 1001."}


def test_a_member_that_comes_twice_refuses_its_item(api: Api, customer: int) -> None:
    body = b'{"Items": [{"Action": "update", "ID": %d, "Fax": "1", "Fax": "2"}]}' % customer
    assert set(why(api.post(PATH, body))[0]) == {"Fax"}


def test_unknown_members_are_named_or_with_strict_handling_refused(api: Api, customer: int) -> None:
    item = update(customer, Fax="1", Telefax="2")
    answer = api.post(PATH, {"Items": [item], "Extra": 1})
    assert answer.headers["Ignored-Members"] == "Extra, Items[0].Telefax"
    assert "Did you mean Fax?" in why(send(api, item, Prefer="handling=strict"))[0]["Telefax"]
    assert "Extra" in refused(api.post(PATH, {"Items": [], "Extra": 1}, Prefer="handling=strict"))


# ---- all or nothing


def test_one_bad_item_of_an_atomic_batch_undoes_all(api: Api, customer: int) -> None:
    source, before = uuid4().hex, count(api)
    with api.unchanged(customer):
        answer = send(
            api,
            update(customer, Fax="1"),
            newcomer(SourceId=source),
            update(customer, phone1=5, CompanyId=9999),
            update(customer, Version=7),
            atomic=True,
        )
        assert set(refused(answer)) == {"Items[2].phone1", "Items[2].CompanyId", "Items[3].Version"}
    assert count(api) == before
    number = done(send(api, newcomer(Action="upsert", Key="SourceId", SourceId=source), atomic=True))[0]["ID"]
    assert api.stored(number).source_id == source


def test_a_good_atomic_batch_is_done(api: Api, customer: int) -> None:
    answer = send(api, update(customer, Fax="1"), newcomer(), atomic=True)
    assert [row[0] for row in told(answer)] == ["updated", "created"]


# ---- who may


def test_creating_needs_its_permission_too(server: Running, api: Api, customer: int) -> None:
    editor = server.api("editor@example.com")
    assert told(send(editor, update(customer, Fax="1")))[0][0] == "updated"
    before = count(api)
    for item in (newcomer(), newcomer(Action="upsert")):
        assert send(editor, update(customer, Fax="2"), item).status_code == 403
    assert (api.stored(customer).fax, count(api)) == ("1", before)


def test_tenants_do_not_meet(api: Api, other: Api) -> None:
    source = uuid4().hex
    item = newcomer(Action="upsert", Key="SourceId", SourceId=source)
    assert [done(send(caller, item))[0]["Outcome"] for caller in (api, other)] == ["created", "created"]


def test_a_batch_that_is_sent_again(api: Api) -> None:
    key = str(uuid4())
    items = [newcomer(), update(99999999), newcomer(Action="upsert")]
    first, again = (send(api, *items, Idempotency_Key=key) for _ in range(2))
    assert first.content == again.content and again.headers["Idempotent-Replayed"] == "true"
    assert send(api, *items[:2], Idempotency_Key=key).status_code == 422
