"""Who delivers: one process of several, the next one when that is gone; and what kill -9 does to the order."""

import asyncio
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import postgres
import pytest
from conftest import BOTH, Running, new_store, running
from processes import ROUNDS, Process, make_book, rows
from receiver import Receiver
from test_store import ACTOR, opened, run

from regulars import webhooks, worker
from regulars.app import backend
from regulars.record import Lease
from regulars.store import Store

ALLOWED: dict[str, Any] = {"webhooks": True, "webhook_allow_private": True}
LIFE = timedelta(seconds=25)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


# ---- several nodes


def test_of_two_nodes_one_delivers_and_the_other_takes_over(receiver: Receiver) -> None:
    with postgres.database() as url, ExitStack() as stack:
        first = stack.enter_context(running(url, **ALLOWED))
        first.api().post("/api/v1/webhooks", {"URL": receiver.url("ok")})
        customer = first.api().new()
        receiver.wait_for(1, "ok")
        with Running(first.settings, first.clock) as second:
            apis = [first.api(), second.api()]
            for number in range(1, 11):
                apis[number % 2].update(customer, Fax=str(number))
            received = receiver.wait_for(11, "ok")
            assert [one.data["Version"] for one in received] == list(range(1, 12))
            stack.close()
            apis[1].update(customer, Fax="more")
            assert receiver.wait_for(12, "ok")[11].data["Version"] == 12
            assert len(receiver.on("ok")) == 12


def test_what_another_process_changes_is_told_too(receiver: Receiver, tmp_path: Path) -> None:
    with running(tmp_path, **ALLOWED) as node:
        api = node.api()
        api.post("/api/v1/webhooks", {"URL": receiver.url("ok")})
        store = node.settings.store
        command = [sys.executable, "-m", "regulars", "sample", "--store", store, "--tenant", "tt", "--customers", "250"]
        subprocess.run(command, check=True, capture_output=True)
        told = receiver.wait_for(250, "ok")
        assert sorted(one.data["ID"] for one in told) == list(range(1, 251))


# ---- the lease


def test_a_lease_is_held_until_it_ends_or_its_holder_is_known_to_be_dead(book: str) -> None:
    async def work() -> None:
        async with opened(book) as store:

            async def take(holder: str, dead: str = "") -> str:
                return (await store.run(ACTOR, webhooks.hold, holder, LIFE, dead)).holder

            assert await take("one") == "one"
            assert await take("two") == "one"
            assert await take("two", "three") == "one"
            assert await take("two", "one") == "two"
            await store.run(ACTOR, webhooks.release, "one")
            assert await take("one") == "two"
            await store.run(ACTOR, webhooks.release, "two")
            assert await take("one") == "one"
            now = store.clock()
            store.clock = lambda: now + LIFE
            assert await take("two") == "two"

    run(work)


def test_of_two_nodes_that_take_a_lease_at_once_one_has_it() -> None:
    async def work(url: str) -> None:
        async with opened(url) as one, Store(backend(url), one.clock) as two:
            for number in range(20):
                names = f"a{number}", f"b{number}"
                taken = [one.run(ACTOR, webhooks.hold, names[0], LIFE), two.run(ACTOR, webhooks.hold, names[1], LIFE)]
                holders = {(await found).holder for found in taken}
                assert len(holders) == 1
                await one.run(ACTOR, webhooks.release, holders.pop())

    with postgres.database() as url:
        run(lambda: work(url))


def test_nothing_is_written_down_by_a_worker_that_lost_its_lease(book: str) -> None:
    async def work() -> None:
        async with opened(book) as store:
            reading = webhooks.read({"URL": "https://example.com/"}, True)
            hook = await store.run(ACTOR, webhooks.add, reading, webhooks.new_secret(), False)
            await store.run(ACTOR, webhooks.hold, "one", LIFE)
            taken = webhooks.Taken(7, (webhooks.Waiting(7, 1),))
            assert await store.run(ACTOR, webhooks.settle, hook.id, "two", taken) is None
            assert await store.run(ACTOR, webhooks.settle, hook.id, "one", taken) == hook
            assert (await store.get(Lease, 1, webhooks.WEBHOOKS)).holder == "one"

    run(work)


def test_which_holders_are_dead() -> None:
    mine = worker.new_holder()
    place, number, _ = mine.split(" ")
    assert place and int(number) == os.getpid()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        holder = f"{place} {other.pid} abc"
        assert not worker.is_dead(holder, mine)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert worker.is_dead(holder, mine), "it has ended, although nobody asked for its status yet"
    assert worker.is_dead(holder, mine)
    assert worker.is_dead(f"{place} {number} older", mine), "a process that had our number before us"
    assert not worker.is_dead(f"elsewhere {other.pid} abc", mine)
    assert not worker.is_dead(f" {other.pid} abc", " 1 def")
    assert not worker.is_dead("", mine)


# ---- kill -9


async def load(server: Process, stop_after: int) -> None:
    """Ten writers after twenty customers, until the server is killed."""
    headers, answered = {"Authorization": f"Bearer {server.token()}"}, 0

    async def write(client: httpx2.AsyncClient, number: int) -> None:
        nonlocal answered
        for count in range(10_000):
            body = {"Comments": f"{number} {count} {random.random()}"}
            try:
                await client.put(f"{server.url}/Customers/{random.randint(1, 20)}", json=body)
            except httpx2.TransportError:
                return
            answered += 1
            if answered == stop_after:
                server.popen.kill()

    async with httpx2.AsyncClient(headers=headers) as client:
        await asyncio.gather(*(write(client, number) for number in range(10)))
    server.kill()


@pytest.mark.parametrize("kind", BOTH)
def test_kill_9_loses_no_event_and_no_customer_goes_back(kind: str, tmp_path: Path, receiver: Receiver) -> None:
    with new_store(kind, tmp_path) as url:
        server = Process(make_book(url, 20), "--webhook-allow-private")
        try:
            server.wait()
            headers = {"Authorization": f"Bearer {server.token()}"}
            place = server.url.replace("/rest/api", "/api/v1/webhooks")
            for name in ("ok/1", "ok/2"):
                assert httpx2.post(place, json={"URL": receiver.url(name)}, headers=headers).status_code == 200
            for _ in range(ROUNDS):
                asyncio.run(load(server, random.randint(20, 300)))
                server.start()
            changed = {row[0] for row in rows(url, "SELECT id FROM changes WHERE kind = 'updated'")}
            assert len(changed) >= 20 * ROUNDS
            for name in ("ok/1", "ok/2"):
                receiver.wait(lambda name=name: changed <= {one.data["ID"] for one in receiver.on(name)}, 60)
                seen: dict[int, list[int]] = defaultdict(list)
                for one in receiver.on(name):
                    seen[one.data["CustomerID"]].append(one.data["Version"])
                for versions in seen.values():
                    assert versions == sorted(versions)
                    assert set(versions) == set(range(2, versions[-1] + 1))
        finally:
            server.close()
