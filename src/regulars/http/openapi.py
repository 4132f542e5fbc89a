"""The OpenAPI 3.1 description, made from the route table and the declarations, and the page that shows it."""

import html
from datetime import datetime
from decimal import Decimal
from enum import Enum, IntEnum
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from regulars import wire
from regulars.fields import DIGITS, PLACES, Field, fields_of
from regulars.http.messages import HttpError, Response
from regulars.http.routes import ROUTES, Route
from regulars.record import Address, Channel, ColumnType, Customer, NewCustomerType, Rating

Schema = dict[str, Any]

PAGE_FILES = {
    "swagger-ui.css": b"text/css",
    "swagger-ui-bundle.js": b"text/javascript",
    "favicon-32x32.png": b"image/png",
    "start.js": b"text/javascript",
}
DECIMAL = rf"^[+-]?\d{{1,{DIGITS - PLACES}}}(\.\d{{0,{PLACES}}})?$"


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def in_schema(spec: Field) -> Schema:
    """What a request may send for a field."""
    kind = spec.type
    if kind is str:
        schema: Schema = {"type": "string", "maxLength": spec.limit}
        if spec.email:
            schema["format"] = "email" if spec.many == 1 else "email-list"
    elif kind is bool:
        schema = {"type": "boolean"}
    elif kind is int:
        schema = {"type": "integer", "format": "int32", "minimum": spec.least, "maximum": spec.most}
    elif kind is Decimal:
        schema = {"type": "number", "format": "decimal"}
    elif kind == tuple[str, ...]:
        schema = {"type": "array", "maxItems": spec.many, "items": {"type": "string", "maxLength": spec.limit}}
    elif isinstance(kind, type) and issubclass(kind, Enum):
        schema = enumeration(kind)
    else:
        schema = {}
    return {**schema, "description": spec.doc}


def enumeration(kind: type[Enum]) -> Schema:
    """By number or by name; both are accepted."""
    if issubclass(kind, IntEnum):
        listed = ", ".join(f"{one.value} {one.name}" for one in kind)
        return {"enum": [*[one.value for one in kind], *[one.name for one in kind]], "x-enum": listed}
    return {"type": "string", "enum": [one.value for one in kind]}


def out_schema(kind: Any) -> Schema:
    """What an answer gives for a field."""
    if kind is str:
        return {"type": "string"}
    if kind is bool:
        return {"type": "boolean"}
    if kind is Decimal:
        return {"type": "number"}
    if kind is datetime:
        return {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$"}
    if kind == datetime | None:
        return nullable(out_schema(datetime))
    if kind == tuple[str, ...]:
        return {"type": "array", "items": {"type": "string"}}
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return {"type": "integer", "enum": [one.value for one in kind]}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"type": ["string", "null"], "enum": [*[one.value for one in kind if one.value], None]}
    return {"type": "integer"}


def request_body(names: wire.Names, required: tuple[str, ...] = (), *, whole: bool = False) -> Schema:
    """An object of optional, nullable members, but for the required ones."""
    properties = {}
    for spec in dict.fromkeys(names.values()):
        schema = in_schema(spec)
        must = spec.member in required
        properties[spec.member] = schema if must else {**nullable(schema), "description": spec.doc}
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def section(name: str) -> Schema:
    """One section of the customer as it reads back."""
    record = Address if name == "Addresses" else Customer
    kinds = {reads: spec.type for spec in fields_of(record).values() for reads in spec.reads}
    properties = {}
    for key, value in wire.layout(name):
        kind = kinds.get(f"{name}.{key}")
        if kind is None:
            kind = int if value == "0" else str if value == "c.name" else bool
        properties[key] = out_schema(kind)
    return {"type": "object", "properties": properties, "required": list(properties)}


def closed(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def listing(item: Schema) -> Schema:
    return closed(Items={"type": "array", "items": item}, TotalResults={"type": "integer", "minimum": 0})


@cache
def schemas() -> dict[str, Schema]:
    text, whole, yes = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
    address_required = tuple(spec.member for spec in fields_of(Address).values() if spec.required)
    custom_type = {"DataType": {"type": "integer", "enum": [one.value for one in ColumnType]}}
    column_bools = ("IsDropDownColumn", "IsDropDownCustomTextAllowed", "IsDropDownAllowMultipleSelection")
    new = request_body(wire.names_of("create"), ("CustomerType",))
    new["properties"]["CustomerType"] = {
        **enumeration(NewCustomerType),
        "description": "0 WholeSale, 1 Retail. The list filter numbers them the other way round.",
    }
    new["properties"]["CompanyID"] = new["properties"].pop("CompanyId")
    for member in ("CompanyID", "FirstName", "Email"):
        new["properties"][member] = new["properties"][member]["anyOf"][0]
    for member in ("FirstName", "Email"):
        new["properties"][member]["minLength"] = 1
    new["required"] = ["CompanyID", "FirstName", "Email", "CustomerType"]
    return {
        "Customer": request_body(wire.names_of("customer")),
        "NewCustomer": new,
        "OrderOptions": request_body(wire.names_of("order_options")),
        "ShippingPreferences": request_body(wire.names_of("shipping")),
        "Address": request_body(wire.names_of("address"), address_required),
        "Addresses": closed(Addresses={"type": "array", "items": ref("Address"), "maxItems": wire.MOST_LISTED}),
        "CustomColumns": closed(
            CustomColumns={
                "type": "array",
                "maxItems": wire.MOST_LISTED,
                "items": {
                    "type": "object",
                    "properties": {"ColumnName": {"type": "string", "maxLength": 200}, "Value": {}},
                    "required": ["ColumnName"],
                },
            }
        ),
        "GroupMembers": closed(
            CustomersIDs={
                "type": "array",
                "maxItems": wire.MOST_LISTED,
                "items": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
            }
        ),
        "Login": closed(
            Username={"type": "string", "minLength": 1, "maxLength": 254},
            Password={"type": "string", "minLength": 1, "maxLength": 1024},
        ),
        "Token": closed(
            access_token=text,
            token_type={"const": "Bearer"},
            username=text,
            expires_in=whole,
            **{
                ".issued": {"type": "string", "format": "date-time"},
                ".expires": {"type": "string", "format": "date-time"},
            },
        ),
        "CustomerDetails": closed(
            **{name: ref(name) for name in ("General", "Internal")},
            OrderOptions=ref("OrderOptionsDetails"),
            Personal=ref("Personal"),
            Addresses={"type": "array", "items": ref("AddressDetails")},
            WholesaleOptions=ref("WholesaleOptions"),
            CustomerGroups=closed(
                CustomerGroups={"type": "array", "items": closed(ID=whole, Name=text, RowStatus=whole)}, IsModified=yes
            ),
            CreditCards={"type": "array", "maxItems": 0},
            CustomColumns={"type": "array", "items": ref("CustomColumn")},
            NotesCount=whole,
            IsModified=yes,
        ),
        **{name: section(name) for name in ("General", "Internal", "Personal", "WholesaleOptions")},
        "OrderOptionsDetails": section("OrderOptions"),
        "AddressDetails": section("Addresses"),
        "CustomColumn": closed(
            ID=whole,
            **custom_type,
            DataLength=whole,
            **dict.fromkeys(column_bools, yes),
            ClientID=whole,
            NewValue={"type": "null"},
            AllowHTMLPopup=yes,
            DataSourceContainer={"type": "array", "items": closed(Key=text, Value=text, Additional={"type": "null"})},
            IsRequired=yes,
            IsEnabledForClient=yes,
            DataTypeName=text,
            ColumnName=text,
            DisplayName=text,
            Value={},
        ),
        "CustomerPage": listing(
            closed(
                UserID=whole,
                **dict.fromkeys(("Email", "FirstName", "LastName", "MiddleInitial", "EmailCC"), text),
                Rating={"type": "integer", "enum": [one.value for one in Rating]},
                CorporateName=text,
                IsWholeSaleUser=yes,
                IsWholesaleString={"enum": ["Yes", "Retail"]},
                CustomColumns=nullable({"type": "array", "items": closed(ColumnName=text, Value={})}),
            )
        ),
        "Company": closed(ID=whole, CompanyName=text, AllowShippingUnpaidOrders=yes),
        "CompanyPage": listing(ref("Company")),
        "Choices": {"type": "array", "items": closed(ID=whole, Name=text)},
        "Server": {
            "type": "object",
            "properties": {"Success": yes, "RestApiEndpoint": text, "Message": text},
            "required": ["Success"],
        },
        "Message": closed(Message=text),
        "InvalidRequest": {
            "type": "object",
            "properties": {
                "Message": text,
                "ModelState": {"type": "object", "additionalProperties": {"type": "array", "items": text}},
            },
            "required": ["Message"],
        },
        "NotFound": {"type": "string"},
        "TooMany": closed(Error=text, RateLimitResetTime={"type": "string", "format": "date-time"}),
        "Problem": {
            "type": "object",
            "properties": {
                "type": text,
                "title": text,
                "status": whole,
                "detail": text,
                "instance": text,
                "errors": {},
            },
        },
    }


ANSWERS = {
    "token": "Token",
    "customer": "CustomerDetails",
    "page": "CustomerPage",
    "companies": "CompanyPage",
    "company": "Company",
    "choices": "Choices",
    "server": "Server",
}

NUMBER, MANY = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}, {"type": "string"}
MOMENT = "mm/dd/yyyy, mm/dd/yyyy hh:mm, or YYYY-MM-DDTHH:MM:SS with or without fraction and zone; UTC without a zone."
PARAMETERS: dict[str, tuple[Schema, str]] = {
    "customerIds": (MANY, "Numbers, repeated or separated by commas."),
    "firstName": (MANY, "Starts with, any case."),
    "lastName": (MANY, "Starts with, any case."),
    "email": (MANY, "Equal, any case."),
    "rating": (enumeration(Rating), "By number or name."),
    "customerType": ({"enum": [0, 1, "Retail", "Wholesale"]}, "0 Retail, 1 Wholesale."),
    "subscribed": ({"enum": [0, 1, -1]}, "0 no, 1 yes, -1 all."),
    "createdOnFrom": (MANY, MOMENT),
    "createdOnTo": (MANY, MOMENT + " A date alone means its end."),
    "modifiedOnFrom": (MANY, MOMENT),
    "modifiedOnTo": (MANY, MOMENT + " A date alone means its end."),
    "phoneNumber": (MANY, "Ends with these digits."),
    "city": (MANY, "Starts with, any case."),
    "zipCode": (MANY, "Equal, any case."),
    "exported": ({"enum": [0, 1, -1]}, "0 no, 1 yes, -1 all."),
    "channel": (MANY, f"A number, or one of {', '.join(one.name for one in Channel)}."),
    "corporateName": (MANY, "Starts with, any case."),
    "companyIds": (MANY, "Numbers, repeated or separated by commas."),
    "keyword": (MANY, "Words anywhere in names, business name and aliases, e-mail, phones, city, source id."),
    "pageNumber": (NUMBER, "From 1."),
    "pageSize": (NUMBER, "10 by default; more than 50 is served as 50."),
}
QUERIES = {
    "ListCustomers": list(PARAMETERS),
    "ListCompanies": ["companyID", "keyword", "pageNumber", "pageSize"],
    "ListShippingCarriers": ["siteCode"],
    "ListShippingServices": ["siteCode", "carrier"],
    "GetServerByTeam": ["team"],
    "GetServerByTeamOnApiHost": ["team"],
}
MORE_PARAMETERS: dict[str, tuple[Schema, str]] = {
    "companyID": (MANY, "Numbers, repeated or separated by commas."),
    "siteCode": (
        {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
        "Accepted for the vendor's clients; changes nothing.",
    ),
    "carrier": (MANY, "The carrier's name or number."),
    "team": (MANY, "The tenant's name."),
}
REQUIRED_QUERIES = {"carrier", "team"}
HEADERS: dict[str, tuple[Schema, str]] = {
    "If-Match": ({"type": "string"}, 'Only when the customer is at this version, such as "3"; otherwise 412.'),
    "Prefer": (
        {"type": "string", "examples": ["return=representation, handling=strict"]},
        "return=representation: answer with the customer. handling=strict: unknown members are a 400.",
    ),
}


def parameters(route: Route) -> list[Schema]:
    found: list[Schema] = []
    if "{id}" in route.path:
        schema = {"type": "integer", "format": "int32", "minimum": 0, "maximum": 2**31 - 1}
        found.append({"name": "id", "in": "path", "required": True, "schema": schema})
    for name in QUERIES.get(route.name, ()):
        schema, doc = {**PARAMETERS, **MORE_PARAMETERS}[name]
        found.append(
            {"name": name, "in": "query", "schema": schema, "description": doc, "required": name in REQUIRED_QUERIES}
        )
    if route.method == "PUT":
        found += [
            {"name": name, "in": "header", "schema": schema, "description": doc, "required": False}
            for name, (schema, doc) in HEADERS.items()
        ]
    return found


def answer(description: str, name: str | None = None) -> Schema:
    found: Schema = {"description": description}
    if name:
        found["content"] = {"application/json": {"schema": ref(name)}}
        if name in ("Message", "InvalidRequest", "NotFound", "TooMany"):
            found["content"]["application/problem+json"] = {"schema": ref("Problem")}
    return found


def responses(route: Route) -> dict[str, Schema]:
    found: dict[str, Schema] = {"200": answer("Done.", ANSWERS.get(route.answer))}
    if route.answer == "id":
        schema = {"type": "integer"}
        found["200"] = {
            "description": "The id of the new customer.",
            "content": {"application/json": {"schema": schema}},
        }
    if route.method == "PUT":
        found["200"] = {
            "description": "Done and on disk. Empty, or the customer with Prefer: return=representation.",
            "content": {"application/json": {"schema": ref("CustomerDetails")}},
            "headers": {"ETag": {"schema": {"type": "string"}, "description": "The customer's version."}},
        }
        found["412"] = answer("The customer is at another version.", "Message")
    if "{id}" in route.path:
        found["404"] = answer("No such record.", "NotFound")
    found["400"] = answer("Every problem of the request, each under its member.", "InvalidRequest")
    if route.permission:
        found["403"] = answer("The user may not do this.", "Message")
    if route.permission or route.answer == "token":
        found["401"] = answer("No valid credentials.", "Message")
        found["429"] = answer("Too many requests.", "TooMany")
    if route.body:
        found["413"] = answer("The body is too large.", "Message")
        found["415"] = answer("The body is of another media type.", "Message")
    found["500"] = answer("An error of the server.", "Message")
    found["503"] = answer("The store cannot take this now.", "Message")
    return dict(sorted(found.items()))


def operation(route: Route) -> Schema:
    found: Schema = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.path.strip("/").split("/")[2 if route.path.startswith("/rest/api") else 1]],
        "parameters": parameters(route),
        "responses": responses(route),
        "security": [{"bearer": []}] if route.permission else [],
    }
    if route.body:
        content = {"application/json": {"schema": ref(route.body)}}
        found["requestBody"] = {"required": True, "content": content}
    return found


@cache
def document() -> Schema:
    """The whole description."""
    paths: dict[str, Schema] = {}
    for route in ROUTES:
        if route.public:
            paths.setdefault(route.path, {})[route.method.lower()] = operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Regulars",
            "summary": "The customer book you host yourself, speaking the Sellercloud Customers REST API.",
            "version": version("regulars"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


@cache
def document_bytes() -> bytes:
    return wire.encode(document())


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="/rest/swagger/ui/favicon-32x32.png">
<link rel="stylesheet" href="/rest/swagger/ui/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="/rest/swagger/ui/swagger-ui-bundle.js"></script>
<script src="/rest/swagger/ui/start.js"></script>
</html>
"""
START = b"""SwaggerUIBundle({
  url: "/rest/swagger/docs/v1", dom_id: "#swagger-ui", deepLinking: true,
  persistAuthorization: true, tryItOutEnabled: true, validatorUrl: null
});
"""
POLICY = [(b"content-security-policy", b"default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'")]


@cache
def page(file: str) -> Response:
    """The interactive page, or one of its files; all of it is served from here."""
    if not file:
        return Response(
            200, PAGE.format(title=html.escape("Regulars API")).encode(), POLICY, b"text/html; charset=utf-8"
        )
    if file not in PAGE_FILES:
        raise HttpError(404, "No HTTP resource was found that matches the request URI.")
    cached = [(b"cache-control", b"public, max-age=86400")]
    body = START if file == "start.js" else files("regulars.http").joinpath("swagger_ui", file).read_bytes()
    return Response(200, body, cached, PAGE_FILES[file])
