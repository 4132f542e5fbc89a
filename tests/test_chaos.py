"""What must be survived, under load, by real servers: killed processes, a database that dies, fills up or is cut off,
a clock that is wrong. What all clients were answered is compared with the feed of changes (clients.py).

Short here; `make chaos` makes each failure happen many times.
"""

import asyncio
import contextlib
import dataclasses
import random
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import asyncpg
import postgres
import pytest
from clients import CAS, EVERYTHING, NO_ANSWER, PUT, READ, Call, Clients, check, read_feed, statuses
from conftest import Clock, Running
from processes import PASSWORD, ROUNDS, USER, Process, make_book, rows, serving
from ways import Cutting

from regulars.access import LEEWAY
from regulars.settings import Settings

CUSTOMERS = 6
FEW = 40
"""So many answers make a load."""


def asked(
    nodes: Sequence[Process],
    work: Callable[[Clients], Awaitable[None]],
    customers: int = CUSTOMERS,
    does: Sequence[str] = EVERYTHING,
) -> list[Call]:
    """What clients were answered while the work went on."""
    clients = Clients(nodes, customers, does)

    async def whole() -> None:
        async with clients.working():
            await work(clients)

    asyncio.run(whole())
    return clients.calls


class Cluster:
    """Two servers over one PostgreSQL, the first on a way that can be cut."""

    def __init__(self, url: str, way: Cutting, nodes: list[Process]) -> None:
        self.url, self.way, self.nodes = url, way, nodes
        self.calls: list[Call] = []
        """All that it was ever asked."""

    def check(self, calls: list[Call]) -> set[str]:
        """Check these calls with those before; returns which updates were made, by their Comments."""
        self.calls += calls
        return set(check(self.url, self.calls))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with postgres.database() as url:
        make_book(url, CUSTOMERS)
        with Cutting(url) as way, serving(way.url, url) as nodes:
            yield Cluster(url, way, nodes)


# ---- nothing fails


def test_the_answers_of_two_nodes_are_those_of_one_order(cluster: Cluster) -> None:
    calls = asked(cluster.nodes, lambda clients: clients.served(6 * FEW * ROUNDS))
    cluster.check(calls)
    assert [statuses(calls, node) for node in cluster.nodes] == [{200, 412}, {200, 412}]


def test_of_those_who_race_for_a_version_one_wins(cluster: Cluster) -> None:
    """All read and update one customer through either node, with If-Match always."""
    [(before,)] = rows(cluster.url, "SELECT version FROM customers WHERE id = 1")
    calls = asked(cluster.nodes, lambda clients: clients.served(3 * FEW * ROUNDS), 1, (READ, CAS))
    cluster.check(calls)
    [(after,)] = rows(cluster.url, "SELECT version FROM customers WHERE id = 1")
    assert sum(call.status == 200 for call in calls if call.body is not None) == after - before > 0
    assert statuses(calls) == {200, 412}


def test_a_column_that_a_later_version_adds_does_not_disturb_nodes_of_this_one(cluster: Cluster) -> None:
    """As a migration does it: a column with a default, and a type of rows beside the old one."""

    async def work(clients: Clients) -> None:
        for number in range(ROUNDS):
            await clients.served(FEW)
            sql = (
                f"ALTER TABLE customers ADD COLUMN later{number} text COLLATE \"C\" NOT NULL DEFAULT '';"
                f" CREATE TYPE customers_row{number} AS (later{number} text)"
            )
            await asyncio.to_thread(postgres.execute, cluster.url, sql)
            await clients.served(FEW)

    calls = asked(cluster.nodes, work)
    cluster.check(calls)
    assert statuses(calls) == {200, 412}


# ---- a server is killed


def test_a_killed_server_has_kept_what_it_answered(tmp_path: Path) -> None:
    async def work(clients: Clients) -> None:
        for _ in range(ROUNDS):
            await clients.served(random.randint(1, 2 * FEW))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await clients.served(2 * FEW)

    with serving(make_book(tmp_path, CUSTOMERS)) as [server]:
        calls = asked([server], lambda clients: clients.served(3 * FEW))
        check(server.store, calls)
        assert statuses(calls) == {200, 412}
        for why, wrong in forged(calls):
            with pytest.raises(AssertionError, match=why):
                check(server.store, wrong)
        calls += asked([server], work)
        check(server.store, calls)
        assert statuses(calls) == {200, 412, NO_ANSWER}
        assert rows(server.store, "PRAGMA integrity_check") == [("ok",)]


def forged(calls: list[Call]) -> Iterator[tuple[str, list[Call]]]:
    """Calls of which one cannot be, and what the check says of it."""
    updated = [call for call in calls if call.body is not None and call.status == 200]
    read = next(call for call in calls if call.body is None)
    missed = next(call for call in calls if call.status == 412)
    end = max(call.end for call in calls)

    def instead(one: Call, **what: Any) -> list[Call]:
        return [dataclasses.replace(call, **what) if call is one else call for call in calls]

    first = updated[0]
    yield "and not done", [*calls, dataclasses.replace(first, body={"Comments": "lost"})]
    yield "and not done", instead(first, version=10_000)
    yield "nobody asked for", [call for call in calls if call is not first]
    yield "refused, and done", instead(first, status=412)
    yield "If-Match was not kept", instead(first, expect=10_000)
    yield "without Retry-After", instead(first, status=503)
    yield "never so", instead(read, found={})
    yield "version", instead(read, start=end, end=end + 1)
    yield "came earlier", instead(first, start=end, end=end + 1)
    yield "for no reason", instead(missed, expect=missed.version)


def test_a_killed_node_is_not_missed_by_the_other(cluster: Cluster) -> None:
    one, other = cluster.nodes

    async def work(clients: Clients) -> None:
        for _ in range(ROUNDS):
            await clients.served(random.randint(1, FEW), one)
            await asyncio.to_thread(one.kill)
            await clients.served(FEW, other)
            await asyncio.to_thread(one.start)
        await clients.served(FEW // 2, one)

    calls = asked(cluster.nodes, work)
    cluster.check(calls)
    assert statuses(calls, one) == {200, 412, NO_ANSWER}
    assert statuses(calls, other) == {200, 412}


# ---- the database is gone


def test_a_way_to_the_database_that_is_cut_at_a_commit(cluster: Cluster) -> None:
    """What was refused then was made once or not at all, and the other node goes on."""
    one, other = cluster.nodes

    async def work(clients: Clients) -> None:
        for _ in range(ROUNDS):
            for cluster.way.cut in ("asked", "answered"):
                await clients.refused(1, one)
                await clients.served(FEW // 2, one)

    calls = asked(cluster.nodes, work, does=(PUT, CAS))
    done = cluster.check(calls)
    refused = [call.body["Comments"] in done for call in calls if call.status == 503 and call.body]
    assert set(refused) == {True, False}
    assert statuses(calls, one) == {200, 412, 503}
    assert statuses(calls, other) == {200, 412}


@pytest.fixture
def own_server() -> Iterator[postgres.Server]:
    """A server of PostgreSQL that a test may do anything to, not yet made."""
    server = postgres.Server(Path(mkdtemp(prefix="regulars-")))
    try:
        yield server
    finally:
        if server.runs:
            server.control("stop", "-m", "immediate")
        shutil.rmtree(server.folder)


def test_a_database_that_was_killed_and_started_again(own_server: postgres.Server) -> None:
    """Every call is answered all the time: well, or with 503."""

    async def work(clients: Clients) -> None:
        for _ in range(ROUNDS):
            await clients.served(FEW)
            await asyncio.to_thread(own_server.kill)
            for node in nodes:
                await clients.refused(20, node)
                assert await asyncio.to_thread(node.ready) == 503
            await asyncio.to_thread(own_server.start)
            for node in nodes:
                await clients.served(FEW // 2, node)

    own_server.make(synchronous_commit="on")
    own_server.start()
    make_book(own_server.url, CUSTOMERS)
    with serving(own_server.url, own_server.url) as nodes:
        calls = asked(nodes, work)
        check(own_server.url, calls)
        assert statuses(calls) == {200, 412, 503}


class Disk:
    """A small file system of its own, that can be filled up and freed."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder, self.ballast = folder, folder / "ballast"
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "regulars-test", folder]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")

    def fill(self) -> None:
        with self.ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        self.ballast.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)


@pytest.fixture
def disks(own_server: postgres.Server) -> Iterator[list[Disk]]:
    """That of the server's tables, and that of its log."""
    with contextlib.ExitStack() as stack:
        found = []
        for folder in (own_server.data, own_server.folder / "log"):
            found.append(Disk(folder, 128))
            stack.callback(found[-1].close)
            own_server.room(folder)
        wal = f"--waldir={found[1].folder / 'wal'}"
        own_server.make("--wal-segsize=1", wal, synchronous_commit="on", min_wal_size="2MB", max_wal_size="8MB")
        own_server.start()
        yield found
        if own_server.runs:
            own_server.control("stop", "-m", "immediate")


def test_a_database_whose_disk_is_full(own_server: postgres.Server, disks: list[Disk]) -> None:
    """First that of the tables, which PostgreSQL itself survives; then that of its log, which ends it."""
    tables, log = disks

    async def work(clients: Clients) -> None:
        for _ in range(ROUNDS):
            await clients.served(FEW)
            first = own_server.pid
            await asyncio.to_thread(tables.fill)
            await clients.refused(10)
            tables.free()
            await clients.served(FEW)
            assert own_server.pid == first
            await asyncio.to_thread(log.fill)
            await asyncio.to_thread(write_until_the_end, own_server.url)
            await clients.refused(10)
            log.free()
            await asyncio.to_thread(again, own_server)
            await clients.served(FEW)

    make_book(own_server.url, CUSTOMERS)
    with serving(own_server.url) as [node]:
        calls = asked([node], work, does=(PUT, CAS))
        check(own_server.url, calls)
        assert statuses(calls) == {200, 412, 503}
        assert "DiskFull" in node.log()
    assert "PANIC" in (own_server.data / "log").read_text()


def write_until_the_end(url: str) -> None:
    """Use up what room the log still has."""
    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        while True:
            postgres.execute(url, "SELECT pg_logical_emit_message(false, '', repeat('x', 1000000))")


def again(server: postgres.Server) -> None:
    """Start it. It may be waiting for ever then: it tries to recover, but not twice."""
    if server.runs:
        server.kill()
    server.start()


# ---- a clock is wrong


def test_a_clock_that_is_an_hour_ahead() -> None:
    """The feed is in order and no customer's time of change goes back. A token is good where the clock says that it is:
    one from ahead is refused as not yet valid, one from behind as expired."""
    modified = "SELECT modified_on FROM customers WHERE id = 1"
    with postgres.database() as url:
        make_book(url, 1)
        settings = Settings(store=url)
        with Running(settings, Clock()) as right, Running(settings, Clock()) as ahead:
            with ahead.clock.later(hours=1):
                apis = [node.holding(token_of(node)) for node in (right, ahead)]
                assert right.holding(apis[1].token).get("Customers/1").status_code == 401
                assert ahead.holding(apis[0].token).get("Customers/1").status_code == 401
                times = rows(url, modified)
                for number in range(10):
                    apis[number % 2].update(1, Comments=str(number))
                    times += rows(url, modified)
            assert times == sorted(times)
            assert [update.version for update in read_feed(url)] == list(range(1, 12))
            with ahead.clock.later(seconds=LEEWAY - 10):
                assert right.holding(token_of(ahead)).get("Customers/1").status_code == 200


def token_of(node: Running) -> str:
    return str(node.login(USER, PASSWORD, "127.0.0.1").json()["access_token"])
