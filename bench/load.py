"""The load generator: keep-alive connections on one epoll loop, one request in flight on each.

It shares the machine with the server it measures, so it must cost little: requests are ready-made bytes,
an answer is looked at only for its status and its end, a latency is one integer in an array. `python -m
bench.load` measures what it costs against a server that does nothing; on the 2-core machine of
docs/benchmark.md that is 8 to 9 µs of CPU for a request (115,000 requests a second), most of it the
kernel's send and receive. A slower server lets it sleep between answers, and each wake-up costs: up to 50
µs of CPU at 2,000 answers a second, which is a tenth of a core. The tables state it for every
measurement.

The loop is closed: a connection sends its next request when it has its answer. A latency runs from just
before the send to the moment this client has read the whole answer: its own queue counts against the
server.
"""

import gc
import math
import os
import select
import socket
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

HOST = "127.0.0.1"
STALLED_SECONDS = 30
END_OF_HEAD, END_OF_CHUNKS = b"\r\n\r\n", b"0\r\n\r\n"


class LoadError(Exception):
    """The server closed a connection, stalled, or answered something other than 200."""


@dataclass(frozen=True)
class Result:
    """One measured stretch: the answers inside it, and all 200 answers with those that came just after it."""

    seconds: float
    latencies: "array[int]"
    answers: int
    client_cpu: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """The exact percentile (nearest rank) of the latencies, in ms; infinite if there are none."""
        ordered = sorted(self.latencies)
        if not ordered:
            return math.inf
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] / 1e6

    @property
    def client_us(self) -> float:
        """CPU microseconds the load generator itself spent on one request."""
        return self.client_cpu / self.answers * 1e6


def complete(data: bytes) -> bool:
    """Whether `data` holds a whole answer, by its content length or by its last chunk."""
    head = data.find(END_OF_HEAD)
    if head < 0:
        return False
    at = data.find(b"ength: ", 0, head)  # of Content-Length, however it is capitalised
    if at < 0:
        return data.endswith(END_OF_CHUNKS)
    return len(data) - head - 4 >= int(data[at + 7 : data.find(b"\r", at)])


class Connections:
    """Open connections to one server; use as a context manager."""

    def __init__(self, port: int, count: int) -> None:
        self.sockets = [socket.create_connection((HOST, port), timeout=10) for _ in range(count)]
        self.poll = select.epoll()
        for connection in self.sockets:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            self.poll.register(connection.fileno(), select.EPOLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.poll.close()
        for connection in self.sockets:
            connection.close()

    def run(self, requests: Iterable[bytes], seconds: float) -> Result:
        """Send requests for `seconds` or until there are no more, then wait for the last answers."""
        gc.collect()
        gc.disable()
        cpu = time.process_time()
        try:
            result = self._loop(iter(requests), seconds)
        finally:
            gc.enable()
        return Result(result.seconds, result.latencies, result.answers, time.process_time() - cpu)

    def _loop(self, pool: Iterator[bytes], seconds: float) -> Result:
        """The hot loop; one function, because every call in it would be paid for by the server beside it."""
        clock, wait, latencies = time.perf_counter_ns, self.poll.poll, array("q")
        receive = {s.fileno(): s.recv for s in self.sockets}
        send: dict[int, Callable[[bytes], int]] = {s.fileno(): s.send for s in self.sockets}
        started, partial = dict.fromkeys(receive, 0), dict.fromkeys(receive, b"")
        begin = now = clock()
        end = begin + int(seconds * 1e9)
        answers = in_flight = 0
        for fd, first in send.items():
            if (request := next(pool, None)) is not None:
                started[fd] = clock()
                first(request)  # far smaller than the socket's buffer: never cut
                in_flight += 1
        while in_flight:
            events = wait(STALLED_SECONDS)
            if not events or now > end + STALLED_SECONDS * 1e9:
                raise LoadError(f"{in_flight} requests without an answer for {STALLED_SECONDS} s")
            for fd, _ in events:
                data = receive[fd](65536)
                if not data:
                    raise LoadError("the server closed a connection")
                if partial[fd]:
                    data = partial[fd] + data
                if not complete(data):
                    partial[fd] = data
                    continue
                now = clock()
                partial[fd] = b""
                if data[9:12] != b"200":
                    raise LoadError(data[:2000].decode(errors="replace"))
                answers += 1
                in_flight -= 1
                if now < end:
                    latencies.append(now - started[fd])
                    request = next(pool, None)
                    if request is None:
                        end = now
                        continue
                    started[fd] = now
                    send[fd](request)
                    in_flight += 1
        return Result((end - begin) / 1e9, latencies, answers, 0.0)


def request(verb: str, path: str, port: int, token: str = "", body: bytes = b"") -> bytes:
    """The bytes of one HTTP/1.1 request."""
    lines = [f"{verb} {path} HTTP/1.1", f"Host: {HOST}:{port}", "Accept: application/json"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def serve_nothing(listener: socket.socket) -> None:
    """Answer every read with the same short 200, on one epoll loop, until killed: a server without work."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    poll, open_sockets = select.epoll(), {listener.fileno(): listener}
    poll.register(listener.fileno(), select.EPOLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                accepted, _peer = listener.accept()
                open_sockets[accepted.fileno()] = accepted
                poll.register(accepted.fileno(), select.EPOLLIN)
            elif open_sockets[fd].recv(65536):
                open_sockets[fd].send(answer)
            else:
                poll.unregister(fd)
                open_sockets.pop(fd).close()


def own_cost(seconds: float = 1.0, connections: int = 64) -> Result:
    """The load generator against `serve_nothing`: its ceiling, and its own CPU for one request."""
    with socket.create_server((HOST, 0), backlog=512) as listener:
        child = os.fork()
        if not child:
            try:
                serve_nothing(listener)
            finally:
                os._exit(1)
        port = listener.getsockname()[1]
    one = request("PUT", "/rest/api/Customers/1", port, "t" * 300, b"x" * 200)
    try:
        with Connections(port, connections) as open_connections:
            open_connections.run((one for _ in range(5_000)), seconds)
            return open_connections.run((one for _ in range(1_000_000)), seconds)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


if __name__ == "__main__":
    cost = own_cost(3.0)
    print(f"{cost.rate:,.0f}/s, {cost.client_us:.1f} µs of client CPU each, p99 {cost.percentile(0.99):.2f} ms")
