"""The schemas of the OpenAPI document: what requests may send and what answers give, from the declarations."""

from datetime import datetime
from decimal import Decimal
from enum import Enum, IntEnum
from functools import cache
from typing import Any, get_args

from regulars import flat, history, queries, undo, webhooks, wire
from regulars.batch import Done
from regulars.fields import DIGITS, INT32, PLACES, Field, Record, fields_of
from regulars.posting import URL_PATTERN
from regulars.record import (
    Address,
    AddressSource,
    AddressStatus,
    Channel,
    ColumnType,
    Customer,
    CustomerType,
    Delivery,
    Endpoint,
    Event,
    NewCustomerType,
    PriceBasis,
    Progress,
    Rating,
    TaxExemptType,
)
from regulars.representation import layout

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
YES: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}

UNDO_BY = ("RequestID", "Employee", "Door")
TIME_DOC = "When the first of them was made, UTC without a zone."
ENUMERATIONS: tuple[type[Enum], ...] = (
    Rating,
    AddressSource,
    AddressStatus,
    TaxExemptType,
    PriceBasis,
    NewCustomerType,
    CustomerType,
    Channel,
    queries.Tristate,
    flat.BatchAction,
    flat.BatchKey,
)

# ---- patterns: as ECMA 262 has them; what Python's and Rust's engines read alike

CONTROL = r"\u0000-\u001f\u007f-\u009f\ufffe\uffff"
CONTROL_BUT_LINES = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ufffe\uffff"
BLANK = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
ONE_LINE = rf"^[^{CONTROL}]*$"
LINES = rf"^[^{CONTROL_BUT_LINES}]*$"
FULL_NAME = rf"^[{BLANK}]*[^{CONTROL}{BLANK}][^ {CONTROL}]{{0,99}}( [^{CONTROL}]{{0,199}})?$"
_LOCAL, _DOMAIN = r"[A-Za-z0-9_+-]{1,32}(\.[A-Za-z0-9_+-]{1,15}){0,2}", r"([a-z0-9]{2,30}\.){1,3}[a-z]{2,20}"
PLAIN_EMAILS = rf"^[{BLANK},;]*({_LOCAL}@{_DOMAIN}([{BLANK}]*[,;][{BLANK},;]*{_LOCAL}@{_DOMAIN}){{0,19}})?[{BLANK},;]*$"
_WHOLE = r"0{0,20}[0-9]{1,9}"
_ZONE = r"(Z|[+-](0[0-9]|1[0-3]):?[0-5][0-9])?"
_TIME = r"([T ]([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?)?"
_YEAR = "(1[6-9]|[2-9][0-9])[0-9]{2}"
_LEAP = "((1[6-9]|[2-9][0-9])(0[48]|[2468][048]|[13579][26])|(1[6]|[2468][048]|[3579][26])00)"
_DAYS = (
    ("0?[13578]|1[02]", "0[13578]|1[02]", "0?[1-9]|[12][0-9]|3[01]", "0[1-9]|[12][0-9]|3[01]", _YEAR),
    ("0?[469]|11", "0[469]|11", "0?[1-9]|[12][0-9]|30", "0[1-9]|[12][0-9]|30", _YEAR),
    ("0?2", "02", "0?[1-9]|1[0-9]|2[0-8]", "0[1-9]|1[0-9]|2[0-8]", _YEAR),
    ("0?2", "02", "29", "29", _LEAP),
)
_DATES = [f"({m})/({d})/{y}|{y}-({mm})-({dd})" for m, mm, d, dd, y in _DAYS]
MOMENT = f"^({'|'.join(_DATES)}){_TIME}{_ZONE}$"


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def text(limit: int, *, least: int = 0, pattern: str = ONE_LINE) -> Schema:
    found: Schema = {"type": "string", "maxLength": limit, "pattern": pattern}
    return {**found, "minLength": least} if least else found


def whole(least: int = 0, most: int = INT32) -> Schema:
    """A whole number, or a text that spells one."""
    number = {"type": "integer", "format": "int32", "minimum": least, "maximum": most}
    return {"anyOf": [number, ref("PositiveNumberText" if least else "NumberText")]}


def listed(items: Schema, most: int) -> Schema:
    return {"type": "array", "maxItems": most, "items": items}


def closed(**properties: Schema) -> Schema:
    """An object whose members are all there, always."""
    return {"type": "object", "properties": properties, "required": list(properties)}


# ---- what requests may send


def enumeration(kind: type[Enum]) -> Schema:
    """By number, numeric text or name."""
    if not issubclass(kind, IntEnum):
        return {"type": "string", "enum": [one.value for one in kind]}
    names = {
        "type": "string",
        "enum": [*[one.name for one in kind], *[str(one.value) for one in kind]],
    }
    description = "By number or name, in any case: " + ", ".join(f"{one.value} {one.name}" for one in kind) + "."
    return {"anyOf": [{"type": "integer", "enum": [one.value for one in kind]}, names], "description": description}


def in_schema(spec: Field) -> Schema:
    """What a request may send for a field."""
    kind = spec.type
    if kind is str and spec.email:
        # One address must be what RFC 5322 allows; several are given as the plain ones.
        one = {"type": "string", "format": "email", "maxLength": spec.limit}
        if spec.many == 1:
            return {"anyOf": [one, {"type": "string", "maxLength": 0}]}
        return text(spec.limit, pattern=PLAIN_EMAILS)
    if kind is str:
        return text(spec.limit, pattern=FULL_NAME if spec.member == "Name" else LINES if spec.lines else ONE_LINE)
    if kind is bool:
        return {"anyOf": [YES, ref("BooleanText")]}
    if kind is int:
        return whole(spec.least, spec.most)
    if kind is Decimal:
        most = 10 ** (DIGITS - PLACES) - 1
        number = {"type": "number", "minimum": -most, "maximum": most, "multipleOf": 10**-PLACES}
        return {"anyOf": [number, ref("DecimalText")]}
    if kind == tuple[str, ...]:
        return listed(text(spec.limit), spec.many)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ref(kind.__name__)
    return {}


def optional(schema: Schema) -> Schema:
    """The same, or null, which leaves the field as it is."""
    if isinstance(schema.get("type"), str):
        return {
            **schema,
            "type": [schema["type"], "null"],
            **({"enum": [*schema["enum"], None]} if "enum" in schema else {}),
        }
    return {"anyOf": [*schema.get("anyOf", [schema]), NULL]}


def request_body(names: wire.Names, required: tuple[str, ...] = ()) -> Schema:
    """An object of optional, nullable members, but for the required ones."""
    properties = {}
    for spec in dict.fromkeys(names.values()):
        schema = in_schema(spec)
        properties[spec.member] = {
            **(schema if spec.member in required else optional(schema)),
            "description": spec.doc,
        }
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def new_customer() -> Schema:
    """Wholesale or retail decides what else is required."""
    found = request_body(wire.names_of("create"))
    properties = found["properties"]
    properties["CompanyID"] = {**whole(1), "description": properties.pop("CompanyId")["description"]}
    properties["FirstName"] = {**text(100, least=1), "description": properties["FirstName"]["description"]}
    properties["Email"] = {
        **{"type": "string", "format": "email", "minLength": 1, "maxLength": 254},
        "description": properties["Email"]["description"],
    }
    properties["CustomerType"] = ref("NewCustomerType")
    retail = {"properties": {"CustomerType": {"enum": [1, "1", "Retail"]}}}
    return {
        **found,
        "required": ["CompanyID", "FirstName", "Email", "CustomerType"],
        "if": retail,
        "then": {"required": ["LastName"], "properties": {"LastName": {"type": "string", "minLength": 1}}},
    }


def customer_patch() -> Schema:
    """A merge patch; null clears, but for the full name."""
    found = request_body(flat.NAMES)
    properties = found["properties"]
    properties["Name"] = {**in_schema(flat.NAMES["name"]), "description": flat.NAMES["name"].doc}
    more = {
        "BillingCycleStartdate": {"anyOf": [{"type": "string", "pattern": MOMENT}, NULL]},
        "Addresses": optional(listed(ref("Address"), wire.MOST_LISTED)),
        "CustomColumns": {"type": ["object", "null"], "additionalProperties": {}},
        "CustomerGroups": optional(listed(whole(1), wire.MOST_LISTED)),
    }
    for name, schema in more.items():
        properties[name] = {**schema, "description": properties[name]["description"]}
    return found


def changes_to_undo() -> Schema:
    """Which changes: by their request, or since a moment."""
    found = request_body(undo.WANTED)
    properties = found["properties"]
    properties["Since"] = {"anyOf": [{"type": "string", "pattern": MOMENT}, NULL], "description": TIME_DOC}
    said = {name: {"required": [name], "properties": {name: text(255, least=1)}} for name in UNDO_BY}
    since = {"required": ["Since"], "properties": {"Since": {"type": "string"}}}
    by = [{"allOf": [since, said[name]]} for name in UNDO_BY[1:]]
    return {**found, "anyOf": [said["RequestID"], *by]}


def batch_item() -> Schema:
    """What to do with one customer: a merge patch, and whose."""
    found = customer_patch()
    own = request_body(flat.ITEM, ("Action",))["properties"]
    return {**found, "properties": {**own, **found["properties"]}, "required": ["Action"]}


def batch() -> Schema:
    found = request_body(flat.BATCH, ("Items",))
    found["properties"]["Items"] |= listed(ref("BatchItem"), flat.MOST_ITEMS)
    return found


def webhook(*required: str) -> Schema:
    """An endpoint; null stands for the default."""
    found = request_body(webhooks.NAMES, required)
    spec = webhooks.NAMES["url"]
    url = {**text(spec.limit, least=1, pattern=f"^{URL_PATTERN}$"), "description": spec.doc}
    events = optional(listed({"type": "string", "enum": [one.value for one in Event]}, webhooks.NAMES["events"].many))
    members = optional(
        listed({"type": "string", "enum": sorted(webhooks.MEMBERS.values())}, webhooks.NAMES["members"].many)
    )
    found["properties"] |= {
        "URL": url,
        "Events": {**events, "description": webhooks.NAMES["events"].doc},
        "Members": {**members, "description": webhooks.NAMES["members"].doc},
    }
    return found


def address() -> Schema:
    """An address is sent whole."""
    specs = {spec.member: spec for spec in fields_of(Address).values()}
    found = request_body(wire.names_of("address"), tuple(name for name, spec in specs.items() if spec.required))
    for name in ("City", "ZipCode", "Address"):
        found["properties"][name]["minLength"] = 1
    found["properties"]["Country"] |= {"pattern": "^[A-Za-z]{2}$", "minLength": 2}
    named = [
        {"required": [name], "properties": {name: {"type": "string", "minLength": 1}}}
        for name in ("ContactName", "CompanyName")
    ]
    state = {"required": ["State"], "properties": {"State": {"type": "string", "minLength": 1}}}
    return {
        **found,
        "anyOf": named,
        "if": {"properties": {"Country": {"pattern": "^[Uu][Ss]$"}}},
        "then": state,
    }


def requests() -> dict[str, Schema]:
    words = {kind.__name__: enumeration(kind) for kind in ENUMERATIONS}
    words["NewCustomerType"]["description"] += " The list filter customerType numbers them the other way round."
    words["Channel"] = {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": INT32},
            {"type": "string", "enum": [one.name for one in Channel]},
        ],
        "description": words["Channel"]["description"][:-1] + "; or any other number from 0.",
    }
    custom = {
        "ColumnName": text(200),
        "Value": {"description": 'Of the column\'s type; "" empties it, null leaves it.'},
    }
    return {
        "Customer": request_body(wire.names_of("customer")),
        "NewCustomer": new_customer(),
        "OrderOptions": request_body(wire.names_of("order_options")),
        "ShippingPreferences": request_body(wire.names_of("shipping")),
        "Address": address(),
        "Addresses": closed(Addresses=listed(ref("Address"), wire.MOST_LISTED)),
        "CustomColumnValue": {"type": "object", "properties": custom, "required": ["ColumnName"]},
        "CustomColumns": closed(CustomColumns=listed(ref("CustomColumnValue"), wire.MOST_LISTED)),
        "GroupMembers": closed(CustomersIDs={**listed(whole(1), wire.MOST_LISTED), "description": "Customers' ids."}),
        "CustomerPatch": customer_patch(),
        "ChangesToUndo": changes_to_undo(),
        "BatchItem": batch_item(),
        "Batch": batch(),
        "Webhook": webhook("URL"),
        "WebhookPatch": webhook(),
        "Resend": closed(ChangeIDs={**listed(whole(1), webhooks.MOST_RESENT), "minItems": 1}),
        "Login": closed(
            Username={**text(254, least=1), "description": "The employee's e-mail address."},
            Password={**text(1024, least=1), "format": "password"},
        ),
        **words,
        "NumberText": {"type": "string", "pattern": rf"^\+?{_WHOLE}$"},
        "PositiveNumberText": {"type": "string", "pattern": r"^\+?0{0,20}[1-9][0-9]{0,8}$"},
        "DecimalText": {
            "type": "string",
            "pattern": rf"^[+-]?(0{{0,40}}[0-9]{{1,{DIGITS - PLACES}}}(\.[0-9]{{0,{PLACES}}})?|\.[0-9]{{1,{PLACES}}})$",
        },
        "BooleanText": {
            "anyOf": [
                {"type": "string", "pattern": "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"},
                {"type": "integer", "enum": [0, 1]},
            ]
        },
    }


# ---- what answers give


def out_schema(kind: Any) -> Schema:
    """What an answer gives for a field."""
    if kind is str:
        return TEXT
    if kind is bool:
        return YES
    if kind is Decimal:
        return {"type": "number"}
    if kind is datetime:
        return {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$"}
    if kind == datetime | None:
        return {"anyOf": [out_schema(datetime), NULL]}
    if kind == tuple[str, ...]:
        return {"type": "array", "items": TEXT}
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return {"type": "integer", "enum": [one.value for one in kind]}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"type": ["string", "null"], "enum": [*[one.value for one in kind if one.value], None]}
    return WHOLE


def section(name: str) -> Schema:
    """One section of the customer as it reads back."""
    record = Address if name == "Addresses" else Customer
    kinds = {reads: spec.type for spec in fields_of(record).values() for reads in spec.reads}
    properties = {}
    for key, value in layout(name):
        kind = kinds.get(f"{name}.{key}")
        if kind is None:
            kind = int if value == "0" else str if value == "c.name" else bool
        properties[key] = out_schema(kind)
    return closed(**properties)


def flat_customer() -> Schema:
    """A customer as one object."""
    moment = {"type": "string", "format": "date-time"}
    properties: dict[str, Schema] = {}
    for spec in (*flat.FIELDS.values(), flat.NAMES["name"]):
        kind = {"anyOf": [moment, NULL]} if spec.type == datetime | None else moment
        properties[spec.member] = kind if spec.type in (datetime, datetime | None) else out_schema(spec.type)
    addresses = {spec.member: out_schema(spec.type) for spec in fields_of(Address).values()}
    properties["TaxExemptType"] = {"type": "string", "enum": [one.value for one in TaxExemptType]}
    properties["Addresses"] = {"type": "array", "items": closed(**addresses)}
    properties["CustomColumns"] = {"type": "object"}
    properties["CustomerGroups"] = {"type": "array", "items": WHOLE}
    return closed(**properties)


def change() -> Schema:
    """What is told of a change."""
    fields = {"type": "array", "items": {}, "minItems": 2, "maxItems": 2}
    special: dict[str, Schema] = {
        "at": {"type": "string", "format": "date-time"},
        "kind": {"type": "string", "enum": ["created", "updated", "undone"]},
        "undoes": {"type": "array", "items": WHOLE},
        "fields": {"type": "object", "additionalProperties": fields},
    }
    found = {spec.member: special.get(name, out_schema(spec.type)) for name, spec in history.FIELDS.items()}
    return closed(**{spec.member: {**found[spec.member], "description": spec.doc} for spec in history.FIELDS.values()})


def public(record: type[Record]) -> dict[str, Schema]:
    """The members of a record of our own, as `webhooks.public` gives them."""
    moment = {"type": "string", "format": "date-time"}
    kinds: dict[Any, Schema] = {datetime: moment, datetime | None: {"anyOf": [moment, NULL]}}
    specs = [fields_of(record)[name] for name in webhooks.members_of(record)]
    return {spec.member: kinds.get(spec.type) or out_schema(spec.type) for spec in specs}


def page(item: Schema) -> Schema:
    return closed(Items={"type": "array", "items": item}, TotalResults={"type": "integer", "minimum": 0})


def answers() -> dict[str, Schema]:
    moment = {"type": "string", "format": "date-time"}
    drop_down = ("IsDropDownColumn", "IsDropDownCustomTextAllowed", "IsDropDownAllowMultipleSelection")
    groups = {"type": "array", "items": closed(ID=WHOLE, Name=TEXT, RowStatus=WHOLE)}
    reasons = {"type": "object", "additionalProperties": {"type": "array", "items": TEXT}}
    progress = {**public(Progress), "Waiting": WHOLE}
    return {
        "Token": closed(
            access_token=TEXT,
            token_type={"const": "Bearer"},
            username=TEXT,
            expires_in=WHOLE,
            **{".issued": moment, ".expires": moment},
        ),
        "CustomerDetails": closed(
            General=ref("General"),
            Internal=ref("Internal"),
            OrderOptions=ref("OrderOptionsDetails"),
            Personal=ref("Personal"),
            Addresses={"type": "array", "items": ref("AddressDetails")},
            WholesaleOptions=ref("WholesaleOptions"),
            CustomerGroups=closed(CustomerGroups=groups, IsModified=YES),
            CreditCards={"type": "array", "items": {"type": "object"}, "maxItems": 0},
            CustomColumns={"type": "array", "items": ref("CustomColumn")},
            NotesCount=WHOLE,
            IsModified=YES,
        ),
        **{name: section(name) for name in ("General", "Internal", "Personal", "WholesaleOptions")},
        "OrderOptionsDetails": section("OrderOptions"),
        "AddressDetails": section("Addresses"),
        "CustomColumn": closed(
            ID=WHOLE,
            DataType={"type": "integer", "enum": [one.value for one in ColumnType]},
            DataLength=WHOLE,
            **dict.fromkeys(drop_down, YES),
            ClientID=WHOLE,
            NewValue=NULL,
            AllowHTMLPopup=YES,
            DataSourceContainer={"type": "array", "items": closed(Key=TEXT, Value=TEXT, Additional=NULL)},
            IsRequired=YES,
            IsEnabledForClient=YES,
            DataTypeName=TEXT,
            ColumnName=TEXT,
            DisplayName=TEXT,
            Value={},
        ),
        "FlatCustomer": flat_customer(),
        "Change": change(),
        "CustomerChanges": closed(
            Items={"type": "array", "items": ref("Change")},
            Next={"anyOf": [TEXT, NULL], "description": "The cursor of the next page; null: there is none."},
        ),
        "Feed": closed(
            Items={"type": "array", "items": ref("Change")},
            Cursor={**TEXT, "description": "For `after`: goes on behind these changes."},
            More={**YES, "description": "There are more already."},
        ),
        "Events": {
            "type": "array",
            "items": closed(
                specversion={"const": "1.0"},
                **dict.fromkeys(("id", "source", "type", "subject"), TEXT),
                time=moment,
                datacontenttype={"const": "application/json"},
                data=ref("Change"),
            ),
        },
        "Undone": closed(
            DryRun=YES,
            Customers={
                "type": "array",
                "items": closed(
                    CustomerID=WHOLE,
                    Version=WHOLE,
                    Undoes={"type": "array", "items": WHOLE},
                    Fields=change()["properties"]["Fields"],
                ),
            },
        ),
        "BatchResult": closed(
            Items={"type": "array", "items": ref("BatchOutcome"), "maxItems": flat.MOST_ITEMS},
            **{name.title(): {"type": "integer", "minimum": 0} for name in get_args(Done)},
        ),
        "BatchOutcome": closed(
            Outcome={"type": "string", "enum": list(get_args(Done))},
            ID=WHOLE,
            Version=WHOLE,
            Members={"type": "array", "items": TEXT},
            Problems=reasons,
        ),
        "CustomerPage": page(ref("ListedCustomer")),
        "ListedCustomer": closed(
            UserID=WHOLE,
            **dict.fromkeys(("Email", "FirstName", "LastName", "MiddleInitial", "EmailCC"), TEXT),
            Rating=out_schema(Rating),
            CorporateName=TEXT,
            IsWholeSaleUser=YES,
            IsWholesaleString={"type": "string", "enum": ["Yes", "Retail"]},
            CustomColumns={"anyOf": [{"type": "array", "items": closed(ColumnName=TEXT, Value={})}, NULL]},
        ),
        "CompanyPage": page(ref("Company")),
        "Company": closed(ID=WHOLE, CompanyName=TEXT, AllowShippingUnpaidOrders=YES),
        "Choices": {"type": "array", "items": closed(ID=WHOLE, Name=TEXT)},
        "Server": {
            "type": "object",
            "properties": {"Success": YES, "RestApiEndpoint": TEXT, "Message": TEXT},
            "required": ["Success"],
        },
        "WebhookDetails": closed(**public(Endpoint)),
        "NewWebhookDetails": closed(**public(Endpoint), Secret=TEXT),
        "WebhookList": closed(Items={"type": "array", "items": closed(**public(Endpoint), **progress)}),
        "WebhookProgress": closed(**progress),
        "Delivery": closed(**public(Delivery)),
        "DeliveryList": closed(**progress, Items={"type": "array", "items": ref("Delivery")}),
        "NewId": {"type": "integer", "minimum": 1},
        "Message": closed(Message=TEXT),
        "Conflict": closed(
            Message=TEXT,
            Version=WHOLE,
            Expected={"type": "array", "items": WHOLE},
            Members={"type": "array", "items": TEXT},
        ),
        "InvalidRequest": {**closed(Message=TEXT), "properties": {"Message": TEXT, "ModelState": reasons}},
        "NotFound": TEXT,
        "TooMany": closed(Error=TEXT, RateLimitResetTime=moment),
        "Problem": closed(
            type={"type": "string", "pattern": "^urn:regulars:[a-z_]+$"},
            title=TEXT,
            status=WHOLE,
            detail=TEXT,
            instance=TEXT,
            errors={"type": "array", "items": closed(member=TEXT, detail=TEXT)},
        ),
    }


@cache
def schemas() -> dict[str, Schema]:
    """Every schema of the document by name."""
    return {**requests(), **answers()}
