"""The ASGI application: finds the route, tells who calls, reads the body, and turns whatever happens into an answer."""

import logging
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import uvicorn

from regulars.access import NOT_VALID
from regulars.app import App
from regulars.errors import RegularsError, TooMany, Unauthenticated
from regulars.http.limits import RateLimit
from regulars.http.messages import HttpError, Request, Response, error_response
from regulars.http.protocol import Protocol
from regulars.http.routes import ALIASES, ROUTES, Route, Router
from regulars.logs import configure
from regulars.record import Tenant
from regulars.settings import Settings, as_environment, load

log = logging.getLogger("regulars.http")
access_log = logging.getLogger("regulars.access")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON_TYPES = ("application/json", "text/json")
FORM_TYPE = "application/x-www-form-urlencoded"
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,100}")
MOST_HOSTS = 1000


LISTS = (b"accept", b"if-match", b"prefer")
"""Headers that may come in several lines, which are one list (RFC 9110 §5.3)."""


def joined(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    return b", ".join([value for one, value in headers if one == name])


class Gone(Exception):
    """The client left before the request was whole; nobody waits for an answer."""


class Server:
    """The ASGI callable. Starts and stops the app with the lifespan."""

    def __init__(self, app: App, *, access_log: bool = False) -> None:
        self.app = app
        self.router = Router(ROUTES)
        self.limits = RateLimit(app.settings.rate_limit)
        self.access_log = access_log
        self._prefix = secrets.token_hex(6)
        self._count = 0
        self._hosts: dict[bytes, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        elif scope["type"] == "http":
            await self.serve(scope, receive, send)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.app.open()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.app.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = self.request(scope)
        extra: list[tuple[bytes, bytes]] = []
        try:
            response = await self.answer(request, receive, extra)
        except Gone:
            return
        except RegularsError as error:
            response = error_response(error, request)
        except Exception as error:
            log.exception("unexpected error", extra={"request_id": request.request_id, "path": request.path})
            response = error_response(error, request)
        await self.send(send, request, response, extra)
        if self.access_log:
            access_log.info(
                "request",
                extra={
                    "method": request.method,
                    "path": request.path,
                    "status": response.status,
                    "ms": round((time.perf_counter() - started) * 1000, 2),
                    "request_id": request.request_id,
                    "tenant": request.caller.tenant_id if request.caller else request.tenant_id,
                    "client": request.client,
                },
            )

    async def send(self, send: Send, request: Request, response: Response, extra: list[tuple[bytes, bytes]]) -> None:
        headers = [(b"content-length", b"%d" % len(response.body)), (b"x-request-id", request.request_id.encode())]
        if response.body:
            headers.append((b"content-type", response.kind))
        await send(
            {"type": "http.response.start", "status": response.status, "headers": headers + response.headers + extra}
        )
        await send({"type": "http.response.body", "body": response.body})

    def request(self, scope: Scope) -> Request:
        headers = dict(scope["headers"])
        if len(headers) < len(scope["headers"]):
            headers |= {name: joined(scope["headers"], name) for name in LISTS if name in headers}
        given = headers.get(b"x-request-id", b"")
        if given and REQUEST_ID.fullmatch(given):
            request_id = given.decode("ascii")
        else:
            self._count += 1
            request_id = f"{self._prefix}-{self._count:x}"
        client = scope.get("client")
        return Request(
            scope["method"], scope["path"], scope["query_string"], headers, client[0] if client else "", request_id
        )

    async def answer(self, request: Request, receive: Receive, extra: list[tuple[bytes, bytes]]) -> Response:
        route = self.route(request)
        app = self.app
        await app.store.refresh()
        request.tenant_id = await self.tenant_of_host(request)
        if route.permission is not None:
            request.caller = await app.access.caller(self.bearer(request), request.tenant_id)
        tenant_id = request.caller.tenant_id if request.caller else request.tenant_id
        if tenant_id is not None:
            tenant = (await app.store.book(tenant_id)).get(Tenant, tenant_id)
            request.quirks = tenant is not None and tenant.quirks
        if self.limits.limit and request.caller:
            left, seconds = self.limits.take((request.caller.tenant_id, request.caller.employee.id, request.client))
            extra += self.limits.headers(left, seconds)
            if left < 0:
                raise TooMany("Too many requests.", seconds)
        if request.caller and route.permission:
            request.caller.require(route.permission)
        if route.body:
            self.check_media_type(request, form=route.body == "Login")
            request.body = await self.body(request, receive)
        return await route.handler(app, request)

    def route(self, request: Request) -> Route:
        path = request.path
        for prefix, target in ALIASES.items():
            if path.lower().startswith(prefix):
                path = target + path[len(prefix) :]
        routes, request.parameter = self.router.find(path)
        if not routes:
            raise HttpError(404, f"No HTTP resource was found that matches the request URI '{request.path[:200]}'.")
        route = routes.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            allowed = sorted({*routes, *(["HEAD"] if "GET" in routes else [])})
            raise HttpError(
                405,
                f"The requested resource does not support http method '{request.method}'.",
                [(b"allow", ", ".join(allowed).encode())],
            )
        return route

    async def tenant_of_host(self, request: Request) -> int | None:
        """The tenant that the host's first label names, if it names one (contract §1)."""
        host = request.headers.get(b"host", b"")
        label = self._hosts.get(host)
        if label is None:
            label = host.decode("latin-1").split(".")[0].lower() if b"." in host else ""
            if len(self._hosts) >= MOST_HOSTS:
                self._hosts.clear()
            self._hosts[host] = label
        return (await self.app.store.tenants()).get(label) if label else None

    def bearer(self, request: Request) -> str:
        kind, _, token = request.header(b"authorization").strip().partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise Unauthenticated(NOT_VALID)
        return token.strip()

    def check_media_type(self, request: Request, *, form: bool) -> None:
        if request.headers.get(b"content-type") == b"application/json" and b"content-encoding" not in request.headers:
            return
        kind, _, parameters = request.header(b"content-type").partition(";")
        kind = kind.strip().lower()
        allowed = (*JSON_TYPES, FORM_TYPE) if form else JSON_TYPES
        charset = re.search(r'charset\s*=\s*"?([^\s";]+)', parameters, re.I)
        if (kind and kind not in allowed) or (charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii")):
            sent = request.header(b"content-type")[:100]
            raise HttpError(415, f"Expected Content-Type {' or '.join(allowed)} in UTF-8, got {sent!r}.")
        if request.header(b"content-encoding").strip().lower() not in ("", "identity"):
            raise HttpError(415, "Expected a body without Content-Encoding.", [(b"accept-encoding", b"identity")])

    async def body(self, request: Request, receive: Receive) -> bytes:
        """The whole body, within the limit of its size; the protocol watches over time."""
        limit = self.app.settings.body_limit
        too_large = f"Expected a body of at most {limit} bytes."
        if b"expect" in request.headers and int(request.headers.get(b"content-length", b"0")) > limit:
            raise HttpError(413, too_large, [(b"connection", b"close")])
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size <= limit:  # the rest is read and dropped: a client that is still sending would not see an answer
                parts.append(part)
        if size > limit:
            raise HttpError(413, too_large)
        return b"".join(parts)


def create() -> Server:
    """The application of a process, from its settings in the environment; for `uvicorn --factory` and workers."""
    chosen = load({})
    configure(chosen.log_format, chosen.log_level)
    Protocol.request_seconds = chosen.body_seconds
    Protocol.request_bytes = max(Protocol.request_bytes, 2 * chosen.body_limit)
    return Server(App(chosen), access_log=chosen.access_log)


def run(chosen: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted."""
    os.environ.update(as_environment(chosen))
    uvicorn.run(
        "regulars.http.server:create",
        factory=True,
        host=chosen.host,
        port=chosen.port,
        workers=chosen.workers,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=30,
        backlog=2048,
        proxy_headers=bool(chosen.trusted_proxies),
        forwarded_allow_ips=chosen.trusted_proxies or None,
    )
