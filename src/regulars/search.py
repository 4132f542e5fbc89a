"""How customers are found: the terms a customer is filed under, and the filters that look them up.

Every searchable field of the declaration yields terms, short texts such as `lsmith` (last name Smith). The store
keeps them in one table, ordered by tenant, term and customer; each list filter of contract §3.1 is one or more
ranges of that order, so every filter is answered from the index on both databases, in any script and any case.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from regulars.fields import Field, differing, fields_of
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
NO_DIGITS = re.compile(r"\D+")
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
    return NO_DIGITS.sub("", text)


def stamp(moment: datetime) -> str:
    """A moment as text that sorts by time."""
    return moment.isoformat(timespec="microseconds")[:26]


def words_of(text: str) -> list[str]:
    return WORD.findall(fold(text))


def maker(code: str, name: str, spec: Field) -> Callable[[Any], list[str]]:
    """The function from a record to the terms that one of its fields yields: none for an empty value."""
    get = attrgetter(name)
    if spec.match == "range":
        return lambda record: [code + stamp(get(record))]
    if spec.match == "ends":
        return lambda record: [code + number[::-1]] if (number := digits(get(record))) else []
    if spec.type is str:
        return lambda record: [code + fold(value)] if (value := get(record)) else []
    return lambda record: [f"{code}{get(record):d}"]


def each_address(make: Callable[[Any], list[str]]) -> Callable[[Customer], list[str]]:
    return lambda customer: [term for address in customer.addresses for term in make(address)]


Makers = list[Callable[[Customer], list[str]]]


def makers() -> dict[str, Makers]:
    """What yields the terms of each letter."""
    found: dict[str, Makers] = {}
    for record in (Customer, Address):
        for name, spec in fields_of(record).items():
            if spec.finds in CODES:
                make = maker(CODES[spec.finds], name, spec)
                found.setdefault(CODES[spec.finds], []).append(make if record is Customer else each_address(make))
    return found


def letters() -> dict[str, str]:
    """For each attribute of the customer the letters of the terms that it has a part in."""
    found: dict[str, str] = {}
    for record in (Customer, Address):
        for name, spec in fields_of(record).items():
            attribute = name if record is Customer else "addresses"
            found[attribute] = found.get(attribute, "") + CODES.get(spec.finds, "") + (WORDS if spec.words else "")
    return {attribute: codes for attribute, codes in found.items() if codes}


MAKERS, LETTERS = makers(), letters()
TEXTS = [name for name, spec in fields_of(Customer).items() if spec.words and spec.type is str]
LISTS = [name for name, spec in fields_of(Customer).items() if spec.words and spec.type == tuple[str, ...]]
PLACES = [name for name, spec in fields_of(Address).items() if spec.words]
texts_of = attrgetter(*TEXTS)


def words(customer: Customer) -> set[str]:
    """Every word of the fields that the keyword looks into."""
    texts = list(texts_of(customer))
    for name in LISTS:
        texts += getattr(customer, name)
    for address in customer.addresses:
        texts += [getattr(address, name) for name in PLACES]
    return set(words_of(" ".join(texts)))


def terms(customer: Customer, letters: Iterable[str] = (*MAKERS, WORDS)) -> set[str]:
    """The terms a customer is filed under, of all or of some letters."""
    found: set[str] = set()
    for letter in letters:
        for make in MAKERS.get(letter, ()):
            found.update(make(customer))
    if WORDS in letters:
        whole = {term[1:] for letter in WHOLE for make in MAKERS[letter] for term in make(customer)}
        found.update([WORDS + word for word in words(customer) - whole])
    return found


def moved(before: Customer | None, after: Customer) -> tuple[set[str], set[str]]:
    """The terms that a change takes away and adds."""
    if before is None:
        return set(), terms(after)
    letters = {letter for name in differing(before, after) if name in LETTERS for letter in LETTERS[name]}
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
