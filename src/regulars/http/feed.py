"""The feed of changes over HTTP: in pages, and as CloudEvents."""

from regulars import feed, queries
from regulars.app import App
from regulars.http.handling import caller
from regulars.http.messages import Request, Response

EVENTS = b"application/cloudevents-batch+json"


async def get_changes(app: App, request: Request) -> Response:
    wanted = queries.read_feed(request.pairs())
    tenant_id = caller(request).tenant_id
    page = await feed.read(app.store, tenant_id, wanted.after, wanted.limit)
    if wanted.events or EVENTS.decode() in request.header(b"accept").lower():
        return Response(200, feed.write_events(page.changes, await feed.source(app.store, tenant_id)), kind=EVENTS)
    return Response(200, feed.write(page))
