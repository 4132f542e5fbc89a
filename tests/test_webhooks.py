"""Webhooks, from the change to a real receiver: once, signed, in order, again after failures, never where they may not
go."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import standardwebhooks
from conftest import BOTH, OTHER_HOST, Api, Running, new_store, running
from processes import free_port
from receiver import Receiver

from regulars import access, posting, webhooks, worker
from regulars.customers import Patch, update
from regulars.http.examples import BODIES
from regulars.record import Delivery, Endpoint, Progress, Tenant
from regulars.store import Actor, Tx

PATH = "/api/v1/webhooks"


@pytest.fixture(scope="module", params=BOTH)
def node(request: pytest.FixtureRequest, errors: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that delivers, also to this machine."""
    folder = tmp_path_factory.mktemp("webhooks")
    with (
        new_store(request.param, folder) as url,
        running(url, webhooks=True, webhook_allow_private=True, token_minutes=60 * 24 * 30) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def api(node: Running) -> Api:
    return node.api()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@pytest.fixture
def hook(api: Api, receiver: Receiver) -> Iterator[Any]:
    """An endpoint at the receiver's script, with its secret."""
    found = add(api, URL=receiver.url())
    yield found
    api.call("DELETE", f"{PATH}/{found['ID']}")


def add(api: Api, **members: Any) -> Any:
    answer = api.post(PATH, members)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_change_is_told_once_signed_and_a_no_op_is_not(api: Api, receiver: Receiver, hook: Any) -> None:
    customer = api.new()
    api.update(customer, Phone1="1", Fax="2")
    api.update(customer, Phone1="1")
    api.update(customer, Phone1="3")
    created, first, second = receiver.wait_for(3)
    assert [one.verify(hook["Secret"])["type"] for one in (created, first, second)] == [
        "customer.created",
        "customer.updated",
        "customer.updated",
    ]
    assert [one.data["Version"] for one in (created, first, second)] == [1, 2, 3]
    assert first.data["Fields"] == {"Phone1": ["", "1"], "Fax": ["", "2"]}
    change = api.changes(customer)[1]
    assert (first.data["ID"], first.data["CustomerID"], first.data["Employee"]) == (
        change.id,
        customer,
        "admin@example.com",
    )
    assert first.headers["content-type"] == "application/json"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        first.verify("whsec_" + "A" * 43 + "=")


def shown(api: Api, number: int) -> Any:
    """An endpoint, and how far it was told."""
    answers = [api.get(f"{PATH}/{number}"), api.get(f"{PATH}/{number}/deliveries")]
    assert [one.status_code for one in answers] == [200, 200], answers[0].text
    return answers[0].json() | answers[1].json()


def change(api: Api, number: int, **members: Any) -> Any:
    answer = api.call("PATCH", f"{PATH}/{number}", members)
    assert answer.status_code == 200, answer.text
    return answer.json()


def log(api: Api, number: int) -> Any:
    return api.get(f"{PATH}/{number}/deliveries").json()["Items"]


def logged(api: Api, receiver: Receiver, number: int, count: int, outcome: str = "") -> Any:
    """The log of an endpoint, newest first, once it has so many attempts (with this outcome)."""

    def enough() -> Any:
        found = [one for one in log(api, number) if not outcome or one["Outcome"] == outcome]
        return len(found) >= count and found

    return eventually(enough)


def eventually(done: Callable[[], Any], seconds: float = 15) -> Any:
    """What `done` finds as soon as it is something; for what nobody tells of, so that one must ask."""
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, "in vain"
    return found


# ---- what is told


def test_filters_of_events_and_of_members(api: Api, receiver: Receiver, hook: Any) -> None:
    add(api, URL=receiver.url("ok/created"), Events=["Customer.Created"])
    add(api, URL=receiver.url("ok/fax"), Members=["fax", "Addresses"], Events=["customer.updated"])
    customer = api.new()
    api.update(customer, Phone1="1")
    api.update(customer, Fax="2", Phone1="2")
    api.update(customer, "Addresses", Addresses=[BODIES["Addresses"]["Addresses"][0]])
    api.update(customer, Phone1="3")
    assert [one.data["Version"] for one in receiver.wait_for(5)] == [1, 2, 3, 4, 5]
    assert [one.data["Version"] for one in receiver.wait_for(2, "ok/fax")] == [3, 4]
    assert [one.data["Version"] for one in receiver.wait_for(1, "ok/created")] == [1]


def test_only_what_changes_after_an_endpoint_was_added_is_told(api: Api, receiver: Receiver) -> None:
    customer = api.new()
    hook = add(api, URL=receiver.url())
    api.update(customer, Fax="1")
    [one] = receiver.wait_for(1)
    assert one.data["Version"] == 2
    assert one.headers["webhook-id"] == f"msg_1_{hook['ID']}_{one.data['ID']}"


def test_tenants_hear_of_their_own_only(node: Running, api: Api, receiver: Receiver, hook: Any) -> None:
    other = node.api(host=OTHER_HOST)
    assert other.get(f"{PATH}/{hook['ID']}").status_code == 404
    add(other, URL=receiver.url("ok/other"))
    theirs, mine = other.new(), api.new()
    assert [one.data["CustomerID"] for one in receiver.wait_for(1, "ok/other")] == [theirs]
    assert [one.data["CustomerID"] for one in receiver.wait_for(1)] == [mine]


def test_an_endpoint_that_was_off_goes_on_where_it_stopped(api: Api, receiver: Receiver, hook: Any) -> None:
    customer = api.new()
    receiver.wait_for(1)
    assert change(api, hook["ID"], Enabled=False)["Enabled"] is False
    add(api, URL=receiver.url("ok/after"))
    api.update(customer, Fax="1")
    api.update(customer, Fax="2")
    receiver.wait_for(2, "ok/after")
    assert len(receiver.on("script")) == 1
    change(api, hook["ID"], Enabled=True)
    assert [one.data["Version"] for one in receiver.wait_for(3)] == [1, 2, 3]


def test_a_removed_endpoint_is_told_no_more(api: Api, receiver: Receiver) -> None:
    hook = add(api, URL=receiver.url("hang"))
    customer = api.new()
    receiver.wait_for(1, "hang")
    assert api.call("DELETE", f"{PATH}/{hook['ID']}").status_code == 200
    add(api, URL=receiver.url("ok/after"))
    api.update(customer, Fax="1")
    receiver.wait_for(1, "ok/after")
    assert len(receiver.on("hang")) == 1
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate"), ("GET", "/deliveries")):
        body = {} if method == "PATCH" else None
        assert api.call(method, f"{PATH}/{hook['ID']}{path}", body).status_code == 404
    assert hook["ID"] not in [one["ID"] for one in api.get(PATH).json()["Items"]]


def test_a_new_address_is_used_at_once(api: Api, receiver: Receiver, hook: Any) -> None:
    api.new()
    receiver.wait_for(1)
    change(api, hook["ID"], URL=receiver.url("ok/moved"))
    api.new()
    receiver.wait_for(1, "ok/moved")
    assert len(receiver.on("script")) == 1


def test_a_new_address_is_tried_at_once_whatever_the_old_one_said(api: Api, receiver: Receiver) -> None:
    hook = add(api, URL=receiver.url("busy"))
    customer = api.new()
    logged(api, receiver, hook["ID"], 1, "failed")
    assert eventually(lambda: shown(api, hook["ID"])["PausedUntil"])
    change(api, hook["ID"], URL=receiver.url("ok/instead"))
    assert [one.data["CustomerID"] for one in receiver.wait_for(1, "ok/instead")] == [customer]
    api.call("DELETE", f"{PATH}/{hook['ID']}")


# ---- secrets


def test_a_secret_is_shown_once_and_exchanged_with_a_day_of_both(
    node: Running, api: Api, receiver: Receiver, hook: Any
) -> None:
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", hook["Secret"])
    assert "Secret" not in shown(api, hook["ID"]) and "whsec" not in api.get(PATH).text
    rotated = api.post(f"{PATH}/{hook['ID']}/rotate", None).json()
    api.new()
    [one] = receiver.wait_for(1)
    assert len(one.headers["webhook-signature"].split(" ")) == 2
    for secret in (hook["Secret"], rotated["Secret"]):
        one.verify(secret)
    with node.clock.later(hours=25):
        api.new()
        later = receiver.wait_for(2)[1]
    body, stamp = later.body, int(later.headers["webhook-timestamp"])
    expected = webhooks.signature(rotated["Secret"], later.headers["webhook-id"], stamp, body)
    assert later.headers["webhook-signature"] == expected


def test_a_signature_is_the_example_of_the_specification() -> None:
    secret, message, stamp = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
    assert webhooks.signature(secret, message, stamp, b'{"test": 2432232314}') == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


# ---- versions


def test_an_endpoint_is_changed_at_the_version_that_is_meant_or_told_what_was_changed(api: Api) -> None:
    hook = add(api, URL="https://example.com/", Description="one")
    place = f"{PATH}/{hook['ID']}"
    assert hook["Version"] == 1 and api.get(place).headers["ETag"] == '"1"'
    same = api.call("PATCH", place, {"Description": "one"}, If_Match='"1"')
    assert (same.headers["ETag"], same.json()["Version"]) == ('"1"', 1)
    changed = api.call("PATCH", place, {"Description": "two", "Members": ["Email"]}, If_Match='"1"')
    assert (changed.headers["ETag"], changed.json()["Version"]) == ('"2"', 2)
    rotated = api.call("POST", f"{place}/rotate", None, If_Match='"7", "2"')
    assert rotated.headers["ETag"] == '"3"' and rotated.headers["Cache-Control"] == "no-store"
    for method, path, body in (
        ("PATCH", "", {"Description": "three"}),
        ("POST", "/rotate", None),
        ("DELETE", "", None),
    ):
        for version, members in ((1, ["Description", "Members", "Secret", "OldSecretUntil"]), (9, [])):
            late = api.call(method, place + path, body, If_Match=f'"{version}"')
            assert (late.status_code, late.headers["ETag"]) == (412, '"3"')
            told = late.json()
            assert (told["version"], told["expected"], set(told["members"])) == (3, [version], set(members))
        assert set(api.call(method, place + path, body, If_Match='"2"').json()["members"]) == {
            "Secret",
            "OldSecretUntil",
        }
    assert api.get(place, If_None_Match='"2"').json() == {k: v for k, v in rotated.json().items() if k != "Secret"}
    assert api.get(place, If_None_Match='"2", "3"').status_code == 304
    assert api.call("DELETE", place, None, If_Match='"3"').status_code == 200


def test_how_far_an_endpoint_is_told_is_no_change_of_it(api: Api, receiver: Receiver, hook: Any) -> None:
    tags = [api.get(path).headers["ETag"] for path in (f"{PATH}/{hook['ID']}", f"{PATH}/{hook['ID']}/deliveries")]
    api.new()
    logged(api, receiver, hook["ID"], 1)
    again = [api.get(path).headers["ETag"] for path in (f"{PATH}/{hook['ID']}", f"{PATH}/{hook['ID']}/deliveries")]
    assert again[0] == tags[0] and again[1] != tags[1]


def test_a_tenant_may_demand_that_the_version_is_named(node: Running) -> None:
    other = node.api(host=OTHER_HOST)
    place = f"{PATH}/{add(other, URL='https://example.com/')['ID']}"
    node.run(other.tenant_id, access.put_record, Tenant, other.tenant_id, {"require_if_match": True})
    try:
        for method, path, body in (("PATCH", "", {}), ("POST", "/rotate", None), ("DELETE", "", None)):
            assert other.call(method, place + path, body).status_code == 428
        assert other.call("DELETE", place, None, If_Match="*").status_code == 200
    finally:
        node.run(other.tenant_id, access.put_record, Tenant, other.tenant_id, {"require_if_match": False})


# ---- failures


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("fail", 500, "no !"),
        ("close", 0, "RemoteProtocolError"),
        ("redirect", 302, "Redirects are not followed: http://169.254.169.254/latest"),
        ("nonsense", 0, "RemoteProtocolError"),
        ("endless-head", 0, "RemoteProtocolError"),
    ],
)
def test_what_a_bad_receiver_does_is_a_failure_that_is_logged_and_tried_again(
    node: Running, api: Api, receiver: Receiver, path: str, status: int, said: str
) -> None:
    hook = add(api, URL=receiver.url(path))
    customer = api.new()
    [first] = logged(api, receiver, hook["ID"], 1)
    assert (first["Outcome"], first["Status"], first["Attempt"]) == ("failed", status, 1)
    assert first["Answer"].startswith(said)
    assert first["CustomerID"] == customer and first["NextOn"] > first["At"]
    with node.clock.later(seconds=6):
        second = logged(api, receiver, hook["ID"], 2)[0]
    assert (second["Attempt"], second["MessageID"]) == (2, first["MessageID"])
    one, two = receiver.wait_for(2, path)
    assert (one.body, one.headers["webhook-id"]) == (two.body, two.headers["webhook-id"])
    assert shown(api, hook["ID"])["Waiting"] == 1
    api.call("DELETE", f"{PATH}/{hook['ID']}")


def test_of_megabytes_only_the_beginning_is_read(api: Api, receiver: Receiver) -> None:
    hook = add(api, URL=receiver.url("megabytes"))
    api.new()
    [one] = logged(api, receiver, hook["ID"], 1)
    assert (one["Outcome"], one["Status"], one["Answer"]) == ("delivered", 200, "x" * 200)
    assert receiver.sent < 20_000_000  # what the kernel's buffers take
    api.call("DELETE", f"{PATH}/{hook['ID']}")


def test_nobody_listens(api: Api, receiver: Receiver) -> None:
    hook = add(api, URL=f"http://127.0.0.1:{free_port()}/")
    api.new()
    [one] = logged(api, receiver, hook["ID"], 1)
    assert (one["Status"], one["Answer"][:12]) == (0, "ConnectError")
    api.call("DELETE", f"{PATH}/{hook['ID']}")


def test_a_customer_that_fails_waits_alone_and_in_order(node: Running, api: Api, receiver: Receiver, hook: Any) -> None:
    bad, good = api.new(), api.new()
    receiver.wait_for(2)
    down = True
    receiver.script = lambda request: "fail" if down and request.data["CustomerID"] == bad else "ok"
    for number in range(3):
        api.update(bad, Fax=str(number))
        api.update(good, Fax=str(number))
    receiver.wait(lambda: [one for one in receiver.on("script") if one.data["CustomerID"] == good][3:])
    logged(api, receiver, hook["ID"], 1, "failed")
    assert [one.data["Version"] for one in receiver.on("script") if one.data["CustomerID"] == bad] == [1, 2]
    down = False
    with node.clock.later(seconds=6):
        receiver.wait_for(9)
    assert [one.data["Version"] for one in receiver.on("script") if one.data["CustomerID"] == bad] == [1, 2, 2, 3, 4]
    eventually(lambda: shown(api, hook["ID"])["Waiting"] == 0)


def test_after_ten_attempts_in_three_days_an_event_is_given_up_and_the_next_one_goes(
    node: Running, api: Api, receiver: Receiver, hook: Any
) -> None:
    bad, good = api.new(), api.new()
    receiver.wait_for(2)
    receiver.script = lambda r: "fail" if (r.data["CustomerID"], r.data["Version"]) == (bad, 2) else "ok"
    api.update(bad, Fax="1")
    api.update(bad, Fax="2")
    passed = timedelta()
    for number, wait in enumerate(webhooks.RETRIES, 1):
        logged(api, receiver, hook["ID"], number, "failed")
        if number == 5:
            api.update(good, Fax="1")  # the receiver is well, so it is the event
            logged(api, receiver, hook["ID"], 3, "delivered")
        passed += wait * 1.11
        node.clock.ahead = passed
    try:
        [last] = logged(api, receiver, hook["ID"], 1, "given up")
        assert (last["Attempt"], last["NextOn"]) == (10, None)
        assert timedelta(days=3) < passed < timedelta(days=4)
        logged(api, receiver, hook["ID"], 4, "delivered")
    finally:
        node.clock.ahead = timedelta()
    assert receiver.on("script")[-1].data["Version"] == 3
    assert shown(api, hook["ID"])["Enabled"]


def test_an_endpoint_that_takes_nothing_for_three_days_is_turned_off_and_loses_nothing(
    node: Running, api: Api, receiver: Receiver, hook: Any
) -> None:
    receiver.script = lambda request: "fail"
    customer = api.new()
    passed = timedelta()
    for number, wait in enumerate(webhooks.RETRIES, 1):
        logged(api, receiver, hook["ID"], number)
        passed += wait * 1.11
        node.clock.ahead = passed
    try:
        off = eventually(lambda: not (found := shown(api, hook["ID"]))["Enabled"] and found)
    finally:
        node.clock.ahead = timedelta()
    assert (off["DisabledBecause"], off["Waiting"]) == ("Nothing could be delivered for three days.", 1)
    api.update(customer, Fax="1")
    receiver.script = lambda request: "ok"
    assert change(api, hook["ID"], Enabled=True)["DisabledBecause"] == ""
    assert [one.data["Version"] for one in receiver.wait_for(12)[10:]] == [1, 2]


def test_410_turns_an_endpoint_off(api: Api, receiver: Receiver) -> None:
    hook = add(api, URL=receiver.url("gone"))
    api.new()
    found = eventually(lambda: not (found := shown(api, hook["ID"]))["Enabled"] and found)
    assert (found["DisabledBecause"], found["Waiting"]) == ("The receiver answered 410 Gone.", 1)
    assert len(receiver.on("gone")) == 1


def test_a_receiver_that_asks_for_a_pause_gets_it(node: Running, api: Api, receiver: Receiver, hook: Any) -> None:
    receiver.script = lambda request: "busy"
    api.new()
    [one] = logged(api, receiver, hook["ID"], 1)
    assert one["Status"] == 429
    receiver.script = lambda request: "ok"
    api.new()
    add(api, URL=receiver.url("ok/other"))
    with node.clock.later(minutes=10):
        api.new()
        receiver.wait_for(1, "ok/other")
        assert len(receiver.on("script")) == 1
        assert shown(api, hook["ID"])["PausedUntil"]
    with node.clock.later(minutes=21):
        receiver.wait_for(4)


def test_when_a_receiver_is_back_all_that_failed_is_tried_at_once(
    node: Running, api: Api, receiver: Receiver, hook: Any
) -> None:
    receiver.script = lambda request: "fail"
    for _ in range(webhooks.OUTAGE):
        api.new()
    logged(api, receiver, hook["ID"], webhooks.OUTAGE)
    with node.clock.later(seconds=6):
        logged(api, receiver, hook["ID"], 2 * webhooks.OUTAGE)  # the next attempt would be in minutes
    receiver.script = lambda request: "ok"
    api.new()
    assert len(logged(api, receiver, hook["ID"], webhooks.OUTAGE + 1, "delivered")) == webhooks.OUTAGE + 1


def test_the_retry_timetable() -> None:
    failed = posting.Answer(500, "")
    for number, wait in enumerate(webhooks.RETRIES, 1):
        low, high = webhooks.again_in(number, failed, 0), webhooks.again_in(number, failed, 1)
        assert (low, high) == (wait * 0.9, wait * 1.1)
    assert webhooks.again_in(10, failed, 0.5) is None
    assert timedelta(days=3) < sum(webhooks.RETRIES, timedelta()) < timedelta(days=3.5)
    asked = posting.Answer(503, "", retry_after=3600)
    assert webhooks.again_in(1, asked, 0.5) == timedelta(hours=1)
    assert webhooks.again_in(1, posting.Answer(503, "", retry_after=1e9), 0.5) == webhooks.LONGEST_PAUSE


# ---- resending, and the log


def test_an_event_can_be_sent_again(api: Api, receiver: Receiver, hook: Any) -> None:
    api.new()
    [one] = receiver.wait_for(1)
    logged(api, receiver, hook["ID"], 1)
    answer = api.post(f"{PATH}/{hook['ID']}/resend", {"ChangeIDs": [one.data["ID"]]})
    assert answer.status_code == 200, answer.text
    again = receiver.wait_for(2)[1]
    assert (again.body, again.headers["webhook-id"]) == (one.body, one.headers["webhook-id"])
    for wrong in ([], [0], [one.data["ID"] + 1000], "x", [1] * 101, None):
        answer = api.post(f"{PATH}/{hook['ID']}/resend", {"ChangeIDs": wrong})
        assert [error["member"] for error in answer.json()["errors"]] == ["ChangeIDs"], wrong


def test_an_event_that_waits_can_be_sent_now(api: Api, receiver: Receiver, hook: Any) -> None:
    receiver.script = lambda request: "fail"
    api.new()
    [failed] = logged(api, receiver, hook["ID"], 1)
    receiver.script = lambda request: "ok"
    api.post(f"{PATH}/{hook['ID']}/resend", {"ChangeIDs": [failed["ChangeID"]]})
    assert logged(api, receiver, hook["ID"], 2)[0]["Outcome"] == "delivered"
    assert shown(api, hook["ID"])["Waiting"] == 0


def test_the_log_keeps_the_last_attempts(node: Running, api: Api, receiver: Receiver) -> None:
    hook = add(api, URL=receiver.url("ok"), Enabled=False)
    change_id = api.changes(api.new())[0].id
    event = webhooks.Waiting(change_id, 1)
    outcome = webhooks.Outcome(event, hook["URL"], node.clock(), posting.Answer(200, ""))

    def attempt(tx: Tx) -> None:
        _, progress = webhooks.after(tx, tx.get(Endpoint, hook["ID"]), tx.get(Progress, hook["ID"]), outcome)
        tx.put(progress)

    async def fill() -> None:
        run, actor = node.app.store.run, Actor(api.tenant_id)
        await asyncio.gather(*(run(actor, attempt) for _ in range(webhooks.MOST_KEPT + 5)))

    node.wait(fill())
    answer = api.get(f"{PATH}/{hook['ID']}/deliveries?limit={webhooks.MOST_KEPT}").json()["Items"]
    assert [one["Number"] for one in answer] == list(range(webhooks.MOST_KEPT + 5, 5, -1))
    assert len(log(api, hook["ID"])) == 100
    for limit in ("0", "1001", "x"):
        assert api.get(f"{PATH}/{hook['ID']}/deliveries?limit={limit}").status_code == 400


def test_what_is_old_goes_from_the_log(node: Running, api: Api, receiver: Receiver, hook: Any) -> None:
    api.new()
    logged(api, receiver, hook["ID"], 1)
    expire = node.app.store.expire
    for days, left in ((29, 1), (31, 0)):
        with node.clock.later(days=days):
            while node.wait(expire(Delivery, webhooks.KEPT_FOR)):
                pass  # other tests left many
        assert len(log(api, hook["ID"])) == left
    api.new()
    assert logged(api, receiver, hook["ID"], 1)[0]["Number"] == 2


# ---- many


def test_receivers_that_hang_do_not_delay_the_others(api: Api, receiver: Receiver) -> None:
    hooks = [add(api, URL=receiver.url(f"{'hang' if n < 30 else 'ok'}/{n}")) for n in range(100)]
    customers = [api.new() for _ in range(3)]
    for n in range(30, 100):
        receiver.wait_for(len(customers), f"ok/{n}")
    for n in range(30):
        assert 1 <= len(receiver.on(f"hang/{n}")) <= worker.AT_ONCE
    assert not any(one["Attempts"] for one in api.get(PATH).json()["Items"] if "/hang/" in one["URL"])
    receiver.let_go()
    for hook in hooks:
        api.call("DELETE", f"{PATH}/{hook['ID']}")


def test_many_changes_of_few_customers_come_in_order(node: Running, api: Api, receiver: Receiver, hook: Any) -> None:
    customers = [api.new() for _ in range(5)]

    async def load() -> None:
        actor = Actor(api.tenant_id, door="test")
        run = node.app.store.run
        patches = [(one, Patch({"fax": str(n)})) for n in range(60) for one in customers]
        await asyncio.gather(*(run(actor, update, one, patch) for one, patch in patches))

    node.wait(load())
    receiver.wait_for(305)
    for customer in customers:
        versions = [one.data["Version"] for one in receiver.on("script") if one.data["CustomerID"] == customer]
        assert versions == list(range(1, 62))
    eventually(lambda: shown(api, hook["ID"])["Waiting"] == 0)


# ---- what is refused


@pytest.mark.parametrize(
    ("members", "member"),
    [
        ({}, "URL"),
        ({"URL": None}, "URL"),
        ({"URL": "ftp://example.com/"}, "URL"),
        ({"URL": "https://"}, "URL"),
        ({"URL": "https://ann:secret@example.com/"}, "URL"),
        ({"URL": "https://example.com/#here"}, "URL"),
        ({"URL": "https://example.com/ b"}, "URL"),
        ({"URL": "https://example.com:99999/"}, "URL"),
        ({"URL": "https://example.com/" + "x" * 2000}, "URL"),
        ({"URL": "https://example.com/", "Events": ["customer.deleted"]}, "Events"),
        ({"URL": "https://example.com/", "Members": ["Phone9"]}, "Members"),
        ({"URL": "https://example.com/", "Enabled": "maybe"}, "Enabled"),
        ([], "body"),
    ],
)
def test_an_endpoint_that_makes_no_sense_is_refused(api: Api, members: Any, member: str) -> None:
    answer = api.post(PATH, members)
    assert answer.status_code == 400, answer.text
    assert [one["member"] for one in answer.json()["errors"]] == [member]


def test_all_that_is_wrong_is_told_at_once(api: Api) -> None:
    answer = api.post(PATH, {"url": "nonsense", "Events": ["x"], "Members": ["y"], "Description": 5})
    assert {one["member"] for one in answer.json()["errors"]} == {"url", "Events", "Members", "Description"}
    strict = api.post(PATH, {"URL": "https://example.com/", "Secret": "whsec_x"}, Prefer="handling=strict")
    assert [one["member"] for one in strict.json()["errors"]] == ["Secret"]
