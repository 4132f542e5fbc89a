"""Ways to a PostgreSQL server that lead through the test: one that is cut in the middle of a COMMIT, one with TLS."""

import asyncio
import shutil
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
BLOCK = 1 << 16


class Way:
    """Passes on what both sides say, in a thread of its own, while it is entered; `url` leads through it."""

    def __init__(self, url: str) -> None:
        self.to = Path(parse_qs(urlsplit(url).query)["host"][0]) / ".s.PGSQL.5432"
        self.folder = Path(tempfile.mkdtemp(prefix="regulars-"))
        self.url = url.replace(str(self.to.parent), str(self.folder))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: asyncio.Server

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self.folder)

    async def _listen(self) -> None:
        self._server = await asyncio.start_unix_server(self._meet, self.folder / self.to.name)

    async def _leave(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _meet(self, reader: Reader, writer: Writer) -> None:
        try:
            await self.welcome(reader, writer)
            back, forth = await asyncio.open_unix_connection(self.to)
        except (OSError, asyncio.CancelledError):
            writer.close()
            return
        try:
            await self.join(reader, writer, back, forth)
        except (OSError, asyncio.CancelledError):
            pass  # one of the two is gone, and so is then the other; or it is over
        finally:
            forth.close()
            writer.close()

    async def welcome(self, reader: Reader, writer: Writer) -> None:
        """What comes before the two sides speak."""

    async def join(self, reader: Reader, writer: Writer, back: Reader, forth: Writer) -> None:
        """Pass on, until one of the two has said its last."""
        committing = asyncio.Event()
        both = {
            asyncio.create_task(self.asks(reader, forth, committing)),
            asyncio.create_task(self.answers(back, writer, committing)),
        }
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)

    async def asks(self, reader: Reader, forth: Writer, committing: asyncio.Event) -> None:
        while data := await reader.read(BLOCK):
            forth.write(data)

    async def answers(self, back: Reader, writer: Writer, committing: asyncio.Event) -> None:
        while data := await back.read(BLOCK):
            writer.write(data)


class Cutting(Way):
    """Is cut at the next COMMIT of changes: when it is `asked`, before the server hears of it; or when it is
    `answered`, before the client does."""

    cut: Literal["", "asked", "answered"] = ""

    async def asks(self, reader: Reader, forth: Writer, committing: asyncio.Event) -> None:
        writes = False
        while data := await reader.read(BLOCK):
            writes = writes or b"INSERT INTO changes" in data  # it is sent once, and has a number from then on
            if self.cut and writes and b"COMMIT\0" in data:
                if self.cut == "asked":
                    self.cut = ""
                    return
                committing.set()
            forth.write(data)

    async def answers(self, back: Reader, writer: Writer, committing: asyncio.Event) -> None:
        while data := await back.read(BLOCK):
            if committing.is_set():
                self.cut = ""
                return
            writer.write(data)


class Encrypted(Way):
    """At a `port` of 127.0.0.1, speaks TLS to clients as PostgreSQL does; without a context it says that it cannot.
    `met` is how many were content with its certificate."""

    def __init__(self, url: str, context: ssl.SSLContext | None) -> None:
        super().__init__(url)
        self.context = context
        self.port = self.met = 0

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def welcome(self, reader: Reader, writer: Writer) -> None:
        asked = await reader.readexactly(8)
        if asked != bytes((0, 0, 0, 8)) + (80877103).to_bytes(4, "big"):
            raise ConnectionAbortedError("the client did not ask for TLS")
        writer.write(b"S" if self.context else b"N")
        await writer.drain()
        if self.context is None:
            return
        await writer.start_tls(self.context)
        self.met += 1
