"""What a list asks for: query parameters become search filters and a page (contract §3.1)."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from regulars import search
from regulars.errors import Refused
from regulars.fields import INT64, Invalid, shown, to_bool, to_enum, to_int, to_moment
from regulars.record import Channel, CustomerType, Rating
from regulars.search import Filter

MOST_PAGE_SIZE, PAGE_SIZE = 50, 10
MOST_CHANGES, FEW_CHANGES = 1000, 100
LONGEST_WAIT = 30
FORMATS = ("changes", "cloudevents")
MOST_IDS, MOST_COMPANIES, MOST_WORDS = 1000, 100, 50


@dataclass(slots=True)
class Listing:
    """What a list asks for."""

    filters: list[Filter] = field(default_factory=list)
    number: int = 1
    size: int = PAGE_SIZE


def parameters(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Query parameters by name in lower case; one with the prefix `model.` wins over a bare one; blanks are absent."""
    bare: dict[str, list[str]] = {}
    prefixed: dict[str, list[str]] = {}
    for name, value in pairs:
        name = re.sub(r"\[\d*\]$", "", name.lower())
        if value.strip():
            into = prefixed if name.startswith("model.") else bare
            into.setdefault(name.removeprefix("model."), []).append(value.strip())
    return {**bare, **prefixed}


def numbers(values: Sequence[str], most: int = MOST_IDS) -> list[int]:
    """A list of numbers, as repeated keys or separated by commas."""
    parts = [part for value in values for part in value.split(",") if part.strip()]
    if len(parts) > most:
        raise Invalid(f"Expected at most {most} items, got {len(parts)}.")
    return [to_int(part, 0) for part in parts]


class Tristate(IntEnum):
    """How flags are filtered (contract §3.1)."""

    All = -1
    No = 0
    Yes = 1


def _words(text: str) -> list[Filter]:
    found = search.keyword(text) or [Filter()]
    if len(found) > MOST_WORDS:
        raise Invalid(f"Expected at most {MOST_WORDS} words, got {len(found)}.")
    return found


def _enum(name: str, kind: type[IntEnum], values: Sequence[str]) -> list[Filter]:
    return [search.equal(name, to_enum(kind, values[-1]).value)]


def _flag(name: str, values: Sequence[str]) -> list[Filter]:
    chosen = to_enum(Tristate, values[-1])
    return [] if chosen is Tristate.All else [search.equal(name, chosen.value)]


def _channel(values: Sequence[str]) -> list[Filter]:
    try:
        number = to_enum(Channel, values[-1]).value
    except Invalid:
        number = to_int(values[-1], 0)
    return [search.equal("channel", number)]


CONTROL = re.compile(r"[\x00-\x1f]")


def _text(make: Callable[[str, str], Filter], name: str) -> Callable[[Sequence[str]], list[Filter]]:
    """A filter on a text; no text that is kept has control characters."""
    return lambda values: [Filter() if CONTROL.search(values[-1]) else make(name, values[-1])]


FILTERS: dict[str, Callable[[Sequence[str]], list[Filter]]] = {
    "customerIds": lambda v: [Filter(ids=tuple(dict.fromkeys(numbers(v))))],
    "firstName": _text(search.starts, "firstName"),
    "lastName": _text(search.starts, "lastName"),
    "email": _text(search.equal, "email"),
    "rating": lambda v: _enum("rating", Rating, v),
    "customerType": lambda v: _enum("customerType", CustomerType, v),
    "subscribed": lambda v: _flag("subscribed", v),
    "phoneNumber": lambda v: [search.ends("phoneNumber", v[-1])] if search.digits(v[-1]) else [Filter()],
    "city": _text(search.starts, "city"),
    "zipCode": _text(search.equal, "zipCode"),
    "exported": lambda v: _flag("exported", v),
    "channel": _channel,
    "corporateName": _text(search.starts, "corporateName"),
    "companyIds": lambda v: [search.equal("companyIds", *dict.fromkeys(numbers(v, MOST_COMPANIES)))],
    "keyword": lambda v: _words(v[-1]),
}
"""Every list filter but the times, from its values to conditions that must all hold."""

TIMES = ("createdOn", "modifiedOn")


def read_listing(pairs: Iterable[tuple[str, str]]) -> Listing:
    """The filters and the page of `GET /api/Customers`; raises `Refused` with every parameter that makes no sense."""
    given = parameters(pairs)
    listing, problems = Listing(), dict[str, list[str]]()

    def take(name: str, read: Callable[[Sequence[str]], Any]) -> Any:
        try:
            return read(given[name.lower()]) if name.lower() in given else None
        except Invalid as error:
            problems.setdefault(name, []).append(str(error))

    for name, make in FILTERS.items():
        listing.filters += take(name, make) or []
    for name in TIMES:
        low = take(name + "From", lambda values: to_moment(values[-1]))
        high = take(name + "To", lambda values: to_moment(values[-1], end=True))
        if low or high:
            listing.filters.append(search.between(name, low, high))
    listing.number = take("pageNumber", lambda values: to_int(values[-1], 1)) or 1
    listing.size = min(take("pageSize", lambda values: to_int(values[-1], 1)) or PAGE_SIZE, MOST_PAGE_SIZE)
    if problems:
        raise Refused(problems)
    return listing


def read_companies(pairs: Iterable[tuple[str, str]]) -> tuple[Listing, list[int], str]:
    """Page, ids and keyword of a list of companies."""
    given = parameters(pairs)
    listing, problems = Listing(), dict[str, list[str]]()

    def take(name: str, read: Callable[[Sequence[str]], Any], default: Any) -> Any:
        try:
            return read(given[name.lower()]) if name.lower() in given else default
        except Invalid as error:
            problems.setdefault(name, []).append(str(error))
            return default

    listing.number = take("pageNumber", lambda values: to_int(values[-1], 1), 1)
    listing.size = min(take("pageSize", lambda values: to_int(values[-1], 1), PAGE_SIZE), MOST_PAGE_SIZE)
    ids = take("companyID", numbers, [])
    if problems:
        raise Refused(problems)
    return listing, ids, given.get("keyword", [""])[-1]


def read_history(pairs: Iterable[tuple[str, str]]) -> tuple[int, int]:
    """How many of a customer's changes are wanted, and before which one; 0: from the newest."""
    found = read_each(pairs, {"limit": to_limit, "cursor": to_change})
    return found.get("limit", FEW_CHANGES), found.get("cursor", 0)


@dataclass(slots=True)
class Feeding:
    """What a reader of the feed asks for: from where, how many, for how many seconds it waits when there are none, and
    whether as CloudEvents."""

    after: str = ""
    limit: int = FEW_CHANGES
    wait: int = 0
    events: bool = False


def read_feed(pairs: Iterable[tuple[str, str]]) -> Feeding:
    """From where, how many and in which shape changes are wanted."""
    readers: dict[str, Callable[[str], Any]] = {
        "after": str,
        "limit": to_limit,
        "wait": lambda text: to_int(text, 0, LONGEST_WAIT),
        "format": to_events,
    }
    found = read_each(pairs, readers)
    if "format" in found:
        found["events"] = found.pop("format")
    return Feeding(**found)


def to_limit(text: str) -> int:
    return to_int(text, 1, MOST_CHANGES)


def to_events(text: str) -> bool:
    if text.lower() not in FORMATS:
        raise Invalid(f"Expected one of {', '.join(FORMATS)}, got {shown(text)}.")
    return text.lower() == FORMATS[1]


def read_dry_run(pairs: Iterable[tuple[str, str]]) -> bool:
    """Whether a call shall only say what it would do."""
    return bool(read_each(pairs, {"dryRun": to_bool}).get("dryRun", False))


def to_change(text: str) -> int:
    """The number of a change."""
    return to_int(text, 1, INT64)


def read_each(pairs: Iterable[tuple[str, str]], readers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """The parameters that are there, each read; raises `Refused` with every one that makes no sense."""
    given = parameters(pairs)
    found, problems = dict[str, Any](), dict[str, list[str]]()
    for name, read in readers.items():
        if name.lower() in given:
            try:
                found[name] = read(given[name.lower()][-1])
            except Invalid as error:
                problems[name] = [str(error)]
    if problems:
        raise Refused(problems)
    return found


def read_site(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The parameters of a settings list; `siteCode` must be a number and changes nothing here."""
    given = parameters(pairs)
    try:
        numbers(given.get("sitecode", []))
    except Invalid as error:
        raise Refused({"siteCode": [str(error)]}) from error
    return given
