"""The feed of changes over HTTP: in pages that may be waited for, as a stream of events, and as CloudEvents."""

from collections.abc import Iterable, Iterator
from functools import partial

from regulars import feed, queries, wire
from regulars.app import App
from regulars.errors import RegularsError, Unavailable
from regulars.http.handling import caller, still_may
from regulars.http.messages import Request, Response, Streamed
from regulars.http.outflow import Pieces
from regulars.record import Change
from regulars.store.watch import wake

EVENTS, STREAM = b"application/cloudevents-batch+json", b"text/event-stream"

MOST_STREAMS = 1_000
CHECK_SECONDS = 1.0
"""How often it is asked, while nothing happens, whether the token of a stream is still good."""
COMMENT_SECONDS = 15.0
"""How long a stream is silent at most, so that nobody in between takes it for dead."""
PIECE_BYTES = 32 << 10
PAGE = 100


async def get_changes(app: App, request: Request) -> Response:
    wanted = queries.read_feed(request.pairs())
    tenant_id = caller(request).tenant_id
    seen = request.headers.get(b"last-event-id", b"").strip(b" \t").decode("latin-1")
    after = seen or wanted.after  # a browser that connects again sends both
    accepted = request.header(b"accept").lower()
    if STREAM.decode() in accepted:
        return await stream(app, request, after, wanted.events)
    page = await feed.read(app.store, tenant_id, after, wanted.limit)
    if wanted.wait and not page.changes:
        newer = app.store.newer(tenant_id, page.last, wanted.wait)
        request.hurry = partial(wake, newer, False)
        if await newer:
            await still_may(app, request, "view")
            page = await feed.read_on(app.store, tenant_id, page.last, wanted.limit)
    if wanted.events or EVENTS.decode() in accepted:
        return Response(200, feed.write_events(page.changes, await feed.source(app.store, tenant_id)), kind=EVENTS)
    return Response(200, feed.write(page))


# ---- a stream


async def stream(app: App, request: Request, after: str, as_events: bool) -> Response:
    """Server-Sent Events from where the client says that it is."""
    if app.streams >= MOST_STREAMS:
        raise Unavailable(f"{MOST_STREAMS:,} streams are open already. Read the feed in pages, or try again.", 5)
    tenant_id = caller(request).tenant_id
    page = await feed.read(app.store, tenant_id, after, PAGE)
    source = await feed.source(app.store, tenant_id) if as_events else ""
    headers = [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    return Streamed(200, headers=headers, kind=STREAM, pieces=counted(app, events(app, request, page, source)))


async def counted(app: App, pieces: Pieces) -> Pieces:
    """The pieces, known to the app as a stream while they flow."""
    app.streams += 1
    try:
        async for piece in pieces:
            yield piece
    finally:
        app.streams -= 1
        await pieces.aclose()


async def events(app: App, request: Request, page: feed.Page, source: str) -> Pieces:
    """Every change from a page on, for as long as the token is good; the last event says why there are no more."""
    yield b"retry: 1000\n\n"
    silent = 0.0
    try:
        while True:
            for piece in pieces(page.changes, source):
                silent = 0.0
                yield piece
            found = page.more
            if not found:
                newer = app.store.newer(page.tenant_id, page.last, CHECK_SECONDS)
                request.hurry = partial(wake, newer, False)
                found = await newer
            if not found:
                silent += CHECK_SECONDS
                silent, comment = (0.0, b":\n\n") if silent >= COMMENT_SECONDS else (silent, b"")
                yield comment
            await still_may(app, request, "view")
            page = await feed.read_on(app.store, page.tenant_id, page.last, PAGE) if found else page.without_changes()
    except RegularsError as error:
        data = wire.encode({"type": f"urn:regulars:{error.code}", "detail": error.message})
        yield b"event: end\ndata: %b\n\n" % data


def pieces(changes: Iterable[Change], source: str) -> Iterator[bytes]:
    """The changes as events, some at a time."""
    piece = b""
    for one in changes:
        piece += b"id: %b\nevent: change\ndata: %b\n\n" % (
            feed.cursor(one.tenant_id, one.id).encode(),
            feed.write_change(one, source),
        )
        if len(piece) >= PIECE_BYTES:
            yield piece
            piece = b""
    if piece:
        yield piece
