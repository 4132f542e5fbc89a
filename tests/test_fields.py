"""The declaration of the records: complete, within the contract, and what its conversions promise."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import email_validator
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regulars import fields, record, wire
from regulars.fields import Field, Invalid, Record, fields_of, to_decimal, to_enum, to_int, to_moment
from regulars.record import Address, Customer, Rating

SEED = (
    "Title Name Email EmailCC BusinessName BusinessAliases SourceId IsWholesale CompanyId AccountManager1Id "
    "AccountManager1Commission AccountManager2Id AccountManager2Commission AccountManager3Id AccountManager3Commission "
    "Salesman Comments Rating Phone1 Phone2 Phone3 Mobile Fax"
)
RECORDS: dict[str, type[msgspec.Struct]] = {kind.__name__: kind for kind in (Address, *record.RECORDS)}
EVERY = [(name, spec) for name, kind in RECORDS.items() for spec in fields_of(kind).values()]
ids = [f"{kind}.{spec.name}" for kind, spec in EVERY]


def test_the_seed_takes_the_members_of_the_contract_and_no_others() -> None:
    assert {spec.member for spec in wire.names_of("customer").values()} == set(SEED.split())


@pytest.mark.parametrize(("kind", "spec"), EVERY, ids=ids)
def test_a_field_is_documented_and_named(kind: str, spec: Field) -> None:
    assert spec.doc.endswith(".")
    assert spec.member and spec.name and spec.type is not None
    assert all(reads.count(".") == 1 for reads in spec.reads)


@pytest.mark.parametrize("kind", [Customer, Address])
def test_no_two_fields_read_back_at_one_place_or_share_a_member(kind: type[msgspec.Struct]) -> None:
    places = [reads for spec in fields_of(kind).values() for reads in spec.reads]
    assert len(places) == len(set(places))
    for body in {spec.body for spec in fields_of(kind).values()} - {"none"}:
        members = [spec.member.lower() for spec in fields_of(kind).values() if spec.body == body]
        assert len(members) == len(set(members))


@pytest.mark.parametrize(("kind", "spec"), [pair for pair in EVERY if pair[1].body not in ("none",)])
def test_a_default_is_a_value_that_the_field_takes(kind: str, spec: Field) -> None:
    default = next(info for info in msgspec.structs.fields(RECORDS[kind]) if info.name == spec.name).default
    if default is not msgspec.NODEFAULT:
        given = list(default) if isinstance(default, tuple) else default
        assert spec.convert(given) == default


@pytest.mark.parametrize("kind", record.RECORDS)
def test_a_record_begins_with_its_key(kind: type[Record]) -> None:
    assert list(fields_of(kind))[:2] == ["tenant_id", "id"] and kind.table


CONVERTING = [
    (kind, spec)
    for kind, spec in EVERY
    if spec.type in (str, bool, int, Decimal, tuple[str, ...])
    or (isinstance(spec.type, type) and issubclass(spec.type, Enum))
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(value=JSON, pick=st.sampled_from(CONVERTING))
def test_a_conversion_gives_the_fields_type_or_says_why_not(value: Any, pick: tuple[str, Field]) -> None:
    spec = pick[1]
    try:
        found = spec.convert(value)
    except Invalid as error:
        why = str(error)
        assert why.startswith(("Expected ", "Item ")) and len(why) < 6000
    else:
        assert type(found) is (spec.type if isinstance(spec.type, type) else tuple)
        assert spec.convert(list(found) if isinstance(found, tuple) else found) == found


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(number=st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_kept_exactly_or_refused(number: Decimal) -> None:
    for sent in (number, str(number)):
        try:
            found = to_decimal(sent)
        except Invalid:
            continue
        assert found == number
        digits, exponent = found.as_tuple()[1:]
        assert isinstance(exponent, int) and -6 <= exponent <= 0 and len(digits) <= 18
        assert Decimal(f"{found}") == found and "E" not in f"{found}"


@pytest.mark.parametrize(
    "value", [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("-Infinity"), 1.5, None]
)
def test_what_is_no_number_is_none(value: Any) -> None:
    for convert in (to_decimal, to_int):
        with pytest.raises(Invalid):
            convert(value)
    with pytest.raises(Invalid):
        to_enum(Rating, value)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    local=st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),
    minutes=st.integers(-14 * 60, 14 * 60),
)
def test_a_moment_is_read_in_utc(local: datetime, minutes: int) -> None:
    moment = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    found = to_moment(moment.isoformat())
    assert found == moment and found.tzinfo is UTC
    assert to_moment(local.isoformat()) == local.replace(tzinfo=UTC)


def test_decimals_leave_as_numbers() -> None:
    assert json.loads(wire.encode({"a": Decimal("1.10")}), parse_float=str) == {"a": "1.10"}


@pytest.mark.parametrize("text", ["ok", "a b", "ünï", "", "🙂", "\u2028", "e\u0301", "\u200f"])
def test_a_text_is_kept_as_it_is(text: str) -> None:
    assert fields_of(Customer)["title"].convert(text) == text


def test_lines_are_taken_where_they_are_declared() -> None:
    takes = {spec.member for kind, spec in EVERY if kind == "Customer" and spec.type is str and spec.lines}
    assert takes == {"Comments", "InvoiceNote"}
    for spec in fields_of(Customer).values():
        if spec.type is str and not spec.email:
            assert (spec.lines and spec.convert("a\r\nb\tc") == "a\r\nb\tc") or not spec.lines


def test_a_message_quotes_at_most_sixty_characters() -> None:
    for value in ("x" * 10**6, ["y"] * 10**5, {"k": "\ud800" * 1000}, "\ud800", Decimal("1e999999")):
        assert len(fields.shown(value)) <= 60


@given(
    moment=st.datetimes(
        timezones=st.sampled_from([UTC, None, timezone(timedelta(0)), timezone(timedelta(hours=-3, minutes=-30))])
    ),
    whole=st.booleans(),
)
def test_a_moment_is_written_as_python_does(moment: datetime, whole: bool) -> None:
    moment = moment.replace(microsecond=0) if whole else moment
    assert fields.iso(moment) == moment.isoformat()


@given(addresses=st.lists(st.from_regex(fields.PLAIN_EMAIL, fullmatch=True), min_size=1, max_size=25), data=st.data())
def test_plain_addresses_are_good_and_as_many_as_allowed(addresses: list[str], data: st.DataObject) -> None:
    for address in addresses:
        email_validator.validate_email(address, check_deliverability=False, globally_deliverable=False)
    text = addresses[0]
    for address in addresses[1:]:
        text += data.draw(st.sampled_from([",", ";", "; ", " ,", ",,"])) + address
    spec = Field("", type=str, limit=100_000, email=True, many=20)
    if len(addresses) <= spec.many:
        assert fields.converter(spec)(text) == text
    else:
        with pytest.raises(Invalid, match=f"at most 20 e-mail addresses, got {len(addresses)}"):
            fields.converter(spec)(text)
