"""The write-ahead log of a SQLite file: whether anybody committed, and when its pages are moved to the file.

Both are read from the index of the log, a small file that all connections share (sqlite.org/walformat.html). Its head
differs after each commit, whoever commits; to look at it costs far less than asking SQLite does.
"""

import logging
import mmap
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import apsw

log = logging.getLogger("regulars.store")

HEAD = 48
PAGES, FILE_PAGES = slice(16, 20), slice(20, 24)
CHECKPOINT_PAGES = 4_000
"""Pages that gather in the log before a thread moves them to the file."""
RESTART_PAGES, FEW_PAGES = 16_000, 500
"""From how many pages on the log is to begin anew. The writer sees to that, once few pages are left to be moved; the
thread follows it closely until then."""


class Wal:
    """The log of one open file. `connect` gives a connection for the thread that moves pages."""

    def __init__(self, connection: apsw.Connection, connect: Callable[[], apsw.Connection]) -> None:
        # kept open: closing it would end the locks that SQLite has on the file in this process, and the next process to
        # come would take itself for the first and cut the file off under us
        self._file = os.open(connection.filename_wal.removesuffix("wal") + "shm", os.O_RDONLY | os.O_CLOEXEC)
        self._index = mmap.mmap(self._file, HEAD, access=mmap.ACCESS_READ)
        self._connect = connect
        self._mover: apsw.Connection | None = None
        self._thread = ThreadPoolExecutor(1, "store-checkpoint")
        self._moving: Future[None] | None = None
        self._moved = 0

    def finish(self) -> None:
        """Finish moving; no more is moved after that."""
        self._thread.shutdown(wait=True)
        if self._mover is not None:
            self._mover.close()

    def close(self) -> None:
        """Let go of the index, once every connection of this process to the file is closed."""
        self._index.close()
        os.close(self._file)

    def head(self) -> bytes:
        """What differs after each commit."""
        return self._index[:HEAD]

    @property
    def pages(self) -> int:
        """How many pages are in the log."""
        return int.from_bytes(self._index[PAGES], sys.byteorder)

    @property
    def file_pages(self) -> int:
        """How many pages the file has, or will have when the log is in it."""
        return int.from_bytes(self._index[FILE_PAGES], sys.byteorder)

    def begin_anew(self, writer: apsw.Connection) -> None:
        """After a commit, with the writer's own connection: move the last pages of a long log, so that the next commit
        begins it anew."""
        if self.pages > RESTART_PAGES and self.pages - self._moved < FEW_PAGES:
            self._move(writer)

    def move_soon(self) -> None:
        """Have the thread move pages, if enough have gathered."""
        pages = self.pages
        if pages < self._moved:
            self._moved = 0  # the log began anew
        due = pages - self._moved > (FEW_PAGES if pages > RESTART_PAGES else CHECKPOINT_PAGES)
        if due and (self._moving is None or self._moving.done()):
            self._moving = self._thread.submit(self._move_apart)

    def _move_apart(self) -> None:
        try:
            if self._mover is None:
                self._mover = self._connect()
        except apsw.Error as error:
            log.warning("checkpoint put off: %s", error)
        else:
            self._move(self._mover)

    def _move(self, connection: apsw.Connection) -> None:
        try:
            _, moved = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._moved = max(moved, 0)
        except apsw.Error as error:  # whatever was committed is on disk all the same
            log.warning("checkpoint put off: %s", error)
