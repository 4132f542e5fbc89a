"""An answer that leaves piece by piece: no faster than the client reads, and no longer than it listens."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

log = logging.getLogger("regulars.http")

Pieces = AsyncGenerator[bytes, None]

UNREAD_SECONDS = 20.0
"""A client that reads nothing for so long is cut off. Until then one piece waits, and what the socket holds."""


class Outflow:
    """Writes the pieces to a connection until there are no more or it is ended, and tells when that is done. An empty
    piece writes nothing, and is an occasion to end."""

    def __init__(self, transport: asyncio.Transport, pieces: Pieces, chunked: bool, done: Callable[[], None]) -> None:
        self._transport, self._pieces, self._chunked = transport, pieces, chunked
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: done())

    def choke(self, on: bool) -> None:
        """The client does not read, or reads again."""
        self._room.clear() if on else self._room.set()

    def end(self) -> None:
        """Write no more pieces; what the next one waits for is not broken off."""
        self._ended = True
        self._room.set()

    def cancel(self, msg: str | None = None) -> None:
        """Break off, as uvicorn does when a shutdown takes too long."""
        self._task.cancel(msg)

    async def _run(self) -> None:
        try:
            await self._write()
        except asyncio.CancelledError:
            pass
        except TimeoutError:
            self._transport.abort()
        except Exception:
            log.exception("an answer broke off")
            self._transport.abort()  # so that the client does not take it for whole
        if self._chunked and not self._transport.is_closing():
            self._transport.write(b"0\r\n\r\n")

    async def _write(self) -> None:
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                if self._ended:
                    return
                if not piece:
                    continue
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)
                if not self._room.is_set():
                    async with asyncio.timeout(UNREAD_SECONDS):
                        await self._room.wait()
