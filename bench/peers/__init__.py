"""The servers under test, each started fresh in a folder of its own and driven over HTTP alone."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load import HOST, request

READY_SECONDS = 60


@dataclass
class Peer:
    """A running server that keeps customers, and how it is asked for the three things measured."""

    name: str
    process: "subprocess.Popen[bytes]"
    port: int
    token: str
    verb: str
    record: Callable[[int], str]
    page: Callable[[int], str]

    def update(self, customer: int, body: bytes) -> bytes:
        """The bytes of a request that changes some fields of a customer."""
        return request(self.verb, self.record(customer), self.port, self.token, body)

    def get(self, customer: int) -> bytes:
        """The bytes of a request for one customer."""
        return request("GET", self.record(customer), self.port, self.token)

    def list(self, number: int) -> bytes:
        """The bytes of a request for page `number` of 50 customers."""
        return request("GET", self.page(number), self.port, self.token)

    def stop(self) -> None:
        """End the server, kindly, then not."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


def program(name: str) -> Path | None:
    """A program installed beside this Python, if it is."""
    path = Path(sys.executable).with_name(name)
    return path if path.exists() else None


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def call(port: int, verb: str, path: str, token: str = "", body: object = None, host: str = "") -> Any:
    """One request outside the measurement, to a host by another name where that is given; the JSON of its answer.
    Raises RuntimeError unless it is a 2xx."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    headers |= {"Host": host} if host else {}
    try:
        connection.request(verb, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        is_json = "json" in answer.headers.get("Content-Type", "")
    finally:
        connection.close()
    if answer.status // 100 != 2:
        raise RuntimeError(f"{verb} {path}: {answer.status} {text[:1000]!r}")
    return json.loads(text) if text and is_json else None


def launch(command: list[str], port: int, ready: str, log: Path, env: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a server and wait until GET `ready` answers 200. RuntimeError with the end of its log if not."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | env)
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            call(port, "GET", ready)
        except (OSError, RuntimeError, http.client.HTTPException, ValueError):
            time.sleep(0.05)
        else:
            return process
    process.kill()
    process.wait(10)
    raise RuntimeError(f"{command[0]} did not become ready:\n{log.read_text(errors='replace')[-3000:]}")


def family(process: int) -> list[int]:
    """A process and all that descend from it."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # it ended just now
        return []
    return [process, *(member for child in children for member in family(int(child)))]


def cpu_seconds(process: int) -> float:
    """The CPU that a process and all that descend from it have used, those that ended included."""
    ticks = 0
    for member in family(process):
        with suppress(OSError):  # it ended just now
            found = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += sum(map(int, found[11:15]))  # in user and kernel, of itself and of the children it waited for
    return ticks / os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """The CPU that everything on the machine has used, and what a hypervisor has withheld."""
    user, nice, system, _idle, _waiting, *more = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + sum(more)) / os.sysconf("SC_CLK_TCK")
