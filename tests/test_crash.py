"""What a SQLite file means to the server when its disk is full or read-only, when others write, when it must stop."""

import asyncio
import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from clients import NO_ANSWER, Clients, check, statuses
from processes import Process, make_book, process, rows


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


@contextlib.contextmanager
def read_only(*files: Path) -> Iterator[None]:
    """Nobody may write these files, not even root."""
    done = subprocess.run(["chattr", "+i", *files], capture_output=True, text=True) if shutil.which("chattr") else None
    if done is None or done.returncode:
        pytest.skip(f"files cannot be made immutable here: {done.stderr.strip() if done else 'there is no chattr'}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)


def cannot_be_written(server: Process, headers: dict[str, str]) -> None:
    """Reads are answered, writes refused; and whoever watches the server is told."""
    url = f"{server.url}/Customers/1"
    before = httpx2.get(url, headers=headers).text
    answer = httpx2.put(url, json={"Comments": "lost"}, headers=headers)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
    assert server.ready() == 503
    assert httpx2.get(f"{server.site}/livez").status_code == 200
    assert httpx2.get(url, headers=headers).text == before


def test_a_read_only_file_is_a_503_and_heals_without_a_restart(tmp_path: Path) -> None:
    """It became so while the server ran; then it was so already when the server was started."""
    with process(tmp_path, 5) as server:
        headers = {"Authorization": f"Bearer {server.token()}"}
        url = f"{server.url}/Customers/1"
        with read_only(tmp_path / "book.db", tmp_path / "book.db-wal"):
            cannot_be_written(server, headers)
        assert httpx2.put(url, json={"Comments": "1"}, headers=headers).status_code == 200
        server.stop()
        with read_only(tmp_path / "book.db"):
            server.launch()
            server.wait(503)
            cannot_be_written(server, {"Authorization": f"Bearer {server.token()}"})
        assert httpx2.put(url, json={"Comments": "2"}, headers=headers).status_code == 200
        assert server.ready() == 200
        assert rows(tmp_path / "book.db", "SELECT version, comments FROM customers WHERE id = 1") == [(3, "2")]


def test_a_read_only_folder_is_refused_at_the_start(tmp_path: Path) -> None:
    """SQLite needs two more files beside its own, even to read."""
    url = make_book(tmp_path, 1)
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    within = ["unshare", "--mount", "sh", "-c", mount, str(tmp_path)]
    if subprocess.run([*within, "true"], capture_output=True).returncode:
        pytest.skip("a folder cannot be mounted read-only here")
    server = Process(url, within=within)
    assert server.popen.wait(20) == 1
    assert f"{tmp_path}/book.db cannot be opened as a store" in server.log()
    server.close()


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
    with process(tmp_path, 10) as server:
        clients = Clients([server], 10)

        async def work() -> None:
            async with clients.working():
                await clients.served(100)
                await asyncio.to_thread(server.stop)

        asyncio.run(work())
        check(server.store, clients.calls)
        assert statuses(clients.calls) <= {200, 412, NO_ANSWER}
        assert rows(tmp_path / "book.db", "SELECT count(*) FROM term_log") == [(0,)]
