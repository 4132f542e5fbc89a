"""What answers say: typed results, read by walking the declaration, and errors (contract §3 and §5)."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

import httpx2
import msgspec

from regulars import wire
from regulars.errors import (
    Conflict,
    Denied,
    NotFound,
    Overtaken,
    Refused,
    RegularsError,
    Reused,
    Running,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unconditional,
)
from regulars.fields import Field, Invalid, fields_of, to_int, to_moment
from regulars.record import EPOCH, Address, Change, ColumnType, Company, Customer, Rating

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

TOKEN_LIFE = 3600.0
"""How long a token is good for when the answer does not say, in seconds."""


class CustomerDetails(msgspec.Struct, frozen=True):
    """One customer, whole (contract §3.2).

    `customer` has what the answer tells: its `tenant_id` is 0, its `version` is 0 where the service sends no ETag (as
    the vendor's), and what cannot be read back (shipping preferences, for one) has its default. `unread` names the
    attributes whose values were none that the declaration knows; like everything else, they are in `raw`.
    """

    customer: Customer
    raw: dict[str, Any]
    etag: str = ""
    unread: tuple[str, ...] = ()


class ListedCustomer(msgspec.Struct, frozen=True):
    """One customer of a list (contract §3.1)."""

    id: Annotated[int, Field("The customer's number.", "UserID")]
    email: Annotated[str, Field("The e-mail address.", "Email")] = ""
    first_name: Annotated[str, Field("The first name.", "FirstName")] = ""
    last_name: Annotated[str, Field("The last name.", "LastName")] = ""
    middle_initial: Annotated[str, Field("The middle name's first letter.", "MiddleInitial")] = ""
    email_cc: Annotated[str, Field("More addresses.", "EmailCC")] = ""
    rating: Annotated[Rating, Field("How satisfied the customer is.", "Rating")] = Rating.NotRated
    business_name: Annotated[str, Field("The company's name.", "CorporateName")] = ""
    is_wholesale: Annotated[bool, Field("Wholesale; otherwise retail.", "IsWholeSaleUser")] = False
    custom_columns: Annotated[Mapping[str, Any], Field("Values of custom columns by name.", "CustomColumns")] = {}


class CustomerPage(msgspec.Struct, frozen=True):
    """One page of a list, newest first, and how many customers there are in all."""

    items: list[ListedCustomer]
    total: int


class CompanyPage(msgspec.Struct, frozen=True):
    """One page of companies, and how many there are in all. Their `tenant_id` is 0."""

    items: list[Company]
    total: int


class ChangePage(msgspec.Struct, frozen=True):
    """Some of a customer's changes, newest first, and the cursor of those before them; None at the end.

    `fields` of a change is JSON, as `record.Change` has it; its `tenant_id` and `previous_id` are 0."""

    items: list[Change]
    next: str | None = None


class FeedPage(msgspec.Struct, frozen=True):
    """Some of all changes, ascending; the cursor to go on after them; and whether there are more already."""

    items: list[Change]
    cursor: str
    more: bool


class Choice(msgspec.Struct, frozen=True):
    """A payment term, carrier or carrier's service: the key that customers refer to, and what it means."""

    id: Annotated[int, Field("The key.", "ID")]
    name: Annotated[str, Field("What it means.", "Name")] = ""


class Updated(msgspec.Struct, frozen=True):
    """What an update came to: the customer's version and ETag now (0 and empty where the service sends none), and the
    members that the service said it ignored."""

    version: int = 0
    etag: str = ""
    ignored: tuple[str, ...] = ()


class BatchOutcome(msgspec.Struct, frozen=True):
    """What came of one item of a batch: `created`, `updated`, `unchanged` or `refused`; the customer (0: none) and its
    version now; the members that changed; why it was refused, by member."""

    done: Annotated[str, Field("What was done.", "Outcome")]
    id: Annotated[int, Field("The customer.", "ID")] = 0
    version: Annotated[int, Field("Its version now.", "Version")] = 0
    members: Annotated[tuple[str, ...], Field("The members that changed.", "Members", many=1000)] = ()
    problems: Annotated[Mapping[str, list[str]], Field("Why it was refused, by member.", "Problems")] = {}


# ---- reading


def json_of(answer: httpx2.Response) -> Any:
    """The JSON value of an answer, its decimals exact; None when it is none."""
    with suppress(Refused):
        return wire.read_json(answer.content)
    return None


def json_as(answer: httpx2.Response, kind: type[T]) -> T:
    value = json_of(answer)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise RegularsError(
            f"Expected a JSON {kind.__name__} from {answer.request.url.path}, got {answer.text[:60]!r}."
        )
    return value


def read_object(answer: httpx2.Response) -> dict[str, Any]:
    """A JSON object, its decimals exact."""
    return json_as(answer, dict)


def read_items(answer: httpx2.Response) -> list[dict[str, Any]]:
    """The objects of a list of our own, their decimals exact."""
    return objects(json_as(answer, dict).get("Items"))


def convert(spec: Field, value: Any) -> Any:
    """A value of an answer in its field's type; raises `Invalid`. Texts come as they are: limits are for writing."""
    if isinstance(value, str) and spec.type is str:
        return value
    if spec.type in (datetime, datetime | None):
        return to_moment(value)
    return spec.convert(value)


def decode(record: type[S], raw: Mapping[str, Any], section: str = "") -> tuple[S, list[str]]:
    """A record from where its declaration says that it reads back, else from `section` by the names of its members;
    and the attributes that have a value which is none for them."""
    values: dict[str, Any] = {}
    unread: list[str] = []
    for name, spec in fields_of(record).items():
        for place in spec.reads or ((f"{section}.{spec.member}",) if section else ()):
            holder, _, key = place.partition(".")
            value = raw[holder].get(key) if isinstance(raw.get(holder), dict) else None
            if value is not None:
                try:
                    values[name] = convert(spec, value)
                except Invalid:
                    unread.append(name)
    for info in msgspec.structs.fields(record):
        if info.required and info.name not in values:
            values[info.name] = fields_of(record)[info.name].type()
    return record(**values), unread


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none when it is null or no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def rows(record: type[S], items: Any) -> list[S]:
    return [decode(record, {"row": item}, "row")[0] for item in objects(items)]


def version_of(answer: httpx2.Response) -> int:
    """The version that an ETag states; 0 when there is none. Proxies that compress make it a weak one."""
    match = re.fullmatch(r'(?:W/)?"(\d{1,18})"', answer.headers.get("etag", ""))
    return int(match[1]) if match else 0


def read_details(answer: httpx2.Response) -> CustomerDetails:
    raw = json_as(answer, dict)
    customer, unread = decode(Customer, raw)
    found = [decode(Address, {"Addresses": item}) for item in objects(raw.get("Addresses"))]
    columns = [one for one in objects(raw.get("CustomColumns")) if "ID" in one and one.get("Value") is not None]
    groups = raw.get("CustomerGroups")
    members = objects(groups.get("CustomerGroups")) if isinstance(groups, dict) else []
    customer = msgspec.structs.replace(
        customer,
        version=version_of(answer),
        addresses=tuple(address for address, _ in found),
        custom_values={one["ID"]: stored(one) for one in columns},
        group_ids=tuple(one["ID"] for one in members if "ID" in one),
    )
    unread += [f"addresses[{place}].{name}" for place, (_, names) in enumerate(found) for name in names]
    return CustomerDetails(customer, raw, answer.headers.get("etag", ""), tuple(unread))


def stored(column: Mapping[str, Any]) -> Any:
    """A custom column's value as `Customer.custom_values` has it: decimals as text."""
    value = column["Value"]
    if column.get("DataType") == ColumnType.Decimal:
        return str(value)
    return tuple(value) if isinstance(value, list) else value


def read_page(answer: httpx2.Response) -> CustomerPage:
    page = json_as(answer, dict)
    items = [{**item, "CustomColumns": by_name(item.get("CustomColumns"))} for item in objects(page.get("Items"))]
    return CustomerPage(rows(ListedCustomer, items), total_of(page))


def by_name(columns: Any) -> dict[str, Any]:
    return {column["ColumnName"]: column.get("Value") for column in objects(columns) if "ColumnName" in column}


def total_of(page: Mapping[str, Any]) -> int:
    try:
        return to_int(page.get("TotalResults"), 0)
    except Invalid as error:
        raise RegularsError(f"TotalResults: {error}") from None


def read_change(item: dict[str, Any]) -> Change:
    """A change as the service tells it."""
    told = {"Fields": wire.encode(item.get("Fields")).decode(), "Undoes": tuple(item.get("Undoes") or ())}
    return decode(Change, {"row": {"At": EPOCH.isoformat()} | item | told}, "row")[0]


def read_change_page(answer: httpx2.Response) -> ChangePage:
    page = json_as(answer, dict)
    return ChangePage([read_change(one) for one in objects(page.get("Items"))], page.get("Next"))


def read_feed(answer: httpx2.Response) -> FeedPage:
    page = json_as(answer, dict)
    items = [read_change(one) for one in objects(page.get("Items"))]
    return FeedPage(items, str(page.get("Cursor") or ""), bool(page.get("More")))


def read_companies(answer: httpx2.Response) -> CompanyPage:
    page = json_as(answer, dict)
    return CompanyPage(rows(Company, page.get("Items")), total_of(page))


def read_choices(answer: httpx2.Response) -> list[Choice]:
    return rows(Choice, json_as(answer, list))


def read_updated(answer: httpx2.Response) -> Updated:
    ignored = answer.headers.get("ignored-members", "")
    names = tuple(unquote(name.strip()) for name in ignored.split(",") if name.strip())
    return Updated(version_of(answer), answer.headers.get("etag", ""), names)


def read_batch(answer: httpx2.Response) -> list[BatchOutcome]:
    return rows(BatchOutcome, json_as(answer, dict).get("Items"))


def read_server(answer: httpx2.Response) -> str:
    found = json_as(answer, dict)
    if not found.get("Success") or not isinstance(found.get("RestApiEndpoint"), str):
        raise NotFound(str(found.get("Message") or "The team was not found."))
    return str(found["RestApiEndpoint"])


def moment(text: object) -> datetime | None:
    """A time as JSON or as an HTTP header has it; None when it is none."""
    with suppress(Invalid):
        return to_moment(text)
    with suppress(ValueError, TypeError):
        found = parsedate_to_datetime(str(text))
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def served_at(answer: httpx2.Response) -> datetime:
    """When the service answered, by its own clock, so that a wrong one here does no harm."""
    return moment(answer.headers.get("date")) or datetime.now(UTC)


@dataclass(frozen=True)
class Token:
    """A bearer token and how long it is good for, in seconds."""

    text: str = field(repr=False)
    life: float


def read_token(answer: httpx2.Response) -> Token:
    """A token as this server or the vendor grants it (contract §2): `expires_in`, else `.expires`, else an hour."""
    body = json_as(answer, dict)
    text = body.get("access_token")
    if not isinstance(text, str) or not text:
        raise Unauthenticated(str(body.get("Message") or "Expected an access token, got an answer without one."))
    with suppress(Invalid):
        return Token(text, float(to_int(body.get("expires_in"), 1)))
    expires, issued = moment(body.get(".expires")), moment(body.get(".issued")) or served_at(answer)
    return Token(text, (expires - issued).total_seconds() if expires else TOKEN_LIFE)


# ---- errors


def failure(answer: httpx2.Response) -> RegularsError | None:
    """The error that an answer states (contract §5), quirks included; None when it states none."""
    if answer.is_success:
        return None
    status, body = answer.status_code, json_of(answer)
    holder = body if isinstance(body, dict) else {}
    told = holder.get("Message") or holder.get("Error") or holder.get("detail") or ""
    message = str(body if isinstance(body, str) else told)
    said = message.lower()
    if status == 401 or "invalid username or password" in said:
        return Unauthenticated(message or "Not Valid Token")
    if status == 404 or (status == 500 and "could not find or load record" in said):
        return NotFound(message or f"{answer.request.url.path} was not found.")
    if status == 429 or (status == 409 and "too many requests" in said):
        return TooMany(message or "Too many requests.", pause(answer, holder))
    if holder.get("type") == "urn:regulars:overtaken":
        return Overtaken(message, objects(holder.get("conflicts")))
    if status in (409, 422) and "idempotency-key" in answer.request.headers:
        return Running(message, pause(answer, holder)) if status == 409 else Reused(message)
    if status in (409, 412):
        return conflict(message or "The record was changed by somebody else.", version_of(answer), holder)
    if status == 428:
        return Unconditional(message)
    if status == 403:
        return Denied(message or "Authorization has been denied for this request.")
    if status in (400, 413, 415, 422):
        return Refused(problems_of(holder), message or "The request is invalid.")
    if status in (408, 502, 503, 504):
        return Unavailable(message or f"The service answered {status}.", pause(answer, holder))
    number = answer.headers.get("x-request-id", "none")
    return RegularsError(f"The service answered {status}: {message or answer.text[:200]} (request id: {number})")


def conflict(message: str, version: int, body: Mapping[str, Any]) -> Conflict:
    """With what the service says of it, as the vendor's bodies or as a problem."""
    said = (body.get(name.title()) or body.get(name) for name in ("expected", "members"))
    return Conflict(message, version, *(one if isinstance(one, list) else [] for one in said))


def problems_of(body: Mapping[str, Any]) -> dict[str, list[str]]:
    """Why a request was refused, by member, from the vendor's bodies or from a problem (RFC 9457)."""
    found: dict[str, list[str]] = {}
    for one in objects(body.get("errors")):
        found.setdefault(str(one.get("member")), []).append(str(one.get("detail")))
    if found:
        return found
    state = body.get("ModelState")
    pairs = state.items() if isinstance(state, dict) else ()
    return {name: [str(one) for one in (why if isinstance(why, list) else [why])] for name, why in pairs}


def pause(answer: httpx2.Response, body: Mapping[str, Any]) -> float:
    """For how many seconds the service wants to be left alone; 1 when it does not say."""
    header = answer.headers.get("retry-after", "")
    if header.isdecimal():
        return float(header)
    until = moment(header) or moment(body.get("RateLimitResetTime"))
    return max(0.0, (until - served_at(answer)).total_seconds()) if until else 1.0
