"""HTTP/1.1 on a socket: uvicorn's protocol, with clear answers to requests that never become whole."""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD = 64 << 10
LINGER_SECONDS = 2.0


class Protocol(HttpToolsProtocol):
    """Answers 400 to what is no HTTP and to a body that is cut off, 408 to a request that does not come whole, 413 and
    431 to what is far too large. An offer of another protocol, such as h2c, is declined.

    A request that arrives in one piece, as nearly all do, costs no timer.
    """

    request_seconds = 10.0
    request_bytes = 4 << 20
    """Bodies up to here are read, even when they are too large, so that the client gets to read why."""

    _inside = False
    _in_body = False
    _declining = False
    _begun = False
    _taken = 0
    _timer: asyncio.TimerHandle | None = None
    _deaf = False
    _ended = False
    _refusal = b""

    # ---- what arrives

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.request_seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._feed(data)
        if not self._inside:
            self._stop_timer()
            return
        self._taken = 0 if self._begun else self._taken + len(data)
        self._begun = False
        if self._taken > MOST_HEAD and not self._in_body:
            self._refuse(431, "Request Header Fields Too Large", f"Expected at most {MOST_HEAD} bytes of headers.")
        elif self._taken > self.request_bytes:
            self._refuse(413, "Content Too Large", "Expected a smaller body.")
        elif self._timer is None and not self._deaf and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.request_seconds, self._late)

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = self._without_offer() + data[offer.args[0] :] if self._declining else b""
            except httptools.HttpParserError:
                data = b""
            if not data:
                self._refuse(400, "Bad Request", "Expected an HTTP/1.1 request.")

    def _without_offer(self) -> bytes:
        """The head of the request without its offer of an upgrade, for a new parser: this one would skip the body."""
        line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [line, *(b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"), b"", b""]
        self._declining = False
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join(lines)

    def on_message_begin(self) -> None:
        self._inside = self._begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._declining = True
            return
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._declining:
            self._inside = self._in_body = False
            super().on_message_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client will send no more: a request that is not whole gets its 400, others their answer."""
        self._ended = True
        if self._inside and not self._deaf:
            self._refuse(400, "Bad Request", "Expected the whole request; the connection ended before it.")
        return bool(self._refusal) or (self._answering and not self.transport.is_closing())

    # ---- what is answered

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refusal:
            self._settle()
        elif self._ended and not self._answering:
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        self._refuse(408, "Request Timeout", f"Expected the whole request within {self.request_seconds:g} s.")

    def _refuse(self, status: int, phrase: str, message: str) -> None:
        """Answer for the application, once all that came before is answered, and end the connection."""
        self._deaf = True
        self._stop_timer()
        body = f'{{"Message":"{message}"}}'.encode()
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self._refusal = head.encode() + body
        self._settle()

    def _settle(self) -> None:
        cycle: Any = self.cycle
        if self.pipeline or self.transport.is_closing():
            return
        if self._answering:
            if cycle.response_started or not cycle.more_body:
                return  # a whole request: its answer comes first
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(self._refusal)
        self._refusal = b""
        if self._ended or not self.transport.can_write_eof():
            self.transport.close()
        else:  # to close while data is still coming would reset the connection and take the answer away
            self.flow.resume_reading()
            self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)
