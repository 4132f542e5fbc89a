"""HTTP/1.1 on a socket: uvicorn's protocol, with clear answers to requests that never become whole."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """Answers 400 to what is no HTTP and to a body that is cut off, 408 to a request that does not come whole.

    A request that arrives in one piece, as nearly all do, costs no timer.
    """

    request_seconds = 10.0
    _inside = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.request_seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._inside:
            self._stop_timer()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.request_seconds, self._late)

    def on_message_begin(self) -> None:
        self._inside = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._inside = False
        super().on_message_complete()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        self._refuse(408, "Request Timeout", f"Expected the whole request within {self.request_seconds:g} s.")

    def eof_received(self) -> None:
        """The client will send no more: a request that is not whole gets its 400, others their answer."""
        if self._inside:
            self._refuse(400, "Bad Request", "Expected the whole request; the connection ended before it.")

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "Bad Request", "Expected an HTTP/1.1 request.")

    def _refuse(self, status: int, phrase: str, message: str) -> None:
        """Answer for the application, unless it has begun to, and end the connection."""
        cycle: Any = self.cycle
        unanswered = cycle is None or cycle.response_complete or not cycle.response_started
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if unanswered and not self.transport.is_closing():
            body = f'{{"Message":"{message}"}}'.encode()
            head = (
                f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json; charset=utf-8\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()
