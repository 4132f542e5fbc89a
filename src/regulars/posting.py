"""One POST to an address that somebody else chose: never to a private network unless that is allowed, never along a
redirect, never for longer than a fixed time, and no more than the beginning of the answer is read."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from ssl import SSLContext
from typing import cast

import httpx2

TOTAL_SECONDS, CONNECT_SECONDS = 15.0, 5.0
BODY_SECONDS = 2.0
"""How long the beginning of an answer may take once its status is known."""
MOST_READ = 4 << 10
"""Bytes of an answer that are read; then the connection is closed."""
MOST_SAID = 200
"""Characters of it that are kept."""
MOST_ADDRESSES = 3
"""How many of a name's addresses are tried."""
LOOK_UPS = 512
"""Names that are looked up at once: slow name servers of some receivers must not hold up the others."""
NAT64 = IPv6Network("64:ff9b::/96")
SPECIAL = (
    IPv4Network("192.0.0.0/24"),  # of protocols (RFC 6890); Python up to 3.11 takes most of it for public
    IPv4Network("192.88.99.0/24"),  # relays of 6to4, which are no more (RFC 7526)
    IPv4Network("168.63.129.16/32"),  # where a machine of Azure finds what only it may know
    IPv6Network("3fff::/20"),  # of documentation (RFC 9637)
    IPv6Network("5f00::/16"),  # of routing (RFC 9602)
)
"""What is not for the public, whatever Python says."""

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_REST = r"([/?][A-Za-z0-9._~:/?@!$&'()*+,;=%-]*)?"
URL_PATTERN = rf"https?://{_LABEL}(\.{_LABEL})*(:{_PORT})?{_REST}"
"""A URL whose host is a name or an IPv4 address; one with an IPv6 address in brackets is accepted as well."""
URL = re.compile(rf"{URL_PATTERN}|https?://\[[0-9A-Fa-f:.]+\](:{_PORT})?{_REST}")

Address = IPv4Address | IPv6Address


class Forbidden(Exception):
    """The address is none that may be called; the text says which one and why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a POST: `status` 0 when nothing was answered, and `said` then tells why. `retry_after` is in
    seconds."""

    status: int
    said: str
    milliseconds: int = 0
    retry_after: float | None = None

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet; of one that stands for an IPv4 address, whether that is."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not (
        address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or any(address in one for one in SPECIAL)
    )


def parse(url: str) -> httpx2.URL:
    """A URL that can be posted to; raises `Forbidden` for what is none."""
    with suppress(httpx2.InvalidURL):
        if URL.fullmatch(url):
            return httpx2.URL(url)
    raise Forbidden(
        "Expected a URL such as https://shop.example.com/hook: http or https, a host in ASCII, no user, password or "
        "fragment."
    )


def host_of(url: httpx2.URL) -> str:
    return url.raw_host.decode("ascii").strip("[]")


def check(url: str, allow_private: bool) -> None:
    """Raise `Forbidden` for a URL that can be seen to lead where no event may go. What a name stands for is seen when
    an event is sent."""
    host = host_of(parse(url))
    try:
        literal = ip_address(host)
    except ValueError:
        return
    judge(host, [literal], allow_private)


def judge(host: str, addresses: list[Address], allow_private: bool) -> None:
    for one in addresses:
        if not allow_private and not is_public(one):
            where = f"{host} is" if str(one) == host else f"{host} is at {one},"
            raise Forbidden(f"Expected a public address; {where} private, or for a special use.")


@cache
def look_ups() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(LOOK_UPS, "name")


@cache
def trusted() -> SSLContext:
    """The certificates that are trusted; reading them takes long."""
    return httpx2.create_ssl_context(trust_env=False)


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a name, each once."""
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(look_ups(), lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    return list(dict.fromkeys(ip_address(str(place[0]).partition("%")[0]) for *_, place in found))


class Poster:
    """Posts to one receiver, whose connections it keeps. The receiver's certificate must be for the host that the URL
    names, although the connection is made to the address that was judged."""

    def __init__(self, allow_private: bool, certificates: SSLContext | None = None) -> None:
        self.allow_private = allow_private
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=2, keepalive_expiry=5.0)
        self._looking: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}
        self._transport = httpx2.AsyncHTTPTransport(verify=certificates or trusted(), trust_env=False, limits=limits)

    async def close(self) -> None:
        for looking in self._looking.values():
            looking.cancel()
        await self._transport.aclose()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post, whatever the receiver does: it never raises but when it is cancelled."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                found = await self._post(parse(url), headers, body)
        except TimeoutError:
            found = Answer(0, f"No answer within {TOTAL_SECONDS:.0f} s.")
        except Forbidden as error:
            found = Answer(0, str(error))
        except (httpx2.TransportError, OSError, UnicodeError) as error:
            found = Answer(0, legible(f"{type(error).__name__}: {error}"))
        taken = round((time.perf_counter() - started) * 1000)
        return Answer(found.status, found.said, taken, found.retry_after)

    async def _post(self, url: httpx2.URL, headers: Mapping[str, str], body: bytes) -> Answer:
        host = host_of(url)
        addresses = await self._resolve(host, url.port or 443)
        judge(host, addresses, self.allow_private)
        chosen = addresses[:MOST_ADDRESSES]
        for address in chosen[:-1]:
            with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return await self._send(url, host, address, headers, body)
        return await self._send(url, host, chosen[-1], headers, body)

    async def _resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of the receiver. Who asks while a look-up is under way waits for that one: it holds a thread,
        and may do so for long after nobody waits any more."""
        looking = self._looking.get((host, port))
        if looking is None:
            looking = self._looking[host, port] = asyncio.ensure_future(resolve(host, port))
            looking.add_done_callback(partial(self._looked_up, (host, port)))
        return await asyncio.shield(looking)

    def _looked_up(self, place: tuple[str, int], done: "asyncio.Future[list[Address]]") -> None:
        del self._looking[place]
        if not done.cancelled():
            done.exception()  # it is known, though nobody may wait any more

    async def _send(
        self, url: httpx2.URL, host: str, address: Address, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        named = {"Host": url.netloc.decode("ascii"), "User-Agent": "regulars", "Accept-Encoding": "identity", **headers}
        timeout = {"connect": CONNECT_SECONDS, "read": TOTAL_SECONDS, "write": TOTAL_SECONDS, "pool": TOTAL_SECONDS}
        request = httpx2.Request(
            "POST",
            url.copy_with(host=str(address)),
            headers=named,
            content=body,
            extensions={"sni_hostname": host, "timeout": timeout},
        )
        response = await self._transport.handle_async_request(request)
        try:
            said = await beginning(cast(AsyncIterable[bytes], response.stream))
        finally:
            await response.aclose()
        if response.is_redirect:
            said = f"Redirects are not followed: {response.headers.get('location', '')}"
        wait = retry_after(response.headers.get("retry-after", "")) if response.status_code in (429, 503) else None
        return Answer(response.status_code, legible(said), retry_after=wait)


async def beginning(stream: AsyncIterable[bytes]) -> str:
    """The first bytes of an answer; those that came when the receiver breaks off or is slow."""
    read = b""
    with suppress(httpx2.TransportError, TimeoutError):
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in stream:
                read += chunk
                if len(read) >= MOST_READ:
                    break
    return read[:MOST_READ].decode("utf-8", "replace")


def legible(said: str) -> str:
    """A text of somebody else's in one short line."""
    return "".join(one if one.isprintable() else " " for one in said.strip()[:MOST_SAID])


def retry_after(header: str) -> float | None:
    """Seconds to wait, as the header `Retry-After` says in seconds or as a date; None when it says nothing."""
    if header.isdecimal():
        return float(header[:9])
    with suppress(ValueError, TypeError):
        until = parsedate_to_datetime(header)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    return None
