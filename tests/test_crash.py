"""What a 200 promises: killed, out of disk or read-only, every answered write is there, whole, with its change."""

import asyncio
import json
import os
import random
import resource
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from processes import KILLS, Process, process, rows

CUSTOMERS = 50


Answered = dict[int, list[tuple[str, str]]]
"""Customer → what was answered 200, in order: (etag, text)."""


async def load(server: Process, answered: Answered, stop_after: int, stop: Callable[[], Any]) -> None:
    """Ten writers, each with customers of its own, until the server is gone; it is stopped after so many answers."""
    token = server.token()
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as client:
        stopper = asyncio.create_task(stop_when(answered, stop_after, stop))
        await asyncio.gather(*(write(server, client, number, answered) for number in range(10)))
        await stopper


async def stop_when(answered: Answered, count: int, stop: Callable[[], Any]) -> None:
    while sum(map(len, answered.values())) < count:
        await asyncio.sleep(0)
    await asyncio.get_running_loop().run_in_executor(None, stop)


async def write(server: Process, client: httpx2.AsyncClient, number: int, answered: Answered) -> None:
    """Update customers until the server is gone."""
    count = 0
    while True:
        customer = number * 5 + 1 + count % 5
        text, count = f"{number}-{count}-{random.random()}", count + 1
        body = {"Comments": text, "Phone1": text[:50], "SourceId": text[:50]}
        try:
            answer = await client.put(f"{server.url}/Customers/{customer}", json=body)
        except httpx2.TransportError:
            return
        assert answer.status_code == 200, answer.text
        answered.setdefault(customer, []).append((answer.headers["etag"].strip('"'), text))


def check(path: Path, answered: Answered) -> None:
    """Every answered write has its change with the value it set, and the customer is at one of the last two."""
    history = {
        (customer, str(version)): json.loads(fields)
        for customer, version, fields in rows(path, "SELECT customer_id, version, fields FROM changes")
    }
    for customer, writes in answered.items():
        for version, text in writes:
            assert history[customer, version]["Comments"][1] == text
        [(version, comments, phone, source)] = rows(
            path, f"SELECT version, comments, phone1, source_id FROM customers WHERE id = {customer}"
        )
        assert version in (int(writes[-1][0]), int(writes[-1][0]) + 1)
        assert phone == source == comments[:50], "a write was torn"
        assert history[customer, str(version)]["Comments"][1] == comments


def test_every_answered_write_survives_kill_9(tmp_path: Path) -> None:
    with process(tmp_path, CUSTOMERS) as server:
        for _ in range(KILLS):
            answered: Answered = {}
            asyncio.run(load(server, answered, random.randint(1, 150), server.kill))
            check(tmp_path / "book.db", answered)
            server.start()
        assert rows(tmp_path / "book.db", "PRAGMA integrity_check") == [("ok",)]
        found = httpx2.get(f"{server.url}/Customers", headers={"Authorization": f"Bearer {server.token()}"})
        assert found.json()["TotalResults"] == CUSTOMERS


def test_a_full_disk_is_a_503_and_heals_without_a_restart(tmp_path: Path) -> None:
    """The process may not let a file grow, as on a full disk; then it may again."""
    with process(tmp_path, 5) as server:
        headers = {"Authorization": f"Bearer {server.token()}"}
        url = f"{server.url}/Customers/1"
        assert httpx2.put(url, json={"Comments": "before"}, headers=headers).status_code == 200
        size = max(os.stat(file).st_size for file in tmp_path.iterdir())
        resource.prlimit(server.popen.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        last, refused = "before", 0
        for number in range(400):
            text = f"{number} " + "x" * 7000
            answer = httpx2.put(url, json={"Comments": text}, headers=headers)
            if answer.status_code == 200:
                last = text
                continue
            refused += 1
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert "Message" in answer.json()
            assert httpx2.get(url, headers=headers).json()["Internal"]["Comment"] == last
            if refused == 3:
                break
        assert refused == 3, "the disk never filled up"
        ready = server.url.removesuffix("/rest/api") + "/readyz"
        resource.prlimit(server.popen.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert httpx2.put(url, json={"Comments": "after"}, headers=headers).status_code == 200
        assert httpx2.get(ready).status_code == 200
        assert httpx2.get(url, headers=headers).json()["Internal"]["Comment"] == "after"


def test_a_write_waits_while_another_program_writes(tmp_path: Path) -> None:
    """Another program holds the write lock, as `regulars init` would: writes wait for it, reads go on."""
    with process(tmp_path, 5) as server:
        headers = {"Authorization": f"Bearer {server.token()}"}
        url = f"{server.url}/Customers/1"
        other = sqlite3.connect(tmp_path / "book.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        done: list[int] = []
        waiting = threading.Thread(
            target=lambda: done.append(httpx2.put(url, json={"Phone1": "1"}, headers=headers, timeout=30).status_code)
        )
        waiting.start()
        assert httpx2.get(url, headers=headers).status_code == 200, "reads go on"
        assert not done
        other.execute("ROLLBACK")
        other.close()
        waiting.join()
        assert done == [200]


def test_a_graceful_stop_finishes_what_was_accepted(tmp_path: Path) -> None:
    with process(tmp_path, CUSTOMERS) as server:
        answered: Answered = {}
        asyncio.run(load(server, answered, 100, server.stop))
        check(tmp_path / "book.db", answered)
        assert rows(tmp_path / "book.db", "SELECT count(*) FROM term_log") == [(0,)]
