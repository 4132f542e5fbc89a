"""The vendor's calls (contract §1), and what a server needs besides: its description, and whether it is well."""

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from regulars import customers, queries, representation, wire
from regulars.app import App
from regulars.errors import NotFound, Refused
from regulars.http.handling import book, caller, custom_columns, patch, path_id, represent, unchanged, updated, write
from regulars.http.messages import Request, Response, etag, ignored_members, instant
from regulars.record import Carrier, Company, Customer, PaymentTerm, Service
from regulars.search import fold
from regulars.store import Book
from regulars.wire import Reading

UNKNOWN_TEAM = "Team name not found. Please try again."


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
    request.caller = granted.caller
    body = {
        "access_token": granted.text,
        "token_type": "Bearer",
        "username": granted.caller.employee.email,
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
    wanted = patch(request, reading, whole=body == "customer")
    answer = partial(updated, app, request, reading)
    return await write(app, request, answer, customers.update, number, wanted, request.expected_versions())


async def put_addresses(app: App, request: Request) -> Response:
    return await list_update(app, request, wire.read_addresses, customers.update_addresses)


async def put_custom_columns(app: App, request: Request) -> Response:
    return await list_update(app, request, wire.read_custom_columns, customers.update_custom_columns)


async def list_update(
    app: App, request: Request, read: Callable[..., Reading], command: Callable[..., Customer]
) -> Response:
    number = path_id(request)
    reading = read(wire.read_json(request.body), request.prefers("handling=strict"))
    wanted, answer = patch(request, reading), partial(updated, app, request, reading)
    return await write(app, request, answer, command, number, wanted, request.expected_versions())


async def post_customer(app: App, request: Request) -> Response:
    data = wire.read_json(request.body)
    reading = wire.read_create(data, request.prefers("handling=strict"), request.quirks)
    wanted, answer = patch(request, reading), partial(created, reading)
    return await write(app, request, answer, customers.create, wanted, lenient=request.quirks)


def created(reading: Reading, number: int, book: Book) -> Response:
    headers = [(b"location", b"/rest/api/Customers/%d" % number), etag(1), *ignored_members(reading)]
    return Response(200, str(number).encode(), headers)


async def post_group_members(app: App, request: Request) -> Response:
    number = path_id(request)
    reading = wire.read_group_members(wire.read_json(request.body), request.prefers("handling=strict"))
    answer = Response(200, b"", ignored_members(reading))
    return await write(app, request, lambda *_: answer, customers.add_to_group, number, patch(request, reading))


async def get_customer(app: App, request: Request) -> Response:
    customer = await app.store.get(Customer, caller(request).tenant_id, path_id(request))
    return unchanged(request, customer.version) or Response(
        200, represent(app, customer, await book(app, request)), [etag(customer.version)]
    )


async def list_customers(app: App, request: Request) -> Response:
    listing = queries.read_listing(request.pairs())
    tenant_id = caller(request).tenant_id
    page = await app.store.find(
        tenant_id, listing.filters, listing.size, (listing.number - 1) * listing.size, representation.LISTED
    )
    columns = custom_columns(await app.store.book(tenant_id))
    return Response(200, representation.write_page(page.customers, page.total, columns))


async def list_companies(app: App, request: Request) -> Response:
    listing, ids, keyword = queries.read_companies(request.pairs())
    companies = [
        one
        for one in (await book(app, request)).all(Company)
        if (not ids or one.id in ids) and fold(keyword) in fold(one.name)
    ]
    start = (listing.number - 1) * listing.size
    items = [representation.write_company(one) for one in companies[start : start + listing.size]]
    return Response(200, wire.encode({"Items": items, "TotalResults": len(companies)}))


async def get_company(app: App, request: Request) -> Response:
    number = path_id(request)
    company = (await book(app, request)).get(Company, number)
    if company is None:
        raise NotFound(f"Could not find or load record with ID {number}!")
    return Response(200, wire.encode(representation.write_company(company)))


async def list_payment_terms(app: App, request: Request) -> Response:
    return Response(200, representation.write_choices((await book(app, request)).all(PaymentTerm)))


async def list_carriers(app: App, request: Request) -> Response:
    queries.read_site(request.pairs())
    return Response(200, representation.write_choices((await book(app, request)).all(Carrier)))


async def list_services(app: App, request: Request) -> Response:
    wanted = queries.read_site(request.pairs()).get("carrier", [""])[-1]
    reference = await book(app, request)
    carriers = {one.id for one in reference.all(Carrier) if wanted.lower() in (one.name.lower(), str(one.id))}
    if not carriers:
        known = ", ".join(one.name for one in reference.all(Carrier)) or "none defined yet"
        raise Refused({"carrier": [f"Expected one of the carriers {known}; got {wanted!r}."]})
    found = [one for one in reference.all(Service) if one.carrier_id in carriers]
    return Response(200, representation.write_choices(found))


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
