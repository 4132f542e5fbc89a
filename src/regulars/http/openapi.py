"""The OpenAPI 3.1 description, made from the route table and the declarations, and the page that shows it."""

import html
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from regulars import queries, webhooks, wire
from regulars.http.examples import BODIES, answer_examples
from regulars.http.messages import HttpError, Response
from regulars.http.routes import ROUTES, Route
from regulars.http.schemas import MOMENT, Schema, ref, schemas

ABOUT = """
Log in with **CreateToken**, then press *Authorize* and paste the token.

- Paths, member names and parameter names may be in any case; a trailing slash is served. Every GET answers HEAD too;
  any other method is a 405 with `Allow`.
- In an update null or absent leaves a field as it is; `""` empties a text. All or nothing: a refused request changes
  nothing. A 200 means that the change and its history are on disk.
- Members and parameters that are not described are ignored; `Ignored-Members` names the members. With
  `Prefer: handling=strict` they are a 400.
- Bodies are JSON in UTF-8, `application/json` or `text/json`.
- A write that may be sent again carries an `Idempotency-Key`: it is done once, and each time answered as the first
  time.
- Errors come as RFC 9457 problems to a client that sends `Accept: application/problem+json`.
- A tenant with the setting `quirks` gets 500 for 404 and 409 for 429, as the vendor's clients know it.
"""

ANSWERS = {
    "token": "Token",
    "customer": "CustomerDetails",
    "flat": "FlatCustomer",
    "history": "CustomerChanges",
    "feed": "Feed",
    "undone": "Undone",
    "batch": "BatchResult",
    "page": "CustomerPage",
    "id": "NewId",
    "companies": "CompanyPage",
    "company": "Company",
    "choices": "Choices",
    "server": "Server",
    "webhook": "WebhookDetails",
    "new_webhook": "NewWebhookDetails",
    "webhooks": "WebhookList",
    "progress": "WebhookProgress",
    "deliveries": "DeliveryList",
}

CHANGES = (
    "`Fields` has each member that was altered, with its old and its new value. Addresses and custom columns are told"
    " one by one, by their ids: `Addresses[7]`, `CustomColumns[3]`; null is one that was not there. What `created` a"
    " customer has no `Fields`. `Door` is api, cli or sample; employee 0 is the operator of the command line."
)
UNDO = (
    "A member gets its old value if it still has the new one; if it has neither, the answer is 409 with every such"
    " member and the change it was altered by. The rules are those of an update, under `Customers[17].Email`; a"
    " custom value goes back only if its column takes just that value today, and is otherwise a 400 under"
    " `Customers[17].CustomColumns[3]`. A creation is a 400, since customers are not deleted. If-Match is not needed."
    " With `dryRun` nothing is written."
)
RULES = "Rules that look at more than the body answer 400 under the member that must change: "
DESCRIPTIONS = {
    "UpdateCustomer": RULES + "`CompanyId` and the account managers must be ones of the tenant (0 is no manager);"
    " `BusinessName` may not end up empty for a wholesale customer where the tenant's setting `require_business_name`"
    " is on; `IsWholesale` stays on while ApplyShippingChargesToOrderTotal is; `Email` is one that no other customer"
    " has where the setting `block_duplicate_email` is on; a company that does not allow shipping unpaid orders takes"
    " no customer for whom that is on.",
    "CreateCustomer": "`LastName` is required for retail, `BusinessName` for wholesale where the tenant's setting"
    " `require_business_name` is on. " + RULES + "`CompanyID` must be a company of the tenant, and `Email` one that no"
    " other customer has where the setting `block_duplicate_email` is on. The answer is the new id, a bare number.",
    "UpdateAddresses": "Each address is sent whole. A known `ID` is replaced, 0 adds one, those not listed stay; an ID"
    " that is none of this customer's, or comes twice, is a 400. A customer has at most 100 addresses. `ContactName` or"
    " `CompanyName` must be there, and `State` when `Country` is US.",
    "UpdateCustomColumns": "Columns are named as the tenant defined them, each once. A value is of the column's type,"
    ' one of its choices for a drop-down, a list where it allows several. `""` empties it, null leaves it. An unknown'
    " column or a wrong value is a 400 that names it.",
    "UpdateOrderOptions": RULES + "`TaxID` is only for a customer with `TaxExempt`, `ApplyShippingChargesToOrderTotal`"
    " only for wholesale, `AllowShippingUnpaidOrders` only where the customer's company allows it.",
    "UpdateShippingPreferences": RULES + "`CarrierId` and `CarrierMethodId` are keys of ListShippingCarriers and, for"
    " that carrier, ListShippingServices; 0 is none.",
    "AddCustomersToGroup": "`CustomersIDs` may also be spelt `CustomerIDs`. Adding a member again is no error. One"
    " unknown customer is a 400, and nobody is added.",
    "ListCustomers": "All conditions must hold. Each parameter may have the prefix `model.`, which wins over the bare"
    " one; a blank one is as if absent. Past the end `Items` is empty.",
    "ListShippingServices": "A carrier that the tenant does not have is a 400 that names those it has.",
    "GetServerByTeam": "The host has the team's name as first label where hosts name tenants.",
    "PatchCustomer": "A merge patch (RFC 7396): what is named is changed, null clears it. `Addresses` and"
    " `CustomerGroups` are replaced whole (an address with a known `ID` keeps it, 0 adds one, what is not listed is"
    " removed); `CustomColumns` is an object by name, merged column by column. `ID`, `Version`, `CreatedOn` and"
    " `ModifiedOn` are ignored, `Name` beside one of its parts as well. The rules are those of the vendor's calls.",
    "ListCustomerChanges": CHANGES + " Nothing is ever deleted from it: `Next` leads to the creation.",
    "ReadFeed": "Ascending; a reader that goes on with `after=` the last `Cursor` misses no change and sees none twice."
    " `More`: there are more already. Nothing is ever deleted from the feed, so no cursor is too old; one of another"
    " tenant, or one that was not given yet, is a 400. With `Accept: application/cloudevents-batch+json` or"
    " `format=cloudevents` the answer is a list of CloudEvents 1.0, of the types `regulars.customer.created` and"
    " `regulars.customer.updated`; go on after the `id` of the last. With `Accept: text/event-stream` the answer goes"
    " on: Server-Sent Events, each with its cursor as `id`, `change` as event and the change as data, or a CloudEvent"
    " with `format=cloudevents`. `Last-Event-ID` goes before `after`. A comment comes after 15 silent seconds; when the"
    " token ends, an event `end` says so; a client that reads nothing for 20 seconds is cut off. " + CHANGES,
    "UndoChange": UNDO + " What is undone once stays undone: doing it again changes nothing. An undo can be undone.",
    "UndoChanges": "Expects `RequestID`; or `Since`, with `Employee` or `Door`; more of them narrow it down. Each"
    " customer is put back to before the first change that matches, all of them or none. At most 1,000 customers and"
    " 10,000 changes, among the newest 1,000,000; more is a 400. "
    + UNDO
    + " With `KeepCreated` such customers stay as they"
    " were created.",
    "BatchCustomers": "Items are done in order, and each sees what those before it did; all of it is one commit. An"
    " item has an `Action` and the members of a merge patch, as PatchCustomer takes them. `Key` says by which member"
    " the customer is known: `ID`, `SourceId` (compared exactly) or `Email` (in any case); an `upsert` creates one when"
    " nobody has it, or when there is no `ID`. A new customer needs what CreateCustomer asks for, with `IsWholesale`"
    " for CustomerType, and the permission to create. `Version` is as If-Match. A refused item changes nothing and"
    " says why; with `Atomic` the whole call is then a 400 that names the members as `Items[3].Phone1`.",
    "CreateWebhook": "Events are the tenant's changes from now on, sent as Standard Webhooks has it: a POST of"
    " `type`, `timestamp` and `data`, the change, with the headers `webhook-id`, `webhook-timestamp` and"
    " `webhook-signature`. A 2xx takes the event; anything else is tried again for three days, and 410 turns the"
    " endpoint off. `URL` is http or https, its host public. `Members` filters updates; that a customer was created is"
    " told whatever it says.",
    "PatchWebhook": "What is named is changed, null stands for the default. An endpoint that is turned on goes on where"
    " it stopped, and what failed is tried at once.",
    "DeleteWebhook": "What waits is not sent any more.",
    "ResendEvents": "`ChangeIDs` are those of the log, `data.ID` of the events. They are sent by whichever process"
    " delivers; ListDeliveries tells what came of it.",
    "CreateToken": "Also takes a form, `application/x-www-form-urlencoded`. After five failures an account waits: 429.",
}

# ---- parameters

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": queries.MOST_CHANGES}
CHANGE: Schema = {"type": "integer", "format": "int64", "minimum": 1}
DRY_RUN: tuple[Schema, str] = ({"type": "boolean"}, "Only tell what would be done.")
CURSOR: Schema = {"type": "string", "pattern": "^([0-9]{1,19}-[0-9]{1,19}|latest)$"}
SEEN: Schema = {"type": "string", "pattern": "^([0-9]{1,19}-[0-9]{1,19}|latest)?$"}
IDS: Schema = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    "maxItems": queries.MOST_IDS,
}
SITE: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
TIME: Schema = {"type": "string", "pattern": MOMENT}
TIMES = "mm/dd/yyyy, mm/dd/yyyy hh:mm, or YYYY-MM-DDTHH:MM:SS with or without fraction and zone; UTC without a zone."
MANY_IDS = "Ids, repeated or separated by commas."
PAGES: dict[str, tuple[Schema, str]] = {
    "pageNumber": (COUNT, "From 1."),
    "pageSize": (COUNT, "10 by default; more than 50 is served as 50."),
}
PARAMETERS: dict[str, dict[str, tuple[Schema, str]]] = {
    "ListCustomers": {
        "customerIds": (IDS, MANY_IDS),
        "firstName": (TEXT, "Starts with, any case."),
        "lastName": (TEXT, "Starts with, any case."),
        "email": (TEXT, "Equal, any case."),
        "rating": (ref("Rating"), "By number or name."),
        "customerType": (ref("CustomerType"), "0 Retail, 1 Wholesale: the other way round than when creating one."),
        "subscribed": (ref("Tristate"), "0 no, 1 yes, -1 all."),
        "createdOnFrom": (TIME, TIMES),
        "createdOnTo": (TIME, TIMES + " A date alone means its end."),
        "modifiedOnFrom": (TIME, TIMES),
        "modifiedOnTo": (TIME, TIMES + " A date alone means its end."),
        "phoneNumber": (TEXT, "Ends with these digits."),
        "city": (TEXT, "Starts with, any case."),
        "zipCode": (TEXT, "Equal, any case."),
        "exported": (ref("Tristate"), "0 no, 1 yes, -1 all."),
        "channel": (ref("Channel"), "By number or name."),
        "corporateName": (TEXT, "Starts with, any case."),
        "companyIds": ({**IDS, "maxItems": queries.MOST_COMPANIES}, MANY_IDS),
        "keyword": (
            TEXT,
            "Up to 50 words, anywhere in names, business name and aliases, e-mail, phones, city, source id.",
        ),
        **PAGES,
    },
    "ListCompanies": {
        "companyID": (IDS, MANY_IDS),
        "keyword": (TEXT, "Contained in the company's name, any case."),
        **PAGES,
    },
    "ListShippingCarriers": {"siteCode": (SITE, "Accepted for the vendor's clients; changes nothing.")},
    "ListShippingServices": {
        "siteCode": (SITE, "Accepted for the vendor's clients; changes nothing."),
        "carrier": ({"type": "string", "minLength": 1}, "The carrier's name, any case, or number."),
    },
    "ListCustomerChanges": {
        "limit": (LIMIT, f"At most so many changes; {queries.FEW_CHANGES} by default."),
        "cursor": (CHANGE, "The `Next` of the page before: go on there."),
    },
    "ReadFeed": {
        "after": (CURSOR, "The `Cursor` to go on from. Without it from the beginning; `latest`: from the end."),
        "limit": (LIMIT, f"At most so many changes; {queries.FEW_CHANGES} by default."),
        "wait": (
            {"type": "integer", "minimum": 0, "maximum": queries.LONGEST_WAIT},
            "Seconds to wait for a change when there is none yet; it is answered as soon as there is.",
        ),
        "format": ({"type": "string", "enum": list(queries.FORMATS)}, "`changes` by default."),
    },
    "UndoChange": {"dryRun": DRY_RUN},
    "UndoChanges": {"dryRun": DRY_RUN},
    "GetServerByTeam": {"team": (TEXT, "The tenant's name. Without it, or with an unknown one, `Success` is false.")},
}
PARAMETERS["ListDeliveries"] = {
    "limit": ({**COUNT, "maximum": webhooks.MOST_KEPT}, f"100 by default; {webhooks.MOST_KEPT} are kept.")
}
PARAMETERS["GetServerByTeamOnApiHost"] = PARAMETERS["GetServerByTeam"]
REQUIRED = {"carrier"}
EXAMPLES = {
    "carrier": "UPS",
    "team": "tt",
    "keyword": "lee",
    "createdOnFrom": "11/23/2024",
    "pageSize": 50,
    "after": "1-0",
}
REQUEST_HEADERS: dict[str, tuple[Schema, str]] = {
    "If-None-Match": (TEXT, "The versions that the client has: the answer is 304 when it is still one of these."),
    "Last-Event-ID": (SEEN, "The `id` of the last event of a stream; goes before `after`. Empty: none yet."),
    "If-Match": (
        TEXT,
        'Only when what is changed is at one of these versions, such as `"3"`; otherwise 412. `*`: any.',
    ),
    "Idempotency-Key": (
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
        "Of the client's choice, a new one for each request, such as a UUID. The same request with the same key is done"
        " once; later it is answered as the first time. Another request with that key is a 422.",
    ),
    "Prefer": (
        TEXT,
        "`return=representation`: answer with the customer. `handling=strict`: members that are not described are a"
        " 400.",
    ),
}


def parameters(route: Route) -> list[Schema]:
    found: list[Schema] = []
    if "{id}" in route.path:
        schema = {"type": "integer", "format": "int32", "minimum": 0, "maximum": 2**31 - 1}
        found.append({"name": "id", "in": "path", "required": True, "schema": schema, "example": 1})
    for name, (schema, doc) in PARAMETERS.get(route.name, {}).items():
        one = {"name": name, "in": "query", "schema": schema, "description": doc, "required": name in REQUIRED}
        if name not in REQUIRED and schema is not TEXT:
            one["allowEmptyValue"] = True
        found.append({**one, **({"example": EXAMPLES[name]} if name in EXAMPLES else {})})
    for name in request_headers(route):
        schema, doc = REQUEST_HEADERS[name]
        found.append({"name": name, "in": "header", "schema": schema, "description": doc, "required": False})
    return found


def request_headers(route: Route) -> list[str]:
    if route.method == "GET":
        if route.answer == "feed":
            return ["Last-Event-ID"]
        return ["If-None-Match"] if route.conditional else []
    wanted = {"If-Match": route.matches, "Prefer": route.writes and route.body, "Idempotency-Key": route.writes}
    return [name for name, holds in wanted.items() if holds]


# ---- answers

RESPONSE_HEADERS: dict[str, tuple[Schema, str]] = {
    "X-Request-Id": (TEXT, "The request's own, or made up; it is in the log and in the customer's history."),
    "ETag": (
        {"type": "string", "pattern": '^"[0-9]+"$'},
        "The version of the customer or endpoint, for If-Match; else a number that is another one for another answer.",
    ),
    "Location": (TEXT, "Where the new customer is."),
    "Ignored-Members": (TEXT, "Members that nothing was done with, percent-encoded; at most 20."),
    "Preference-Applied": (TEXT, "Which preference was followed."),
    "Idempotent-Replayed": (
        {"type": "string", "enum": ["true"]},
        "The request was answered before, and this is that answer.",
    ),
    "Retry-After": ({"type": "integer", "minimum": 1}, "Seconds to wait."),
    "WWW-Authenticate": (TEXT, "As RFC 6750 has it."),
    "RateLimit": (TEXT, "What is left of the hour, where calls are limited."),
    "RateLimit-Policy": (TEXT, "How many calls an hour one user may make from one address, where they are limited."),
}
ERRORS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "400": ("Every problem of the request at once, each under its member.", "InvalidRequest", ()),
    "401": ("No valid credentials.", "Message", ("WWW-Authenticate",)),
    "403": ("The user may not do this.", "Message", ()),
    "404": ("No such record.", "NotFound", ()),
    "409": (
        "The first request with this Idempotency-Key is still being answered; of an undo: altered again since, and"
        " `conflicts` are the members that stand in the way.",
        "Message",
        ("Retry-After",),
    ),
    "412": ("It is at another version; `Members` were changed meanwhile.", "Conflict", ("ETag",)),
    "413": ("The body is too large.", "Message", ()),
    "415": ("The body is of another media type.", "Message", ()),
    "422": ("The Idempotency-Key was used for another request.", "Message", ()),
    "428": ("The tenant demands If-Match.", "Message", ()),
    "429": ("Too many requests.", "TooMany", ("Retry-After",)),
    "500": ("An error of the server; the detail is in its log under the request id.", "Message", ()),
    "503": ("The store cannot take this now.", "Message", ("Retry-After",)),
}
"""Status → what it says, its schema, its headers."""

REPRESENTED = "Done and on disk. Empty; with `Prefer: return=representation` the customer as GetCustomer gives it."


def headers(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def error(status: str, own: bool = False) -> Schema:
    """An error of the vendor's calls, or of our own, which are always problems."""
    description, name, more = ERRORS[status]
    example = answer_examples().get(name)
    content = {
        "application/json": {"schema": ref(name), **({"example": example} if example else {})},
        "application/problem+json": {"schema": ref("Problem")},
    }
    if own:
        del content["application/json"]
    return {"description": description, "headers": headers("X-Request-Id", *more), "content": content}


def success(route: Route) -> Schema:
    limits = ("RateLimit", "RateLimit-Policy") if route.permission else ()
    own: tuple[str, ...] = ()
    found: Schema = {"description": "Done."}
    if route.method == "PUT":
        found["description"] = REPRESENTED
        own = ("ETag", "Ignored-Members", "Preference-Applied")
    elif route.answer == "id":
        own = ("ETag", "Location", "Ignored-Members")
        number = {"id": "$response.body"}
        found["links"] = {
            name: {"operationId": name, "parameters": number} for name in ("GetCustomer", "UpdateCustomer")
        }
    elif route.answer in ("flat", "webhook", "new_webhook") and route.writes:
        own = ("ETag", "Ignored-Members")
        found["description"] = f"Done and on disk; the {'customer' if route.answer == 'flat' else 'endpoint'} as it is."
    elif route.conditional:
        own = ("ETag",)
    elif route.body and route.body != "Login":
        own = ("Ignored-Members",)
    if route.answer in ANSWERS:
        name = ANSWERS[route.answer]
        example = answer_examples().get(route.name, answer_examples().get(name))
        found["content"] = {"application/json": {"schema": ref(name), "example": example}}
    if route.answer == "feed":
        found["content"]["application/cloudevents-batch+json"] = {"schema": ref("Events")}
        found["content"]["text/event-stream"] = {"schema": TEXT}
    if route.writes:
        own += ("Idempotent-Replayed",)
    return {**found, "headers": headers("X-Request-Id", *own, *limits)}


def responses(route: Route) -> dict[str, Schema]:
    statuses = ["400", "500", "503"]
    if route.matches:
        statuses += ["412", "428"]
    if route.writes:
        statuses += ["409", "422"]
    if "{id}" in route.path:
        statuses.append("404")
    if route.permission:
        statuses += ["401", "403", "429"]
    if route.answer == "token":
        statuses += ["401", "429"]
    if route.body:
        statuses += ["413", "415"]
    form = "{}-own" if route.own else "{}"
    errors: dict[str, Schema] = {
        status: {"$ref": f"#/components/responses/{form.format(status)}"} for status in sorted(statuses)
    }
    known = {"description": "The client has it already.", "headers": headers("X-Request-Id", "ETag")}
    return {"200": success(route), **({"304": known} if route.conditional else {}), **errors}


# ---- the document


def operation(route: Route) -> Schema:
    found: Schema = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [tag(route)],
        "parameters": parameters(route),
        "responses": responses(route),
        "security": [{"bearer": []}] if route.permission else [],
    }
    if route.name in DESCRIPTIONS:
        found["description"] = DESCRIPTIONS[route.name]
    if route.body:
        media = "application/merge-patch+json" if route.method == "PATCH" else "application/json"
        content = {media: {"schema": ref(route.body), "example": BODIES[route.body]}}
        found["requestBody"] = {"required": True, "content": content}
    return found


OWN = "Beyond the vendor"
TAGS = {
    "Customers": "Read, filter, create and update.",
    "Companies": "The companies that customers belong to.",
    "Settings": "The lists that give meaning to keys.",
    "Access": "Logging in, and finding the server.",
    OWN: "Our own calls. Errors are RFC 9457 problems; quirks do not hold here.",
}


def tag(route: Route) -> str:
    return OWN if route.own else next((name for name in TAGS if name in route.path.split("/")), "Access")


@cache
def document() -> Schema:
    """The whole description."""
    paths: dict[str, Schema] = {}
    theirs, ours = ([one for one in ROUTES if one.public and one.own == own] for own in (False, True))
    for route in ROUTES:
        if route.public:
            paths.setdefault(route.path, {})[route.method.lower()] = operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Regulars",
            "summary": "The customer book you host yourself, speaking the Sellercloud Customers REST API.",
            "description": ABOUT.strip(),
            "version": version("regulars"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "headers": {
                name: {"schema": schema, "description": doc} for name, (schema, doc) in RESPONSE_HEADERS.items()
            },
            "responses": {
                status + form: error(status, own=bool(form))
                for status in ERRORS
                for form, routes in (("", theirs), ("-own", ours))
                if any(status in responses(route) for route in routes)
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The `access_token` of CreateToken; valid for 60 minutes.",
                }
            },
        },
    }


@cache
def document_bytes() -> bytes:
    return wire.encode(document())


# ---- the page

PAGE_FILES = {
    "swagger-ui.css": b"text/css",
    "swagger-ui-bundle.js": b"text/javascript",
    "favicon-32x32.png": b"image/png",
    "start.js": b"text/javascript",
}

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
  url: "/rest/swagger/docs/v1", dom_id: "#swagger-ui", deepLinking: true, defaultModelsExpandDepth: 0,
  displayRequestDuration: true, persistAuthorization: true, tryItOutEnabled: true, validatorUrl: null
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
