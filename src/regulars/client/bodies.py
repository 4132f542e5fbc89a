"""What requests carry: bodies, filters, preconditions and addresses, checked before anything is sent (contract §4)."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum
from functools import cache
from typing import Any

import httpx2
import msgspec

from regulars import flat, queries, wire
from regulars.fields import Field, fields_of
from regulars.record import Address, CustomerType, Endpoint, NewCustomerType

Value = str | int | float | Decimal | date | Sequence[str] | None
"""What a member can be set to; None leaves it as it is. Enumerations are numbers or texts, too."""
FilterValue = str | int | date | Iterable[int] | None
"""What a list can be filtered by; None does not filter."""

WRITERS = {
    "customer": "update_customer",
    "order_options": "update_order_options",
    "shipping": "update_shipping_preferences",
}
"""Which call writes which body."""


def unknown(name: str, known: Mapping[str, str], where: str) -> TypeError:
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"Did you mean {known[close[0]]}?" if close else f"Known are {', '.join(sorted(set(known.values())))}."
    return TypeError(f"{where} takes no {name!r}. {hint}")


@cache
def writable(body: str) -> dict[str, Field]:
    """The members of a body by attribute and by member name, both in lower case."""
    names = wire.names_of(body)
    return {spec.name.lower(): spec for spec in names.values()} | dict(names)


def members(body: str, where: str, *given: Mapping[str, Any] | None) -> dict[str, Any]:
    """A request body from attribute or member names in any case; raises `TypeError` for what is not in it."""
    found: dict[str, Any] = {}
    names = writable(body)
    for name, value in (pair for one in given if one for pair in one.items()):
        spec = names.get(name.lower())
        if spec is None:
            other = next((call for part, call in WRITERS.items() if name.lower() in writable(part)), None)
            if other and body in WRITERS:
                raise TypeError(f"{where} takes no {name!r}: {other} does.")
            raise unknown(name, {key: one.name for key, one in names.items()}, where)
        if spec.member in found:
            raise TypeError(f"{where} got {spec.member} twice, the second time as {name!r}.")
        if value is not None:
            found[spec.member] = writing(value, spec.member)
    return found


def writing(value: Any, member: str) -> Any:
    """A value for JSON. Customer types go by name, since their numbers differ from call to call (contract §4.1)."""
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise ValueError(f"{member}: expected a finite number, got {value}.")
    return value.name if isinstance(value, CustomerType | NewCustomerType) else value


def merge_patch(
    values: Mapping[str, Any], where: str = "patch_customer", more: Mapping[str, Field] = {}
) -> dict[str, Any]:
    """A merge patch from attribute or member names in any case, and `more` members; None stays, as it clears."""
    names = {spec.name.lower(): spec for spec in flat.NAMES.values()} | dict(flat.NAMES) | dict(more)
    found: dict[str, Any] = {}
    for name, value in values.items():
        spec = names.get(name.lower())
        if spec is None:
            raise unknown(name, {key: one.name for key, one in names.items()}, where)
        if spec.member in found:
            raise TypeError(f"{where} got {spec.member} twice, the second time as {name!r}.")
        found[spec.member] = [address_body(one) for one in value or ()] if spec.name == "addresses" else value
    return found


def webhook_body(where: str, *given: Mapping[str, Any] | None) -> dict[str, Any]:
    """An endpoint's members from attribute or member names in any case; None stays, as it stands for the default."""
    specs = [spec for spec in fields_of(Endpoint).values() if spec.body == "webhook"]
    names = {key.lower(): spec.member for spec in specs for key in (spec.name, spec.member)}
    found: dict[str, Any] = {}
    for name, value in (pair for one in given if one for pair in one.items()):
        if name.lower() not in names:
            raise unknown(name, {spec.name: spec.name for spec in specs}, where)
        found[names[name.lower()]] = value
    return found


def address_body(address: Address | Mapping[str, Any]) -> dict[str, Any]:
    given = msgspec.structs.asdict(address) if isinstance(address, Address) else address
    return members("address", "update_addresses", given)


@cache
def filter_names() -> dict[str, str]:
    """The parameters of the list by their names in lower case, without underscores."""
    names = [*queries.FILTERS, *(name + end for name in queries.TIMES for end in ("From", "To"))]
    return {name.lower(): name for name in names}


def query(filters: Mapping[str, FilterValue]) -> list[tuple[str, str]]:
    """The parameters of a list, from names such as first_name or firstName."""
    known = filter_names()
    pairs: list[tuple[str, str]] = []
    for spelt, value in filters.items():
        name = known.get(spelt.replace("_", "").lower())
        if name is None:
            snakes = {key: re.sub(r"([A-Z])", r"_\1", text).lower() for key, text in known.items()}
            raise unknown(spelt, snakes, "list_customers")
        if value is None:
            continue
        texts = [parameter(value)] if isinstance(value, str | int | date) else [parameter(one) for one in value]
        if not texts or not all(text.strip() for text in texts):
            raise ValueError(f"{spelt}: expected a value, got an empty one, which would match every customer.")
        pairs += [(name, text) for text in texts]
    return pairs


def parameter(value: str | int | date) -> str:
    if isinstance(value, CustomerType | NewCustomerType):
        return value.name
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()[:-6] + "Z" if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.strftime("%m/%d/%Y")
    return str(int(value)) if isinstance(value, bool | IntEnum) else str(value)


def conditions(if_match: int | str | None, strict: bool, idempotency_key: str | None) -> dict[str, str]:
    """The headers that say under which conditions a write is to be done."""
    headers = precondition(if_match) | ({"Prefer": "handling=strict"} if strict else {})
    if idempotency_key is not None:
        if not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?", idempotency_key):
            raise ValueError(
                f"idempotency_key: expected 1 to 255 printable ASCII characters, got {idempotency_key[:60]!r}."
            )
        headers["Idempotency-Key"] = idempotency_key
    return headers


def precondition(if_match: int | str | None) -> dict[str, str]:
    if if_match is None:
        return {}
    if isinstance(if_match, int) and if_match > 0:
        return {"If-Match": f'"{if_match}"'}
    if isinstance(if_match, str) and (match := re.fullmatch(r'(?:W/)?("[\x21\x23-\x7e]+")', if_match)):
        return {"If-Match": match[1]}
    raise ValueError(f"if_match: expected a version or an ETag, got {if_match!r}; a service without ETags has neither.")


def paging(page: int, size: int) -> list[tuple[str, str]]:
    if page < 1 or not 1 <= size <= queries.MOST_PAGE_SIZE:
        raise ValueError(
            f"Expected a page from 1 and a size from 1 to {queries.MOST_PAGE_SIZE}, got {page} and {size}."
        )
    return [("pageNumber", str(page)), ("pageSize", str(size))]


def api_url(base_url: str) -> str:
    """`https://HOST`, `…/rest` or `…/rest/api` as the last of these (contract §1)."""
    try:
        url = httpx2.URL(base_url)
        good = url.scheme in ("http", "https") and url.host and not (url.userinfo or url.query or url.fragment)
    except httpx2.InvalidURL:
        good = False
    if not good:
        raise ValueError("Expected a base URL such as https://tt.api.example.com, without user, query or fragment.")
    return str(url.copy_with(path=re.sub(r"(/rest(/api)?)?/*$", "", url.path, count=1, flags=re.I) + "/rest/api"))
