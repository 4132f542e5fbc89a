"""The feed: pages without gaps from a cursor on, waiting for more, streams of events, and CloudEvents."""

import asyncio
import json
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import pytest
from conftest import ADMIN, PASSWORD, TT, Api, Running, running, until
from test_v1_changes import newest
from test_v1_customers import refused

from regulars import access, customers
from regulars.app import backend
from regulars.customers import Patch
from regulars.http import feed as http_feed
from regulars.http import outflow
from regulars.store import Actor, Store

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


# ---- waiting


def waiting(server: Running) -> int:
    """How many wait for a change."""
    return sum(map(len, server.app.store._watch._waiting.values()))


def in_vain(answer: Future[Any], cursor: str) -> bool:
    return bool(answer.result(10) == {"Items": [], "Cursor": cursor, "More": False})


def elsewhere(server: Running, customer: int, **values: Any) -> None:
    """An update by another process: another store over the same database."""

    async def work() -> None:
        async with Store(backend(server.settings.store)) as store:
            await store.run(Actor(TT, door="test"), customers.update, customer, Patch(values))

    asyncio.run(work())


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_who_waits_gets_a_change_as_soon_as_it_is_committed_wherever(
    server: Running, api: Api, customer: int, where: str
) -> None:
    cursor = latest(api)
    with ThreadPoolExecutor() as threads:
        answers = [threads.submit(page, server.api(), f"after={cursor}&wait=30") for _ in range(3)]
        until(lambda: waiting(server) == 3)
        api.new() if where == "here" else elsewhere(server, customer, fax="1")
        for answer in answers:
            (item,) = answer.result(10)["Items"]
            assert item["ID"] == number(cursor) + 1
    assert waiting(server) == 0


def test_the_changes_of_other_tenants_wake_nobody(server: Running, api: Api, other: Api) -> None:
    cursor = latest(api)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(page, server.api(), f"after={cursor}&wait=1")
        until(lambda: waiting(server) == 1)
        other.new()
        assert in_vain(answer, cursor)


def test_what_is_there_already_is_not_waited_for(api: Api) -> None:
    cursor = latest(api)
    api.new()
    assert len(page(api, f"after={cursor}&wait=30")["Items"]) == 1
    assert page(api, f"after={latest(api)}&wait=0")["Items"] == []
    assert "wait" in refused(api.get(f"{PATH}?wait=31"))


def test_who_goes_away_is_not_waited_for(server: Running, api: Api) -> None:
    with server.connect() as connection:
        connection.sendall(
            f"GET {PATH}?after={latest(api)}&wait=30 HTTP/1.1\r\nHost: {api.host}\r\n"
            f"Authorization: Bearer {api.token}\r\n\r\n".encode()
        )
        until(lambda: waiting(server) == 1)
    until(lambda: waiting(server) == 0)


def test_a_token_that_is_revoked_gets_no_change_that_it_waited_for(server: Running, api: Api) -> None:
    email, cursor = "revoked@example.com", latest(api)
    hashed = server.wait(server.app.access.hash(PASSWORD))
    server.run(TT, access.put_employee, email, {"password_hash": hashed})
    leaver = server.api(email)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(leaver.get, f"{PATH}?after={cursor}&wait=30")
        until(lambda: waiting(server) == 1)
        server.run(TT, access.put_employee, email, {"enabled": False})
        api.new()
        assert answer.result(10).status_code == 401


def test_a_server_that_stops_keeps_nobody_waiting(tmp_path: Path) -> None:
    with running(tmp_path) as server, ThreadPoolExecutor() as threads:
        cursor = latest(server.api())
        answer = threads.submit(page, server.api(), f"after={cursor}&wait=30")
        until(lambda: waiting(server) == 1)
        server.stop()
        assert in_vain(answer, cursor)


# ---- streams

Event = dict[str, str]


@contextmanager
def streamed(api: Api, query: str = "", **headers: str) -> Iterator[Iterator[Event]]:
    """The events of a stream as they come; comments are events that have nothing."""
    given = {"Accept": "text/event-stream", **{name.replace("_", "-"): value for name, value in headers.items()}}
    with api.client.stream("GET", f"{PATH}?{query}", headers=given) as answer:
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream"), answer.read()
        assert answer.headers["Cache-Control"] == "no-store" and answer.headers["Connection"] == "close"
        found = events_in(answer.iter_lines())
        assert next(found) == {"retry": "1000"}
        yield found


def events_in(lines: Iterable[str]) -> Iterator[Event]:
    event: Event = {}
    for line in lines:
        if not line:
            yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


def told(event: Event) -> Any:
    assert event["event"] == "change"
    return json.loads(event["data"], parse_float=Decimal)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_stream_tells_what_was_and_then_what_comes(server: Running, api: Api, customer: int, where: str) -> None:
    cursor = latest(api)
    api.update(customer, Fax="a")
    with streamed(server.api(), f"after={cursor}") as events:
        assert told(next(events)) == newest(api, customer)
        for turn in range(3):
            if where == "here":
                api.update(customer, Fax=str(turn))
            else:
                elsewhere(server, customer, fax=str(turn))
            event = next(events)
            assert told(event) == newest(api, customer)
            assert event["id"] == latest(api)
    until(lambda: not server.app.streams)


def test_a_stream_goes_on_where_the_one_before_broke_off(server: Running, api: Api, customer: int) -> None:
    cursor = latest(api)
    for turn in range(250):
        api.update(customer, Fax=str(turn))
    found: list[int] = []
    last = cursor
    while len(found) < 250:
        with streamed(server.api(), f"after={cursor}", Last_Event_ID=last) as events:
            for event in islice(events, 60):
                found.append(told(event)["ID"])
                last = event["id"]
                if len(found) == 250:
                    break
    assert found == list(range(number(cursor) + 1, number(cursor) + 251))


def test_a_stream_begins_at_the_end_if_so_asked_and_can_tell_cloud_events(server: Running, api: Api) -> None:
    with streamed(server.api(), "after=latest&format=cloudevents") as events:
        created = api.new()
        event = told(next(events))
        assert (event["specversion"], event["subject"], event["data"]["Kind"]) == (
            "1.0",
            f"customers/{created}",
            "created",
        )
        assert event["id"] == latest(api)


def test_what_makes_no_sense_is_refused_before_the_stream_begins(api: Api) -> None:
    accept = {"Accept": "text/event-stream"}
    assert "after" in refused(api.get(f"{PATH}?after=1-99999999", **accept))
    assert "after" in refused(api.get(f"{PATH}?after=1-0", Last_Event_ID="2-1", **accept))
    assert api.client.head(PATH, headers=accept).headers["Content-Type"] == "text/event-stream"


@pytest.mark.parametrize("how", ["revoked", "expired", "not permitted"])
def test_a_stream_ends_with_the_token_before_it_tells_anything_more(server: Running, api: Api, how: str) -> None:
    email = f"{how.replace(' ', '-')}@example.org"
    hashed = server.wait(server.app.access.hash(PASSWORD))
    server.run(TT, access.put_employee, email, {"password_hash": hashed})
    with streamed(server.api(email), "after=latest") as events, server.clock.later(minutes=61 * (how == "expired")):
        if how == "revoked":
            server.run(TT, access.put_employee, email, {"enabled": False})
        if how == "not permitted":
            server.run(TT, access.put_employee, email, {"can_view": False})
        with_token = server.api()
        with_token.new()
        (event,) = events
    code = "denied" if how == "not permitted" else "unauthenticated"
    assert (event["event"], json.loads(event["data"])["type"]) == ("end", f"urn:regulars:{code}")


def test_a_silent_stream_gets_comments(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_feed, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(http_feed, "COMMENT_SECONDS", 0.02)
    with streamed(server.api(), "after=latest") as events:
        assert [next(events) for _ in range(3)] == [{}, {}, {}]


def test_streams_are_so_many(server: Running, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    until(lambda: not server.app.streams)
    monkeypatch.setattr(http_feed, "MOST_STREAMS", 1)
    with streamed(server.api(), "after=latest"):
        answer = api.get(PATH, Accept="text/event-stream")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    until(lambda: not server.app.streams)
    with streamed(server.api(), "after=latest"):
        pass


def test_a_stream_ends_cleanly_when_the_server_stops(tmp_path: Path) -> None:
    with running(tmp_path) as server, streamed(server.api(), "after=latest") as events:
        server.stop()
        assert list(events) == []  # an answer that broke off would raise


def raw_request(api: Api, query: str, version: str) -> bytes:
    return (
        f"GET {PATH}?{query} HTTP/{version}\r\nHost: {api.host}\r\nAccept: text/event-stream\r\n"
        f"Authorization: Bearer {api.token}\r\n\r\n"
    ).encode()


def test_an_old_client_gets_a_stream_without_chunks(server: Running, api: Api, customer: int) -> None:
    with server.connect() as connection, connection.makefile("rb") as lines:
        connection.sendall(raw_request(api, "after=latest", "1.0"))
        head = list(iter(lines.readline, b"\r\n"))
        assert not [line for line in head if line.lower().startswith(b"transfer-encoding")]
        assert [lines.readline() for _ in range(2)] == [b"retry: 1000\n", b"\n"]
        api.update(customer, Fax="1")
        assert lines.readline().startswith(b"id: 1-")
    until(lambda: not server.app.streams)


def test_a_client_that_does_not_read_is_cut_off(
    server: Running, api: Api, customer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outflow, "UNREAD_SECONDS", 0.05)
    cursor = latest(api)
    for turn in range(200):
        assert api.put(f"Customers/{customer}", {"Comments": f"{turn:03}" * 2600}).status_code == 200
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.settimeout(10)
        deaf.sendall(raw_request(api, f"after={cursor}", "1.1"))
        until(lambda: server.app.streams)
        until(lambda: not server.app.streams)
        received = b"".join(iter(lambda: deaf.recv(1 << 20), b""))
    assert received.count(b"event: change") < 200
    assert not received.endswith(b"\r\n0\r\n\r\n"), "what was cut off must not pass for whole"


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
