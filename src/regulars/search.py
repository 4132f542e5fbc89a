"""How customers are found: the terms a customer is filed under, and the filters that look them up.

Every searchable field of the declaration yields terms, short texts such as `lsmith` (last name Smith). The store
keeps them in one table, ordered by tenant, term and customer; each list filter of contract §3.1 is one or more
ranges of that order, so every filter is answered from the index on both databases, in any script and any case.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from regulars.fields import Field, fields_of, iso
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
    "sourceId": "i",
    "createdOn": "C",
    "modifiedOn": "M",
}
"""The letter that the terms of each list filter begin with; of `sourceId` too, which is none, but finds a customer."""

WORDS = "w"
LAST = "\U0010ffff"
BEGINNING, END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
WORD = re.compile(r"\w+")
NO_DIGITS = re.compile(r"\D+")
ASCII_WORDS = bytes(ord(chr(code).lower()) if WORD.match(chr(code)) else ord(" ") for code in range(128)) + bytes(128)
"""For `bytes.translate` of ASCII text: its words in lower case, between spaces."""
NO_ASCII_DIGITS = bytes(code for code in range(128) if NO_DIGITS.match(chr(code)))
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
    if text.isascii():
        return text.encode().translate(None, NO_ASCII_DIGITS).decode()
    return NO_DIGITS.sub("", text)


def stamp(moment: datetime) -> str:
    """A moment as text that sorts by time."""
    text = iso(moment)
    return (text if len(text) == 32 else moment.isoformat(timespec="microseconds"))[:26]


def words_of(text: str) -> list[str]:
    return WORD.findall(fold(text))


def spaced(text: str) -> str:
    """The words of a text as they are compared, between spaces."""
    return text.encode().translate(ASCII_WORDS).decode() if text.isascii() else " ".join(words_of(text))


def word_terms(text: str) -> list[str]:
    """The terms of the words in a text, and one of `NO_TERMS` where spaces follow each other."""
    return (WORDS + spaced(text).replace(" ", " " + WORDS)).split()


def phone_term(code: str, text: str) -> str:
    number = digits(text)
    return code + number[::-1] if number else ""


NO_TERMS = frozenset(("", WORDS))
"""What stands where there is no term: of an empty value, of no word."""


def source(code: str, value: str, spec: Field) -> str:
    """The Python source of the term of one letter that a value yields, or for the words of the text that they are
    taken from, given the source of the value."""
    if code == WORDS:
        return value if spec.type is str else f"*{value}"
    if spec.match == "range":
        return f"{code!r} + stamp({value})"
    if spec.match == "ends":
        return f"({value} and phone_term({code!r}, {value}))"
    if spec.type is str:
        return f"({value} and {code!r} + fold({value}))"
    return f"'{code}%d' % {value}"


def sources() -> dict[str, list[tuple[str, str]]]:
    """For each letter the attributes of the customer that yield its terms, each with its source, in which `c` is the
    customer and `a` one of its addresses."""
    found: dict[str, list[tuple[str, str]]] = {}
    for record in (Customer, Address):
        for name, spec in fields_of(record).items():
            for code in CODES.get(spec.finds, "") + (WORDS if spec.words else ""):
                row = found.setdefault(code, [])
                if record is Customer:
                    row.append((name, source(code, f"c.{name}", spec)))
                else:
                    row.append(("addresses", source(code, f"a.{name}", spec)))
    return found


SOURCES = sources()
LETTERS = {
    name: "".join(code for code, row in SOURCES.items() if any(attribute == name for attribute, _ in row))
    for row in SOURCES.values()
    for name, _ in row
}
"""For each attribute of the customer the letters of the terms that it has a part in."""

SEARCHED = frozenset(LETTERS)
ONCE = {code for code, row in SOURCES.items() if len(row) == 1 and row[0][0] != "addresses"}
"""The letters of which a customer has at most one term."""


def compiled(expression: str) -> Callable[[Customer], Any]:
    """The function from a customer to what an expression is; built as source, since it is on the hot path."""
    scope = {"fold": fold, "phone_term": phone_term, "spaced": spaced, "stamp": stamp, "word_terms": word_terms}
    function: Callable[[Customer], Any] = eval(f"lambda c: {expression}", scope)
    return function


def texts(names: frozenset[str]) -> str:
    """The source of the text that holds the words of some attributes."""
    found = [
        made if name != "addresses" else f"*[{made} for a in c.addresses]"
        for name, made in SOURCES[WORDS]
        if name in names
    ]
    return f"' '.join(({''.join(one + ', ' for one in found)}))"


@cache
def words(names: frozenset[str]) -> Callable[[Customer], str]:
    """The function from a customer to the words of some of its attributes, between spaces."""
    return compiled(f"spaced({texts(names)})")


@cache
def single(letter: str, name: str) -> Callable[[Customer], str]:
    """The function from a customer to the term of one letter that one of its own attributes yields, or `""`."""
    return compiled(dict(SOURCES[letter])[name])


@cache
def several(letters: str, names: frozenset[str] = SEARCHED) -> Callable[[Customer], set[str]]:
    """The function from a customer to the terms of some letters that some of its attributes yield, and `NO_TERMS`."""
    chosen = [(name, made) for code in letters if code != WORDS for name, made in SOURCES[code] if name in names]
    parts = [repr(one) for one in sorted(NO_TERMS)] + [made for name, made in chosen if name != "addresses"]
    if each := [made for name, made in chosen if name == "addresses"]:
        parts.append(f"*[one for a in c.addresses for one in ({', '.join(each)},)]")
    if WORDS in letters:
        parts.append(f"*word_terms({texts(names)})")
    return compiled(f"{{{', '.join(parts)}}}")


def terms(customer: Customer, letters: str = "".join(SOURCES)) -> set[str]:
    """The terms a customer is filed under, of all or of some letters."""
    found = several(letters)(customer)
    found -= NO_TERMS
    return found


Some = Callable[[Customer], Collection[str]]


@dataclass(slots=True)
class Affected:
    """What makes the terms that a change of some attributes may move, each beside what makes the other terms of that
    letter: where one attribute of the customer changed, where several or an address did, and the words."""

    single: list[tuple[Callable[[Customer], str], Some]] = field(default_factory=list)
    several: list[tuple[Callable[[Customer], set[str]], Some]] = field(default_factory=list)
    words: tuple[Callable[[Customer], str], Callable[[Customer], str]] | None = None


@lru_cache(4096)
def affected(names: frozenset[str]) -> Affected:
    found = Affected()
    for letter in sorted({letter for name in names for letter in LETTERS[name]}):
        row = frozenset(name for name, _ in SOURCES[letter])
        touched, others = row & names, row - names
        if letter == WORDS:
            found.words = words(touched), words(others)
            continue
        rest = several(letter, others) if others else lambda _: NO_TERMS
        if len(touched) == 1 and "addresses" not in touched:
            found.single.append((single(letter, *touched), rest))
        else:
            found.several.append((several(letter, touched), rest))
    return found


def moved(before: Customer, after: Customer, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The terms that a change of these attributes takes away and adds.

    Only what changed is looked at; what the rest of the customer yields anyway neither goes nor comes.
    """
    gone: list[str] = []
    come: list[str] = []
    makers = affected(SEARCHED.intersection(names))
    for make, others in makers.single:
        was, now = make(before), make(after)
        if was != now:
            rest = others(after)
            if was not in rest:
                gone.append(was)
            if now not in rest:
                come.append(now)
    for make_some, others in makers.several:
        old, new = make_some(before), make_some(after)
        if old != new:
            rest = others(after)
            gone += old.difference(new, rest)
            come += new.difference(old, rest)
    if makers.words:
        some, remaining = makers.words
        was, now = some(before), some(after)
        if was != now:
            old, new, text = set(was.split()), set(now.split()), f" {remaining(after)} "
            gone += [WORDS + word for word in old - new if f" {word} " not in text]
            come += [WORDS + word for word in new - old if f" {word} " not in text]
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
