"""Our own calls on webhook endpoints, below /api/v1."""

from collections.abc import Callable
from functools import partial

from regulars import queries, webhooks, wire
from regulars.app import App
from regulars.errors import Refused
from regulars.fields import Invalid, to_int
from regulars.http.handling import book, caller, path_id, unchanged, write
from regulars.http.messages import Request, Response, etag, ignored_members
from regulars.record import Endpoint, Progress
from regulars.store import Book
from regulars.wire import Reading, encode


async def get_endpoints(app: App, request: Request) -> Response:
    found = await webhooks.standing(app.store, caller(request).tenant_id)
    return Response(200, encode({"Items": [webhooks.public(one) | webhooks.told(far) for one, far in found]}))


async def get_endpoint(app: App, request: Request) -> Response:
    found = await endpoint(app, request)
    return unchanged(request, found.version) or shown(Reading(), found)


async def post_endpoint(app: App, request: Request) -> Response:
    reading, allowed = read(request, webhooks.read), app.settings.webhook_allow_private
    newest = await app.store.newest(caller(request).tenant_id)
    return await write(
        app, request, with_secret(reading), webhooks.add, reading, webhooks.new_secret(), allowed, newest
    )


async def patch_endpoint(app: App, request: Request) -> Response:
    reading, allowed = read(request, webhooks.read), app.settings.webhook_allow_private
    number, expect = path_id(request), request.expected_versions()
    return await write(app, request, partial(shown, reading), webhooks.change, number, reading, allowed, expect)


async def delete_endpoint(app: App, request: Request) -> Response:
    number, expect = path_id(request), request.expected_versions()
    return await write(app, request, lambda *_: Response(200), webhooks.remove, number, expect)


async def rotate(app: App, request: Request) -> Response:
    number, secret, expect = path_id(request), webhooks.new_secret(), request.expected_versions()
    return await write(app, request, with_secret(Reading()), webhooks.rotate, number, secret, expect)


async def resend(app: App, request: Request) -> Response:
    reading = read(request, webhooks.read_resend)
    return await write(app, request, partial(resent, reading), webhooks.resend, path_id(request), reading)


async def get_deliveries(app: App, request: Request) -> Response:
    given = queries.parameters(request.pairs()).get("limit", ["100"])[-1]
    try:
        limit = to_int(given, 1, webhooks.MOST_KEPT)
    except Invalid as error:
        raise Refused({"limit": [str(error)]}) from error
    found = await endpoint(app, request)
    progress = await app.store.get(Progress, found.tenant_id, found.id)
    attempts = await webhooks.attempts(app.store, found, limit)
    return Response(200, encode(webhooks.told(progress) | {"Items": [webhooks.public(one) for one in attempts]}))


# ---- what they share


def read(request: Request, reader: Callable[[object, bool], Reading]) -> Reading:
    reading = reader(wire.read_json(request.body), request.prefers("handling=strict"))
    request.spelt = reading.spelt
    return reading


async def endpoint(app: App, request: Request) -> Endpoint:
    """The endpoint of the path; raises `NotFound`."""
    number = path_id(request)
    return webhooks.known((await book(app, request)).get(Endpoint, number), number)


def shown(reading: Reading, one: Endpoint, book: Book | None = None) -> Response:
    return Response(200, encode(webhooks.public(one)), [etag(one.version), *ignored_members(reading)])


def with_secret(reading: Reading) -> Callable[[Endpoint, Book], Response]:
    """The answer that shows an endpoint's secret. It may be given again to who has the Idempotency-Key."""

    def answer(one: Endpoint, book: Book) -> Response:
        body = encode(webhooks.public(one) | {"Secret": one.secret})
        return Response(200, body, [etag(one.version), (b"cache-control", b"no-store"), *ignored_members(reading)])

    return answer


def resent(reading: Reading, progress: Progress, book: Book) -> Response:
    return Response(200, encode(webhooks.told(progress)), ignored_members(reading))
