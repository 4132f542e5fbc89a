"""Our own calls, below /api/v1 (contract §10)."""

from regulars import customers, flat, history, queries, wire
from regulars.app import App
from regulars.http.handling import book, caller, custom_columns, patch, path_id, run, unchanged
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


async def shown(app: App, request: Request, customer: Customer) -> Response:
    columns = custom_columns(await book(app, request))
    return Response(200, flat.write(customer, columns), [etag(customer.version)])
