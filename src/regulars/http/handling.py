"""What the handlers of all routes share: who calls, on which record, and how a command is run and answered."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from regulars import history, wire
from regulars.access import Caller, Permission
from regulars.app import App
from regulars.customers import Patch
from regulars.errors import Conflict, Refused, Unauthenticated
from regulars.fields import INT32, Invalid, to_int
from regulars.http.messages import Request, Response, etag, ignored_members
from regulars.record import Column, Company, Customer, Group
from regulars.store import Actor, Book
from regulars.wire import Reading

T = TypeVar("T")
Handler = Callable[[App, Request], Awaitable[Response]]

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


async def represent(app: App, customer: Customer) -> bytes:
    """A customer as it is read, from memory when neither it nor what it refers to was exchanged since."""
    book, key = await app.store.book(customer.tenant_id), (customer.tenant_id, customer.id)
    known = app.written.get(key)
    if known is not None and known[0] is customer and known[1] is book:
        return known[2]
    groups = [group for number in customer.group_ids if (group := book.get(Group, number))]
    body = wire.write_customer(customer, book.get(Company, customer.company_id), custom_columns(book), groups)
    if len(app.written) >= MOST_WRITTEN:
        del app.written[next(iter(app.written))]
    app.written[key] = customer, book, body
    return body


def custom_columns(book: Book) -> wire.CustomColumns:
    return book.once("wire", lambda book: wire.CustomColumns(book.all(Column)))


async def updated(app: App, request: Request, reading: Reading, customer: Customer) -> Response:
    """The answer to an update: empty with the new ETag, or the customer when the client prefers that."""
    headers = [etag(customer.version), *ignored_members(reading)]
    if not request.prefers("return=representation"):
        return Response(200, b"", headers)
    headers.append((b"preference-applied", b"return=representation"))
    return Response(200, await represent(app, customer), headers)


async def book(app: App, request: Request) -> Book:
    return await app.store.book(caller(request).tenant_id)


async def run(app: App, request: Request, command: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """The result of a command of the caller's. A `Conflict` is told with what was changed meanwhile."""
    try:
        return await app.store.run(actor(request), command, *args, **kwargs)
    except Conflict as error:
        if error.expected and args:
            error.members = await history.members_since(
                app.store, caller(request).tenant_id, args[0], error.expected[-1], error.version
            )
        raise


def unchanged(request: Request, version: int) -> Response | None:
    """The answer to a client that has this version already, as its `If-None-Match` says."""
    known = b"if-none-match" in request.headers and version in request.known_versions()
    return Response(304, b"", [etag(version)]) if known else None
