"""Every route in one table, and what each does: read, run a command or a query, write.

The router, the permission check, the OpenAPI document, the reference page and the tests read this table.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl

from regulars import customers, queries, wire
from regulars.access import Caller, Permission
from regulars.app import App
from regulars.customers import Patch
from regulars.errors import NotFound, Refused
from regulars.fields import Invalid, to_int
from regulars.http.messages import Request, Response, etag, ignored_members, instant
from regulars.record import Carrier, Column, Company, Customer, Group, PaymentTerm, Service
from regulars.search import fold
from regulars.store import Book
from regulars.wire import Reading

Handler = Callable[[App, Request], Awaitable[Response]]
Answer = Literal[
    "token",
    "empty",
    "customer",
    "page",
    "id",
    "companies",
    "company",
    "choices",
    "server",
    "page_html",
    "openapi",
    "text",
]


@dataclass(frozen=True, slots=True)
class Route:
    """One call: `permission` None means that no token is needed, `body` and `answer` name schemas of the OpenAPI
    document."""

    method: str
    path: str
    name: str
    handler: Handler
    permission: Permission | None
    summary: str
    body: str = ""
    answer: Answer = "empty"
    public: bool = True


UNKNOWN_TEAM = "Team name not found. Please try again."
MOST_WRITTEN = 10_000
"""How many answers are kept, 3 kB each."""


# ---- what handlers share


def caller(request: Request) -> Caller:
    assert request.caller is not None
    return request.caller


def path_id(request: Request) -> int:
    try:
        return to_int(request.parameter, 0)
    except Invalid as error:
        raise Refused({"id": [str(error)]}) from error


def patch(request: Request, reading: Reading, *, whole: bool = False) -> Patch:
    request.spelt = reading.spelt
    return Patch(reading.values, reading.problems, whole)


async def represent(app: App, customer: Customer) -> bytes:
    """A customer as it is read, from memory when neither it nor what it refers to was exchanged since."""
    book, key = await app.store.book(customer.tenant_id), (customer.tenant_id, customer.id)
    known = app.written.get(key)
    if known is not None and known[0] is customer and known[1] is book:
        return known[2]
    groups = [group for number in customer.group_ids if (group := book.get(Group, number))]
    body = wire.write_customer(customer, book.get(Company, customer.company_id), custom_columns(book), groups)
    if len(app.written) >= MOST_WRITTEN:
        del app.written[next(iter(app.written))]
    app.written[key] = customer, book, body
    return body


def custom_columns(book: Book) -> wire.CustomColumns:
    return book.once("wire", lambda book: wire.CustomColumns(book.all(Column)))


async def updated(app: App, request: Request, reading: Reading, customer: Customer) -> Response:
    """The answer to an update: empty with the new ETag, or the customer when the client prefers that."""
    headers = [etag(customer.version), *ignored_members(reading)]
    if not request.prefers("return=representation"):
        return Response(200, b"", headers)
    headers.append((b"preference-applied", b"return=representation"))
    return Response(200, await represent(app, customer), headers)


# ---- handlers


async def token(app: App, request: Request) -> Response:
    if request.header(b"content-type").split(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        try:
            data: Any = dict(parse_qsl(request.body.decode("utf-8"), errors="strict", keep_blank_values=True))
        except ValueError as error:
            raise Refused({"body": [f"Expected a form in UTF-8: {error}"]}) from error
    else:
        data = wire.read_json(request.body)
    reading = wire.read_login(data)
    request.spelt = reading.spelt
    if reading.problems:
        raise Refused(reading.problems)
    tenant_id = request.tenant_id or min((await app.store.tenants()).values(), default=0)
    granted = await app.access.login(tenant_id, reading.values["username"], reading.values["password"])
    body = {
        "access_token": granted.text,
        "token_type": "Bearer",
        "username": granted.username,
        "expires_in": int((granted.expires - granted.issued).total_seconds()),
        ".issued": instant(granted.issued),
        ".expires": instant(granted.expires),
    }
    return Response(200, wire.encode(body), [(b"cache-control", b"no-store")])


async def put_customer(app: App, request: Request) -> Response:
    return await flat_update(app, request, "customer")


async def put_order_options(app: App, request: Request) -> Response:
    return await flat_update(app, request, "order_options")


async def put_shipping(app: App, request: Request) -> Response:
    return await flat_update(app, request, "shipping")


async def flat_update(app: App, request: Request, body: str) -> Response:
    number = path_id(request)
    reading = wire.read_update(body, wire.read_json(request.body), request.prefers("handling=strict"))
    customer = await app.store.run(
        caller(request).actor("api", request.request_id),
        customers.update,
        number,
        patch(request, reading, whole=body == "customer"),
        request.expected_versions(),
    )
    return await updated(app, request, reading, customer)


async def put_addresses(app: App, request: Request) -> Response:
    return await list_update(app, request, wire.read_addresses, customers.update_addresses)


async def put_custom_columns(app: App, request: Request) -> Response:
    return await list_update(app, request, wire.read_custom_columns, customers.update_custom_columns)


async def list_update(
    app: App, request: Request, read: Callable[..., Reading], command: Callable[..., Customer]
) -> Response:
    number = path_id(request)
    reading = read(wire.read_json(request.body), request.prefers("handling=strict"))
    actor = caller(request).actor("api", request.request_id)
    customer = await app.store.run(actor, command, number, patch(request, reading), request.expected_versions())
    return await updated(app, request, reading, customer)


async def post_customer(app: App, request: Request) -> Response:
    data = wire.read_json(request.body)
    reading = wire.read_create(data, request.prefers("handling=strict"), request.quirks)
    actor = caller(request).actor("api", request.request_id)
    number = await app.store.run(actor, customers.create, patch(request, reading), lenient=request.quirks)
    headers = [(b"location", b"/rest/api/Customers/%d" % number), etag(1), *ignored_members(reading)]
    return Response(200, str(number).encode(), headers)


async def post_group_members(app: App, request: Request) -> Response:
    number = path_id(request)
    reading = wire.read_group_members(wire.read_json(request.body), request.prefers("handling=strict"))
    actor = caller(request).actor("api", request.request_id)
    await app.store.run(actor, customers.add_to_group, number, patch(request, reading))
    return Response(200, b"", ignored_members(reading))


async def get_customer(app: App, request: Request) -> Response:
    customer = await app.store.get(Customer, caller(request).tenant_id, path_id(request))
    return Response(200, await represent(app, customer), [etag(customer.version)])


async def list_customers(app: App, request: Request) -> Response:
    listing = queries.read_listing(request.pairs())
    tenant_id = caller(request).tenant_id
    page = await app.store.find(
        tenant_id, listing.filters, listing.size, (listing.number - 1) * listing.size, wire.LISTED
    )
    columns = custom_columns(await app.store.book(tenant_id))
    return Response(200, wire.write_page(page.customers, page.total, columns))


async def list_companies(app: App, request: Request) -> Response:
    listing, ids, keyword = queries.read_companies(request.pairs())
    companies = [
        one
        for one in (await book(app, request)).all(Company)
        if (not ids or one.id in ids) and fold(keyword) in fold(one.name)
    ]
    start = (listing.number - 1) * listing.size
    items = [wire.write_company(one) for one in companies[start : start + listing.size]]
    return Response(200, wire.encode({"Items": items, "TotalResults": len(companies)}))


async def get_company(app: App, request: Request) -> Response:
    number = path_id(request)
    company = (await book(app, request)).get(Company, number)
    if company is None:
        raise NotFound(f"Could not find or load record with ID {number}!")
    return Response(200, wire.encode(wire.write_company(company)))


async def book(app: App, request: Request) -> Book:
    return await app.store.book(caller(request).tenant_id)


async def list_payment_terms(app: App, request: Request) -> Response:
    return Response(200, wire.write_choices((await book(app, request)).all(PaymentTerm)))


async def list_carriers(app: App, request: Request) -> Response:
    queries.read_site(request.pairs())
    return Response(200, wire.write_choices((await book(app, request)).all(Carrier)))


async def list_services(app: App, request: Request) -> Response:
    wanted = queries.read_site(request.pairs()).get("carrier", [""])[-1]
    reference = await book(app, request)
    carriers = {one.id for one in reference.all(Carrier) if wanted.lower() in (one.name.lower(), str(one.id))}
    if not carriers:
        known = ", ".join(one.name for one in reference.all(Carrier)) or "none defined yet"
        raise Refused({"carrier": [f"Expected one of the carriers {known}; got {wanted!r}."]})
    return Response(200, wire.write_choices([one for one in reference.all(Service) if one.carrier_id in carriers]))


async def server_by_team(app: App, request: Request) -> Response:
    """A team's own API address: its host has the team's name as first label where hosts name tenants."""
    team = queries.parameters(request.pairs()).get("team", [""])[-1]
    if team.lower() not in await app.store.tenants():
        return Response(200, wire.encode({"Success": False, "Message": UNKNOWN_TEAM}))
    base = app.settings.public_url.rstrip("/") or f"http://{request.header(b'host')}"
    scheme, _, host = base.partition("://")
    labels = host.split(".")
    if len(labels) > 2 and labels[1] == "api":
        host = ".".join([team.lower(), *labels[1:]])
    elif len(labels) > 2 and labels[0] == "api":
        host = ".".join([team.lower(), *labels])
    return Response(200, wire.encode({"Success": True, "RestApiEndpoint": f"{scheme}://{host}/rest"}))


async def livez(app: App, request: Request) -> Response:
    return Response(200, b"ok\n", kind=b"text/plain; charset=utf-8")


async def readyz(app: App, request: Request) -> Response:
    await app.store.backend.writable()
    return Response(200, b"ok\n", kind=b"text/plain; charset=utf-8")


async def swagger(app: App, request: Request) -> Response:
    from regulars.http import openapi

    return openapi.page(request.parameter)


async def swagger_document(app: App, request: Request) -> Response:
    from regulars.http import openapi

    return Response(200, openapi.document_bytes())


# fmt: off
ROUTES: tuple[Route, ...] = (
    Route("PUT", "/rest/api/Customers/{id}", "UpdateCustomer", put_customer, "edit",
          "Update any of a customer's fields; null or absent leaves a field as it is.", "Customer"),
    Route("GET", "/rest/api/Customers/{id}", "GetCustomer", get_customer, "view",
          "One customer, whole.", answer="customer"),
    Route("POST", "/rest/api/token", "CreateToken", token, None,
          "Log in and get a bearer token that is valid for 60 minutes.", "Login", "token"),
    Route("GET", "/rest/api/Customers", "ListCustomers", list_customers, "view",
          "Filtered pages of customers, newest first; at most 50 a page.", answer="page"),
    Route("POST", "/rest/api/Customers", "CreateCustomer", post_customer, "create",
          "Create a customer; the answer is its id.", "NewCustomer", "id"),
    Route("PUT", "/rest/api/Customers/{id}/Addresses", "UpdateAddresses", put_addresses, "edit",
          "Replace or add addresses; those not listed stay.", "Addresses"),
    Route("PUT", "/rest/api/Customers/{id}/CustomColumns", "UpdateCustomColumns", put_custom_columns, "edit",
          "Set the values of custom columns.", "CustomColumns"),
    Route("PUT", "/rest/api/Customers/{id}/OrderOptions", "UpdateOrderOptions", put_order_options, "edit",
          "Update how the customer's orders are handled.", "OrderOptions"),
    Route("PUT", "/rest/api/Customers/{id}/ShippingPreferences", "UpdateShippingPreferences", put_shipping, "edit",
          "Update how the customer's orders are shipped.", "ShippingPreferences"),
    Route("POST", "/rest/api/Customers/CustomersGroups/{id}/Customers", "AddCustomersToGroup", post_group_members,
          "edit", "Make customers members of a group.", "GroupMembers"),
    Route("GET", "/rest/api/Companies", "ListCompanies", list_companies, "view",
          "The companies a customer can belong to.", answer="companies"),
    Route("GET", "/rest/api/Companies/{id}", "GetCompany", get_company, "view",
          "One company.", answer="company"),
    Route("GET", "/rest/api/Settings/PaymentTerms", "ListPaymentTerms", list_payment_terms, "view",
          "What CreditTerm can be.", answer="choices"),
    Route("GET", "/rest/api/Settings/ShippingCarriers", "ListShippingCarriers", list_carriers, "view",
          "What CarrierId can be.", answer="choices"),
    Route("GET", "/rest/api/Settings/ShippingServices", "ListShippingServices", list_services, "view",
          "What CarrierMethodId can be, for one carrier.", answer="choices"),
    Route("GET", "/rest/api/server-by-team", "GetServerByTeam", server_by_team, None,
          "A team's own API address.", answer="server"),
    Route("GET", "/api/server-by-team", "GetServerByTeamOnApiHost", server_by_team, None,
          "A team's own API address, where clients of the bare API host ask for it.", answer="server"),
    Route("GET", "/rest/swagger", "GetSwagger", swagger, None,
          "Interactive documentation.", answer="page_html", public=False),
    Route("GET", "/rest/swagger/ui/{file}", "GetSwaggerFile", swagger, None,
          "A file of the interactive documentation.", answer="page_html", public=False),
    Route("GET", "/rest/swagger/docs/v1", "GetOpenApi", swagger_document, None,
          "The OpenAPI 3.1 description of this interface.", answer="openapi", public=False),
    Route("GET", "/livez", "GetLivez", livez, None, "The process is alive.", answer="text", public=False),
    Route("GET", "/readyz", "GetReadyz", readyz, None, "The store takes writes.", answer="text", public=False),
)
# fmt: on
ALIASES = {"/swagger": "/rest/swagger"}
"""Where else paths are served: their first part, and what it stands for."""


PARAMETER, ROUTES_HERE = None, ""


class Router:
    """Finds the route of a path, in any case, with or without a trailing slash, in one walk."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.root: dict[Any, Any] = {}
        """Each node by the part of the path that leads to it: as it is usually spelt, in lower case, PARAMETER for
        any; ROUTES_HERE leads to the routes of the node."""
        for route in routes:
            node = self.root
            for part in self.parts(route.path):
                if part.startswith("{"):
                    node = node.setdefault(PARAMETER, {})
                else:
                    node[part] = below = node.setdefault(part.lower(), {})
                    node = below
            node.setdefault(ROUTES_HERE, {})[route.method] = route
        for path, target in ALIASES.items():
            (name,) = self.parts(path)
            node = self.root
            for part in self.parts(target):
                node = node[part]
            self.root[name] = node

    def parts(self, path: str) -> list[str]:
        return [part for part in path.split("/") if part]

    def find(self, path: str) -> tuple[dict[str, Route], str]:
        """The routes at a path by method, and the path's parameter; no routes when there are none."""
        node, parameter = self.root, ""
        for part in path.split("/"):
            if not part:
                continue
            below = node.get(part) or node.get(part.lower())
            if below is None:
                below, parameter = node.get(PARAMETER), part
            if below is None:
                return {}, ""
            node = below
        return node.get(ROUTES_HERE, {}), parameter
