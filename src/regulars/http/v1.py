"""Our own calls, below /api/v1 (contract §10)."""

from collections import Counter
from functools import partial
from typing import get_args

from regulars import batch, customers, flat, history, queries, undo, wire
from regulars.app import App
from regulars.customers import Patch
from regulars.errors import Refused
from regulars.fields import INT64
from regulars.flat import BatchAction, BatchReading
from regulars.http.handling import book, caller, custom_columns, patch, path_id, unchanged, write
from regulars.http.messages import Request, Response, etag, ignored_members, spelt_as
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


async def batch_customers(app: App, request: Request) -> Response:
    found = flat.read_batch(wire.read_json(request.body), request.prefers("handling=strict"))
    request.spelt = found.reading.spelt
    if found.reading.problems:
        raise Refused(found.reading.problems)
    if any(one.action is not BatchAction.update for one in found.entries):
        caller(request).require("create")
    if found.atomic:  # then the problems of all items are told together
        request.spelt |= found.spelt()
    items = [
        batch.Item(
            one.action,
            one.key,
            one.value,
            Patch(one.reading.values, one.reading.problems),
            None if one.version is None else {one.version},
        )
        for one in found.entries
    ]
    async with app.batching:
        return await write(app, request, partial(batched, found), batch.apply, items, found.atomic)


def batched(found: BatchReading, outcomes: list[batch.Outcome], book: Book) -> Response:
    items = [
        {
            "Outcome": one.done,
            "ID": one.id,
            "Version": one.version,
            "Members": one.members,
            "Problems": {spelt_as(name, entry.reading.spelt): why for name, why in one.problems.items()},
        }
        for one, entry in zip(outcomes, found.entries, strict=True)
    ]
    counts = Counter(one.done for one in outcomes)
    totals = {name.title(): counts[name] for name in get_args(batch.Done)}
    return Response(200, wire.encode({"Items": items, **totals}), ignored_members(found.reading))
