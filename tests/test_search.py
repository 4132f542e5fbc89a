"""The terms of a customer, against a plain statement of what they are, for any texts in any script."""

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from regulars import sandbox, search
from regulars.fields import Field, differing, fields_of
from regulars.record import Address, Customer, Rating

TEXT = st.one_of(
    st.sampled_from(["", " ", "Ann Lee", "ann  LEE", "+1 (415) 555-0123", "4155550123", "ext. 5", "a@b.test", "_x_-y"]),
    st.sampled_from(
        ["Ärger", "a\u0308rger", "STRASSE", "Straße", "İzmir", "Ǆ", "ﬁ", "東京 2", "٣٤٥", "x\u0301 \u0301x"]
    ),
    st.text("aA1 _.\tÄäßİ\u0301٣\u3000", max_size=8),
    st.text(max_size=8),
)
MOMENT = st.one_of(
    st.datetimes(timezones=st.just(UTC)),
    st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0)),
    st.datetimes(timezones=st.just(timezone(timedelta(hours=5, minutes=30)))),
    st.datetimes(),
)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(0, 2**31 - 1),
    bool: st.booleans(),
    Rating: st.sampled_from(Rating),
    datetime: MOMENT,
    tuple[str, ...]: st.lists(TEXT, max_size=3).map(tuple),
}


def some(record: type[Any], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Records with any values in the fields that are searched."""
    searched = {name: BY_TYPE[spec.type] for name, spec in fields_of(record).items() if spec.finds or spec.words}
    return st.builds(record, **{**searched, "id": st.just(1), **more})


CUSTOMERS = some(Customer, tenant_id=st.just(1), addresses=st.lists(some(Address), max_size=2).map(tuple))


def fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip()


def terms_of(value: Any, spec: Field) -> Iterator[str]:
    """What the declaration of a field says about its terms."""
    if spec.words:
        for text in [value] if isinstance(value, str) else value:
            yield from ("w" + word for word in re.findall(r"\w+", fold(text)))
    code = search.CODES.get(spec.finds)
    if code is None:
        return
    if spec.match == "range":
        yield code + value.isoformat(timespec="microseconds")[:26]
    elif spec.match == "ends":
        yield from [code + number[::-1]] if (number := re.sub(r"\D", "", value)) else []
    elif isinstance(value, str):
        yield from [code + fold(value)] if value else []
    else:
        yield f"{code}{int(value)}"


def terms(customer: Customer) -> set[str]:
    found: set[str] = set()
    for record in (customer, *customer.addresses):
        for name, spec in fields_of(type(record)).items():
            found.update(terms_of(getattr(record, name), spec))
    return found


def check(before: Customer, after: Customer) -> None:
    old, new = terms(before), terms(after)
    assert (search.terms(before), search.terms(after)) == (old, new)
    for names in (differing(before, after), search.LETTERS):
        gone, come = search.moved(before, after, names)
        assert (sorted(gone), sorted(come)) == (sorted(old - new), sorted(new - old))


@given(before=CUSTOMERS, other=CUSTOMERS, names=st.sets(st.sampled_from(sorted(search.LETTERS))))
def test_any_change_moves_just_the_terms_that_differ(before: Customer, other: Customer, names: set[str]) -> None:
    check(before, msgspec.structs.replace(before, **{name: getattr(other, name) for name in names}))


def test_samples_have_just_the_terms_that_are_declared() -> None:
    samples = list(sandbox.customers(1, 200, 5))
    for before, after in pairwise(samples):
        check(before, after)


@given(customer=CUSTOMERS)
def test_the_terms_of_one_letter_are_those_that_begin_with_it(customer: Customer) -> None:
    for letter in search.SOURCES:
        assert search.terms(customer, letter) == {term for term in terms(customer) if term[0] == letter}
