"""How customers are found: the terms a customer is filed under, and the filters that look them up.

Every searchable field of the declaration yields terms, short texts such as `lsmith` (last name Smith). The store
keeps them in one table, ordered by tenant, term and customer; each list filter of contract §3.1 is one or more
ranges of that order, so every filter is answered from the index on both databases, in any script and any case.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
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
    "keyword": "w",
}
"""The letter that the terms of each list filter begin with."""

LAST = "\U0010ffff"
WORD = re.compile(r"\w+")
LEAST_PHONE_DIGITS = 5


@dataclass(frozen=True)
class Filter:
    """One condition of a list: a customer matches when one of its terms lies in one of `ranges` (first, past the
    last), or equals one of `terms`, or its id is one of `ids` (when given)."""

    terms: tuple[str, ...] = ()
    ranges: tuple[tuple[str, str], ...] = ()
    ids: tuple[int, ...] | None = None


def fold(text: str) -> str:
    """Text as it is compared: any case, composed, without space around it."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
        return text.strip()
    return text.lower().strip()


def digits(text: str) -> str:
    return "".join(filter(str.isdecimal, text))


def stamp(moment: datetime) -> str:
    """A moment as text that sorts by time."""
    return moment.strftime("%Y%m%d%H%M%S%f") if moment.year >= 1000 else "0"


def term_of(spec: Field, value: Any) -> str:
    """The part of a term after its letter; empty for a value that nothing can look up."""
    if spec.match == "range":
        return stamp(value)
    if spec.match == "ends":
        return digits(value)[::-1]
    return fold(value) if isinstance(value, str) else str(int(value))


def words_of(value: Any) -> Iterable[str]:
    return WORD.findall(fold(value if isinstance(value, str) else " ".join(value)))


def plan() -> dict[str, list[tuple[str, Callable[[Any], Any], Field]]]:
    """For each letter the attributes that yield its terms: (attribute of the customer, getter, field)."""
    plan: dict[str, list[tuple[str, Callable[[Any], Any], Field]]] = {}
    for record, owner in ((Customer, ""), (Address, "addresses")):
        for name, spec in fields_of(record).items():
            if spec.finds in CODES:
                plan.setdefault(CODES[spec.finds], []).append((owner or name, attrgetter(name), spec))
            if spec.words:
                plan.setdefault("w", []).append((owner or name, attrgetter(name), spec))
    return plan


PLAN = plan()
LETTERS: dict[str, frozenset[str]] = {
    attribute: frozenset(code for code, row in PLAN.items() for name, _, _ in row if name == attribute)
    for row in PLAN.values()
    for attribute, _, _ in row
}
"""Attribute of the customer → the letters of the terms that it can yield."""


def terms(customer: Customer, letters: Iterable[str] = PLAN) -> set[str]:
    """The terms a customer is filed under, of all or of some letters."""
    found: set[str] = set()
    for letter in letters:
        for attribute, get, spec in PLAN[letter]:
            owners: Sequence[Any] = customer.addresses if attribute == "addresses" else (customer,)
            for owner in owners:
                value = get(owner)
                if value == "" or value == ():
                    continue
                if letter == "w":
                    found.update(["w" + word for word in words_of(value)])
                elif term := term_of(spec, value):
                    found.add(letter + term)
    return found


def moved(before: Customer | None, after: Customer, attributes: Iterable[str]) -> tuple[set[str], set[str]]:
    """The terms that a change of these attributes takes away and adds."""
    if before is None:
        return set(), terms(after)
    letters: set[str] = set()
    for attribute in attributes:
        letters |= LETTERS.get(attribute, frozenset())
    old, new = terms(before, letters), terms(after, letters)
    return old - new, new - old


def equal(name: str, *values: str | int) -> Filter:
    """Equal to one of the values, in any case."""
    return Filter(tuple(CODES[name] + (fold(v) if isinstance(v, str) else str(int(v))) for v in values))


def starts(name: str, text: str) -> Filter:
    start = CODES[name] + fold(text)
    return Filter(ranges=((start, start + LAST),))


def ends(name: str, text: str) -> Filter:
    """Ends with these digits, whatever stands between them."""
    start = CODES[name] + digits(text)[::-1]
    return Filter(ranges=((start, start + LAST),))


def between(name: str, low: datetime | None, high: datetime | None) -> Filter:
    """From `low` to `high`, both included."""
    code = CODES[name]
    return Filter(ranges=((code + (stamp(low) if low else ""), code + (stamp(high) + "~" if high else LAST)),))


def keyword(text: str) -> list[Filter]:
    """Every word must stand somewhere; a telephone number is found by its digits, however it is written."""
    if re.fullmatch(r"[\d\s()+./-]+", text) and len(digits(text)) >= LEAST_PHONE_DIGITS:
        number = digits(text)
        whole = CODES["phoneNumber"] + number[::-1]
        return [Filter((CODES["keyword"] + number,), ((whole, whole + LAST),))]
    return [Filter((CODES["keyword"] + word,)) for word in dict.fromkeys(words_of(text))]
