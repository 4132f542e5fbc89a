"""HTTP/1.1 on a socket: what arrives becomes whole requests, one after the other; each answer leaves in one piece."""

import asyncio
import logging
import typing
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState

from regulars.http.messages import Request
from regulars.http.outflow import Outflow, Pieces

log = logging.getLogger("regulars.http")

MOST_HEAD = 64 << 10
PIECE = 16 << 10
"""So much is parsed at once: what one client sends ahead shall neither fill the memory nor hold up the others."""
LINGER_SECONDS = 2.0
NEVER = 1 << 62
LISTS = (b"accept", b"if-match", b"prefer", b"x-forwarded-for")
"""Headers that may come in several lines, which are one list (RFC 9110 §5.3)."""

Answer = tuple[bytes, bytes | Pieces]
"""The head, without its end, and the body. One in pieces is framed here and is the connection's last answer."""


def joined(headers: list[tuple[bytes, bytes]], name: bytes) -> bytes:
    return b", ".join([value for one, value in headers if one == name])


class Application(typing.Protocol):
    """What answers requests."""

    body_limit: int

    def serve(self, request: Request) -> Coroutine[Any, Any, Answer]:
        """The answer, whatever happens; this raises only when it is cancelled."""
        ...


class Call:
    """A request whose handler waits: goes on whenever what it waits for is there, and hands over the answer at last.

    It is what is left of a task of asyncio, at half its price. A handler may await futures and all that is made of
    them, but has no `asyncio.current_task`.
    """

    __slots__ = ("_done", "_future", "_work")

    def __init__(self, work: Coroutine[Any, Any, Answer], future: Any, done: Callable[[Answer | None], None]) -> None:
        self._work = work
        self._done = done
        self._wait(future)

    def _wait(self, future: Any) -> None:
        self._future = future
        if future is None:  # a bare `yield`, as asyncio.sleep(0) does
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            future._asyncio_future_blocking = False
            future.add_done_callback(self._go_on)

    def _go_on(self, _: Any = None) -> None:
        answer: Answer | None = None
        try:
            future = self._work.send(None)
        except StopIteration as end:
            answer = end.value
        except asyncio.CancelledError:
            pass
        else:
            return self._wait(future)
        self._done(answer)

    def cancel(self, msg: str | None = None) -> None:
        """End it without an answer, as uvicorn does when a shutdown takes too long."""
        if self._future is not None:
            self._future.cancel(msg)


class Protocol(asyncio.Protocol):
    """One connection. uvicorn makes it, tells it to shut down, and waits until it has.

    Requests are answered in order, one at a time. While one is being answered, or the client does not read its
    answers, no more than one buffer of what follows is taken from the socket.

    It answers 400 to what is no HTTP and to a body that is cut off, 408 to a request that does not come whole, 413 and
    431 to what is far too large. An offer of another protocol, such as h2c, is declined.

    A request that arrives in one piece, as nearly all do, costs no timer.
    """

    request_seconds = 10.0
    request_bytes = 4 << 20
    """Bodies up to here are read, even when they are too large, so that the client gets to read why."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        app = config.loaded_app
        self.app: Application = typing.cast(Any, app.app if isinstance(app, ProxyHeadersMiddleware) else app)
        self.state = server_state
        self.loop = _loop or asyncio.get_running_loop()
        self.rest_seconds = config.timeout_keep_alive
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.client = ""

        # What is being parsed. A request is `_inside` from its first byte to its last, `_request` from the end of its
        # head.
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._request: Request | None = None
        self._body: list[bytes] = []
        self._size = self._taken = 0
        self._inside = self._offered = self._expects = False

        # What waits for its turn: bytes that are not parsed yet, whole requests, and the one that is being answered.
        self._held = b""
        self._whole: deque[Request] = deque()
        self._call: Call | Outflow | None = None
        self._answering: Request | None = None
        self._refusal = b""

        # How the connection stands.
        self._choked = False  # the client does not read
        self._paused = False  # we do not read
        self._ended = False  # the client sends no more
        self._deaf = False  # what comes is ignored
        self._final = False  # the last request that is answered has come
        self._fresh = True  # no request has come yet
        self._constant: tuple[Any, bytes] = (None, b"")

        # Since when we wait for the client.
        self._since = self.loop.time()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._unread = NEVER

    # ---- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.state.connections.add(self)  # type: ignore[arg-type]
        address = get_remote_addr(transport)
        self.client = address[0] if address else ""
        self._watch(self.request_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone. What was begun is finished, but nobody is told."""
        self.state.connections.discard(self)
        self._stop()
        self._unwatch()
        self._whole.clear()
        self._hurry()
        del self._parser  # it knows this object, and this object it

    def shutdown(self) -> None:
        """Close as soon as what was begun is answered."""
        self._final = True
        if self._call or self._whole:
            self._whole.clear()
            self._stop()
            self._hurry()
        elif not self._inside:
            self.transport.close()

    def _hurry(self) -> None:
        """Have the answer that is being made wait for nothing more."""
        if isinstance(self._call, Outflow):
            self._call.end()
        if self._answering is not None and self._answering.hurry is not None:
            self._answering.hurry()

    def _stop(self) -> None:
        """Take no more requests."""
        self._deaf = True
        self._inside = self._fresh = False
        self._held = b""

    def pause_writing(self) -> None:
        self._choked = True
        if isinstance(self._call, Outflow):
            self._call.choke(True)

    def resume_writing(self) -> None:
        self._choked = False
        if isinstance(self._call, Outflow):
            self._call.choke(False)
        self._since = self.loop.time()
        self._proceed()

    def _listen(self, on: bool) -> None:
        if self._paused == on and not self.transport.is_closing():
            self._paused = not on
            self.transport.resume_reading() if on else self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._held or self._call or self._choked:
            self._held += data
            self._listen(False)
        else:
            self._held = data
            self._proceed()

    def eof_received(self) -> bool:
        """The client will send no more, or has gone, which looks the same: a request that is not whole gets its 400,
        others their answer, which waits for nothing more."""
        self._ended = True
        self._hurry()
        self._proceed()
        return True

    def _proceed(self) -> None:
        """Parse and answer until there is something to wait for."""
        parsed = False
        while not (self._call or self._choked or self.transport.is_closing()):
            if self._whole:
                self._begin(self._whole.popleft())
            elif not self._held:
                self._rest()
                return
            elif parsed:  # it is the turn of the other connections
                self._listen(False)
                self.loop.call_soon(self._proceed)
                return
            else:
                piece, self._held = self._held[:PIECE], self._held[PIECE:]
                self._parse(piece)
                parsed = True

    def _rest(self) -> None:
        """All that has come is answered: wait for more, or end."""
        if self._inside and self._ended:
            self._refuse(400, "Bad Request", "Expected the whole request; the connection ended before it.")
        if self._refusal:
            self._dismiss()
        elif self._ended:
            self.transport.close()
        else:
            if self._paused:
                self._listen(True)
            if self._inside:
                self._watch(self.request_seconds)
                if self._expects:
                    self._expects = False
                    self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # ---- time

    def _watch(self, seconds: float) -> None:
        """Look after the connection when we have waited so long for the client, or sooner."""
        due = self._since + seconds
        if self._timer is None or due < self._due:
            self._unwatch()
            self._due = due
            self._timer = self.loop.call_at(due, self._look)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Whether we have waited too long. Nothing restarts this timer while requests come and are answered in time:
        it finds out by itself that there is a rest to wait for."""
        self._timer = None
        now = self.loop.time()
        awaited = (self._inside or self._fresh) and not self._choked
        seconds = self.request_seconds if awaited else self.rest_seconds
        unread = self.transport.get_write_buffer_size()
        if self._call or 0 < unread < self._unread:
            self._since = now
        self._unread = unread or NEVER
        if now < self._since + seconds:
            self._watch(seconds)
        elif unread:  # it has not taken a byte of its answer for all that time
            self.transport.abort()
        elif awaited:
            self._refuse(408, "Request Timeout", f"Expected the whole request within {self.request_seconds:g} s.")
            self._proceed()
        else:
            self.transport.close()

    # ---- requests

    def _parse(self, data: bytes) -> None:
        inside = self._inside
        self._taken += len(data)
        while data:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as offer:
                connect = self._parser.get_method() == b"CONNECT"
                data = b"" if connect else self._without_offer() + data[offer.args[0] :]
            except httptools.HttpParserError as error:
                if not isinstance(error.__context__, (httptools.HttpParserError, UnicodeError, type(None))):
                    log.error("unexpected error in a request's head", exc_info=error.__context__)
                data = b""
            if not data and not self._deaf:
                self._refuse(400, "Bad Request", "Expected an HTTP/1.1 request.")
        if not self._inside:
            return
        if not inside:
            self._since = self.loop.time()
        if self._taken > MOST_HEAD and self._request is None:
            self._refuse(431, "Request Header Fields Too Large", f"Expected at most {MOST_HEAD} bytes of headers.")
        elif self._taken > self.request_bytes:
            self._refuse(413, "Content Too Large", "Expected a smaller body.")

    def _without_offer(self) -> bytes:
        """The head of the request without its offer of an upgrade, for a new parser: this one would skip the body."""
        line = b"%s %s HTTP/%s" % (self._parser.get_method(), self._url, self._parser.get_http_version().encode())
        lines = [line, *(b"%s: %s" % header for header in self._headers if header[0] != b"upgrade"), b"", b""]
        self._parser = httptools.HttpRequestParser(self)
        return b"\r\n".join(lines)

    def on_message_begin(self) -> None:
        self._inside = not self._deaf
        self._url = b""
        self._headers = []
        self._request = None
        self._taken = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._request is None:  # else it is a trailer, which may not pass for a header
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        self._offered = parser.should_upgrade()
        if self._offered:
            return
        headers = dict(self._headers)
        if len(headers) < len(self._headers):
            headers |= {name: joined(self._headers, name) for name in LISTS if name in headers}
        url = httptools.parse_url(self._url)
        path = (url.path or b"/").decode("ascii")
        if "%" in path:
            path = unquote(path)
        self._request = Request(parser.get_method().decode("ascii"), path, url.query or b"", headers, self.client)
        if not parser.should_keep_alive() or (b"connection" in headers and parser.get_http_version() == "1.0"):
            self._final = True
        self._size = 0
        if b"expect" in headers and parser.get_http_version() != "1.0":
            self._expected(headers)

    def _expected(self, headers: dict[bytes, bytes]) -> None:
        """The client may wait for our consent before it sends the body."""
        if int(headers.get(b"content-length", b"0")) > self.app.body_limit:
            self._refuse(413, "Content Too Large", f"Expected a body of at most {self.app.body_limit} bytes.")
        else:
            self._expects = headers[b"expect"].lower() == b"100-continue"

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= self.app.body_limit:  # the rest is dropped, but read: a client that sends does not yet listen
            self._body.append(part)

    def on_message_complete(self) -> None:
        request = self._request
        if self._offered or self._deaf or request is None:
            return
        if self._size:
            request.too_large = self._size > self.app.body_limit
            request.body = b"" if request.too_large else b"".join(self._body)
            self._body = []
        self._inside = self._fresh = self._expects = False
        self._deaf = self._final
        self._whole.append(request)

    # ---- answers

    def _begin(self, request: Request) -> None:
        """Answer a request: at once if its handler never waits, which is usual, else when it is done."""
        work = self.app.serve(request)
        try:
            future = work.send(None)
        except StopIteration as end:
            answer = end.value
        else:
            self._answering = request
            self._call = Call(work, future, self._finish)
            self.state.tasks.add(self._call)  # type: ignore[arg-type]
            return
        self._answer(answer)
        if self._call is not None:
            self._answering = request

    def _finish(self, answer: Answer | None) -> None:
        self.state.tasks.discard(self._call)
        self._call = None
        if answer is None:
            self.transport.close()
        elif not self.transport.is_closing():
            self._answer(answer)
            self._proceed()
        if self._call is None:
            self._answering = None

    def _answer(self, answer: Answer) -> None:
        head, body = answer
        if not isinstance(body, bytes):
            self._flow(head, body)
            return
        defaults = self.state.default_headers
        if defaults is not self._constant[0]:  # uvicorn makes a new list for each date
            self._constant = defaults, b"".join([b"%s: %s\r\n" % header for header in defaults])
        last = self._final and not (self._whole or self._inside or self._refusal)
        end = b"connection: close\r\n\r\n" if last else b"\r\n"
        self.transport.write(b"%b%b%b%b" % (head, self._constant[1], end, body))
        self.state.total_requests += 1
        self._since = self.loop.time()
        if last:
            self.transport.close()

    def _flow(self, head: bytes, pieces: Pieces) -> None:
        """Answer in pieces, and then close. What the client sends meanwhile is dropped; that it leaves is noticed."""
        self._final = True
        self._whole.clear()
        self._stop()
        self._listen(True)
        chunked = self._parser.get_http_version() != "1.0"
        framing = b"transfer-encoding: chunked\r\n" if chunked else b""
        self.transport.write(b"%b%bconnection: close\r\n\r\n" % (head, framing))
        self.state.total_requests += 1
        self._call = Outflow(self.transport, pieces, chunked, lambda: self._finish(None))
        self._call.choke(self._choked)
        self.state.tasks.add(self._call)  # type: ignore[arg-type]

    def _refuse(self, status: int, phrase: str, message: str) -> None:
        """Answer for the application, once all that came before is answered, and end the connection."""
        self._stop()
        body = f'{{"Message":"{message}"}}'.encode()
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self._refusal = head.encode() + body

    def _dismiss(self) -> None:
        self.transport.write(self._refusal)
        self._refusal = b""
        self._unwatch()
        if self._ended or not self.transport.can_write_eof():
            self.transport.close()
        else:  # to close while data is still coming would reset the connection and take the answer away
            self._listen(True)
            self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)
