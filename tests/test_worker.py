"""Who delivers: one process of several, the next one when that is gone; and what kill -9 does to the order."""

import asyncio
import os
import random
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import postgres
import pytest
from clients import CAS, LONGEST_SECONDS, PUT, Clients, check
from conftest import BOTH, Running, new_store, running
from processes import ROUNDS, Process, make_book, rows
from receiver import Received, Receiver
from test_store import ACTOR, opened, run

from regulars import webhooks, worker
from regulars.app import backend
from regulars.record import Endpoint, Lease
from regulars.store import Store

ALLOWED: dict[str, Any] = {"webhooks": True, "webhook_allow_private": True}
LIFE = timedelta(seconds=25)
CUSTOMERS = 12


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


def test_what_is_under_way_when_its_endpoint_is_removed_elsewhere_is_not_sent_again(receiver: Receiver) -> None:
    with postgres.database() as url, running(url, **ALLOWED) as first, Running(first.settings, first.clock) as second:
        api, place = second.api(), "/api/v1/webhooks"
        hook = api.post(place, {"URL": receiver.url("hang")}).json()["ID"]
        api.new()
        receiver.wait_for(1, "hang")
        assert api.call("DELETE", f"{place}/{hook}").status_code == 200
        receiver.let_go()
        api.post(place, {"URL": receiver.url("ok")})
        api.new()
        receiver.wait_for(1, "ok")
        assert len(receiver.on("hang")) == 1


def test_only_tenants_that_have_endpoints_are_looked_at(book: str) -> None:
    async def work() -> None:
        async with opened(book) as store:
            assert await store.having(Endpoint) == []
            reading = webhooks.read({"URL": "https://example.com/"}, True)
            await store.run(ACTOR, webhooks.add, reading, webhooks.new_secret(), False, 0)
            assert await store.having(Endpoint) == [1]

    run(work)


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
            hook = await store.run(ACTOR, webhooks.add, reading, webhooks.new_secret(), False, 0)
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


class Sender:
    """Two servers over one store. While the receiver keeps an answer back, the one that sends is killed, or both."""

    def __init__(self, url: str, nodes: Sequence[Process], receiver: Receiver) -> None:
        self.url, self.nodes = url, nodes
        self._came = self._hold_at = 0
        self._held, self._killed = threading.Event(), threading.Event()
        receiver.script = self._receive

    def _receive(self, _: Received) -> str:
        self._came += 1
        if 0 < self._hold_at <= self._came:
            self._hold_at = 0
            self._held.set()
            assert self._killed.wait(30), "it was not killed"
        return "ok"

    def kill(self, after: int, both: bool) -> None:
        """Kill at the receiver's so manyth request from now, and start again."""
        gone: list[Process] = []
        while not gone:
            self._held.clear()
            self._killed.clear()
            self._hold_at = self._came + after
            assert self._held.wait(30), "nothing is sent"
            [(holder,)] = rows(self.url, "SELECT holder FROM leases")
            gone = [node for node in self.nodes if str(node.popen.pid) in holder.split(" ")]
            gone = gone and (list(self.nodes) if both else gone)
            for node in gone:  # none, if this was the last request of one that is dead
                node.kill()
            self._killed.set()
        for node in gone:
            node.start()


def in_order(received: Sequence[Received]) -> int:
    """Fail unless each customer's versions came without gaps, and none after a later one. Returns how many came again,
    each as the same event as before."""
    events: dict[tuple[int, int], str] = {}
    versions: dict[int, int] = defaultdict(lambda: 1)
    for one in received:
        customer, version = one.data["CustomerID"], one.data["Version"]
        assert version in (versions[customer], versions[customer] + 1), f"{version} after {versions[customer]}"
        versions[customer] = version
        assert events.setdefault((customer, version), one.headers["webhook-id"]) == one.headers["webhook-id"]
    return len(received) - len(events)


def told(received: Sequence[Received], changes: set[int]) -> bool:
    """Whether all these came."""
    return len(received) >= len(changes) and changes <= {one.data["ID"] for one in received}


@pytest.mark.parametrize("kind", BOTH)
def test_kill_9_loses_no_event_and_no_customer_goes_back(kind: str, tmp_path: Path, receiver: Receiver) -> None:
    """Nor is a change lost that a client was told of (clients.py)."""
    hooks, kills = ("script/1", "script/2"), 2 * ROUNDS
    with new_store(kind, tmp_path) as url, ExitStack() as stack:
        make_book(url, CUSTOMERS)
        nodes = [Process(url, "--webhook-allow-private") for _ in range(2)]
        for node in nodes:
            stack.callback(node.close)
            node.wait()
        headers, place = {"Authorization": f"Bearer {nodes[0].token()}"}, f"{nodes[0].site}/api/v1/webhooks"
        for name in hooks:
            assert httpx2.post(place, json={"URL": receiver.url(name)}, headers=headers).status_code == 200
        sender, clients = Sender(url, nodes, receiver), Clients(nodes, CUSTOMERS, (PUT, CAS))

        async def whole() -> None:
            async with clients.working(2):
                for number in range(kills):
                    await asyncio.to_thread(sender.kill, random.randint(1, 80), number % 3 == 1)
                    await clients.served(random.randint(1, 40))

        asyncio.run(whole())
        changed = {one.number for one in check(url, clients.calls).values()}
        for name in hooks:
            receiver.wait(lambda name=name: told(receiver.on(name), changed), LONGEST_SECONDS)
            assert in_order(receiver.on(name)) <= kills * worker.AT_ONCE
