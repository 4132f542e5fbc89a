"""A real receiver of webhooks, good or bad: what it does depends on the path, and it keeps all that it was sent."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import standardwebhooks


@dataclass
class Received:
    """One request, and when it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def data(self) -> Any:
        return json.loads(self.body)["data"]

    def verify(self, secret: str) -> Any:
        """The event, as the published library takes it; raises when the signature is wrong."""
        return standardwebhooks.Webhook(secret).verify(self.body, self.headers)


ANSWERS = {
    "ok": b"HTTP/1.1 204 No Content\r\n\r\n",
    "fail": b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\nno\x00!",
    "gone": b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
    "busy": b"HTTP/1.1 429 Busy\r\nRetry-After: 1200\r\nContent-Length: 0\r\n\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n",
    "nonsense": b"220 mail.example.com ESMTP\r\n",
    "endless-head": b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 100_000,
    "close": b"",
}


class Receiver:
    """Listens in a thread of its own. The first part of a path says how it answers: one of `ANSWERS`, `hang` (until it
    is let go), `megabytes`, or what `script` makes of the request."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.requests: list[Received] = []
        self.script: Callable[[Received], str] = lambda request: "ok"
        self.sent = 0
        """Bytes of megabytes that were taken from it."""
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    def __enter__(self) -> "Receiver":
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(5)

    def url(self, path: str = "script") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def let_go(self) -> None:
        """Answer those that hang, and hang no more."""
        self._loop.call_soon_threadsafe(self._released.set)

    def on(self, path: str) -> list[Received]:
        with self._changed:
            return [one for one in self.requests if one.path == f"/{path}"]

    def wait(self, done: Callable[[], Any], seconds: float = 15) -> Any:
        """What `done` finds, as soon as it is something; looked for whenever a request came."""
        end = time.monotonic() + seconds
        with self._changed:
            while not (found := done()):
                assert self._changed.wait(end - time.monotonic()), f"in vain; got {[r.data for r in self.requests]}"
        return found

    def wait_for(self, count: int, path: str = "script") -> list[Received]:
        """The requests to a path, once there are so many."""
        found: list[Received] = self.wait(lambda: (some := self.on(path)) and len(some) >= count and some)
        return found

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopping, self._released = asyncio.Event(), asyncio.Event()
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Received(head[0].split(" ")[1], headers, body)
        how = request.path.split("/")[1]
        how = self.script(request) if how == "script" else how
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        if how == "hang":
            await self._released.wait()
            how = "ok"
        if how == "megabytes":
            await self._megabytes(writer)
        else:
            writer.write(ANSWERS[how])
            await writer.drain()
        return how not in ("close", "megabytes", "nonsense")

    async def _megabytes(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            self.sent += 100_000
