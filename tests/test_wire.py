"""The quick ways through `wire` give what the thorough ones give, whatever is sent."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from regulars import representation, sandbox, wire
from regulars.errors import Refused
from regulars.fields import fields_of
from regulars.record import Column, Customer

MEMBERS = sorted(spec.member for spec in wire.names_of("customer").values())
NAMES = st.one_of(
    st.sampled_from(MEMBERS),
    st.sampled_from(MEMBERS).map(str.swapcase),
    st.sampled_from(["a", "A", "ä", ""]),
    st.text(),
)
NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        ["-0", "-0.0", "0.10", "1e3", "1E-7", "01", "1.", ".5", "+1", "1e", "-", "NaN", "-Infinity", "0x1"]
    ),
    st.sampled_from(
        ["1e400", "1e99999999999999999999", "0e99999999999999999999", str(2**63), str(-(2**64)), "9" * 5000]
    ),
    st.integers(95, 105).map(lambda length: "9" * length),
    st.integers(95, 105).map(lambda length: "-" + "9" * length),
    st.integers(95, 105).map(lambda length: "0." + "9" * length),
)
STRINGS = st.tuples(st.text(max_size=12), st.booleans()).map(lambda one: json.dumps(one[0], ensure_ascii=one[1]))
SPACE = st.sampled_from(["", "", "", " ", "\t\r\n", "\ufeff", "\x0c", "\u00a0"])


def joined(parts: list[str], space: str) -> str:
    return f"{space},{space}".join(parts)


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """JSON objects as text, some with a member twice."""
    names = NAMES.map(lambda name: json.dumps(name, ensure_ascii=False))
    pairs = st.lists(st.builds("{}{}:{}".format, names, SPACE, values), max_size=5)
    doubled = pairs.map(lambda some: some + some[:1])
    return st.builds(lambda some, space: f"{{{joined(some, space)}}}", pairs | doubled, SPACE)


def lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda some, space: f"[{joined(some, space)}]", st.lists(values, max_size=4), SPACE)


LEAVES = st.one_of(STRINGS, NUMBERS, st.sampled_from(["true", "false", "null", "None", "'a'", "", "// x"]))
VALUES = st.recursive(LEAVES, lambda values: objects(values) | lists(values), max_leaves=8)
DEEP = st.builds(
    lambda opening, deep, closing: f'{{"a":{opening * deep}1{closing * deep}}}',
    st.sampled_from(["[", '{"a":']),
    st.integers(1, 20) | st.just(100_000),
    st.sampled_from(["]", "}", ""]),
)
TEXTS = st.one_of(objects(VALUES), objects(VALUES), VALUES, DEEP, st.text())


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Bodies that are JSON, nearly so, or not at all."""
    body = draw(SPACE).encode() + draw(TEXTS).encode("utf-8", "surrogatepass") + draw(SPACE).encode()
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        start = draw(st.integers(0, len(body)))
        stop = min(len(body), start + draw(st.integers(0, 4)))
        body = (
            body[:start]
            + draw(st.sampled_from([b"", b'"', b",", b"}", b"\\", b"\xff", b"\xed\xa0\x80", b"\0", b"1"]))
            + body[stop:]
        )
    return body


def like(value: Any) -> Any:
    """A value with the types of all that is in it."""
    if isinstance(value, dict):
        return type(value), getattr(value, "names", None), [(name, like(one)) for name, one in value.items()]
    return [like(one) for one in value] if isinstance(value, list) else (type(value), repr(value))


def outcome(read: Any, body: bytes) -> Any:
    try:
        return like(read(body))
    except Refused as error:
        return error.problems


@given(body=bodies())
@example(b'{"a":"x","a":"x","b":"\\""}')
@example(b'{"a":1,"a":"x"}')
@example(b'{"Addresses":[{"ID":1,"ID":"x"}]}')
@example(b'{"a":' + b"9" * wire.LONGEST_NUMBER + b"}")
@example(b'{"a":1' + b"0" * wire.LONGEST_NUMBER + b"}")
@example(b'{"a":-1' + b"0" * (wire.LONGEST_NUMBER - 1) + b"}")
@example(b'{"a":0.' + b"0" * (wire.LONGEST_NUMBER - 1) + b"}")
def test_a_body_reads_the_same_quickly_and_thoroughly(body: bytes) -> None:
    assert outcome(wire.read_json, body) == outcome(wire.read_any_json, body)


def test_the_usual_bodies_take_the_quick_way() -> None:
    usual = {
        "Name": "Ann Lee",
        "Phone1": "é",
        "Rating": 5,
        "AccountManager1Commission": 1.5,
        "BusinessAliases": ["a", "b"],
    }
    for body in (usual, {}, {"Addresses": [{"ID": 1, "City": "x"}]}, {"a": None, "b": True}):
        encoded = json.dumps(body, ensure_ascii=False).encode()
        assert 2 * wire._strings(wire._quick(encoded)) == encoded.count(b'"')


class Thorough(dict[str, Any]):
    """An object that does not count as a plain one."""


@given(
    data=st.dictionaries(
        st.sampled_from(MEMBERS) | NAMES,
        st.one_of(
            st.none(),
            st.text(max_size=400),
            st.sampled_from(["a@b.test", "x;y@z.test", "Ann Lee", " ", 5, "neutral", "1.5", True]),
            st.integers(),
            st.decimals(),
            st.lists(st.text(max_size=5) | st.none(), max_size=3),
        ),
        max_size=6,
    ),
    strict=st.booleans(),
)
def test_an_update_reads_the_same_quickly_and_thoroughly(data: dict[str, Any], strict: bool) -> None:
    quick, thorough = (wire.read_update("customer", kind(data), strict) for kind in (dict, Thorough))
    assert (like(quick.values), quick.problems, quick.ignored) == (
        like(thorough.values),
        thorough.problems,
        thorough.ignored,
    )
    spelt = {member: name for member, name in thorough.spelt.items() if member != name}
    assert {member: name for member, name in quick.spelt.items() if member != name} == spelt


def text(value: Any) -> str:
    """How a value reads in JSON."""
    if isinstance(value, datetime):
        value = value.replace(tzinfo=None, microsecond=0).isoformat()
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


def test_every_field_reads_back_as_it_is_kept() -> None:
    columns = representation.CustomColumns([one for one in sandbox.reference(1) if isinstance(one, Column)])
    decimals = [name for name, spec in fields_of(Customer).items() if spec.type is Decimal]
    for number, sample in enumerate(sandbox.customers(1, 200, 5)):
        some = [Decimal("0.00"), Decimal("0"), Decimal("1.50")][number % 3]
        customer = msgspec.structs.replace(sample, **dict.fromkeys(decimals[number % 5 :], some))
        body = json.loads(representation.write_customer(customer, None, columns, []), parse_float=Decimal)
        for name, spec in fields_of(Customer).items():
            for section, key in (reads.split(".") for reads in spec.reads):
                value = getattr(customer, name)
                if name == "tax_exempt_type":
                    value = value or None
                assert text(body[section][key]) == text(value), key
        values = {one["ID"]: one["Value"] for one in body["CustomColumns"]}
        for column, value in customer.custom_values.items():
            assert str(values.pop(column)) == str(value)
        assert not any(values.values())
