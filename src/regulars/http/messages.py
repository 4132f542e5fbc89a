"""A request as the handlers see it, a response as they give it, and how errors are written (contract §5)."""

import math
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote

import msgspec

from regulars.access import Caller
from regulars.customers import ANY_VERSION
from regulars.errors import (
    Conflict,
    Denied,
    NotFound,
    Overtaken,
    Refused,
    RegularsError,
    Reused,
    Running,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unconditional,
)
from regulars.http.outflow import Pieces
from regulars.wire import QUIRKS, Reading, encode

JSON = b"application/json; charset=utf-8"
PROBLEM = b"application/problem+json"
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
STRONG_VERSION = re.compile('"(0|[1-9][0-9]{0,17})"')


class Response(msgspec.Struct):
    """Status, body and headers; `Content-Type` and `Content-Length` are added."""

    status: int = 200
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = []
    kind: bytes = JSON
    reason: str = ""
    """Instead of the usual words after the status."""

    def head(self, request_id: str) -> bytes:
        """The status line and the headers, without the blank line at the end. Raises `ValueError` when one of them
        would break its line: then the client would take a part of it for something else."""
        line = f"HTTP/1.1 {self.status} {self.reason}\r\n" if self.reason else STATUS_LINES[self.status]
        length = f"content-length: {len(self.body)}\r\n" if self.status != 304 else ""  # that has the other's
        head = f"{line}{length}x-request-id: {request_id}\r\n".encode()
        if self.body:
            head += b"content-type: %b\r\n" % self.kind
        for header in self.headers:
            head += b"%b: %b\r\n" % header
        if len(head.splitlines()) != 2 + bool(length) + bool(self.body) + len(self.headers):
            raise ValueError(f"a header has a line break: {self.headers}")
        return head


class Streamed(Response):
    """A response whose body comes in pieces; its headers are the server's own."""

    pieces: Pieces | None = None

    def head(self, request_id: str) -> bytes:
        headers = [(b"x-request-id", request_id.encode()), (b"content-type", self.kind), *self.headers]
        return STATUS_LINES[self.status].encode() + b"".join([b"%b: %b\r\n" % header for header in headers])


class Request(msgspec.Struct):
    """One call: who makes it, on what, with which body."""

    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    client: str
    body: bytes = b""
    too_large: bool = False
    """The body is over the limit and was dropped."""
    request_id: str = ""
    parameter: str = ""
    tenant_id: int | None = None
    """The tenant that the host names, if it names one."""
    caller: Caller | None = None
    quirks: bool = False
    spelt: dict[str, str] = {}
    hurry: Callable[[], object] | None = None
    """What has an answer that waits for something leave at once: the client has gone, or the server stops."""

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    def pairs(self) -> list[tuple[str, str]]:
        """The query parameters; raises `Refused` when they are not UTF-8 or too many."""
        try:
            return parse_qsl(self.query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=2000)
        except ValueError as error:
            raise Refused({"query": [f"Expected percent-encoded UTF-8 parameters: {error}"]}) from error

    def prefers(self, preference: str) -> bool:
        """Whether `Prefer` (RFC 7240) asks for this."""
        prefer = self.headers.get(b"prefer")
        if not prefer:
            return False
        wanted = [re.sub(r'[\s"]', "", part.partition(";")[0]).lower() for part in prefer.decode("latin-1").split(",")]
        return preference in wanted

    def expected_versions(self) -> Collection[int] | None:
        """The versions that `If-Match` allows; None without it. What is no strong integer tag never matches."""
        header = self.headers.get(b"if-match")
        return None if header is None else versions(header)

    def known_versions(self) -> Collection[int]:
        """The versions that the client has, as `If-None-Match` says; here a weak tag is as good (RFC 9110 13.1.2)."""
        return versions(self.headers.get(b"if-none-match", b"").replace(b'W/"', b'"'))


def versions(header: bytes) -> Collection[int]:
    """The versions that a list of tags names."""
    if header.strip() == b"*":
        return ANY_VERSION
    tags = (tag.strip() for tag in header.decode("latin-1").split(","))
    return frozenset(int(tag[1:-1]) for tag in tags if STRONG_VERSION.fullmatch(tag))


def is_own(path: str) -> bool:
    """Whether a path is one of ours, not one of the vendor's: its errors are problems, and it knows no quirks."""
    return path[:8].lower() == "/api/v1/"


def etag(version: int) -> tuple[bytes, bytes]:
    return b"etag", b'"%d"' % version


def ignored_members(reading: Reading) -> list[tuple[bytes, bytes]]:
    """The header that names the members which nothing was done with."""
    if not reading.ignored:
        return []
    names = [quote(name[:60], safe="[]._-") for name in reading.ignored[:20]]
    return [(b"ignored-members", ", ".join(names).encode())]


# ---- errors


STATUS: dict[type[RegularsError], int] = {
    Refused: 400,
    Unauthenticated: 401,
    Denied: 403,
    NotFound: 404,
    Overtaken: 409,
    Conflict: 412,
    Unconditional: 428,
    Reused: 422,
    Running: 409,
    TooMany: 429,
    Unavailable: 503,
}


class HttpError(RegularsError):
    """What only HTTP knows: a route, a method, a media type, a size."""

    code = "http"

    def __init__(self, status: int, message: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or []


def spelt_as(member: str, spelt: Mapping[str, str]) -> str:
    """A member, or a path that begins with one, as the client spelt it."""
    if member in spelt:
        return spelt[member]
    head, dot, key = member.rpartition(".")
    if dot and head in spelt:
        return f"{spelt[head]}.{key}"
    base, bracket, rest = member.partition("[")
    return spelt.get(base, base) + bracket + rest


def error_response(error: BaseException, request: Request) -> Response:
    """Any error as the contract writes it; as a problem (RFC 9457) for clients that accept those."""
    status, headers, reason = 500, [], ""
    body: Any = {"Message": "An error has occurred."}
    extra: dict[str, Any] = {}
    if isinstance(error, HttpError):
        status, headers, body = error.status, error.headers, {"Message": error.message}
    elif isinstance(error, RegularsError):
        quirk = QUIRKS.get(error.code) if request.quirks else None
        status = quirk.live if quirk else STATUS[type(error)]
        body = {"Message": error.message}
    match error:
        case Refused():
            extra = {"ModelState": {spelt_as(name, request.spelt): why for name, why in error.problems.items()}}
            body |= extra
        case Unauthenticated():
            challenge = ' error="invalid_token"' if b"authorization" in request.headers else ""
            reason = "Invalid token" if challenge else ""  # a published client renews its token when it reads this
            headers = [(b"www-authenticate", f'Bearer realm="regulars"{"," if challenge else ""}{challenge}'.encode())]
        case NotFound():
            body = error.message
        case Conflict():
            headers = [etag(error.version)]
            extra = {"Version": error.version, "Expected": error.expected, "Members": error.members}
            body |= extra
        case Overtaken():
            extra = {"Conflicts": error.conflicts}
            body |= extra
        case TooMany():
            until = datetime.now(UTC) + timedelta(seconds=error.retry_after)
            body = {"Error": "Too many requests.", "RateLimitResetTime": instant(until)}
            headers = [retry_after(error.retry_after)]
        case Unavailable() | Running():
            headers = [retry_after(error.retry_after)]
    if "application/problem+json" in request.header(b"accept").lower() or is_own(request.path):
        code = error.code if isinstance(error, RegularsError) else "error"
        detail = error.message if isinstance(error, RegularsError) else "An error has occurred."
        problem = {
            "type": f"urn:regulars:{code}",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "instance": f"urn:request:{request.request_id}",
            "errors": [
                {"member": name, "detail": text} for name, why in extra.get("ModelState", {}).items() for text in why
            ],
            **{name.lower(): value for name, value in extra.items() if name != "ModelState"},
        }
        return Response(status, encode(problem), headers, PROBLEM, reason)
    return Response(status, encode(body), headers, reason=reason)


def retry_after(seconds: float) -> tuple[bytes, bytes]:
    return b"retry-after", str(max(1, math.ceil(seconds))).encode()


def instant(moment: datetime) -> str:
    """UTC with seven fraction digits, as the vendor writes it (contract §2)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
