"""Our own calls, below /api/v1 (contract §10)."""

from functools import partial

from regulars import customers, flat, history, queries, undo, wire
from regulars.app import App
from regulars.errors import Refused
from regulars.fields import INT64
from regulars.http.handling import book, caller, custom_columns, patch, path_id, unchanged, write
from regulars.http.messages import Request, Response, etag, ignored_members
from regulars.record import Change, Customer
from regulars.store import Book
from regulars.wire import Reading


async def get_customer(app: App, request: Request) -> Response:
    customer = await app.store.get(Customer, caller(request).tenant_id, path_id(request))
    return unchanged(request, customer.version) or shown(customer, await book(app, request))


async def patch_customer(app: App, request: Request) -> Response:
    number = path_id(request)
    reading = flat.read_merge(wire.read_json(request.body), request.prefers("handling=strict"))
    wanted = patch(request, reading)
    answer = partial(patched, reading)
    return await write(app, request, answer, customers.merge, number, wanted, request.expected_versions())


def patched(reading: Reading, customer: Customer, book: Book) -> Response:
    answer = shown(customer, book)
    answer.headers += ignored_members(reading)
    return answer


async def get_customer_changes(app: App, request: Request) -> Response:
    limit, cursor = queries.read_history(request.pairs())
    changes, following = await history.page(app.store, caller(request).tenant_id, path_id(request), limit, cursor)
    return Response(200, history.write_page(changes, following))


async def post_undo(app: App, request: Request) -> Response:
    dry_run = queries.read_dry_run(request.pairs())
    change = await app.store.get(Change, caller(request).tenant_id, path_id(request, INT64))
    return await write(app, request, partial(undone, dry_run, []), undo.undo, [change], dry_run=dry_run)


async def post_undo_all(app: App, request: Request) -> Response:
    dry_run = queries.read_dry_run(request.pairs())
    reading = undo.read_wanted(wire.read_json(request.body), request.prefers("handling=strict"))
    request.spelt = reading.spelt
    if reading.problems:
        raise Refused(reading.problems)
    wanted = undo.Wanted(**reading.values)
    changes = await undo.matching(app.store, caller(request).tenant_id, wanted)
    answer = partial(undone, dry_run, ignored_members(reading))
    return await write(app, request, answer, undo.undo, changes, keep_created=wanted.keep_created, dry_run=dry_run)


def undone(dry_run: bool, headers: list[tuple[bytes, bytes]], done: list[undo.Undone], book: Book) -> Response:
    return Response(200, undo.write(done, dry_run=dry_run), list(headers))


def shown(customer: Customer, book: Book) -> Response:
    return Response(200, flat.write(customer, custom_columns(book)), [etag(customer.version)])
