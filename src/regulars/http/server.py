"""The server: finds the route, tells who calls, and turns whatever happens into an answer."""

import gc
import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from regulars.access import Caller
from regulars.app import App
from regulars.errors import RegularsError, TooMany
from regulars.http.handling import bearer, digested
from regulars.http.limits import RateLimit
from regulars.http.messages import HttpError, Request, Response, Streamed, error_response
from regulars.http.protocol import Answer, Protocol
from regulars.http.routes import ROUTES, Route, Router
from regulars.logs import configure
from regulars.record import Tenant
from regulars.settings import Settings, as_environment, load
from regulars.worker import Worker

log = logging.getLogger("regulars.http")
access_log = logging.getLogger("regulars.access")

Header = tuple[bytes, bytes]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON_TYPES = ("application/json", "text/json")
MERGE_PATCH = ("application/merge-patch+json",)
MORE_TYPES = {
    "Login": ("application/x-www-form-urlencoded",),
    "CustomerPatch": MERGE_PATCH,
    "WebhookPatch": MERGE_PATCH,
}
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,100}")
MOST_HOSTS = 1000
SWITCH_SECONDS = 0.0005
"""How long a thread that reads a list waits for the interpreter after each statement, while the loop is busy."""

GARBAGE = (10_000, 20, 20)
"""When Python looks for garbage that refers to itself. With its own thresholds it looks through all that is kept in
memory every second or two under load, for 20 to 30 ms in which nobody is answered."""


async def nothing(*_: Any) -> Any:
    """The application that ProxyHeadersMiddleware is put in front of: only what it finds out is wanted."""


class Server:
    """Answers requests. As an ASGI callable it only starts and stops the app."""

    def __init__(self, app: App, *, access_log: bool = False) -> None:
        self.app = app
        self.worker = Worker(app)
        self.router = Router(ROUTES)
        self.limits = RateLimit(app.settings.rate_limit)
        self.access_log = access_log
        self.body_limit = app.settings.body_limit
        trusted = app.settings.trusted_proxies
        self._proxies = ProxyHeadersMiddleware(nothing, trusted) if trusted else None
        self._prefix = secrets.token_hex(6)
        self._count = 0
        self._hosts: dict[bytes, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            raise RuntimeError("requests come by regulars.http.protocol, not by ASGI")
        await self.lifespan(receive, send)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.app.open()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        if self.app.settings.webhooks:
            self.worker.start()
        gc.collect()
        gc.freeze()  # what is there now stays
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.worker.stop()
        await self.app.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def serve(self, request: Request) -> Answer:
        """The head, without its end, and the body of the answer, whatever happens."""
        started = time.perf_counter() if self.access_log else 0.0
        given = request.headers.get(b"x-request-id")
        if given and REQUEST_ID.fullmatch(given):
            request.request_id = given.decode("ascii")
        else:
            self._count += 1
            request.request_id = f"{self._prefix}-{self._count:x}"
        extra: list[Header] = []
        try:
            response = await self.answer(request, extra)
            if extra:
                response.headers = response.headers + extra
            head = response.head(request.request_id)
        except Exception as error:
            if not isinstance(error, RegularsError):
                log.exception("unexpected error", extra={"request_id": request.request_id, "path": request.path})
            response = error_response(error, request)
            response.headers = response.headers + extra
            head = response.head(request.request_id)
        if self.access_log:
            self.note(request, response.status, time.perf_counter() - started)
        if request.method == "HEAD":
            return head, b""
        if isinstance(response, Streamed) and response.pieces is not None:
            return head, response.pieces
        return head, response.body

    def note(self, request: Request, status: int, seconds: float) -> None:
        access_log.info(
            "request",
            extra={
                "method": request.method,
                "path": request.path,
                "status": status,
                "ms": round(seconds * 1000, 2),
                "request_id": request.request_id,
                "tenant": request.caller.tenant_id if request.caller else request.tenant_id,
                "client": request.client,
            },
        )

    async def answer(self, request: Request, extra: list[Header]) -> Response:
        if self._proxies and b"x-forwarded-for" in request.headers:
            await self.believe(request)
        route = self.route(request)
        app = self.app
        await app.store.refresh()
        label = self.label(request)
        if label:
            request.tenant_id = (await app.store.tenants()).get(label)
        if route.permission is not None:
            request.caller = await app.access.caller(bearer(request), request.tenant_id)
        tenant_id = request.caller.tenant_id if request.caller else request.tenant_id
        if tenant_id is not None:
            tenant = (await app.store.book(tenant_id)).get(Tenant, tenant_id)
            request.quirks = tenant is not None and tenant.quirks and not route.own
        if self.limits.limit and request.caller:
            self.count(request, request.caller, extra)
        if request.caller and route.permission:
            request.caller.require(route.permission)
        if route.body:
            self.check_media_type(request, route)
            if request.too_large:
                raise HttpError(413, f"Expected a body of at most {self.body_limit} bytes.")
        response = await route.handler(app, request)
        if route.digested:
            response = digested(request, response)
        if self.limits.limit and request.caller and route.permission is None:
            self.count(request, request.caller, extra)  # a login, which tells only now whose it is
        return response

    def count(self, request: Request, caller: Caller, extra: list[Header]) -> None:
        """Count a call; raises `TooMany` when it was one too many."""
        left, seconds = self.limits.take((caller.tenant_id, caller.employee.id, request.client))
        extra += self.limits.headers(left, seconds)
        if left < 0:
            raise TooMany("Too many requests.", seconds)

    async def believe(self, request: Request) -> None:
        """Take the client's address from a proxy that is trusted."""
        assert self._proxies is not None
        scope: Any = {"type": "http", "client": (request.client, 0), "headers": list(request.headers.items())}
        await self._proxies(scope, nothing, nothing)
        request.client = scope["client"][0]

    def route(self, request: Request) -> Route:
        routes, request.parameter = self.router.find(request.path)
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

    def label(self, request: Request) -> str:
        """The host's first label, which may name a tenant (contract §1)."""
        host = request.headers.get(b"host", b"")
        label = self._hosts.get(host)
        if label is None:
            label = host.decode("latin-1").split(".")[0].lower() if b"." in host else ""
            if len(self._hosts) >= MOST_HOSTS:
                self._hosts.clear()
            self._hosts[host] = label
        return label

    def check_media_type(self, request: Request, route: Route) -> None:
        if request.headers.get(b"content-type") == b"application/json" and b"content-encoding" not in request.headers:
            return
        kind, _, parameters = request.header(b"content-type").partition(";")
        kind = kind.strip().lower()
        allowed = (*JSON_TYPES, *MORE_TYPES.get(route.body, ()))
        charset = re.search(r'charset\s*=\s*"?([^\s";]+)', parameters, re.I)
        if (kind and kind not in allowed) or (charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii")):
            sent = request.header(b"content-type")[:100]
            raise HttpError(415, f"Expected Content-Type {' or '.join(allowed)} in UTF-8, got {sent!r}.")
        if request.header(b"content-encoding").strip().lower() not in ("", "identity"):
            raise HttpError(415, "Expected a body without Content-Encoding.", [(b"accept-encoding", b"identity")])


def create() -> Server:
    """What a process of uvicorn serves, from the settings in the environment; `run` is how to start it."""
    chosen = load({})
    configure(chosen.log_format, chosen.log_level)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GARBAGE)
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
        proxy_headers=False,
    )
