"""The feed of changes over HTTP: in pages that may be waited for, and as CloudEvents."""

from functools import partial

from regulars import feed, queries
from regulars.app import App
from regulars.http.handling import caller, still_may
from regulars.http.messages import Request, Response
from regulars.store.watch import wake

EVENTS = b"application/cloudevents-batch+json"


async def get_changes(app: App, request: Request) -> Response:
    wanted = queries.read_feed(request.pairs())
    tenant_id = caller(request).tenant_id
    page = await feed.read(app.store, tenant_id, wanted.after, wanted.limit)
    if wanted.wait and not page.changes:
        newer = app.store.newer(tenant_id, page.last, wanted.wait)
        request.hurry = partial(wake, newer, False)
        if await newer:
            await still_may(app, request, "view")
            page = await feed.read_on(app.store, tenant_id, page.last, wanted.limit)
    if wanted.events or EVENTS.decode() in request.header(b"accept").lower():
        return Response(200, feed.write_events(page.changes, await feed.source(app.store, tenant_id)), kind=EVENTS)
    return Response(200, feed.write(page))
