"""Our own calls, below /api/v1 (contract §10)."""

from regulars import customers, flat, history, queries, undo, wire
from regulars.app import App
from regulars.errors import Refused
from regulars.fields import INT64
from regulars.http.handling import actor, book, caller, custom_columns, patch, path_id, run, unchanged
from regulars.http.messages import Request, Response, etag, ignored_members
from regulars.record import Customer


async def get_customer(app: App, request: Request) -> Response:
    customer = await app.store.get(Customer, caller(request).tenant_id, path_id(request))
    return unchanged(request, customer.version) or await shown(app, request, customer)


async def patch_customer(app: App, request: Request) -> Response:
    number = path_id(request)
    reading = flat.read_merge(wire.read_json(request.body), request.prefers("handling=strict"))
    wanted = patch(request, reading)
    customer = await run(app, request, customers.merge, number, wanted, request.expected_versions())
    answer = await shown(app, request, customer)
    answer.headers += ignored_members(reading)
    return answer


async def get_customer_changes(app: App, request: Request) -> Response:
    limit, cursor = queries.read_history(request.pairs())
    changes, following = await history.page(app.store, caller(request).tenant_id, path_id(request), limit, cursor)
    return Response(200, history.write_page(changes, following))


async def post_undo(app: App, request: Request) -> Response:
    dry_run = queries.read_dry_run(request.pairs())
    number = path_id(request, INT64)
    done = await undo.undo_change(app.store, actor(request), number, dry_run=dry_run)
    return Response(200, undo.write(done, dry_run=dry_run))


async def post_undo_all(app: App, request: Request) -> Response:
    dry_run = queries.read_dry_run(request.pairs())
    reading = undo.read_wanted(wire.read_json(request.body), request.prefers("handling=strict"))
    request.spelt = reading.spelt
    if reading.problems:
        raise Refused(reading.problems)
    done = await undo.undo_all(app.store, actor(request), undo.Wanted(**reading.values), dry_run=dry_run)
    return Response(200, undo.write(done, dry_run=dry_run), ignored_members(reading))


async def shown(app: App, request: Request, customer: Customer) -> Response:
    columns = custom_columns(await book(app, request))
    return Response(200, flat.write(customer, columns), [etag(customer.version)])
