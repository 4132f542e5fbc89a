"""A request that is sent again with its Idempotency-Key: done once, answered twice, on any node, after any crash."""

import asyncio
import random
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import postgres
import pytest
from conftest import HOST, Api, Clock, Running, problems, running, until
from processes import Process, process, rows

from regulars.http.examples import BODIES
from regulars.http.routes import ROUTES, Route
from regulars.record import Answer
from regulars.settings import Settings

WRITES = [route for route in ROUTES if route.writes]
WEBHOOKS = "/api/v1/webhooks"
OWN_HEADERS = {"date", "x-request-id", "idempotent-replayed"}
"""What the answer to a request that is sent again has of its own."""


def fresh() -> str:
    return str(uuid4())


def same(first: httpx2.Response, again: httpx2.Response) -> bool:
    """Whether the second answer is the first one given again."""
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.headers["X-Request-Id"] != again.headers["X-Request-Id"]
    heads = [{name: value for name, value in one.headers.items() if name not in OWN_HEADERS} for one in (first, again)]
    assert heads[0] == heads[1]
    return (first.status_code, first.content) == (again.status_code, again.content)


# ---- the same request


@pytest.mark.parametrize("route", WRITES, ids=lambda route: route.name)
def test_every_write_is_done_once_and_answered_again(api: Api, customer: int, route: Route) -> None:
    api.update(customer, Mobile="1")
    number = {"AddCustomersToGroup": 1, "UndoChange": api.changes(customer)[0].id}.get(route.name, customer)
    if "/webhooks/" in route.path:
        number = api.post(WEBHOOKS, BODIES["Webhook"]).json()["ID"]
    path, key = route.path.replace("{id}", str(number)), fresh()
    body = {**BODIES[route.body], "Unknown": 1} if route.body else None
    prefer = {"Prefer": "return=representation"} if route.method == "PUT" else {}
    first = api.call(route.method, path, body, Idempotency_Key=key, **prefer)
    assert first.status_code == 200, first.text
    listed, changed, told = api.list()["TotalResults"], len(api.changes(customer)), api.get(WEBHOOKS).json()
    api.update(customer, Fax=fresh())
    assert same(first, api.call(route.method, path, body, Idempotency_Key=key, **prefer))
    assert same(first, api.call(route.method, path.upper() + "/", body, Idempotency_Key=key, **prefer))
    assert (api.list()["TotalResults"], len(api.changes(customer))) == (listed, changed + 1)
    assert api.get(WEBHOOKS).json() == told
    assert ("Ignored-Members" in first.headers) == bool(route.body)


def test_an_update_that_alters_nothing_is_kept_too(api: Api, customer: int) -> None:
    key = fresh()
    first = api.put(f"Customers/{customer}", {"Fax": ""}, Idempotency_Key=key)
    assert first.headers["ETag"] == '"1"'
    api.update(customer, Fax="1")
    assert same(first, api.put(f"Customers/{customer}", {"Fax": ""}, Idempotency_Key=key))
    assert api.read(customer)["Personal"]["Fax"] == "1"


def test_a_refusal_is_kept_even_when_it_would_not_be_one_any_more(api: Api, customer: int) -> None:
    path, keys = f"Customers/{customer}", [fresh() for _ in range(4)]
    api.update(customer, Title="Dr")
    unknown = max(one["UserID"] for one in api.list()["Items"]) + 1

    def send() -> list[httpx2.Response]:
        return [
            api.put(path, {"TaxID": "1", "Phone1": 5}, Idempotency_Key=keys[0]),
            api.put(f"{path}/OrderOptions", {"TaxID": "1"}, Idempotency_Key=keys[1]),
            api.put(f"Customers/{unknown}", {"Fax": "2"}, Idempotency_Key=keys[2]),
            api.put(path, {"Fax": "2"}, If_Match='"1"', Idempotency_Key=keys[3]),
        ]

    first = send()
    assert [one.status_code for one in first] == [400, 400, 404, 412]
    assert first[3].json()["Members"] == ["Title"]
    api.update(customer, "OrderOptions", TaxExempt=True)
    assert api.new() == unknown
    with api.unchanged(customer):
        for one, again in zip(first, send(), strict=True):
            assert same(one, again)


def test_what_never_reached_a_rule_leaves_the_key_free(api: Api, customer: int) -> None:
    path, key = f"Customers/{customer}", fresh()
    for content, kind, status in ((b"{", "application/json", 400), (b"{}", "text/plain", 415)):
        answer = api.put(path, content, Idempotency_Key=key, Content_Type=kind)
        assert answer.status_code == status
    with api.server.plain() as client:
        assert client.put(f"/rest/api/{path}", headers={"Idempotency-Key": key}).status_code == 401
    assert api.put(path, {"Fax": "1"}, Idempotency_Key=key).status_code == 200


def test_an_answer_that_promises_nothing_is_not_kept(api: Api, customer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    key = fresh()
    with monkeypatch.context() as patch:
        patch.setattr("regulars.store.MOST_WAITING", 0)
        assert api.put(f"Customers/{customer}", {"Fax": "1"}, Idempotency_Key=key).status_code == 503
    answer = api.put(f"Customers/{customer}", {"Fax": "1"}, Idempotency_Key=key)
    assert (answer.status_code, answer.headers.get("Idempotent-Replayed")) == (200, None)


# ---- another request


def test_a_key_is_for_one_request(api: Api, customer: int) -> None:
    path, key = f"Customers/{customer}", fresh()
    assert api.put(path, {"Fax": "1"}, Idempotency_Key=key, If_Match="*").status_code == 200
    with api.unchanged(customer):
        for method, where, body, match in (
            ("PUT", path, {"Fax": "2"}, "*"),
            ("PUT", path, {"Fax": "1"}, '"1"'),
            ("PUT", f"Customers/{customer + 1}", {"Fax": "1"}, "*"),
            ("PUT", f"{path}/OrderOptions", {"Fax": "1"}, "*"),
            ("PATCH", f"/api/v1/customers/{customer}", {"Fax": "1"}, "*"),
        ):
            answer = api.call(method, where, body, Idempotency_Key=key, If_Match=match)
            assert answer.status_code == 422
            assert "another request" in answer.text
        problem = api.put(path, {"Fax": "2"}, Idempotency_Key=key, Accept="application/problem+json").json()
        assert problem["type"] == "urn:regulars:idempotency_key_reused"


def test_another_employee_or_tenant_has_keys_of_its_own(server: Running, api: Api, other: Api) -> None:
    key = fresh()
    callers = [api, server.api("editor@example.com"), other]
    for caller, owner in zip(callers, (api, api, other), strict=True):
        customer = owner.new()
        answer = caller.put(f"Customers/{customer}", {"Fax": "1"}, Idempotency_Key=key)
        assert (answer.status_code, answer.headers.get("Idempotent-Replayed")) == (200, None)
        assert owner.read(customer)["Personal"]["Fax"] == "1"


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "ü"])
def test_what_is_no_key_is_refused(api: Api, customer: int, key: str) -> None:
    with api.unchanged(customer):
        headers: Any = {"Idempotency-Key": key.encode("latin-1"), "Content-Type": "application/json"}
        answer = api.client.put(f"/rest/api/Customers/{customer}", content=b'{"Fax": "1"}', headers=headers)
        assert "Idempotency-Key" in problems(answer)


@pytest.mark.parametrize("key", ["x" * 255, '"quoted"', "a b~!"])
def test_any_printable_key_will_do(api: Api, customer: int, key: str) -> None:
    sent = [api.put(f"Customers/{customer}", {"Fax": key[:9]}, Idempotency_Key=f"{key}") for _ in range(2)]
    assert same(*sent)


def test_reads_and_the_token_take_no_notice(server: Running, api: Api, customer: int) -> None:
    key = fresh()
    for _ in range(2):
        assert "Idempotent-Replayed" not in api.get(f"Customers/{customer}", Idempotency_Key=key).headers
        assert "Idempotent-Replayed" not in server.login().headers


# ---- at once, on several nodes, after a crash


def test_while_the_first_is_being_answered_the_others_wait_their_turn(tmp_path: Path) -> None:
    """Another program holds the write lock, so that nobody is answered who was let in."""
    with process(tmp_path, 5) as server:
        headers = {"Authorization": f"Bearer {server.token()}", "Idempotency-Key": fresh()}
        writer = sqlite3.connect(tmp_path / "book.db", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")

        async def work() -> None:
            async with httpx2.AsyncClient(headers=headers, timeout=30) as client:
                url, body = f"{server.url}/Customers/1", {"Comments": "once"}
                waiting = {asyncio.create_task(client.put(url, json=body)) for _ in range(5)}
                while len(waiting) > 1:
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    for answer in (one.result() for one in done):
                        assert answer.status_code == 409 and int(answer.headers["Retry-After"]) >= 1
                writer.execute("ROLLBACK")
                writer.close()
                assert same((await waiting.pop()), await client.put(url, json=body))

        asyncio.run(work())
        assert rows(tmp_path / "book.db", "SELECT version FROM customers WHERE id = 1") == [(2,)]


def test_fifty_at_once_over_two_nodes_write_once() -> None:
    key = fresh()
    body = b'{"CompanyID": 1, "FirstName": "A", "LastName": "B", "Email": "a@x.test", "CustomerType": "Retail"}'

    async def send(nodes: list[Running], token: str) -> list[httpx2.Response]:
        headers = {"Authorization": f"Bearer {token}", "Host": HOST, "Idempotency-Key": key}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as client:
            urls = [f"{nodes[n % 2].url}/rest/api/Customers" for n in range(50)]
            return list(await asyncio.gather(*(client.post(url, content=body) for url in urls)))

    with (
        postgres.database() as url,
        running(url) as one,
        Running(Settings(store=url), Clock()) as two,
    ):
        token = one.api().token
        found = asyncio.run(send([one, two], token))
        assert {answer.status_code for answer in found} <= {200, 409}
        good = [answer for answer in found if answer.status_code == 200]
        assert {answer.text for answer in good} == {"1"}
        assert sum("Idempotent-Replayed" not in answer.headers for answer in good) == 1
        for node in (one, two):
            assert node.holding(token).post("Customers", body, Idempotency_Key=key).text == "1"
        assert rows(url, "SELECT count(*) FROM customers") == [(1,)]
        assert rows(url, "SELECT count(*) FROM answers") == [(1,)]


def test_a_key_is_known_after_a_restart_until_it_expires(book: str) -> None:
    key, clock, body = fresh(), Clock(), {"Fax": "1"}
    with running(book) as server:
        api = server.api()
        customer = api.new()
        path, token = f"Customers/{customer}", api.token
        first = api.put(path, body, Idempotency_Key=key)
        refused = api.put(path, body, Idempotency_Key=key + "2", If_Match='"1"')
        assert refused.status_code == 412
    settings = Settings(store=book, idempotency_hours=2)
    with Running(settings, clock) as server:
        for hours in (0, 1.9):
            with clock.later(hours=hours):
                assert not server.wait(server.app.store.expire(Answer, timedelta(hours=2)))
            api = server.holding(token)
            assert same(first, api.put(path, body, Idempotency_Key=key))
            assert same(refused, api.put(path, body, Idempotency_Key=key + "2", If_Match='"1"'))
    with clock.later(hours=2.1), Running(settings, clock) as server:
        api = server.api()
        until(lambda: "Idempotent-Replayed" not in api.put(path, body, Idempotency_Key=key).headers)


def test_expired_answers_go_piece_by_piece(book: str) -> None:
    with running(book) as server:
        api = server.api()
        customer = api.new()
        for _ in range(5):
            api.put(f"Customers/{customer}", {"Fax": "1"}, Idempotency_Key=fresh())
        more = [server.wait(server.app.store.expire(Answer, timedelta(0), 2)) for _ in range(3)]
        assert more == [True, True, False]
    assert rows(book, "SELECT count(*) FROM answers") == [(0,)]


Sent = dict[str, tuple[str, str]]
"""Key → the e-mail address of the customer to create, and the id that was answered, if it was."""


async def create(server: Process, token: str, sent: Sent, stop_after: int) -> None:
    """Ten writers create customers, each with a key of its own, until the server is killed; or, without a number, send
    again all that were sent."""
    again = list(sent.items()) if not stop_after else []

    async def post(client: httpx2.AsyncClient, key: str, email: str) -> str:
        body = {"CompanyID": 1, "FirstName": "A", "LastName": "B", "Email": email, "CustomerType": "Retail"}
        answer = await client.post(f"{server.url}/Customers", json=body, headers={"Idempotency-Key": key})
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    async def writer(client: httpx2.AsyncClient) -> None:
        while True:
            key = fresh()
            sent[key] = (f"{key}@example.com", "")
            try:
                sent[key] = (sent[key][0], await post(client, key, sent[key][0]))
            except httpx2.TransportError:
                return
            if sum(bool(number) for _, number in sent.values()) == stop_after:
                await asyncio.get_running_loop().run_in_executor(None, server.kill)

    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        if not again:
            await asyncio.gather(*(writer(client) for _ in range(10)))
        for key, (email, number) in again:
            told = await post(client, key, email)
            assert told == (number or told), "an answered request was done again"


def test_after_kill_9_every_request_can_be_sent_again(tmp_path: Path) -> None:
    sent: Sent = {}
    with process(tmp_path, 5) as server:
        asyncio.run(create(server, server.token(), sent, random.randint(20, 120)))
        server.start()
        asyncio.run(create(server, server.token(), sent, 0))
        store = tmp_path / "book.db"
        made = rows(store, "SELECT email FROM customers WHERE email LIKE '%-%-%-%-%@example.com'")
        assert sorted(made) == sorted((email,) for email, _ in sent.values())
