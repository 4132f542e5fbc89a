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
WHOLE = "flct"
"""Letters whose terms are a whole name, city or company. A keyword that is one of those whole is found there, so
that no word is filed twice."""

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
    return moment.isoformat(timespec="microseconds")[:26]


def words_of(value: str | Iterable[str]) -> list[str]:
    return WORD.findall(fold(value if isinstance(value, str) else " ".join(value)))


def term_maker(code: str, spec: Field) -> Callable[[Any], str]:
    """The function from a field's value to its term."""
    if spec.match == "range":
        return lambda value: code + stamp(value)
    if spec.match == "ends":
        return lambda value: code + digits(value)[::-1]
    if spec.type is str:
        return lambda value: code + fold(value)
    return lambda value: f"{code}{value:d}"


@dataclass(frozen=True)
class Source:
    """Where terms of one letter come from: the customer's attribute, and the fields of the customer (or, where the
    attribute is `addresses`, of each address)."""

    attribute: str
    name: str
    term: Callable[[Any], str] | None
    """None: the value's words."""


def sources() -> dict[str, list[Source]]:
    """The sources of each letter's terms."""
    found: dict[str, list[Source]] = {}
    for record, owner in ((Customer, ""), (Address, "addresses")):
        for name, spec in fields_of(record).items():
            if spec.finds in CODES:
                code = CODES[spec.finds]
                found.setdefault(code, []).append(Source(owner or name, name, term_maker(code, spec)))
            if spec.words:
                found.setdefault(WORDS, []).append(Source(owner or name, name, None))
    return found


SOURCES = sources()
LETTERS: dict[str, str] = {}
"""Attribute of the customer → the letters of the terms that it can yield."""
for _letter, _row in SOURCES.items():
    for _source in _row:
        LETTERS[_source.attribute] = "".join(sorted({*LETTERS.get(_source.attribute, ""), _letter}))


def terms(customer: Customer, letters: Iterable[str] = SOURCES) -> set[str]:
    """The terms a customer is filed under, of all or of some letters."""
    found: set[str] = set()
    for letter in letters:
        if letter != WORDS:
            found.update(values(customer, letter))
    if WORDS in letters:
        whole = {text[1:] for letter in WHOLE for text in values(customer, letter)}
        found.update([WORDS + word for word in values(customer, WORDS) if word not in whole])
    return found


def values(customer: Customer, letter: str) -> Iterable[str]:
    """The terms of one letter; of the words just the words."""
    for source in SOURCES[letter]:
        for owner in customer.addresses if source.attribute == "addresses" else (customer,):
            value = getattr(owner, source.name)
            if value == "" or value == ():
                continue
            if source.term is None:
                yield from words_of(value)
            elif len(term := source.term(value)) > 1:
                yield term


def moved(before: Customer | None, after: Customer) -> tuple[set[str], set[str]]:
    """The terms that a change takes away and adds."""
    if before is None:
        return set(), terms(after)
    letters = {
        letter
        for attribute, codes in LETTERS.items()
        if getattr(before, attribute) != getattr(after, attribute)
        for letter in codes
    }
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
        return [Filter((WORDS + number,), ((whole, whole + LAST),))]
    return [Filter(tuple(letter + word for letter in WORDS + WHOLE)) for word in dict.fromkeys(words_of(text))]
