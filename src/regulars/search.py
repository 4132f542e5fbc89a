"""How customers are found: the terms a customer is filed under, and the filters that look them up.

Every searchable field of the declaration yields terms, short texts such as `lsmith` (last name Smith). The store
keeps them in one table, ordered by tenant, term and customer; each list filter of contract §3.1 is one or more
ranges of that order, so every filter is answered from the index on both databases, in any script and any case.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

from regulars.fields import Field, fields_of
from regulars.record import Address, Customer

CODES = {
    "email": "e",
    "firstName": "f",
    "lastName": "l",
    "corporateName": "c",
    "city": "t",
    "zipCode": "z",
    "phoneNumber": "p",
    "rating": "r",
    "customerType": "y",
    "subscribed": "s",
    "exported": "x",
    "channel": "h",
    "companyIds": "o",
    "createdOn": "C",
    "modifiedOn": "M",
}
"""The letter that the terms of each list filter begin with."""

WORDS = "w"
LAST = "\U0010ffff"
BEGINNING, END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
WORD = re.compile(r"\w+")
NO_DIGITS = re.compile(r"\D+")
LEAST_PHONE_DIGITS = 5


@dataclass(frozen=True)
class Filter:
    """One condition of a list: a customer matches when one of its terms lies in one of `ranges` (first, past the
    last), or equals one of `terms`, or its id is one of `ids` (when given).

    `once` says that a customer has at most one such term; `column` names an attribute that lies between two moments
    (both included) just when a term does, for looking at a customer that was found otherwise.
    """

    terms: tuple[str, ...] = ()
    ranges: tuple[tuple[str, str], ...] = ()
    ids: tuple[int, ...] | None = None
    once: bool = False
    column: tuple[str, datetime, datetime] | None = None


def fold(text: str) -> str:
    """Text as it is compared: any case, composed, without space around it."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
        return text.strip()
    return text.lower().strip()


def digits(text: str) -> str:
    return NO_DIGITS.sub("", text)


def stamp(moment: datetime) -> str:
    """A moment as text that sorts by time."""
    return moment.isoformat(timespec="microseconds")[:26]


def words_of(text: str) -> list[str]:
    return WORD.findall(fold(text))


Maker = Callable[[Any], list[str]]


def maker(code: str, name: str, spec: Field) -> Maker:
    """The function from a record to the terms of one letter that one of its fields yields: none for an empty value.
    For the words it yields the texts they are taken from."""
    get = attrgetter(name)
    if code == WORDS:
        return (lambda record: [get(record)]) if spec.type is str else (lambda record: list(get(record)))
    if spec.match == "range":
        return lambda record: [code + stamp(get(record))]
    if spec.match == "ends":
        return lambda record: [code + number[::-1]] if (number := digits(get(record))) else []
    if spec.type is str:
        return lambda record: [code + fold(value)] if (value := get(record)) else []
    return lambda record: [f"{code}{get(record):d}"]


def each_address(make: Maker) -> Maker:
    return lambda customer: [term for address in customer.addresses for term in make(address)]


def sources() -> dict[str, list[tuple[str, Maker]]]:
    """For each letter the attributes of the customer that yield its terms, each with its maker."""
    found: dict[str, list[tuple[str, Maker]]] = {}
    for record in (Customer, Address):
        for name, spec in fields_of(record).items():
            for code in CODES.get(spec.finds, "") + (WORDS if spec.words else ""):
                make = maker(code, name, spec)
                source = (name, make) if record is Customer else ("addresses", each_address(make))
                found.setdefault(code, []).append(source)
    return found


SOURCES = sources()
LETTERS = {
    name: "".join(code for code, row in SOURCES.items() if any(attribute == name for attribute, _ in row))
    for row in SOURCES.values()
    for name, _ in row
}
"""For each attribute of the customer the letters of the terms that it has a part in."""


def yields(customer: Customer, letter: str, makers: Iterable[Maker]) -> set[str]:
    """The terms of one letter that some of its makers yield."""
    found: list[str] = []
    for make in makers:
        found += make(customer)
    return {WORDS + word for word in words_of(" ".join(found))} if letter == WORDS else set(found)


ONCE = {code for code, row in SOURCES.items() if len(row) == 1 and row[0][0] != "addresses"}
"""The letters of which a customer has at most one term."""


def terms(customer: Customer, letters: Iterable[str] = tuple(SOURCES)) -> set[str]:
    """The terms a customer is filed under, of all or of some letters."""
    found: set[str] = set()
    for letter in letters:
        found |= yields(customer, letter, [make for _, make in SOURCES[letter]])
    return found


@lru_cache(4096)
def affected(names: frozenset[str]) -> list[tuple[str, list[Maker], list[Maker]]]:
    """The letters whose terms a change of these attributes may move: the makers that it touches, and the others."""
    found = []
    for letter in sorted({letter for name in names for letter in LETTERS.get(name, "")}):
        touched = [make for name, make in SOURCES[letter] if name in names]
        found.append((letter, touched, [make for name, make in SOURCES[letter] if name not in names]))
    return found


def moved(before: Customer, after: Customer, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The terms that a change of these attributes takes away and adds.

    Only what changed is looked at; what the rest of the customer yields anyway neither goes nor comes.
    """
    gone: list[str] = []
    come: list[str] = []
    for letter, touched, others in affected(frozenset(names)):
        old, new = yields(before, letter, touched), yields(after, letter, touched)
        if old != new:
            rest = yields(after, letter, others) if others else ()
            gone += old.difference(new, rest)
            come += new.difference(old, rest)
    return gone, come


def equal(name: str, *values: str | int) -> Filter:
    """Equal to one of the values, in any case."""
    code = CODES[name]
    return Filter(tuple(code + (fold(v) if isinstance(v, str) else str(int(v))) for v in values), once=code in ONCE)


def starts(name: str, text: str) -> Filter:
    start = CODES[name] + fold(text)
    return Filter(ranges=((start, start + LAST),), once=CODES[name] in ONCE)


def ends(name: str, text: str) -> Filter:
    """Ends with these digits, whatever stands between them."""
    start = CODES[name] + digits(text)[::-1]
    return Filter(ranges=((start, start + LAST),))


def between(name: str, low: datetime | None, high: datetime | None) -> Filter:
    """From `low` to `high`, both included."""
    code, low, high = CODES[name], low or BEGINNING, high or END
    attribute = SOURCES[code][0][0]
    ranges = ((code + stamp(low), code + stamp(high) + "~"),)
    return Filter(ranges=ranges, once=True, column=(attribute, low, high))


def keyword(text: str) -> list[Filter]:
    """Every word must stand somewhere; a telephone number is found by its digits, however it is written."""
    if re.fullmatch(r"[\d\s()+./-]+", text) and len(digits(text)) >= LEAST_PHONE_DIGITS:
        number = digits(text)
        whole = CODES["phoneNumber"] + number[::-1]
        return [Filter((WORDS + number,), ((whole, whole + LAST),))]
    return [Filter((WORDS + word,)) for word in dict.fromkeys(words_of(text))]
