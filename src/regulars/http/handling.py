"""What the handlers of all routes share: who calls, on which record, and how a command is run and answered."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from regulars import history, idempotency, representation
from regulars.access import Caller, Permission
from regulars.app import App
from regulars.customers import Patch
from regulars.errors import (
    Conflict,
    NotFound,
    Overtaken,
    Refused,
    Running,
    Unauthenticated,
    Unconditional,
)
from regulars.fields import INT32, Invalid, to_int
from regulars.http.messages import Request, Response, error_response, etag, ignored_members
from regulars.idempotency import Key
from regulars.record import EPOCH, Answer, Column, Company, Customer, Group
from regulars.store import Actor, Book
from regulars.wire import Reading

T = TypeVar("T")
Handler = Callable[[App, Request], Awaitable[Response]]

DIGEST_BYTES = 7
"""As many as make a number that an ETag may be."""
MOST_WRITTEN = 10_000
"""How many answers are kept, 3 kB each."""


def caller(request: Request) -> Caller:
    assert request.caller is not None
    return request.caller


def bearer(request: Request) -> str:
    """The token that the client shows."""
    kind, _, token = request.header(b"authorization").strip().partition(" ")
    token = token.strip()
    if not token or kind.lower() != "bearer":
        raise Unauthenticated
    return token


async def still_may(app: App, request: Request, permission: Permission) -> None:
    """Raise `Unauthenticated` or `Denied` when the caller's token expired, or was revoked, or the permission was taken
    away, since the request began."""
    await app.store.refresh()
    (await app.access.caller(bearer(request), request.tenant_id)).require(permission)


def actor(request: Request) -> Actor:
    """Who a command of this request runs for."""
    return caller(request).actor("api", request.request_id)


def path_id(request: Request, most: int = INT32) -> int:
    try:
        return to_int(request.parameter, 0, most)
    except Invalid as error:
        raise Refused({"id": [str(error)]}) from error


def patch(request: Request, reading: Reading, *, whole: bool = False) -> Patch:
    request.spelt = reading.spelt
    return Patch(reading.values, reading.problems, whole)


def represent(app: App, customer: Customer, book: Book) -> bytes:
    """A customer as it is read, from memory when neither it nor what it refers to was exchanged since."""
    key = (customer.tenant_id, customer.id)
    known = app.written.get(key)
    if known is not None and known[0] is customer and known[1] is book:
        return known[2]
    groups = [group for number in customer.group_ids if (group := book.get(Group, number))]
    body = representation.write_customer(customer, book.get(Company, customer.company_id), custom_columns(book), groups)
    if len(app.written) >= MOST_WRITTEN:
        del app.written[next(iter(app.written))]
    app.written[key] = customer, book, body
    return body


def custom_columns(book: Book) -> representation.CustomColumns:
    return book.once("wire", lambda book: representation.CustomColumns(book.all(Column)))


def updated(app: App, request: Request, reading: Reading, customer: Customer, book: Book) -> Response:
    """The answer to an update: empty with the new ETag, or the customer when the client prefers that."""
    headers = [etag(customer.version), *ignored_members(reading)]
    if not request.prefers("return=representation"):
        return Response(200, b"", headers)
    headers.append((b"preference-applied", b"return=representation"))
    return Response(200, represent(app, customer, book), headers)


async def book(app: App, request: Request) -> Book:
    return await app.store.book(caller(request).tenant_id)


def run(app: App, request: Request, command: Callable[..., T], *args: Any, **kwargs: Any) -> Awaitable[T]:
    """The result of a command of the caller's."""
    return history.run(app.store, actor(request), command, *args, **kwargs)


async def write(
    app: App,
    request: Request,
    answer: Callable[[T, Book], Response],
    command: Callable[..., T],
    *args: Any,
    **kwargs: Any,
) -> Response:
    """What `answer` makes of the result of a command and the tenant's reference records. Every write goes through here,
    so that a client may send it again with the same Idempotency-Key."""
    text = request.headers.get(b"idempotency-key")
    if text is not None:
        return await write_once(app, request, text, answer, command, *args, **kwargs)
    result = await run(app, request, command, *args, **kwargs)
    return answer(result, await book(app, request))


REFUSALS = (Refused, NotFound, Conflict, Overtaken, Unconditional)
"""What commands say that ran; the same request gets no other answer. Anything else leaves the key free."""


async def write_once(
    app: App,
    request: Request,
    text: bytes,
    answer: Callable[[T, Book], Response],
    command: Callable[..., T],
    *args: Any,
    **kwargs: Any,
) -> Response:
    """As `write`, for a request with an Idempotency-Key."""
    key = key_of(request, text)
    place = (caller(request).tenant_id, key.id)
    if place in app.running:
        raise Running("The first request with this Idempotency-Key is still being answered.")
    app.running.add(place)
    try:
        try:
            kept, again = await run(
                app,
                request,
                idempotency.once,
                key,
                lambda result, book: record(request, key, answer(result, book)),
                command,
                *args,
                **kwargs,
            )
        except REFUSALS as error:
            refusal = record(request, key, error_response(error, request))
            kept, again = await run(app, request, idempotency.keep, key, refusal)
    finally:
        app.running.discard(place)
    return replay(kept, again)


def key_of(request: Request, text: bytes) -> Key:
    """Another method, path, precondition, preference or body makes another request."""
    return idempotency.key_of(
        text.decode("latin-1"),
        caller(request).employee.id,
        request.method,
        request.path.lower().rstrip("/"),
        request.query,
        request.headers.get(b"if-match", b""),
        request.headers.get(b"prefer", b""),
        request.body,
    )


def record(request: Request, key: Key, response: Response) -> Answer:
    """A response as it is kept."""
    headers = [(b"content-type", response.kind), *response.headers]
    return Answer(
        tenant_id=caller(request).tenant_id,
        id=key.id,
        digest=key.digest,
        at=EPOCH,
        status=response.status,
        headers=tuple(f"{name.decode()}: {value.decode('latin-1')}" for name, value in headers),
        body=response.body.decode(),
    )


def replay(answer: Answer, again: bool) -> Response:
    """The response that was kept; says so when it was given before."""
    (_, kind), *headers = (tuple(line.encode("latin-1").split(b": ", 1)) for line in answer.headers)
    return Response(
        answer.status,
        answer.body.encode(),
        [*headers, *([(b"idempotent-replayed", b"true")] if again else [])],  # type: ignore[list-item]
        kind,
    )


def digested(request: Request, response: Response) -> Response:
    """An answer with a number for its ETag that is made from its bytes; or that the client has it already."""
    digest = hashlib.blake2b(response.body, digest_size=DIGEST_BYTES).digest()
    version = int.from_bytes(digest) + 1
    response.headers = [*response.headers, etag(version)]
    return unchanged(request, version) or response


def unchanged(request: Request, version: int) -> Response | None:
    """The answer to a client that has this version already, as its `If-None-Match` says."""
    known = b"if-none-match" in request.headers and version in request.known_versions()
    return Response(304, b"", [etag(version)]) if known else None
