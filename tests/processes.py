"""A real `regulars serve` process on a free port, for tests that kill it or take its disk away."""

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import postgres

from regulars import cli
from regulars.settings import Settings

USER, PASSWORD = "ann@example.com", "correct horse"


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A running server."""

    def __init__(self, store: str, *options: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}/rest/api"
        self.store = store
        self.options = options
        self.start()

    def start(self) -> None:
        port = self.url.split(":")[2].split("/")[0]
        command = [sys.executable, "-m", "regulars", "serve", "--store", self.store, "--port", port, *self.options]
        self.popen = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + 20
        while time.monotonic() < end and self.popen.poll() is None:
            try:
                if httpx2.get(self.url.removesuffix("/rest/api") + "/readyz").status_code == 200:
                    return
            except httpx2.TransportError:
                time.sleep(0.02)
        raise RuntimeError(f"the server did not become ready: {self.stop()}")

    def token(self) -> str:
        answer = httpx2.post(f"{self.url}/token", json={"Username": USER, "Password": PASSWORD})
        return str(answer.json()["access_token"])

    def kill(self) -> None:
        self.popen.kill()
        self.popen.communicate()

    def stop(self) -> str:
        """Stop gracefully; returns the log."""
        self.popen.send_signal(signal.SIGTERM)
        log = self.popen.communicate(timeout=30)[1].decode()
        assert self.popen.returncode in (0, -signal.SIGTERM), log
        return log


@contextmanager
def process(store: Path | str, count: int = 50) -> Iterator[Process]:
    server = Process(make_book(store, count))
    try:
        yield server
    finally:
        if server.popen.poll() is None:
            server.kill()


KILLS = int(os.environ.get("REGULARS_TEST_KILLS", "3"))
"""How often the crash test kills the server; the long form takes 200."""
