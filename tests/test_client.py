"""Both clients against a real server, and against a small one that fails on command. No test sleeps."""

import asyncio
import inspect
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn
from msgspec.structs import replace

from regulars import cli, wire
from regulars.app import App
from regulars.client import AsyncClient, Client, CustomerDetails, ListedCustomer
from regulars.client.operations import Operations
from regulars.errors import (
    Conflict,
    Denied,
    NotFound,
    Overtaken,
    Refused,
    RegularsError,
    Reused,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from regulars.http.protocol import Protocol
from regulars.http.routes import ROUTES, Router
from regulars.http.server import Server
from regulars.record import Address, Change, Company, CustomerType, NewCustomerType, Rating
from regulars.settings import Settings

USER, PASSWORD, SAMPLE = "ann@example.com", "correct horse", 120
TOKEN = "s3cret-t0ken"

METHODS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "UpdateCustomer": ("update_customer", (1,), {"title": "Dr."}),
    "GetCustomer": ("get_customer", (1,), {}),
    "ListCustomers": ("list_customers", (), {"page": 2, "first_name": "Ada"}),
    "CreateCustomer": ("create_customer", (), {"first_name": "Ada"}),
    "UpdateAddresses": ("update_addresses", (1, [Address(id=0)]), {}),
    "UpdateCustomColumns": ("update_custom_columns", (1, {"Tier": "Gold"}), {}),
    "UpdateOrderOptions": ("update_order_options", (1,), {"tax_exempt": True}),
    "UpdateShippingPreferences": ("update_shipping_preferences", (1,), {"charges": Decimal(5)}),
    "AddCustomersToGroup": ("add_customers_to_group", (1, [1, 2]), {}),
    "ListCompanies": ("list_companies", (), {}),
    "GetCompany": ("get_company", (1,), {}),
    "ListPaymentTerms": ("list_payment_terms", (), {}),
    "ListShippingCarriers": ("list_carriers", (), {}),
    "ListShippingServices": ("list_services", ("UPS",), {}),
    "GetFlatCustomer": ("get_flat_customer", (7,), {}),
    "ListCustomerChanges": ("list_customer_changes", (7,), {"limit": 5, "cursor": "12"}),
    "UndoChange": ("undo_change", (5,), {"dry_run": True}),
    "UndoChanges": ("undo_changes", (), {"employee": USER, "since": datetime(2026, 11, 23, tzinfo=UTC)}),
    "ReadFeed": ("read_feed", (), {"after": "1-12", "limit": 5, "wait": 3}),
    "PatchCustomer": ("patch_customer", (7, {"Phone1": None}), {}),
    "BatchCustomers": ("batch_customers", ([{"action": "update", "id": 7, "fax": None}],), {"atomic": True}),
    "ListWebhooks": ("list_webhooks", (), {}),
    "CreateWebhook": ("create_webhook", ("https://shop.example.com/hook",), {"events": ["customer.created"]}),
    "GetWebhook": ("get_webhook", (3,), {}),
    "PatchWebhook": ("patch_webhook", (3,), {"Description": None}),
    "DeleteWebhook": ("delete_webhook", (3,), {}),
    "RotateWebhookSecret": ("rotate_webhook_secret", (3,), {}),
    "ListDeliveries": ("list_deliveries", (3,), {"limit": 7}),
    "ResendEvents": ("resend_events", (3, [1, 2]), {}),
    "GetServerByTeam": ("server_by_team", ("tt",), {}),
}
"""Route → method, with arguments to try. (CreateToken is `log_in`.)"""
SAME = {"GetServerByTeamOnApiHost": "GetServerByTeam"}
"""Routes that are other addresses of the same thing."""


# ---- servers and clients


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(store=f"sqlite:///{tmp_path_factory.mktemp('book')}/book.db")
    asyncio.run(cli.initialise(settings, "tt", USER, "Analytical Engines", PASSWORD))
    asyncio.run(cli.fill(settings, "tt", SAMPLE, 1))
    config = uvicorn.Config(
        Server(App(settings)), http=Protocol, ws="none", lifespan="on", log_config=None, access_log=False
    )
    server, listener = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()


@dataclass
class Failing:
    """A server that gives the answers it was told to, in order; then 200 `{}`. It grants tokens by itself."""

    url: str
    answers: list[Any] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    logins: int = 0
    login: Callable[[int], Any] = lambda number: (200, {}, {"access_token": f"{TOKEN}-{number}", "expires_in": 3600})

    def paths(self) -> list[str]:
        return [f"{method} {path}" for method, path, _, _ in self.seen]


@pytest.fixture(scope="module")
def failing_server() -> Iterator[Failing]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave together

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.removeprefix("/rest/api/")
            with lock:
                if path == "token":
                    state.logins += 1
                    answer = state.login(state.logins)
                else:
                    state.seen.append((self.command, path, dict(self.headers), json.loads(body) if body else None))
                    answer = state.answers.pop(0) if state.answers else (200, {}, {})
            if callable(answer):
                answer = answer(path, self.headers)
            if answer == "hang up":
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            status, headers, content = answer
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = Failing(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def failing(failing_server: Failing) -> Failing:
    fresh = Failing(failing_server.url)
    vars(failing_server).update(vars(fresh))
    return failing_server


class Blocking:
    """An `AsyncClient` that can be called like a `Client`, so that every test runs on both."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.runner = asyncio.Runner()

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            result = getattr(self.client, name)(*args, **kwargs)
            return [one async for one in result] if inspect.isasyncgen(result) else await result

        return lambda *args, **kwargs: self.runner.run(call(*args, **kwargs))

    def close(self) -> None:
        self.aclose()
        self.runner.close()


def connected(kind: str, url: str, username: str = USER, password: str = PASSWORD, **options: Any) -> Any:
    """A client that notes in `sleeps` for how long it would have slept."""
    sleeps: list[float] = []

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)

    if kind == "sync":
        client: Any = Client(url, username, password, sleep=sleeps.append, **options)
    else:
        client = Blocking(AsyncClient(url, username, password, sleep=sleep, **options))
    client.sleeps = sleeps
    return client


Connect = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    made: list[Any] = []

    def connect(url: str, *args: Any, **options: Any) -> Any:
        made.append(connected(request.param, url, *args, **options))
        return made[-1]

    yield connect
    for client in made:
        client.close()


@pytest.fixture(scope="module", params=["sync", "async"])
def book(request: pytest.FixtureRequest, url: str) -> Iterator[Any]:
    client = connected(request.param, url)
    yield client
    client.close()


@pytest.fixture
def ada(book: Any) -> int:
    number: int = book.create_customer(
        company_id=1, first_name="Ada", last_name="Lovelace", email="ada@example.com", customer_type="Retail"
    )
    return number


# ---- every route


def test_every_public_route_has_a_method() -> None:
    names = {route.name for route in ROUTES if route.public}
    assert names == {*METHODS, *SAME, "CreateToken"}
    router, client = Router(ROUTES), Client("https://tt.api.example.com", USER, PASSWORD)
    for name, (method, args, kwargs) in METHODS.items():
        call = vars(Operations)[method].__wrapped__(client, *args, **kwargs)
        path = call.path if call.path[0] == "/" else f"/rest/api/{call.path}"
        assert router.find(path)[0][call.method].name == name
    assert router.find(f"/rest/api/{client._login.path}")[0]["POST"].name == "CreateToken"
    client.close()


def test_every_method_is_documented_and_the_same_on_both_clients() -> None:
    for method in [*(name for name, _, _ in METHODS.values()), "log_in", "iterate_customers", "follow_changes"]:
        one, other = getattr(Client, method), getattr(AsyncClient, method)
        assert len(inspect.getdoc(one) or "") > 20, method
        assert inspect.signature(one).parameters == inspect.signature(other).parameters


def value_for(spec: Any) -> Any:
    """A value of a field that is not its default."""
    if isinstance(spec.type, type) and issubclass(spec.type, Enum):
        return list(spec.type)[-1]
    if spec.email:
        return "countess@example.com"
    texts = {str: f"{spec.member} ü 'x'", Decimal: Decimal("12345678901.234567"), bool: True, int: 1}
    return texts.get(spec.type, ("one", "two"))


@pytest.mark.parametrize("by", ["name", "member", "upper"])
def test_every_member_is_written_by_attribute_and_by_member_name_and_read_back(book: Any, ada: int, by: str) -> None:
    for body, update in (("customer", book.update_customer), ("order_options", book.update_order_options)):
        before = book.get_customer(ada).customer
        specs = [spec for spec in wire.names_of(body).values() if spec.name != "allow_shipping_unpaid_orders"]
        given = {spec.name: value_for(spec) for spec in specs}
        spelt = {spec.member.upper() if by == "upper" else getattr(spec, by): given[spec.name] for spec in specs}
        done = update(ada, **spelt, strict=True)
        found: CustomerDetails = book.get_customer(ada)
        assert (done.version, done.etag, done.ignored) == (before.version + 1, found.etag, ())
        assert found.unread == ()
        if "name" in given:
            given |= {"first_name": "Name", "middle_name": "", "last_name": "ü 'x'"}
            assert found.customer.name == given.pop("name")
        assert found.customer == replace(before, version=done.version, **given)
        assert found.raw["General"]["ID"] == found.customer.id == ada


def test_names_and_values_can_also_come_as_a_mapping_and_none_leaves_a_field(book: Any, ada: int) -> None:
    book.update_customer(ada, {"Phone1": "1", "phone2": "2"}, mobile="3", email=None)
    book.update_customer(ada, phone2="")
    found = book.get_customer(ada).customer
    assert (found.phone1, found.phone2, found.mobile, found.email) == ("1", "", "3", "ada@example.com")
    assert (found.rating, found.tenant_id, found.created_on.tzinfo) == (Rating.NotRated, 0, UTC)


def test_shipping_preferences_are_written(book: Any, ada: int) -> None:
    carrier = book.list_carriers()[0]
    service = book.list_services(carrier.name)[0]
    done = book.update_shipping_preferences(
        ada, carrier_id=carrier.id, CarrierMethodId=service.id, charges=Decimal("4.50"), postal_code="NW1"
    )
    assert done.version == 2
    with pytest.raises(Refused) as refused:
        book.update_shipping_preferences(ada, carrier_id=999_999)
    assert list(refused.value.problems) == ["CarrierId"]


def test_addresses(book: Any, ada: int) -> None:
    home = Address(
        id=0, contact_name="Ada", country="GB", city="London", zip_code="SW1Y 4LE", address="12 St James's Square"
    )
    book.update_addresses(ada, [home, address_members(replace(home, city="Ockham"))])
    first, second = book.get_customer(ada).customer.addresses
    assert (first, second.city) == (replace(home, id=first.id), "Ockham")
    book.update_addresses(ada, [replace(second, city="Horsley")])
    assert [one.city for one in book.get_customer(ada).customer.addresses] == ["London", "Horsley"]
    with pytest.raises(Refused, match="ID"):
        book.update_addresses(ada, [replace(home, id=10**6)])


def address_members(address: Address) -> dict[str, Any]:
    return {spec.member: getattr(address, spec.name) for spec in wire.names_of("address").values()}


def test_custom_columns(book: Any, ada: int) -> None:
    columns = {one["ColumnName"]: one for one in book.get_customer(ada).raw["CustomColumns"]}
    by_type = {one["DataTypeName"]: name for name, one in columns.items() if not one["DataSourceContainer"]}
    values: dict[str, Any] = {}
    for kind, value in (
        ("Decimal", Decimal("1.10")),
        ("DateTime", datetime(2026, 11, 23, 14, 30, tzinfo=UTC)),
        ("Boolean", True),
        ("Integer", 7),
        ("String", "x"),
    ):
        if kind in by_type:
            values[by_type[kind]] = value
    assert values
    book.update_custom_columns(ada, values)
    kept = book.get_customer(ada).customer.custom_values
    stored = {"Decimal": "1.10", "DateTime": "2026-11-23T14:30:00", "Boolean": True, "Integer": 7, "String": "x"}
    assert kept == {columns[name]["ID"]: stored[columns[name]["DataTypeName"]] for name in values}
    listed = book.list_customers(customer_ids=[ada]).items[0]
    assert set(listed.custom_columns) == set(values)
    with pytest.raises(Refused, match="Expected one of"):
        book.update_custom_columns(ada, {"Nonsense": 1})


def test_groups_companies_and_lists(book: Any, ada: int) -> None:
    assert book.add_customers_to_group(1, [ada]) is None
    assert book.get_customer(ada).customer.group_ids == (1,)
    with pytest.raises(RegularsError):
        book.add_customers_to_group(1, [10**6])
    companies = book.list_companies()
    assert isinstance(companies.items[0], Company)
    assert companies.total >= len(companies.items) > 0
    assert book.get_company(companies.items[0].id) == companies.items[0]
    assert book.list_companies(ids=[companies.items[0].id]).items == companies.items[:1]
    assert book.list_companies(keyword="no such company").total == 0
    assert all(one.id and one.name for one in [*book.list_payment_terms(), *book.list_carriers()])
    with pytest.raises(Refused):
        book.list_services("no such carrier")


def test_a_team_tells_its_server_without_a_password(connect: Connect, url: str) -> None:
    client = connect(url, "nobody", "wrong")
    assert client.server_by_team("tt").endswith("/rest")
    with pytest.raises(NotFound, match="Team name not found"):
        client.server_by_team("atlantis")


# ---- lists


def test_pages_and_filters(book: Any) -> None:
    page = book.list_customers(size=5, page=2)
    assert [one.id for one in page.items] == sorted((one.id for one in page.items), reverse=True)
    assert (len(page.items), type(page.items[0]), type(page.items[0].rating)) == (5, ListedCustomer, Rating)
    one = page.items[0]
    assert book.list_customers(email=one.email.upper(), customer_ids=[one.id, 10**6]).items == [one]
    wholesale = {CustomerType.Wholesale, NewCustomerType.WholeSale, "wholesale"}
    assert {book.list_customers(customer_type=kind).total for kind in wholesale} == {
        sum(one.is_wholesale for one in book.iterate_customers())
    }
    today = date.today()
    everybody = book.list_customers(modified_on_to=datetime.now(UTC) + timedelta(days=2)).total
    assert everybody == book.list_customers(createdOnTo=today + timedelta(days=2)).total >= SAMPLE
    assert book.list_customers(created_on_from=today + timedelta(days=2)).items == []


def test_iterating_meets_every_customer_once(book: Any) -> None:
    found = [one.id for one in book.iterate_customers()]
    assert len(found) >= SAMPLE
    assert found == sorted(set(found), reverse=True)
    assert [one.id for one in book.iterate_customers(customer_ids=found[3:5])] == found[3:5]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda ids: [1000, 999, *ids], id="new ones come"),
        pytest.param(lambda ids: ids[3:], id="some of the first leave"),
        pytest.param(lambda ids: ids[60:], id="more than a page leaves"),
        pytest.param(lambda ids: ids[:40], id="the rest leaves"),
        pytest.param(lambda ids: [], id="all leave"),
    ],
)
def test_iterating_while_the_list_changes(
    connect: Connect, failing: Failing, change: Callable[[list[int]], list[int]]
) -> None:
    ids = list(range(150, 0, -1))
    first = True

    def answer(path: str, headers: Any) -> Any:
        nonlocal ids, first
        number = int(parse_qs(urlsplit(path).query)["pageNumber"][0])
        page = {"Items": [{"UserID": one} for one in ids[number * 50 - 50 : number * 50]], "TotalResults": len(ids)}
        if first:
            ids, first = change(ids), False
        return 200, {}, page

    failing.answers = [answer] * 20
    found = [one.id for one in connect(failing.url).iterate_customers()]
    assert len(found) == len(set(found))
    assert set(found) >= set(ids) - {1000, 999}
    assert len(failing.seen) <= 6


# ---- what is refused before anything is sent


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda c: c.update_customer(1, phone_1="x"), TypeError, "takes no 'phone_1'. Did you mean phone1?"),
        (lambda c: c.update_customer(1, first_name="x"), TypeError, "Did you mean name?"),
        (lambda c: c.update_customer(1, tax_exempt=True), TypeError, "update_order_options does"),
        (lambda c: c.update_customer(1, {"Qqqq": 1}), TypeError, "Known are account_manager1_commission, "),
        (lambda c: c.update_customer(1, phone1="x", Phone1="y"), TypeError, "got Phone1 twice"),
        (lambda c: c.update_customer(1, account_manager1_commission=Decimal("NaN")), ValueError, "finite"),
        (lambda c: c.update_customer(1, account_manager1_commission=float("inf")), ValueError, "finite"),
        (lambda c: c.update_customer("1"), TypeError, "integer"),
        (lambda c: c.get_customer("1/Addresses"), TypeError, "integer"),
        (lambda c: c.update_customer(1, if_match=0), ValueError, "if_match"),
        (lambda c: c.update_customer(1, if_match=""), ValueError, "if_match"),
        (lambda c: c.update_customer(1, if_match='"1"\r\nX: y'), ValueError, "if_match"),
        (lambda c: c.update_addresses(1, [{"cty": "x"}]), TypeError, "Did you mean city?"),
        (lambda c: c.update_custom_columns(1, {"A": float("nan")}), ValueError, "finite"),
        (lambda c: c.create_customer(name="x"), TypeError, "create_customer takes no 'name'"),
        (lambda c: c.list_customers(frist_name="x"), TypeError, "Did you mean first_name?"),
        (lambda c: c.list_customers(email=" "), ValueError, "match every customer"),
        (lambda c: c.list_customers(customer_ids=[]), ValueError, "match every customer"),
        (lambda c: c.list_customers(size=51), ValueError, "from 1 to 50"),
        (lambda c: list(c.iterate_customers(frist_name="x")), TypeError, "Did you mean first_name?"),
    ],
)
def test_what_makes_no_sense_is_not_sent(
    connect: Connect, failing: Failing, call: Callable[[Any], Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=re.escape(text)):
        call(connect(failing.url))
    assert (failing.seen, failing.logins) == ([], 0)


def test_what_is_sent(connect: Connect, failing: Failing) -> None:
    failing.answers = [(200, {}, 7), (200, {}, b""), (200, {}, {"Items": [], "TotalResults": 0})]
    client = connect(failing.url + "/rest")
    client.create_customer(customer_type=NewCustomerType.WholeSale, company_id=1)
    client.update_customer(1, if_match='W/"4"', rating=Rating.Satisfied, AccountManager1Commission=Decimal("0.10"))
    client.list_customers(
        subscribed=True, email=None, rating=Rating.Neutral, created_on_to=datetime(2026, 1, 2, tzinfo=UTC)
    )
    assert failing.seen[0][3] == {"CustomerType": "WholeSale", "CompanyId": 1}
    assert failing.seen[1][3] == {"Rating": 4, "AccountManager1Commission": 0.1}
    assert failing.seen[1][2]["If-Match"] == '"4"'
    assert parse_qs(urlsplit(failing.seen[2][1]).query) == {
        "pageNumber": ["1"],
        "pageSize": ["50"],
        "subscribed": ["1"],
        "rating": ["3"],
        "createdOnTo": ["2026-01-02T00:00:00Z"],
    }


@pytest.mark.parametrize(
    "given", ["https://h", "https://h/", "https://h/rest", "https://h/REST/api/", "https://h/rest/"]
)
def test_base_urls(given: str) -> None:
    with Client(given, USER, PASSWORD) as client:
        assert client.base_url == "https://h/rest/api"
    with Client("http://h:8080/x/rest", USER, PASSWORD) as client:
        assert client.base_url == "http://h:8080/x/rest/api"


@pytest.mark.parametrize(
    "given", ["h", "ftp://h", "https://", "https://u:hunter2@h", "https://h?x=1", "https://h:x", ""]
)
def test_what_is_no_base_url(given: str) -> None:
    with pytest.raises(ValueError, match="Expected a base URL") as caught:
        Client(given, USER, PASSWORD)
    assert "hunter2" not in str(caught.value)


# ---- errors


def test_errors_of_the_real_server(book: Any, ada: int) -> None:
    with pytest.raises(NotFound, match="Could not find or load record with ID 999999"):
        book.get_customer(999_999)
    with pytest.raises(Refused) as refused:
        book.update_customer(ada, {"EMAIL": "nonsense"}, rating=9, phone1="x" * 51)
    assert sorted(refused.value.problems) == ["Email", "Phone1", "Rating"]
    book.update_customer(ada, phone1="1", if_match=1)
    with pytest.raises(Conflict) as conflict:
        book.update_customer(ada, phone1="2", if_match=1)
    assert conflict.value.version == 2
    assert book.update_customer(ada, phone1="2", if_match=book.get_customer(ada).etag).version == 3


def test_a_wrong_password_at_the_real_server(connect: Connect, url: str) -> None:
    wrong = connect(url, USER, "wrong")
    with pytest.raises(Unauthenticated, match="invalid username or password"):
        wrong.get_customer(1)
    with pytest.raises(Unauthenticated, match="invalid username or password"):
        wrong.log_in()


SOON = {"Error": "Too many requests.", "RateLimitResetTime": "2026-01-14T09:38:49.9856571Z"}
NOW = {"Date": "Wed, 14 Jan 2026 09:38:39 GMT"}
LATER = {**NOW, "Retry-After": "Wed, 14 Jan 2026 09:39:09 GMT"}


@pytest.mark.parametrize(
    ("answer", "error", "attributes"),
    [
        (
            (400, {}, {"Message": "m", "ModelState": {"A": ["b"], "C": "d"}}),
            Refused,
            {"problems": {"A": ["b"], "C": ["d"]}},
        ),
        ((413, {}, {"Message": "m"}), Refused, {"problems": {}, "message": "m"}),
        ((403, {}, {"Message": "m"}), Denied, {"message": "m"}),
        ((404, {}, "Could not find or load record with ID 5!"), NotFound, {}),
        ((404, {}, b"<html>"), NotFound, {}),
        ((500, {}, "Could not find or load record with ID 5!"), NotFound, {}),
        ((412, {"ETag": '"7"'}, {"Message": "m"}), Conflict, {"version": 7}),
        ((409, {}, {"Message": "m"}), Conflict, {"version": 0}),
        ((429, {"Retry-After": "120"}, SOON), TooMany, {"retry_after": 120.0}),
        ((409, {"Retry-After": "90"}, SOON), TooMany, {"retry_after": 90.0}),
        ((502, {"Retry-After": "61"}, b"<html>"), Unavailable, {"retry_after": 61.0}),
        ((500, {"X-Request-Id": "r-1"}, {"Message": "An error has occurred."}), RegularsError, {"code": "error"}),
        ((302, {"Location": "/"}, b""), RegularsError, {"code": "error"}),
        ((200, {}, b"<html>"), RegularsError, {"code": "error"}),
    ],
)
def test_answers_become_errors(
    connect: Connect, failing: Failing, answer: Any, error: type[RegularsError], attributes: dict[str, Any]
) -> None:
    failing.answers = [answer]
    client = connect(failing.url)
    with pytest.raises(error) as caught:
        client.get_customer(5)
    assert type(caught.value) is error
    for name, value in attributes.items():
        assert getattr(caught.value, name) == value
    if "X-Request-Id" in answer[1]:
        assert "r-1" in str(caught.value)
    assert (len(failing.seen), client.sleeps) == (1, [])


def test_secrets_are_in_no_text(connect: Connect, failing: Failing) -> None:
    client = connect(failing.url, retries=0)
    failing.answers = ["hang up"]
    with pytest.raises(Unavailable) as caught:
        client.get_customer(5)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    inside = getattr(client, "client", client)
    texts = [repr(inside), str(caught.value), *(repr(value) for value in vars(inside).values())]
    assert not any(TOKEN in text or PASSWORD in text for text in texts)
    assert USER in texts[0]


# ---- trying again

CALLS: dict[str, Callable[[Any], Any]] = {
    "get": lambda c: c.get_customer(1),
    "put": lambda c: c.update_customer(1, phone1="1"),
    "known address": lambda c: c.update_addresses(1, [Address(id=3)]),
    "new address": lambda c: c.update_addresses(1, [Address(id=3), Address(id=0)]),
    "if-match": lambda c: c.update_customer(1, phone1="1", if_match=2),
    "create": lambda c: c.create_customer(first_name="Ada"),
    "group": lambda c: c.add_customers_to_group(1, [1]),
}
REPEATABLE = {"get", "put", "known address"}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("trouble", [(503, {"Retry-After": "2"}, {"Message": "m"}), (503, {}, b""), "hang up"])
def test_only_what_is_repeatable_is_sent_again_after_it_may_have_been_done(
    connect: Connect, failing: Failing, name: str, trouble: Any
) -> None:
    failing.answers = [trouble, trouble]
    client = connect(failing.url)
    if name in REPEATABLE:
        CALLS[name](client)
        assert len(failing.seen) == 3
        assert len(client.sleeps) == 2
        assert all(1 <= seconds <= 2 for seconds in client.sleeps)
    else:
        with pytest.raises(Unavailable) as caught:
            CALLS[name](client)
        assert (len(failing.seen), client.sleeps) == (1, [])
        assert trouble != "hang up" or "Whether it took effect is not known." in str(caught.value)


@pytest.mark.parametrize("route", [route.name for route in ROUTES if route.writes])
def test_every_write_with_a_key_is_sent_again(connect: Connect, failing: Failing, route: str) -> None:
    method, args, kwargs = METHODS[route]
    busy = (409, {"Retry-After": "3"}, {"Message": "still being answered"})
    failing.answers = ["hang up", busy, (503, {}, b""), (200, {}, b"1" if route == "CreateCustomer" else {})]
    client = connect(failing.url)
    getattr(client, method)(*args, **kwargs, idempotency_key="k 1")
    assert [headers["Idempotency-Key"] for _, _, headers, _ in failing.seen] == ["k 1"] * 4
    assert len({(path, json.dumps(body)) for _, path, _, body in failing.seen}) == 1
    assert client.sleeps[1] == 3


def test_a_key_that_was_used_before(book: Any, ada: int) -> None:
    key = f"key of {ada}"
    first = book.update_customer(ada, phone1="1", idempotency_key=key)
    assert book.update_customer(ada, phone1="1", idempotency_key=key) == first
    with pytest.raises(Reused):
        book.update_customer(ada, phone1="2", idempotency_key=key)
    assert book.get_customer(ada).customer.version == first.version


def test_a_batch_tells_what_came_of_each(book: Any, ada: int) -> None:
    new = {"first_name": "A", "last_name": "B", "email": "a@x.test", "company_id": 1, "is_wholesale": False}
    items: list[dict[str, Any]] = [
        {"action": "update", "id": ada, "Fax": "1", "credit_limit": Decimal("2.50")},
        {"action": "upsert", "key": "SourceId", "source_id": f"s-{ada}", "addresses": [], **new},
        {"action": "update", "id": ada, "version": 1, "phone1": 5},
    ]
    done = book.batch_customers(items)
    assert [(one.done, one.version, one.members) for one in done] == [
        ("updated", 2, ("Fax", "CreditLimit")),
        ("created", 1, ("FirstName", "LastName", "Email", "SourceId", "CompanyId")),
        ("refused", 2, ()),
    ]
    assert done[0].id == ada and set(done[2].problems) == {"Version"} and not done[0].problems
    assert book.get_customer(done[1].id).customer.source_id == f"s-{ada}"
    with pytest.raises(Refused) as caught:
        book.batch_customers([{"action": "update", "id": ada, "fax": "2"}, items[2]], atomic=True)
    assert set(caught.value.problems) == {"Items[1].Version"}
    assert book.get_customer(ada).customer.fax == "1"
    with pytest.raises(TypeError, match=r"batch_customers takes no 'telefax'\. Did you mean fax\?"):
        book.batch_customers([{"action": "update", "telefax": "1"}])
    assert book.batch_customers([]) == []


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "ü", "a\nb"])
def test_what_is_no_key_is_not_sent(connect: Connect, failing: Failing, key: str) -> None:
    with pytest.raises(ValueError, match="idempotency_key: expected 1 to 255"):
        connect(failing.url).update_customer(1, phone1="1", idempotency_key=key)
    assert not failing.seen


@pytest.mark.parametrize("name", CALLS)
def test_what_was_throttled_is_sent_again(connect: Connect, failing: Failing, name: str) -> None:
    failing.answers = [
        (429, {"Retry-After": "5"}, {}),
        (409, NOW, SOON),
        (429, LATER, {}),
        (200, {}, b"1"),
    ]
    if name == "get":
        failing.answers[-1] = (200, {}, {})
    client = connect(failing.url)
    CALLS[name](client)
    assert len(failing.seen) == 4
    assert client.sleeps == pytest.approx([5, 10.985657, 30])


@pytest.mark.parametrize("name", CALLS)
def test_what_was_never_sent_is_sent_again(connect: Connect, name: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        client = connect(f"http://127.0.0.1:{closed.getsockname()[1]}", retries=5)
        with pytest.raises(Unavailable, match="No answer to POST token: ConnectError"):
            CALLS[name](client)
    assert len(client.sleeps) == 5
    assert client.sleeps[-1] >= 4


def test_a_call_that_was_never_sent_is_sent_when_the_server_is_back(connect: Connect, failing: Failing) -> None:
    client = connect(failing.url)
    client.get_customer(1)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        inside = getattr(client, "client", client)
        inside.base_url, there = f"http://127.0.0.1:{closed.getsockname()[1]}/rest/api", inside.base_url

        def back(seconds: float) -> Any:
            inside.base_url = there
            return asyncio.sleep(0) if isinstance(inside, AsyncClient) else None

        inside._sleep = back
        failing.answers = [(200, {}, 8)]
        assert client.create_customer(first_name="Ada") == 8
    assert failing.paths() == ["GET Customers/1", "POST Customers"]


def test_trying_again_ends(connect: Connect, failing: Failing) -> None:
    failing.answers = [(503, {}, {"Message": "m"})] * 9
    client = connect(failing.url, retries=2)
    with pytest.raises(Unavailable, match="m"):
        client.get_customer(1)
    assert (len(failing.seen), len(client.sleeps)) == (3, 2)


# ---- tokens


def test_one_token_serves_until_shortly_before_it_expires(connect: Connect, failing: Failing) -> None:
    now = 1000.0
    client = connect(failing.url, clock=lambda: now)
    assert failing.logins == 0
    client.get_customer(1)
    now += 3600 - 61
    client.get_customer(1)
    assert failing.logins == 1
    now += 2
    client.get_customer(1)
    client.log_in()
    assert failing.logins == 3
    assert [headers["Authorization"] for _, _, headers, _ in failing.seen] == [
        f"Bearer {TOKEN}-{number}" for number in (1, 1, 2)
    ]


@pytest.mark.parametrize(
    ("body", "life"),
    [
        ({"expires_in": "1800"}, 1800),
        ({".issued": "2026-11-23T12:40:50.1234567Z", ".expires": "2026-11-23T13:10:50.1234567Z"}, 1800),
        ({".expires": "Wed, 14 Jan 2026 10:08:39 GMT"}, 1800),
        ({".expires": "2026-01-14T10:08:39"}, 1800),
        ({".expires": "one day"}, 3600),
        ({}, 3600),
        ({"expires_in": 100}, 100),
    ],
)
def test_how_long_a_token_is_good_for(connect: Connect, failing: Failing, body: dict[str, Any], life: float) -> None:
    now = 0.0
    failing.login = lambda number: (200, NOW if number else {}, {"access_token": "x", **body})
    client = connect(failing.url, clock=lambda: now)
    client.get_customer(1)
    margin = min(60, life / 10)
    now = life - margin - 1
    client.get_customer(1)
    assert failing.logins == 1
    now = life - margin + 1
    client.get_customer(1)
    assert failing.logins == 2


@pytest.mark.parametrize("name", CALLS)
def test_a_refused_token_is_renewed_once(connect: Connect, failing: Failing, name: str) -> None:
    no = (401, {}, {"Message": "Not Valid Token"})
    failing.answers = [no, (200, {}, {} if name == "get" else 1), no, no]
    client = connect(failing.url)
    CALLS[name](client)
    assert failing.logins == 2
    with pytest.raises(Unauthenticated, match="Not Valid Token"):
        CALLS[name](client)
    assert (failing.logins, len(failing.seen), client.sleeps) == (3, 4, [])


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_a_wrong_password(connect: Connect, failing: Failing, status: int) -> None:
    failing.login = lambda number: (status, {}, {"Message": "Sorry, invalid username or password"})
    with pytest.raises(Unauthenticated, match="invalid username or password"):
        connect(failing.url).get_customer(1)
    assert (failing.logins, failing.seen) == (1, [])


def first_token_is_revoked(path: str, headers: Any) -> Any:
    return (401, {}, {}) if headers["Authorization"].endswith("-1") else (200, {}, {})


def test_threads_share_one_renewal(failing: Failing) -> None:
    failing.answers = [first_token_is_revoked] * 20
    with Client(failing.url, USER, PASSWORD) as client, ThreadPoolExecutor(8) as pool:
        ready = threading.Barrier(8)

        def call(number: int) -> CustomerDetails:
            ready.wait(5)
            return client.get_customer(number)

        assert len(list(pool.map(call, range(8)))) == 8
    assert failing.logins == 2
    assert 9 <= len(failing.seen) <= 16


def test_tasks_share_one_renewal(failing: Failing) -> None:
    failing.answers = [first_token_is_revoked] * 20

    async def main() -> None:
        async with AsyncClient(failing.url, USER, PASSWORD) as client:
            await asyncio.gather(*(client.get_customer(number) for number in range(8)))

    asyncio.run(main())
    assert failing.logins == 2
    assert 9 <= len(failing.seen) <= 16


# ---- tolerance


def test_answers_of_the_vendor_are_read_where_they_can_be(connect: Connect, failing: Failing) -> None:
    raw = {
        "General": {"ID": 5, "Title": None, "FirstName": "A" * 1000, "BusinessAliases": None},
        "Internal": {"LocalRating": 77, "AccountManagerCommission": 1.10, "CreatedOn": "2026-11-23T12:40:50"},
        "Personal": None,
        "Addresses": [{"ID": 9, "AddressSource": 99, "City": "Rome"}, None],
        "CustomColumns": [
            {"ID": 1, "DataType": 2, "Value": 2.50},
            {"ID": 2, "Value": ["a"]},
            {"ID": 3, "Value": None},
            {},
        ],
        "CustomerGroups": {"CustomerGroups": [{"ID": 3, "Name": "VIP"}]},
    }
    failing.answers = [(200, {}, raw), (200, {"ETag": 'W/"6"'}, {}), (200, {}, {"Items": [{"UserID": 1}]})]
    client = connect(failing.url)
    found: CustomerDetails = client.get_customer(5)
    customer = found.customer
    assert (customer.id, customer.version, found.etag, customer.first_name) == (5, 0, "", "A" * 1000)
    assert str(customer.account_manager1_commission) == "1.1"
    assert customer.created_on == datetime(2026, 11, 23, 12, 40, 50, tzinfo=UTC)
    assert (customer.addresses[0].city, customer.group_ids) == ("Rome", (3,))
    assert customer.custom_values == {1: "2.5", 2: ("a",)}
    assert found.unread == ("rating", "addresses[0].source")
    assert client.get_customer(5).customer.version == 6
    with pytest.raises(RegularsError, match="TotalResults"):
        client.list_customers()


def test_ignored_members_are_told(connect: Connect, failing: Failing) -> None:
    failing.answers = [(200, {"ETag": '"3"', "Ignored-Members": "Phone9, Fo%20o"}, b"")]
    done = connect(failing.url).update_customer(1, phone1="1")
    assert (done.version, done.etag, done.ignored) == (3, '"3"', ("Phone9", "Fo o"))


def test_importing_the_store_does_not_import_the_client(tmp_path: Path) -> None:
    check = (
        "import sys, regulars.store; assert 'httpx2' not in sys.modules; import regulars; "
        "assert all(getattr(regulars, name) for name in regulars.__all__); assert 'httpx2' in sys.modules; "
        "assert not hasattr(regulars, 'nonsense')"
    )
    subprocess.run([sys.executable, "-c", check], check=True, cwd=tmp_path)


# ---- the history, undo and the feed


def test_the_history_of_a_customer_and_undo(book: Any, ada: int) -> None:
    book.update_customer(ada, phone1="1")
    book.update_customer(ada, phone1="2")
    first = book.list_customer_changes(ada, limit=2)
    (last, before) = first.items
    assert (last.kind, last.version, last.fields, last.customer_id) == ("updated", 3, '{"Phone1":["1","2"]}', ada)
    (created,) = book.list_customer_changes(ada, cursor=first.next).items
    assert (created.kind, created.fields, created.undoes) == ("created", "{}", ())
    with pytest.raises(Overtaken) as overtaken:
        book.undo_change(before.id)
    assert [(one["Member"], one["Found"]) for one in overtaken.value.conflicts] == [("Phone1", "2")]
    assert book.undo_change(last.id, dry_run=True)["DryRun"] is True
    (done,) = book.undo_changes(request_id=last.request_id)["Customers"]
    assert (done["Undoes"], book.get_customer(ada).customer.phone1) == ([last.id], "1")
    assert book.list_customer_changes(ada, limit=1).items[0].undoes == (last.id,)
    assert book.undo_changes(employee=USER, since=last.at, dry_run=True)["Customers"] == []


def followed(kind: str, client: Any, after: str, count: int) -> list[Change]:
    """The next changes of a client's feed."""
    if kind == "sync":
        return list(islice(client.follow_changes(after=after), count))

    async def work() -> list[Change]:
        found = []
        async with aclosing(client.client.follow_changes(after=after)) as changes:
            async for one in changes:
                found.append(one)
                if len(found) == count:
                    break
        return found

    result: list[Change] = client.runner.run(work())
    return result


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_feed_is_followed_page_by_page_and_can_be_resumed(url: str, kind: str) -> None:
    client = connected(kind, url)
    one, two = followed(kind, client, "1-0", 2)
    assert (one.id, two.id, one.kind, one.tenant_id) == (1, 2, "created", 1)
    (three,) = followed(kind, client, f"{two.tenant_id}-{two.id}", 1)
    assert three.id == 3
    assert len(followed(kind, client, "1-0", SAMPLE)) == SAMPLE
    client.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_following_survives_outages_and_misses_nothing(failing: Failing, kind: str) -> None:
    def page(*numbers: int) -> tuple[int, dict[str, str], Any]:
        items = [{"ID": number, "CustomerID": 5, "Kind": "updated", "Fields": {}} for number in numbers]
        return 200, {}, {"Items": items, "Cursor": f"1-{numbers[-1]}", "More": False}

    outage = (503, {"Retry-After": "2"}, {"Message": "busy"})
    failing.answers = [page(1, 2), outage, "hang up", outage, page(3), *["hang up"] * 3, page(4)]
    client = connected(kind, failing.url, retries=0)
    assert [one.id for one in followed(kind, client, "1-0", 4)] == [1, 2, 3, 4]
    asked = [parse_qs(urlsplit(path).query)["after"] for path in failing.paths() if "changes" in path]
    assert asked == [["1-0"], *[["1-2"]] * 4, *[["1-3"]] * 4]
    assert len(client.sleeps) == 6 and client.sleeps[0] >= 2
    client.close()
