"""The connection: order, back-pressure, time, shutting down, and what a head may hold.

Most tests hold the transport and the clock in their hands; some go over a real socket.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from conftest import Api, Errors, Running, running
from hypothesis import given
from hypothesis import strategies as st
from test_hostile import everything, head, send, statuses
from uvicorn.server import ServerState

from regulars.app import App
from regulars.http import protocol
from regulars.http.messages import Request, Response
from regulars.http.protocol import PIECE, Answer, Protocol
from regulars.http.server import Server
from regulars.settings import Settings


class Loop:
    """A loop whose time moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Any] = []
        self.soon: list[Callable[[], Any]] = []
        self.made = 0

    def time(self) -> float:
        return self.now

    def call_soon(self, call: Callable[[], Any]) -> None:
        self.soon.append(call)

    def call_at(self, when: float, call: Callable[[], Any]) -> Any:
        self.made += 1
        timer = SimpleNamespace(when=when, call=call)
        timer.cancel = lambda: self.timers.remove(timer)
        self.timers.append(timer)
        return timer

    def call_later(self, delay: float, call: Callable[[], Any]) -> Any:
        return self.call_at(self.now + delay, call)

    def turn(self) -> None:
        """One turn: what was to be called soon."""
        soon, self.soon = self.soon, []
        for call in soon:
            call()

    def pass_by(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.when <= end]:
            timer = min(due, key=lambda one: one.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.call()
        self.now = end


class Wire:
    """The transport: keeps what is written; `full` says that the client does not read."""

    def __init__(self) -> None:
        self.written = b""
        self.unread = 0
        self.reading = True
        self.closed = self.aborted = self.half_closed = False
        self.writes = 0

    def write(self, data: bytes) -> None:
        assert not (self.closed or self.half_closed)
        self.written += data
        self.writes += 1

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unread

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 1234) if name == "peername" else default


class Slow:
    """An application whose answers wait for the test, but for those at /now."""

    body_limit = 100

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.waiting: list[asyncio.Future[None]] = []

    async def serve(self, request: Request) -> Answer:
        self.requests.append(request)
        if request.path != "/now":
            self.waiting.append(asyncio.get_running_loop().create_future())
            await self.waiting[-1]
        response = Response(413 if request.too_large else 200, request.path.encode())
        return response.head(str(len(self.requests))), response.body


class Bench:
    """A connection with its application, its transport and its loop."""

    def __init__(self, app: Any = None) -> None:
        self.app = app or Slow()
        self.loop, self.wire, self.state = Loop(), Wire(), ServerState()
        config: Any = SimpleNamespace(loaded_app=self.app, timeout_keep_alive=75)
        self.protocol = Protocol(config, self.state, {}, cast(Any, self.loop))
        self.protocol.connection_made(cast(Any, self.wire))

    def get(self, *paths: str, more: str = "") -> None:
        self.protocol.data_received(b"".join(get(path, more) for path in paths))

    async def answer(self, number: int = 0) -> None:
        self.app.waiting.pop(number).set_result(None)
        await asyncio.sleep(0)

    @property
    def bodies(self) -> list[str]:
        return re.findall(r"\r\n\r\n(/\w*?)(?=HTTP/1|$)", self.wire.written.decode())


def get(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode()


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    def run(**given: Any) -> None:
        async def body() -> None:
            await test(Bench(), **given)

        asyncio.run(body())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


# ---- order and back-pressure


@in_loop
async def test_answers_come_in_the_order_of_the_requests(bench: Bench) -> None:
    bench.get("/a", "/now", "/b")
    assert [one.path for one in bench.app.requests] == ["/a"]
    await bench.answer()
    assert bench.bodies == ["/a", "/now"]
    await bench.answer()
    assert bench.bodies == ["/a", "/now", "/b"]
    assert bench.wire.writes == bench.state.total_requests == 3
    assert not bench.state.tasks and not bench.wire.closed


@in_loop
async def test_nothing_more_is_read_while_an_answer_is_pending(bench: Bench) -> None:
    bench.get("/a")
    assert bench.wire.reading, "one request at a time, as most clients send them, never stops reading"
    bench.get("/b", "/now")
    assert not bench.wire.reading
    bench.get("/now")
    await bench.answer()
    assert bench.bodies == ["/a"] and not bench.wire.reading
    await bench.answer()
    assert bench.bodies == ["/a", "/b", "/now", "/now"] and bench.wire.reading


@in_loop
async def test_nothing_more_is_answered_while_the_client_does_not_read(bench: Bench) -> None:
    bench.get("/now")
    bench.protocol.pause_writing()
    bench.get("/now", "/a")
    assert bench.bodies == ["/now"] and not bench.wire.reading and not bench.app.waiting
    bench.protocol.resume_writing()
    assert bench.bodies == ["/now", "/now"]
    await bench.answer()
    assert bench.bodies == ["/now", "/now", "/a"] and bench.wire.reading


@in_loop
async def test_one_client_that_sends_much_ahead_lets_others_have_their_turn(bench: Bench) -> None:
    many = 4 * PIECE // len(get("/now"))
    bench.get(*["/now"] * many)
    assert len(bench.app.requests) <= PIECE // len(get("/now")) and not bench.wire.reading
    turns = 0
    while bench.loop.soon:
        bench.loop.turn()
        turns += 1
    assert turns >= 3 and len(bench.bodies) == many and bench.wire.reading


def test_a_client_that_does_not_read_gets_all_in_order_when_it_does(server: Running) -> None:
    path = "/rest/swagger/ui/swagger-ui-bundle.js"
    size = int(re.findall(rb"content-length: (\d+)", send(server, get(path, "Connection: close\r\n")))[0])
    with server.connect(20) as connection:
        asked = b"".join(get(path, f"X-Request-Id: n{number}\r\n") for number in range(9))
        connection.sendall(asked + get("/livez", "Connection: close\r\nX-Request-Id: last\r\n"))
        with server.plain() as another:
            assert another.get("/livez").status_code == 200
        answer = everything(connection)
    assert re.findall(rb"x-request-id: (\w+)", answer) == [b"n%d" % number for number in range(9)] + [b"last"]
    assert len(answer) > 9 * size and statuses(answer) == [200] * 10


def test_pipelined_requests_of_all_kinds_are_answered_in_order(api: Api, customer: int) -> None:
    calls = ["/livez", f"/rest/api/Customers/{customer}", "/rest/api/Customers?lastName=Lee", "/nothing", "/readyz"] * 5
    data = b"".join(
        head(api, customer, f"X-Request-Id: n{number}", method=("GET", "HEAD")[number % 2], path=path)
        for number, path in enumerate(calls)
    )
    answer = send(api.server, data, half_close=True)
    assert re.findall(rb"x-request-id: n(\d+)", answer) == [b"%d" % number for number in range(len(calls))]
    assert statuses(answer) == [200, 200, 200, 404, 200] * 5


# ---- requests


@in_loop
async def test_bodies_come_whole_in_pieces_and_in_chunks(bench: Bench) -> None:
    start = b"PUT /now HTTP/1.1\r\nHost: x\r\n"
    for data in (
        start + b"Content-Length: 11\r\n\r\nhello world",
        start + b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5;a=b\r\nworld\r\n0\r\n\r\n",
    ):
        for size in (1, 7, 1000):
            for at in range(0, len(data), size):
                bench.protocol.data_received(data[at : at + size])
            assert bench.app.requests[-1].body == b"hello world"
    assert len(bench.app.requests) == 6


@in_loop
async def test_a_trailer_does_not_pass_for_a_header(bench: Bench) -> None:
    bench.protocol.data_received(
        b"PUT /now HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
        b"Authorization: Bearer y\r\nHost: evil\r\n\r\n" + get("/now")
    )
    first, second = bench.app.requests
    assert first.headers == {b"host": b"x", b"transfer-encoding": b"chunked"}
    assert (first.body, second.body) == (b"x", b"")


@in_loop
async def test_a_body_over_the_limit_is_read_but_not_kept(bench: Bench) -> None:
    bench.protocol.data_received(b"PUT /now HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n" + b"x" * 101)
    assert bench.app.requests[0].too_large
    bench.get("/now")
    assert statuses(bench.wire.written) == [413, 200]


@in_loop
async def test_consent_to_a_body_waits_for_the_answers_before_it(bench: Bench) -> None:
    ask = b"PUT /now HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    bench.protocol.data_received(get("/a") + ask % 2)
    assert bench.wire.written == b""
    await bench.answer()
    assert statuses(bench.wire.written) == [200, 100]
    bench.protocol.data_received(b"hi")
    assert statuses(bench.wire.written) == [200, 100, 200]
    bench.protocol.data_received(ask % 2 + b"hi")
    assert statuses(bench.wire.written) == [200, 100, 200, 200], "who sends it anyway has not waited"
    bench.protocol.data_received(ask % 101 + get("/now"))
    assert statuses(bench.wire.written) == [200, 100, 200, 200, 413] and bench.wire.half_closed
    assert len(bench.app.requests) == 3


@in_loop
async def test_an_old_client_gets_no_consent(bench: Bench) -> None:
    bench.protocol.data_received(b"PUT /now HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert bench.wire.written == b""
    bench.protocol.data_received(b"hi")
    assert statuses(bench.wire.written) == [200] and bench.wire.closed


@pytest.mark.parametrize("more", ["", "Connection: keep-alive\r\n"])
def test_what_follows_the_last_request_is_ignored(more: str) -> None:
    async def work() -> None:
        bench = Bench()
        last = f"GET /a HTTP/1.0\r\n{more}\r\n" if more else get("/a", "Connection: close\r\n").decode()
        bench.protocol.data_received(get("/now") + last.encode() + get("/now") + b"\x00")
        bench.get("/now")
        await bench.answer()
        assert bench.bodies == ["/now", "/a"] and bench.wire.closed
        assert bench.wire.written.count(b"connection: close\r\n") == 1

    asyncio.run(work())


def test_an_address_without_a_path_is_that_of_the_root(server: Running) -> None:
    answer = send(server, b"GET http://x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert statuses(answer) == [404] and b"URI '/'" in answer


# ---- handlers


@in_loop
async def test_a_handler_may_wait_often_and_for_anything(bench: Bench) -> None:
    async def serve(request: Request) -> Answer:
        for _ in range(3):
            await asyncio.sleep(0)
        await asyncio.gather(asyncio.sleep(0), asyncio.get_running_loop().run_in_executor(None, bench.loop.time))
        with pytest.raises(ZeroDivisionError):
            await asyncio.get_running_loop().run_in_executor(None, divmod, 1, 0)
        return Response(200, b"/done").head("x"), b"/done"

    bench.app.serve = serve
    bench.get("/")
    while bench.state.tasks:
        await asyncio.sleep(0)
    assert bench.bodies == ["/done"]


# ---- leaving and shutting down


@in_loop
async def test_a_client_that_leaves_while_its_request_waits_disturbs_nobody(bench: Bench) -> None:
    bench.get("/a", "/b")
    bench.wire.close()
    bench.protocol.connection_lost(None)
    assert not bench.state.connections and len(bench.state.tasks) == 1 and not bench.loop.timers
    await bench.answer()
    assert not bench.state.tasks and not bench.wire.written
    assert [one.path for one in bench.app.requests] == ["/a"]


@in_loop
async def test_an_idle_connection_closes_at_shutdown(bench: Bench) -> None:
    bench.get("/now")
    bench.protocol.shutdown()
    assert bench.wire.closed


@in_loop
async def test_a_busy_connection_finishes_its_answer_at_shutdown(bench: Bench) -> None:
    bench.get("/a", "/b")
    bench.protocol.shutdown()
    assert not bench.wire.closed
    bench.get("/now")
    await bench.answer()
    assert bench.bodies == ["/a"] and b"connection: close\r\n" in bench.wire.written
    assert bench.wire.closed and not bench.state.tasks


@in_loop
async def test_a_request_that_is_coming_is_the_last_at_shutdown(bench: Bench) -> None:
    data = get("/now")
    bench.protocol.data_received(data[:9])
    bench.protocol.shutdown()
    bench.protocol.data_received(data[9:] + data)
    assert bench.bodies == ["/now"] and b"connection: close\r\n" in bench.wire.written and bench.wire.closed


@in_loop
async def test_a_request_that_takes_too_long_at_shutdown_is_cancelled(bench: Bench) -> None:
    bench.get("/a")
    bench.protocol.shutdown()
    for task in bench.state.tasks:
        task.cancel(msg="too long")
    await asyncio.sleep(0)
    assert bench.wire.closed and not bench.wire.written and not bench.state.tasks


def test_a_server_that_is_told_to_stop_finishes_what_was_begun(errors: Errors, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        api = server.api()
        number, idle = api.new(), server.connect()
        idle.sendall(get("/livez"))
        assert statuses(idle.recv(1000)) == [200]
        busy = server.connect()
        busy.sendall(head(api, number, "Content-Length: 11"))
        while len(server._server.server_state.connections) < 3:
            pass
        server._server.should_exit = True
        assert everything(idle) == b""
        busy.sendall(b'{"Fax":"1"}')
        answer = everything(busy)
        assert statuses(answer) == [200] and b"connection: close\r\n" in answer
        idle.close()
        busy.close()


# ---- time


@in_loop
async def test_a_connection_that_rests_is_closed_in_the_end(bench: Bench) -> None:
    for _ in range(30):
        bench.get("/now")
        bench.loop.pass_by(74.9)
        assert not bench.wire.closed
    bench.loop.pass_by(0.1)
    assert bench.wire.closed and not bench.wire.aborted
    assert statuses(bench.wire.written) == [200] * 30


@in_loop
async def test_requests_cost_no_timers(bench: Bench) -> None:
    for _ in range(1000):
        bench.get("/now")
        bench.loop.pass_by(0.01)
    assert bench.loop.made <= 2 and len(bench.loop.timers) == 1


@in_loop
async def test_a_connection_whose_request_waits_is_kept(bench: Bench) -> None:
    bench.get("/a")
    bench.loop.pass_by(1000)
    await bench.answer()
    bench.loop.pass_by(74)
    assert bench.bodies == ["/a"] and not bench.wire.closed


@in_loop
async def test_a_request_has_its_time_from_its_first_byte(bench: Bench) -> None:
    bench.loop.pass_by(9)
    bench.get("/now")
    bench.loop.pass_by(50)
    for byte in get("/now")[:9]:
        bench.protocol.data_received(bytes([byte]))
        bench.loop.pass_by(1)
    assert statuses(bench.wire.written) == [200]
    bench.loop.pass_by(1)
    assert statuses(bench.wire.written) == [200, 408] and bench.wire.half_closed
    bench.loop.pass_by(protocol.LINGER_SECONDS)
    assert bench.wire.closed


@in_loop
async def test_a_request_behind_another_has_its_time_from_when_its_turn_comes(bench: Bench) -> None:
    bench.protocol.data_received(get("/a") + get("/now")[:9])
    bench.loop.pass_by(60)
    await bench.answer()
    bench.loop.pass_by(9)
    bench.protocol.data_received(get("/now")[9:])
    assert bench.bodies == ["/a", "/now"]


@in_loop
async def test_a_client_that_reads_nothing_is_cut_off(bench: Bench) -> None:
    bench.get("/now")
    bench.protocol.pause_writing()
    for left in (90_000, 70_000, 50_000):
        bench.wire.unread = left
        bench.loop.pass_by(75)
        assert not bench.wire.closed, "it reads slowly"
    bench.loop.pass_by(150)
    assert bench.wire.aborted


@in_loop
async def test_that_holds_when_the_last_it_sent_was_no_http(bench: Bench) -> None:
    bench.get("/a", "/now")
    bench.protocol.data_received(b"\x00")
    await bench.answer()
    assert statuses(bench.wire.written) == [200, 200, 400] and bench.wire.half_closed
    again = Bench()
    again.protocol.data_received(get("/a") + get("/now") + b"\x00")
    again.protocol.pause_writing()
    again.wire.unread = 1
    await again.answer()
    again.loop.pass_by(200)
    assert again.bodies == ["/a"] and again.wire.aborted


# ---- heads


def lines(data: bytes) -> int:
    return len(re.split(rb"\r\n|\r|\n", data)) - 1


@given(
    st.lists(st.tuples(st.sampled_from([b"location", b"x"]), st.binary() | st.sampled_from([b"a\r\nb: c", b"a\nb"]))),
    st.sampled_from([b"text/plain", b"text/plain\r\nx: y", b"a\rb"]),
    st.sampled_from(["id", "i\r\nd"]),
)
def test_no_header_can_break_its_line(headers: list[tuple[bytes, bytes]], kind: bytes, request_id: str) -> None:
    response = Response(200, b"x", headers, kind)
    parts = [kind, request_id.encode(), *(value for _, value in headers)]
    if any(b"\r" in part or b"\n" in part for part in parts):
        with pytest.raises(ValueError, match="line break"):
            response.head(request_id)
    else:
        assert lines(response.head(request_id)) == 4 + len(headers)


def test_a_handler_that_breaks_a_line_is_an_error_of_ours(errors: Errors, tmp_path: Path) -> None:
    class Careless(Server):
        async def answer(self, request: Request, extra: Any) -> Response:
            return Response(200, b"", [(b"location", b"/\r\nset-cookie: a=b")])

    async def work() -> Answer:
        server = Careless(App(Settings(store=f"sqlite:///{tmp_path}/book.db")))
        return await server.serve(Request("GET", "/", b"", {}, ""))

    found, body = asyncio.run(work())
    assert statuses(found) == [500] and b"set-cookie" not in found and b"An error has occurred" in body
    assert len(errors.found) == 1 and "line break" in errors.found.pop()


def test_heads_have_the_date_and_each_answer_leaves_whole(server: Running) -> None:
    while not server._server.server_state.default_headers:
        pass
    answer = send(server, get("/livez", "Connection: close\r\n"))
    assert re.search(rb"\r\ndate: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT\r\n", answer)
    assert answer.endswith(b"connection: close\r\n\r\nok\n")


# ---- proxies


@pytest.fixture(scope="module")
def behind(errors: Errors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("proxy"), trusted_proxies="127.0.0.1, 10.0.0.0/8") as server:
        yield server


def callers(server: Running, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whom the server takes for the client of a request with these lines of X-Forwarded-For."""
    found: list[str] = []

    def take(key: tuple[int, int, str]) -> tuple[int, float]:
        found.append(key[2])
        return 1, 10.0

    api = server.api()
    loaded: Any = server._server.config.loaded_app
    monkeypatch.setattr(loaded.app, "limits", SimpleNamespace(limit=1, take=take, headers=lambda *_: []))
    headers = [("X-Forwarded-For", line) for line in lines]
    assert api.client.get("/rest/api/Companies", headers=headers).status_code == 200
    return found


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["203.0.113.1"], "203.0.113.1"),
        (["198.51.100.9, 203.0.113.2, 10.1.2.3"], "203.0.113.2"),
        (["198.51.100.9", "203.0.113.3", "10.1.2.3"], "203.0.113.3"),
        (["[2001:db8::1]:443"], "2001:db8::1"),
        ([""], "127.0.0.1"),
        ([], "127.0.0.1"),
    ],
)
def test_a_trusted_proxy_says_who_calls(
    behind: Running, monkeypatch: pytest.MonkeyPatch, lines: list[str], client: str
) -> None:
    assert callers(behind, lines, monkeypatch) == [client]


def test_who_is_no_proxy_is_not_believed(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callers(server, ["203.0.113.1"], monkeypatch) == ["127.0.0.1"]


def test_the_log_names_the_client_behind_a_proxy_whatever_it_asks_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(store=f"sqlite:///{tmp_path}/book.db", trusted_proxies="127.0.0.1")
    server = Server(App(settings), access_log=True)
    request = Request("GET", "/nothing", b"", {b"x-forwarded-for": b"203.0.113.4"}, "127.0.0.1")
    with caplog.at_level("INFO", "regulars.access"):
        asyncio.run(server.serve(request))
    (record,) = caplog.records
    assert (vars(record)["client"], vars(record)["status"]) == ("203.0.113.4", 404)
