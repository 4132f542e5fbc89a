"""The SQL that follows from the declarations: columns, statements, and the way between rows and records."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any

import msgspec

from regulars.fields import Field, Record, fields_of, iso
from regulars.record import ZERO, Address, Change, Values
from regulars.search import Filter

Row = tuple[Any, ...]

_encode = msgspec.json.Encoder().encode
_decoders = {
    tuple[Address, ...]: msgspec.json.Decoder(tuple[Address, ...]).decode,
    Values: msgspec.json.Decoder(dict[int, str | int | bool | tuple[str, ...]]).decode,
    tuple[str, ...]: msgspec.json.Decoder(tuple[str, ...]).decode,
    tuple[int, ...]: msgspec.json.Decoder(tuple[int, ...]).decode,
}


def sql_type(spec: Field) -> str:
    """The type of a field's column: whole numbers and booleans are INTEGER; decimals, times and lists exact TEXT."""
    whole = isinstance(spec.type, type) and issubclass(spec.type, int)
    return "INTEGER" if whole else "TEXT"


def columns(record: type[Record]) -> list[str]:
    """The columns of a record's table, in order."""
    return list(fields_of(record))


@cache
def reader(record: type[Record], names: tuple[str, ...] = ()) -> Callable[[Row], Any]:
    """A function from a row (all columns, or those named, in order) to a record; built once as source, since it is on
    the hot path."""
    scope: dict[str, Any] = {"record": record, "Decimal": Decimal, "ZERO": ZERO, "moment": datetime.fromisoformat}
    parts = []
    specs = [spec for name, spec in fields_of(record).items() if not names or name in names]
    for index, spec in enumerate(specs):
        cell = f"row[{index}]"
        if spec.type is bool:
            cell = f"{cell} != 0"
        elif spec.type is Decimal:
            cell = f'(ZERO if {cell} == "0" else Decimal({cell}))'
        elif spec.type is datetime:
            cell = f"moment({cell})"
        elif spec.type == datetime | None:
            cell = f"(moment({cell}) if {cell} else None)"
        elif isinstance(spec.type, type) and issubclass(spec.type, Enum):
            scope[f"choice{index}"] = {one.value: one for one in spec.type}
            cell = f"choice{index}[{cell}]"
        elif spec.type in _decoders:
            scope[f"decode{index}"] = _decoders[spec.type]
            scope[f"empty{index}"] = _decoders[spec.type]("{}" if spec.type == Values else "[]")
            cell = f"(empty{index} if len({cell}) == 2 else decode{index}({cell}))"
        parts.append(f"{spec.name}={cell}" if names else cell)
    function: Callable[[Row], Any] = eval(f"lambda row: record({', '.join(parts)})", scope)
    return function


@cache
def writer(record: type[Record]) -> Callable[[Any], Row]:
    """A function from a record to its row (all columns, in order)."""
    scope: dict[str, Any] = {"text": lambda value: _encode(value).decode(), "iso": iso, "ZERO": ZERO}
    parts = []
    for name, spec in fields_of(record).items():
        value = f"it.{name}"
        if spec.type is bool:
            value = f"1 if {value} else 0"
        elif spec.type is Decimal:
            value = f"('0' if {value} is ZERO else str({value}))"
        elif spec.type is datetime:
            value = f"iso({value})"
        elif spec.type == datetime | None:
            value = f"(iso({value}) if {value} else '')"
        elif isinstance(spec.type, type) and issubclass(spec.type, Enum):
            value = f"{value}._value_"
        elif spec.type in _decoders:
            empty = "{}" if spec.type == Values else "[]"
            value = f"(text({value}) if {value} else {empty!r})"
        parts.append(value)
    function: Callable[[Any], Row] = eval(f"lambda it: ({', '.join(parts)},)", scope)
    return function


@cache
def insert(record: type[Record]) -> str:
    names = columns(record)
    return f"INSERT INTO {record.table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


@cache
def update(record: type[Record]) -> str:
    """Takes a row as `writer` makes it, key included: the parameters are numbered."""
    names = columns(record)
    sets = ", ".join(f"{name} = ?{index}" for index, name in enumerate(names, 1) if index > 2)
    return f"UPDATE {record.table} SET {sets} WHERE tenant_id = ?1 AND id = ?2"


@cache
def select_one(record: type[Record]) -> str:
    return f"SELECT {', '.join(columns(record))} FROM {record.table} WHERE tenant_id = ? AND id = ?"


@cache
def select_all(record: type[Record]) -> str:
    return f"SELECT {', '.join(columns(record))} FROM {record.table} WHERE tenant_id = ? ORDER BY id"


@cache
def select_page(record: type[Record]) -> str:
    """The next rows of a tenant after an id."""
    return select_all(record).replace("ORDER BY", "AND id > ? ORDER BY") + " LIMIT ?"


@cache
def newest(record: type[Record]) -> str:
    """The highest id of a tenant's rows, or -1."""
    return f"SELECT coalesce(max(id), -1) FROM {record.table} WHERE tenant_id = ?"


HISTORY = {
    False: "SELECT change_id FROM customers WHERE tenant_id = ? AND id = ?",
    True: "SELECT previous_id FROM changes WHERE tenant_id = ? AND customer_id = ? AND id = ?",
}
"""Where a customer's history begins, without and with a change to go on before."""


def history(before: bool) -> str:
    """A customer's changes, newest first; each knows the one before it. Takes what `HISTORY` takes, the tenant, the
    limit, the tenant."""
    names = ", ".join(f"c.{name}" for name in columns(Change))
    link = "JOIN changes AS c ON c.tenant_id = ? AND c.id = chain.id"
    return (
        f"WITH RECURSIVE chain (id, n) AS (SELECT start.*, CAST(1 AS bigint) FROM ({HISTORY[before]}) AS start"
        f" UNION ALL SELECT c.previous_id, n + 1 FROM chain {link} WHERE n < ?)"
        f" SELECT {names} FROM chain {link} ORDER BY n"
    )


@cache
def select_range(record: type[Record]) -> str:
    names = ", ".join(columns(record))
    return f"SELECT {names} FROM {record.table} WHERE tenant_id = ? AND id BETWEEN ? AND ? ORDER BY id"


FEED = select_page(Change)
NEWEST = "SELECT coalesce(max(id), 0) FROM changes WHERE tenant_id = ?"


@cache
def find_changes(names: tuple[str, ...]) -> str:
    """A tenant's changes after one, since a moment, with these attributes given; newest first."""
    given = "".join(f" AND {name} = ?" for name in names)
    listed = ", ".join(columns(Change))
    return f"SELECT {listed} FROM changes WHERE tenant_id = ? AND id > ? AND at >= ?{given} ORDER BY id DESC LIMIT ?"


@cache
def expire(record: type[Record]) -> str:
    """Takes the tenant, the moment and the limit."""
    oldest = f"SELECT id FROM {record.table} WHERE tenant_id = ?1 AND at < ?2 ORDER BY at LIMIT ?3"
    return f"DELETE FROM {record.table} WHERE tenant_id = ?1 AND id IN ({oldest})"


PUT_COUNTER = (
    "INSERT INTO counters (tenant_id, name, value) VALUES (?, ?, ?) "
    "ON CONFLICT (tenant_id, name) DO UPDATE SET value = excluded.value"
)
REVISE = (
    "INSERT INTO counters (tenant_id, name, value) VALUES (0, 'revision', 1) "
    "ON CONFLICT (tenant_id, name) DO UPDATE SET value = value + 1"
)
"""The number by which others see that reference records changed."""


def members(tenant_id: int, one: Filter) -> tuple[str, list[Any]]:
    """A query for the ids of the customers that match one filter; an id may come twice unless there is one term."""
    if one.ids is not None:
        marks = ", ".join("?" * len(one.ids)) or "NULL"
        return f"SELECT id AS customer_id FROM customers WHERE tenant_id = ? AND id IN ({marks})", [tenant_id, *one.ids]
    parts: list[str] = []
    values: list[Any] = []
    if one.terms:
        marks = ", ".join("?" * len(one.terms))
        parts.append(f"SELECT customer_id FROM customer_terms WHERE tenant_id = ? AND term IN ({marks})")
        values += [tenant_id, *one.terms]
    for low, high in one.ranges:
        parts.append("SELECT customer_id FROM customer_terms WHERE tenant_id = ? AND term >= ? AND term < ?")
        values += [tenant_id, low, high]
    return " UNION ALL ".join(parts) or "SELECT 0 AS customer_id WHERE 1 = 0", values


def unique(one: Filter) -> bool:
    """Whether `members` names no customer twice."""
    return one.ids is not None or one.once or (len(one.terms) == 1 and not one.ranges)


def matches(tenant_id: int, filters: Sequence[Filter]) -> tuple[str, list[Any]]:
    """A query for the ids that match every filter, each id once; the first filter leads, so put the rarest first."""
    query, values = members(tenant_id, filters[0])
    sql = f"SELECT {'' if unique(filters[0]) else 'DISTINCT '}customer_id FROM ({query}) AS lead"
    conditions = []
    for one in filters[1:]:
        condition, more = probe(tenant_id, one)
        conditions.append(condition)
        values += more
    return sql + (" WHERE " + " AND ".join(conditions) if conditions else ""), values


def probe(tenant_id: int, one: Filter) -> tuple[str, list[Any]]:
    """The condition that a customer of the leading filter matches this one as well."""
    if one.column:
        attribute, low, high = one.column
        return (
            "EXISTS (SELECT 1 FROM customers AS c WHERE c.tenant_id = ? AND c.id = lead.customer_id"
            f" AND c.{attribute} BETWEEN ? AND ?)",
            [tenant_id, low.isoformat(), high.isoformat()],
        )
    if one.terms and not one.ranges:
        marks = ", ".join("?" * len(one.terms))
        return (
            "EXISTS (SELECT 1 FROM customer_terms AS t"
            f" WHERE t.tenant_id = ? AND t.term IN ({marks}) AND t.customer_id = lead.customer_id)",
            [tenant_id, *one.terms],
        )
    query, values = members(tenant_id, one)
    return f"customer_id IN ({query})", values
