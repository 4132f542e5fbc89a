"""How a field is declared, and what is derived from a declaration: conversion, messages, comparison.

A record is a frozen `msgspec.Struct` whose attributes are `Annotated[T, Field(...)]`. The type says what the
value is; the `Field` says where it stands on the wire and which limits it has.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum, IntEnum, StrEnum
from functools import cache
from itertools import compress
from operator import is_not
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import email_validator
import msgspec

email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()  # the documented way to accept .test, .local and localhost

INT32, INT64 = 2**31 - 1, 2**63 - 1
DIGITS, PLACES = 18, 6
"""A decimal has at most 18 digits, 6 of them after the point: what both databases and any client keep exactly."""

Body = Literal["customer", "order_options", "shipping", "address", "webhook", "none"]
Match = Literal["equal", "starts", "ends", "range"]


class Invalid(ValueError):
    """One value that is not what its field takes; the text says what was sent and what would be right."""


@dataclass(frozen=True)
class Field:
    """One field of a record.

    `member` is its name in a request body (contract §4), `body` which request carries it (none: it is only read),
    `reads` the section and key it reads back as (contract §3.2), `limit` the most characters of a text or items'
    text, `many` the most items of a list. `finds` names the list filter it answers (contract §3.1), `match` how,
    and `words` whether the keyword search looks into it.
    """

    doc: str
    member: str = ""
    body: Body = "none"
    reads: tuple[str, ...] = ()
    limit: int = 255
    least: int = 0
    most: int = INT32
    many: int = 100
    lines: bool = False
    email: bool = False
    required: bool = False
    finds: str = ""
    match: Match = "equal"
    words: bool = False
    name: str = ""
    type: Any = None
    needed: bool = False
    """It has no default: a record cannot be made without it."""
    convert: Callable[[object], Any] = field(default=lambda value: value, compare=False)


class Record(msgspec.Struct, frozen=True):
    """A row of the store. `table` names it; the first two fields are always the key: tenant, then id."""

    table: ClassVar[str]


@cache
def fields_of(record: type[msgspec.Struct]) -> dict[str, Field]:
    """The declared fields of a record by attribute name, in the order of declaration, ready to convert values."""
    found: dict[str, Field] = {}
    defaults = {info.name: info for info in msgspec.structs.fields(record)}
    for name, hint in get_type_hints(record, include_extras=True).items():
        if get_origin(hint) is ClassVar:
            continue
        declared = next(note for note in get_args(hint)[1:] if isinstance(note, Field))
        kind = get_args(hint)[0]
        info = defaults[name]
        needed = info.required and name not in ("tenant_id", "id")
        found[name] = bind(replace(declared, needed=needed, member=declared.member or name), name, kind)
    return found


def bind(spec: Field, name: str, kind: Any) -> Field:
    """A declared field that knows its attribute and type, ready to convert values."""
    spec = replace(spec, name=name, type=kind)
    return replace(spec, convert=converter(spec))


def shown(value: object) -> str:
    """A value as a message quotes it: JSON, at most 60 characters."""
    try:
        text = msgspec.json.encode(value, enc_hook=str).decode()
    except (UnicodeEncodeError, msgspec.MsgspecError, ValueError, RecursionError):
        text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def expected(what: str, value: object) -> Invalid:
    return Invalid(f"Expected {what}, got {shown(value)}.")


def converter(spec: Field) -> Callable[[object], Any]:
    """The function that turns a decoded JSON value into the field's own, or raises `Invalid`."""
    kind = spec.type
    if kind is str:
        return text_converter(spec)
    if kind is bool:
        return to_bool
    if kind is int:
        return lambda value: to_int(value, spec.least, spec.most)
    if kind is Decimal:
        return to_decimal
    if isinstance(kind, type) and issubclass(kind, Enum):
        usual = {one.value: one for one in kind}
        return lambda value: usual[value] if type(value) in (int, str) and value in usual else to_enum(kind, value)
    if kind == tuple[str, ...]:
        to_text = text_converter(spec)
        return lambda value: to_texts(value, spec.many, to_text)
    if kind == datetime | None:
        return to_moment
    return lambda value: value


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def text_converter(spec: Field) -> Callable[[object], str]:
    forbidden = CONTROL_BUT_LINES if spec.lines else CONTROL
    limit = spec.limit

    def to_text(value: object) -> str:
        if type(value) is not str:
            raise expected(f"a string of at most {limit} characters", value)
        if len(value) > limit:
            raise Invalid(f"Expected at most {limit} characters, got {len(value)}: {shown(value)}.")
        if not value.isprintable() and (bad := forbidden.search(value)):
            raise Invalid(
                f"Expected text without control characters, got U+{ord(bad.group()):04X} at position {bad.start()}."
            )
        return value

    if not spec.email:
        return to_text
    plain = re.compile(rf"{PLAIN_EMAIL.pattern}(?:[,;] ?{PLAIN_EMAIL.pattern}){{0,{spec.many - 1}}}").fullmatch

    def to_email(value: object) -> str:
        text = to_text(value)
        return text if plain(text) else to_emails(text, spec.many)

    return to_email


PLAIN_EMAIL = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:\.[A-Za-z0-9_+-]{1,15}){0,2}@(?:[a-z0-9]{2,30}\.){1,3}[a-z]{2,20}")
"""The commonest addresses, all of them good to `email_validator` (a property test asks it): a hundredth of its time."""


def email_problem(address: str) -> str:
    """Why this is not an e-mail address, or the empty string. Shape only: no look-up, test domains are fine."""
    if PLAIN_EMAIL.fullmatch(address):
        return ""
    try:
        email_validator.validate_email(
            address, check_deliverability=False, globally_deliverable=False, allow_quoted_local=True
        )
    except email_validator.EmailNotValidError as error:
        return str(error)
    return ""


def to_emails(value: str, many: int) -> str:
    """`value` as it was sent, when it holds nothing but e-mail addresses: one, or (many > 1) several with , or ;"""
    parts = [value] if many == 1 else [part for one in value.replace(";", ",").split(",") if (part := one.strip())]
    if len(parts) > many:
        raise Invalid(f"Expected at most {many} e-mail addresses, got {len(parts)}.")
    for part in parts:
        if part and (why := email_problem(part)):
            raise Invalid(f"Expected an e-mail address such as ann@example.com, got {shown(part)}: {why}")
    return value


def to_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise expected("true or false", value)


INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


def to_int(value: object, least: int = -INT32 - 1, most: int = INT32) -> int:
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and INTEGER.fullmatch(value.strip()):
        number = int(value)
    elif isinstance(value, Decimal) and not value:
        number = 0
    elif isinstance(value, Decimal) and value.is_finite() and 0 <= value.adjusted() <= DIGITS and value % 1 == 0:
        number = int(value)
    if number is None or not least <= number <= most:
        raise expected(f"a whole number from {least} to {most}", value)
    return number


DECIMAL = f"a decimal number with at most {DIGITS - PLACES} digits before the point and {PLACES} after it"


def to_decimal(value: object) -> Decimal:
    """Exact: a JSON number or a numeric string becomes the decimal it spells, never by way of a binary float."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        raise expected(DECIMAL, value)
    if isinstance(value, str) and not (len(value) <= 64 and NUMBER.fullmatch(value.strip())):
        raise expected(DECIMAL, value)
    try:
        number = Decimal(value) if not isinstance(value, str) else Decimal(value.strip())
    except InvalidOperation:
        raise expected(DECIMAL, value) from None
    if not number.is_finite() or abs(number.adjusted()) > DIGITS:
        if number.is_finite() and number == 0:
            return Decimal(0)
        raise expected(DECIMAL, value)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    if exponent < -PLACES and number == number.quantize(Decimal(1).scaleb(-PLACES)):
        number = number.quantize(Decimal(1).scaleb(-PLACES))
        exponent = -PLACES
    if exponent < -PLACES or (number and number.adjusted() + 1 > DIGITS - PLACES):
        raise expected(DECIMAL, value)
    if exponent > 0:
        number = number.quantize(Decimal(1))
    return number if number else abs(number)


def to_enum(kind: type[Enum], value: object) -> Enum:
    """By number, numeric string, or name in any case."""
    if isinstance(value, str):
        text = value.strip().lower()
        for one in kind:
            if text == (one.value if issubclass(kind, StrEnum) else one.name).lower():
                return one
    if issubclass(kind, IntEnum) and not isinstance(value, bool):
        try:
            return kind(to_int(value))
        except ValueError:
            pass
    raise expected(f"one of {choices(kind)}", value)


def choices(kind: type[Enum]) -> str:
    if issubclass(kind, StrEnum):
        return ", ".join(shown(one.value) for one in kind)
    return ", ".join(f"{one.value} ({one.name})" for one in kind)


def to_texts(value: object, many: int, to_text: Callable[[object], str]) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise expected("a list of strings", value)
    if len(value) > many:
        raise Invalid(f"Expected at most {many} items, got {len(value)}.")
    problems, items = [], []
    for index, item in enumerate(value):
        try:
            items.append(to_text(item))
        except Invalid as error:
            problems.append(f"Item {index}: {error}")
    if problems:
        raise Invalid(" ".join(problems))
    return tuple(items)


MOMENTS = re.compile(
    r"(?:(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})|(?P<iy>\d{4})-(?P<im>\d{2})-(?P<id>\d{2}))"
    r"(?:[T ](?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:\.(?P<f>\d{1,9}))?)?)?"
    r"\s*(?P<z>Z|z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)


def to_moment(value: object, *, end: bool = False) -> datetime:
    """A date or time in any spelling of contract §3.1, in UTC; a bare date means its start, or with `end` its end."""
    match = MOMENTS.fullmatch(value.strip()) if isinstance(value, str) else None
    what = "a date such as 11/23/2026, 11/23/2026 14:30 or 2026-11-23T14:30:00Z"
    if match is None:
        raise expected(what, value)
    part = match.groupdict()
    try:
        zone = part["z"] or "Z"
        moment = datetime(
            int(part["y"] or part["iy"]),
            int(part["m"] or part["im"]),
            int(part["d"] or part["id"]),
            int(part["H"] or (23 if end else 0)),
            int(part["M"] or (59 if end and not part["H"] else 0)),
            int(part["S"] or (59 if end and not part["H"] else 0)),
            int((part["f"] or "0")[:6].ljust(6, "0")) if part["f"] else (999999 if end and not part["H"] else 0),
            tzinfo=UTC if zone in "Zz" else datetime.strptime(zone.replace(":", ""), "%z").tzinfo,
        )
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise expected(what, value) from None


_encode = msgspec.json.Encoder().encode


def iso(moment: datetime) -> str:
    """What `moment.isoformat()` gives, in a fifth of the time when it is UTC."""
    text = _encode(moment)
    return text[1:-2].decode() + "+00:00" if text.endswith(b'Z"') else moment.isoformat()


def differing(before: msgspec.Struct, after: msgspec.Struct) -> list[str]:
    """The attributes whose values differ, in the order of declaration."""
    other = map(is_not, msgspec.structs.astuple(before), msgspec.structs.astuple(after))
    return [name for name in compress(before.__struct_fields__, other) if getattr(before, name) != getattr(after, name)]
