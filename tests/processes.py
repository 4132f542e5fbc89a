"""A real `regulars serve` process on a free port, for tests that kill it or take its disk away."""

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import postgres

from regulars import cli
from regulars.settings import Settings

USER, PASSWORD = "ann@example.com", "correct horse"
ROUNDS = int(os.environ.get("REGULARS_CHAOS_ROUNDS", "1"))
"""How often each failure is made to happen; `make chaos` is the long form."""


def make_book(store: Path | str, count: int) -> str:
    """A store (a URL, or a folder for a file) with sample customers; returns its URL."""
    chosen = Settings(store=store if isinstance(store, str) else f"sqlite:///{store}/book.db")
    asyncio.run(cli.initialise(chosen, "demo", USER, "Demo", PASSWORD))
    asyncio.run(cli.fill(chosen, None, count, 1))
    return chosen.store


def rows(store: Path | str, sql: str) -> list[Any]:
    """What a query finds in a file or in the store of a URL, past the product."""
    if isinstance(store, str) and store.startswith("postgres"):
        return postgres.rows(store, sql)
    connection = sqlite3.connect(str(store).removeprefix("sqlite:///"))
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def write(url: str, sql: str) -> None:
    """Write to the store of a URL past the product."""
    if url.startswith("postgres"):
        postgres.execute(url, sql)
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(sql)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A server that was launched; `within` is a command that starts it."""

    def __init__(self, store: str, *options: str, within: Sequence[str] = ()) -> None:
        self.site = f"http://127.0.0.1:{free_port()}"
        self.url = f"{self.site}/rest/api"
        self.store = store
        self.options = options
        self.within = within
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self.launch()

    def start(self) -> None:
        """Start again, and wait until it serves."""
        self.launch()
        self.wait()

    def wait(self, status: int = 200) -> None:
        """Wait until it serves, and says this of itself."""
        end = time.monotonic() + 20
        while time.monotonic() < end and self.popen.poll() is None:
            try:
                if self.ready() == status:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"the server did not become ready: {self.stop()}")

    def launch(self) -> None:
        """Start without waiting for it."""
        port = self.site.rpartition(":")[2]
        command = [sys.executable, "-m", "regulars", "serve", "--store", self.store, "--port", port, *self.options]
        self.popen = subprocess.Popen([*self.within, *command], stdout=subprocess.DEVNULL, stderr=self._log)

    def ready(self) -> int:
        """The status of its health check."""
        return httpx2.get(f"{self.site}/readyz").status_code

    def token(self) -> str:
        answer = httpx2.post(f"{self.url}/token", json={"Username": USER, "Password": PASSWORD})
        return str(answer.json()["access_token"])

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> str:
        """Stop gracefully; returns the log."""
        self.popen.send_signal(signal.SIGTERM)
        self.popen.wait(30)
        log = self.log()
        assert self.popen.returncode in (0, -signal.SIGTERM), log
        return log

    def log(self) -> str:
        """What it has logged so far."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode()

    def close(self) -> None:
        if self.popen.poll() is None:
            self.kill()
        print(self.site, self.log(), sep="\n")  # shown when the test fails
        self._log.close()


@contextmanager
def process(store: Path | str, count: int = 50) -> Iterator[Process]:
    """A server on a new book with so many customers."""
    with serving(make_book(store, count)) as [server]:
        yield server


@contextmanager
def serving(*stores: str) -> Iterator[list[Process]]:
    """A server for each URL."""
    with ExitStack() as stack:
        started = []
        for store in stores:
            started.append(Process(store))
            stack.callback(started[-1].close)
        for one in started:
            one.wait()
        yield started
