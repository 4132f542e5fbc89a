"""Our own calls on webhook endpoints, below /api/v1."""

import asyncio
from collections.abc import Callable

from regulars import queries, webhooks, wire
from regulars.app import App
from regulars.errors import Refused
from regulars.fields import Invalid, to_int
from regulars.http.handling import book, caller, path_id, run
from regulars.http.messages import Request, Response, ignored_members
from regulars.record import Endpoint, Progress
from regulars.wire import Reading, encode


async def get_endpoints(app: App, request: Request) -> Response:
    endpoints = webhooks.present((await book(app, request)).all(Endpoint))
    found = await asyncio.gather(*(progress(app, request, one) for one in endpoints))
    return Response(200, encode({"Items": [webhooks.described(*one) for one in zip(endpoints, found, strict=True)]}))


async def get_endpoint(app: App, request: Request) -> Response:
    return await shown(app, request, await endpoint(app, request))


async def post_endpoint(app: App, request: Request) -> Response:
    reading = read(request, webhooks.read)
    allowed = app.settings.webhook_allow_private
    added = await run(app, request, webhooks.add, reading, webhooks.new_secret(), allowed)
    return await shown(app, request, added, reading, secret=True)


async def patch_endpoint(app: App, request: Request) -> Response:
    reading = read(request, webhooks.read)
    allowed = app.settings.webhook_allow_private
    changed = await run(app, request, webhooks.change, path_id(request), reading, allowed)
    return await shown(app, request, changed, reading)


async def delete_endpoint(app: App, request: Request) -> Response:
    await run(app, request, webhooks.remove, path_id(request))
    return Response(200)


async def rotate(app: App, request: Request) -> Response:
    changed = await run(app, request, webhooks.rotate, path_id(request), webhooks.new_secret())
    return await shown(app, request, changed, secret=True)


async def resend(app: App, request: Request) -> Response:
    reading = read(request, webhooks.read_resend)
    return await shown(app, request, await run(app, request, webhooks.resend, path_id(request), reading), reading)


async def get_deliveries(app: App, request: Request) -> Response:
    given = queries.parameters(request.pairs()).get("limit", ["100"])[-1]
    try:
        limit = to_int(given, 1, webhooks.MOST_KEPT)
    except Invalid as error:
        raise Refused({"limit": [str(error)]}) from error
    attempts = await webhooks.attempts(app.store, await endpoint(app, request), limit)
    return Response(200, encode({"Items": [webhooks.public(one) for one in attempts]}))


# ---- what they share


def read(request: Request, reader: Callable[[object, bool], Reading]) -> Reading:
    reading = reader(wire.read_json(request.body), request.prefers("handling=strict"))
    request.spelt = reading.spelt
    return reading


async def endpoint(app: App, request: Request) -> Endpoint:
    """The endpoint of the path; raises `NotFound`."""
    number = path_id(request)
    return webhooks.known((await book(app, request)).get(Endpoint, number), number)


async def progress(app: App, request: Request, one: Endpoint) -> Progress:
    return await app.store.get(Progress, caller(request).tenant_id, one.id)


async def shown(
    app: App, request: Request, one: Endpoint, reading: Reading | None = None, *, secret: bool = False
) -> Response:
    found = webhooks.described(one, await progress(app, request, one), secret=secret)
    return Response(200, encode(found), ignored_members(reading or Reading()))
