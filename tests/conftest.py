"""A real server for the whole session, and what a test needs to talk to it.

One store, uvicorn on a free port in a thread with a loop of its own, some tenants. Tests speak HTTP to it; each makes
customers of its own, so that none has to clean up. The modules in `ON_BOTH` run against SQLite and PostgreSQL.
"""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import argon2
import httpx2
import postgres
import pytest
import uvicorn
from msgspec.structs import replace

from regulars import access
from regulars.app import App, migrate
from regulars.http.protocol import Protocol
from regulars.http.server import Server
from regulars.record import (
    Carrier,
    Change,
    Column,
    ColumnType,
    Company,
    Customer,
    Group,
    PaymentTerm,
    Service,
    Tenant,
)
from regulars.settings import Settings
from regulars.store import Actor, Tx

T = TypeVar("T")

PASSWORD = "correct horse battery staple"
TT, OTHER, QUIRKY, SAMPLE = 1, 2, 3, 4
"""The tenants: one as anybody's, one that is strict about business names and e-mail, one with the quirks on, and one
for sample customers."""
HOST, OTHER_HOST, QUIRKY_HOST, SAMPLE_HOST = (f"{name}.api.example.com" for name in ("tt", "other", "quirky", "sample"))

ADMIN = "admin@example.com"
EMPLOYEES: dict[str, dict[str, bool]] = {
    ADMIN: {"is_admin": True, "can_view": False, "can_edit": False, "can_create": False, "can_delete": False},
    "viewer@example.com": {"can_edit": False, "can_create": False},
    "editor@example.com": {"can_view": False, "can_create": False},
    "creator@example.com": {"can_view": False, "can_edit": False},
    "nobody@example.com": {"can_view": False, "can_edit": False, "can_create": False, "can_delete": False},
}
"""User name → permissions; numbered from 1 in this order, in every tenant."""

CAREFUL, GENEROUS = 1, 2
"""Companies: one that never ships unpaid orders, one that may."""

REFERENCE: tuple[Any, ...] = (
    Company(tenant_id=0, id=CAREFUL, name="Careful Ltd"),
    Company(tenant_id=0, id=GENEROUS, name="Generous Ltd", allow_shipping_unpaid_orders=True),
    Group(tenant_id=0, id=1, name="VIP"),
    Group(tenant_id=0, id=2, name="Newsletter"),
    Column(tenant_id=0, id=1, name="Loyalty", display_name="Loyalty number", length=20),
    Column(tenant_id=0, id=2, name="Visits", data_type=ColumnType.Integer),
    Column(tenant_id=0, id=3, name="Budget", data_type=ColumnType.Decimal),
    Column(tenant_id=0, id=4, name="LastVisit", data_type=ColumnType.DateTime),
    Column(tenant_id=0, id=5, name="Catalogue", data_type=ColumnType.Boolean),
    Column(tenant_id=0, id=6, name="Story", data_type=ColumnType.nText),
    Column(tenant_id=0, id=7, name="Site", data_type=ColumnType.Hyperlink),
    Column(tenant_id=0, id=8, name="Tier", choices=("Gold", "Silver")),
    Column(tenant_id=0, id=9, name="Likes", choices=("Tea", "Coffee"), allow_multiple=True),
    Column(tenant_id=0, id=10, name="HeardFrom", choices=("Friend",), allow_custom_text=True, length=10),
    Column(tenant_id=0, id=11, name="Badge", required=True),
    PaymentTerm(tenant_id=0, id=1, name="Net 10"),
    PaymentTerm(tenant_id=0, id=2, name="Net 30"),
    Carrier(tenant_id=0, id=1, name="UPS"),
    Carrier(tenant_id=0, id=2, name="DHL"),
    Service(tenant_id=0, id=11, carrier_id=1, name="UPS Ground"),
    Service(tenant_id=0, id=12, carrier_id=1, name="UPS Air"),
    Service(tenant_id=0, id=21, carrier_id=2, name="DHL Paket"),
)


class Clock:
    """The time, which a test can move ahead, or stop."""

    ahead = timedelta()
    stopped: datetime | None = None

    def __call__(self) -> datetime:
        return (self.stopped or datetime.now(UTC)) + self.ahead

    @contextmanager
    def stop(self) -> Iterator[None]:
        """No time passes while the block runs."""
        self.stopped = datetime.now(UTC)
        try:
            yield
        finally:
            self.stopped = None

    @contextmanager
    def later(self, **by: float) -> Iterator[None]:
        """The time moved ahead, as `timedelta` takes it, while the block runs."""
        before, self.ahead = self.ahead, self.ahead + timedelta(**by)
        try:
            yield
        finally:
            self.ahead = before


class Looped(Server):
    """Tells in which loop it runs."""

    def __init__(self, running: "Running") -> None:
        super().__init__(running.app)
        self.running = running

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running.loop = asyncio.get_running_loop()
        await super().__call__(scope, receive, send)


class Running:
    """A server that listens, and the application inside it."""

    def __init__(self, settings: Settings, clock: Clock, protocol: type[Protocol] = Protocol) -> None:
        self.clock = clock
        self.app = App(settings, clock)
        self.settings = settings
        self._server = uvicorn.Server(
            uvicorn.Config(
                Looped(self),
                port=0,
                http=protocol,
                ws="none",
                interface="asgi3",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._callers: list[Api] = []
        self.loop: asyncio.AbstractEventLoop
        self.port = 0

    def __enter__(self) -> "Running":
        self._thread.start()
        end = monotonic() + 10
        while not self._server.started:
            assert self._thread.is_alive() and monotonic() < end, "the server did not start"
            sleep(0.005)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        for caller in self._callers:
            caller.client.close()
        self.stop()
        self._thread.join(10)

    def stop(self) -> None:
        """Have it stop gracefully."""
        self._server.should_exit = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine of the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def run(self, tenant_id: int, command: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """The result of a command of the store, past HTTP."""

        async def work() -> T:
            return await self.app.store.run(Actor(tenant_id, door="test"), command, *args, **kwargs)

        return self.wait(work())

    def plain(self) -> httpx2.Client:
        """A client that is not logged in; to be closed."""
        return httpx2.Client(base_url=self.url)

    def login(self, user: str = ADMIN, password: str = PASSWORD, host: str = HOST) -> httpx2.Response:
        with self.plain() as client:
            body = {"Username": user, "Password": password}
            return client.post("/rest/api/token", json=body, headers={"Host": host})

    def api(self, user: str = ADMIN, host: str = HOST) -> "Api":
        """A caller that is logged in."""
        answer = self.login(user, host=host)
        assert answer.status_code == 200, answer.text
        return self.holding(answer.json()["access_token"], host)

    def holding(self, token: str, host: str = HOST) -> "Api":
        """A caller with this token, whatever it is worth."""
        self._callers.append(Api(self, token, host))
        return self._callers[-1]

    def connect(self, timeout: float = 5) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)


class Api:
    """One caller of one tenant."""

    _numbers = count(1)

    def __init__(self, server: Running, token: str, host: str = HOST) -> None:
        self.server = server
        self.token = token
        self.host = host
        self.headers = {"Host": host, "Authorization": f"Bearer {token}"}
        self.client = httpx2.Client(base_url=server.url, headers=self.headers, timeout=20)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """One call below /rest/api; `body` is sent as JSON, bytes as they are. `If_Match="…"` sets a header."""
        content: bytes | None = None
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            content = body if isinstance(body, bytes) else to_json(body)
            named.setdefault("Content-Type", "application/json")
        url = path if path.startswith("/") else f"/rest/api/{path}"
        return self.client.request(method, url, content=content, headers=named)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self.call("GET", path, **headers)

    def put(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        return self.call("PUT", path, body, **headers)

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        return self.call("POST", path, body, **headers)

    def new(self, **members: Any) -> int:
        """The id of a fresh customer; members are those of creating one, by default retail and careful."""
        number = next(self._numbers)
        given = {
            "CompanyID": CAREFUL,
            "FirstName": "Ann",
            "LastName": "Lee",
            "Email": f"ann{number}@example.com",
            "CustomerType": "Retail",
        }
        answer = self.post("Customers", given | members)
        assert answer.status_code == 200, answer.text
        return int(answer.text)

    def read(self, customer_id: int) -> Any:
        """The customer whole, decimals exact."""
        answer = self.get(f"Customers/{customer_id}")
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text, parse_float=Decimal)

    def update(self, customer_id: int, part: str = "", **members: Any) -> httpx2.Response:
        """An update that must succeed."""
        answer = self.put(f"Customers/{customer_id}{part and '/' + part}", members)
        assert answer.status_code == 200, answer.text
        return answer

    def list(self, query: str = "") -> Any:
        answer = self.get(f"Customers?{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stored(self, customer_id: int) -> Customer:
        """The customer as it is on disk."""
        return self.server.wait(self.server.app.store.get(Customer, self.tenant_id, customer_id))

    def changes(self, customer_id: int) -> Sequence[Change]:
        return self.server.wait(self.server.app.store.changes(self.tenant_id, customer_id, 1000))

    @property
    def tenant_id(self) -> int:
        return {HOST: TT, OTHER_HOST: OTHER, QUIRKY_HOST: QUIRKY, SAMPLE_HOST: SAMPLE}[self.host]

    @contextmanager
    def unchanged(self, customer_id: int) -> Iterator[None]:
        """Nothing of a customer may change in this block: not its record, not what reads back, not its history."""
        before = self.snapshot(customer_id)
        yield
        assert self.snapshot(customer_id) == before

    def snapshot(self, customer_id: int) -> tuple[Any, ...]:
        answer = self.get(f"Customers/{customer_id}")
        return answer.text, answer.headers["ETag"], self.stored(customer_id), len(self.changes(customer_id))


def to_json(value: Any) -> bytes:
    """JSON of plain values, decimals as the numbers that they spell."""
    marks: dict[str, str] = {}

    def mark(one: object) -> str:
        assert isinstance(one, Decimal)
        marks[f'"\x00{len(marks)}"'.replace("\x00", "\\u0000")] = str(one)
        return f"\x00{len(marks) - 1}"

    text = json.dumps(value, default=mark)
    for quoted, number in marks.items():
        text = text.replace(quoted, number, 1)
    return text.encode()


def problems(answer: httpx2.Response) -> Mapping[str, list[str]]:
    """What a refused request was told, by member."""
    assert answer.status_code == 400, (answer.status_code, answer.text)
    body = answer.json()
    assert set(body) == {"Message", "ModelState"} and body["Message"]
    assert all(why and all(isinstance(one, str) and one for one in why) for why in body["ModelState"].values())
    return body["ModelState"]  # type: ignore[no-any-return]


def until(holds: Callable[[], Any]) -> None:
    """Wait for what happens in another thread."""
    end = monotonic() + 10
    while not holds():
        assert monotonic() < end, "it did not happen"
        sleep(0.002)


def fill(tx: Tx, tenant: Tenant, password_hash: str) -> None:
    """A tenant with its employees and lists."""
    tx.put(tenant)
    for email, permissions in EMPLOYEES.items():
        access.put_employee(tx, email, {"password_hash": password_hash, **permissions})
    access.put_reference(tx, [_of(tenant.id, one) for one in REFERENCE])


def _of(tenant_id: int, record: Any) -> Any:
    return replace(record, tenant_id=tenant_id)


@contextmanager
def running(store: Path | str, protocol: type[Protocol] = Protocol, **settings: Any) -> Iterator[Running]:
    """A server of its own on a new book (a URL, or a folder for a file) with the usual tenants. It sends no events
    unless that is asked for: tests make endpoints up."""
    url = store if isinstance(store, str) else f"sqlite:///{store / 'book.db'}"
    chosen = Settings(**{"store": url, "webhooks": False, **settings})
    asyncio.run(migrate(chosen.store))
    with Running(chosen, Clock(), protocol) as server:
        hashed = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
        server.run(TT, fill, Tenant(tenant_id=TT, id=TT, name="tt"), hashed)
        strict = Tenant(tenant_id=OTHER, id=OTHER, name="other", require_business_name=True, block_duplicate_email=True)
        server.run(OTHER, fill, strict, hashed)
        server.run(QUIRKY, fill, Tenant(tenant_id=QUIRKY, id=QUIRKY, name="quirky", quirks=True), hashed)
        yield server


class Errors(logging.Handler):
    """Keeps what was logged as an error: the server met something that it did not expect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(logging.Formatter().format(record))


@pytest.fixture(scope="session")
def errors() -> Iterator[Errors]:
    """What the servers of the session log as errors."""
    handler = Errors()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)
    assert not handler.found, "\n".join(handler.found)


@pytest.fixture(autouse=True)
def no_errors(errors: Errors) -> Iterator[None]:
    """No test may make the server log an error."""
    yield
    found, errors.found = errors.found, []
    assert not found, "\n".join(found)


BOTH = ["sqlite", "postgres"]
ON_BOTH = {
    "test_access",
    "test_api_addresses",
    "test_api_concurrency",
    "test_api_create",
    "test_api_custom_columns",
    "test_api_groups",
    "test_api_settings",
    "test_feed",
    "test_filters",
    "test_undo",
    "test_v1_changes",
    "test_idempotency",
    "test_v1_batch",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames and metafunc.module.__name__ != "conftest":
        kinds = BOTH if metafunc.module.__name__ in ON_BOTH else BOTH[:1]
        metafunc.parametrize("server", kinds, indirect=True, scope="session")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        postgres.prepare()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        postgres.finish()


@contextmanager
def new_store(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a new store with its tables and nothing in them."""
    if kind == "postgres":
        with postgres.database() as url:
            yield url
    else:
        url = f"sqlite:///{folder}/book.db"
        postgres.wait(migrate(url))
        yield url


@pytest.fixture(params=BOTH)
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a store of the test's own, on each database."""
    with new_store(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of a store of the test's own on PostgreSQL."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def server(
    request: pytest.FixtureRequest, errors: Errors, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with new_store(request.param, tmp_path_factory.mktemp("book")) as url, running(url) as server:
        yield server


@pytest.fixture(scope="session")
def api(server: Running) -> Api:
    """The Client Admin of the first tenant."""
    return server.api()


@pytest.fixture(scope="session")
def other(server: Running) -> Api:
    """The Client Admin of the tenant that is strict about business names and e-mail."""
    return server.api(host=OTHER_HOST)


@pytest.fixture(scope="session")
def quirky(server: Running) -> Api:
    """The Client Admin of the tenant with the quirks on."""
    return server.api(host=QUIRKY_HOST)


@pytest.fixture(scope="session")
def employees(server: Running) -> Mapping[str, Api]:
    """A caller for each employee of the first tenant, by the word before the @."""
    return {email.split("@")[0]: server.api(email) for email in EMPLOYEES}


@pytest.fixture
def customer(api: Api) -> int:
    """A fresh retail customer of the first tenant."""
    return api.new()
