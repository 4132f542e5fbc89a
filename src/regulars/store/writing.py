"""The one statement that writes a batch to PostgreSQL, and locks its tenants no longer than that takes.

It begins with the tenants' counters, so batches of all nodes are written one after the other, tenant by tenant. What it
must know as of that moment stands on rows that it locks, since of those the server looks at the newest state, while
everything else is as it was when the statement began to wait: the number of the last change, the number of changes of
reference records, the versions of the customers that the batch builds on. Customers that somebody else changed are
left out, with their changes and terms. All other changes move up, so that their ids have no gaps.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from itertools import count
from typing import Any, NamedTuple

import msgspec

from regulars.fields import Record
from regulars.record import Change, Customer
from regulars.store import NEXT_CHANGE, Plan, statements

REFERENCE_CHANGES = "reference"
REVISION = "revision"

_encode = msgspec.json.encode


class Mark(NamedTuple):
    """Where a tenant's counters stand that tell whether anybody wrote: of changes, of changes of reference records."""

    changes: int
    reference: int


class Shape(NamedTuple):
    """What kinds of rows a batch writes."""

    inserts: tuple[type[Record], ...]
    updates: tuple[type[Record], ...]
    come: bool
    logged: bool
    started: bool
    counted: bool
    reference: bool


class Written(NamedTuple):
    """What the statement found and did."""

    marks: dict[int, Mark]
    """Of each tenant, under its lock and before the batch."""
    lost: set[tuple[int, int]]
    """(tenant, customer): of whom somebody else had made another version."""
    updated: int
    """How many customers."""
    counted: int
    """How many counters stood where the batch had found them."""


def written(rows: Iterable[tuple[int, str, int]]) -> Written:
    """What the statement's rows tell."""
    found = {(tenant, name): value for tenant, name, value in rows if name != "lost"}
    marks = {
        tenant: Mark(value, found[tenant, REFERENCE_CHANGES])
        for (tenant, name), value in found.items()
        if name == NEXT_CHANGE
    }
    lost = {(tenant, number) for tenant, name, number in rows if name == "lost"}
    return Written(marks, lost, found[0, "updated"], found[0, "counted"])


def writing(plan: Plan, known: Mapping[int, Mark]) -> tuple[str, list[Any]]:
    """The statement for a batch, and its values; `known` is what the change ids in the plan were guessed from."""
    changes: list[Any] = plan.inserts.get(Change, [])
    made = Counter(one.tenant_id for one in changes)
    tenants = sorted(plan.tenants())
    built = sorted((*key, version) for key, version in plan.built.items())
    values: list[Any] = [tenants, [known[one].changes for one in tenants], [made[one] for one in tenants]]
    values += unzipped(built, 3)
    inserts, updates = (sorted(some, key=lambda kind: kind.table) for some in (plan.inserts, plan.updates))
    for kind in inserts:
        values.append(list(map(statements.writer(kind), plan.inserts[kind])))
        if kind is Change:
            values.append(chained(changes))
    for kind in updates:
        rows = sorted(map(statements.writer(kind), plan.updates[kind]))
        values.append(rows)
        if kind is Customer:
            values.append([plan.built[row[:2]] for row in rows])
    new = {(one.tenant_id, one.id) for one in plan.inserts.get(Customer, ())}  # type: ignore[attr-defined]
    come = sorted(
        (tenant, term, number) for tenant, number, _, some in plan.terms if (tenant, number) in new for term in some
    )
    logged = [
        (tenant, number, text(gone), text(come))
        for tenant, number, gone, come in plan.terms
        if (tenant, number) not in new
    ]
    started = sorted((tenant, name, value) for tenant, name, before, value in plan.counters if before is None)
    counted = sorted(
        (tenant, name, before, value) for tenant, name, before, value in plan.counters if before is not None
    )
    for some, width in ((come, 3), (logged, 4), (started, 3), (counted, 4)):
        if some:
            values += unzipped(some, width)
    reference = sorted(plan.reference)
    if reference:
        values.append(reference)
    there = map(bool, (come, logged, started, counted, reference))
    shape = Shape(tuple(inserts), tuple(updates), *there)
    return write(shape), values


def unzipped(rows: Collection[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def text(terms: Collection[str]) -> str:
    """Search terms as the log has them: a JSON list."""
    return _encode(terms).decode()


def chained(changes: Iterable[Change]) -> list[bool]:
    """Of each change whether the one before it, of the same customer, is in the batch too."""
    seen: set[tuple[int, int]] = set()
    found = []
    for one in changes:
        key = (one.tenant_id, one.customer_id)
        found.append(key in seen)
        seen.add(key)
    return found


# ---- its parts

LOCKED = (
    "locked AS MATERIALIZED (SELECT c.tenant_id, c.name, c.value, k.known, k.made"
    " FROM unnest({}) AS k (tenant_id, known, made) JOIN counters AS c ON c.tenant_id = k.tenant_id"
    f" WHERE c.name IN ('{NEXT_CHANGE}', '{REFERENCE_CHANGES}') ORDER BY c.tenant_id, c.name FOR UPDATE OF c)"
)
OTHERS = (
    "others AS MATERIALIZED (SELECT tenant_id, value, made, value - known AS changes"
    f" FROM locked WHERE name = '{NEXT_CHANGE}')"
)
"""How many changes others made since we looked. When there are none, nobody can have lost anything."""
LOOKED = (
    "looked AS MATERIALIZED (SELECT b.tenant_id, b.id, b.version AS built, r.version"
    " FROM unnest({}) AS b (tenant_id, id, version) JOIN customers AS r ON r.tenant_id = b.tenant_id AND r.id = b.id"
    " WHERE (SELECT max(abs(changes)) FROM others) > 0 ORDER BY b.tenant_id, b.id FOR NO KEY UPDATE OF r)"
)
LOST = "lost AS MATERIALIZED (SELECT tenant_id, id FROM looked WHERE version <> built)"
KEPT = "(v.tenant_id, v.{}) NOT IN (SELECT tenant_id, id FROM lost)"
AFTER_LOCKS = "(SELECT count(*) FROM locked) > 0"


@cache
def write(shape: Shape) -> str:
    number = count(1)
    whole = "bigint"
    parts = [
        LOCKED.format(arrays(number, whole, whole, whole)),
        OTHERS,
        LOOKED.format(arrays(number, whole, whole, whole)),
        LOST,
    ]
    for kind in shape.inserts:
        at = next(number)
        if kind is Change:
            parts += changes(at, next(number))
        else:
            parts.append(insert(kind, at))
    for kind in shape.updates:
        parts.append(update(kind, next(number), next(number) if kind is Customer else 0))
    if shape.come:
        parts.append(
            "come AS (INSERT INTO customer_terms (tenant_id, term, customer_id)"
            f" SELECT * FROM unnest({arrays(number, whole, 'text', whole)}) AS v WHERE {AFTER_LOCKS})"
        )
    if shape.logged:
        parts.append(
            "logged AS (INSERT INTO term_log (tenant_id, id, customers, gone, come)"
            " SELECT v.tenant_id, t.value, array_agg(v.customer_id), array_agg(v.gone), array_agg(v.come)"
            f" FROM unnest({arrays(number, whole, whole, 'text', 'text')}) AS v (tenant_id, customer_id, gone, come)"
            f" JOIN told AS t ON t.tenant_id = v.tenant_id WHERE {KEPT.format('customer_id')} GROUP BY 1, 2)"
        )
    parts += counters(shape, number)
    return (
        f"WITH {', '.join(parts)} SELECT tenant_id, name, value FROM locked"
        " UNION ALL SELECT tenant_id, 'lost', id FROM lost"
        f" UNION ALL SELECT 0, 'updated', {rows_of('changed_customers', Customer in shape.updates)}"
        f" UNION ALL SELECT 0, 'counted', {rows_of('started', shape.started)} + {rows_of('counted', shape.counted)}"
    )


def rows_of(part: str, there: bool) -> str:
    return f"(SELECT count(*) FROM {part})" if there else "0"


def arrays(number: "count[int]", *types: str) -> str:
    return ", ".join(f"${next(number)}::{one}[]" for one in types)


def insert(kind: type[Record], number: int) -> str:
    names = statements.columns(kind)
    rows = f"unnest(${number}::{kind.table}_row[]) AS v"
    if kind is Customer:
        source = f"{rows} JOIN others AS o ON o.tenant_id = v.tenant_id"
    else:
        source = f"{rows} WHERE {AFTER_LOCKS}"
    return (
        f"new_{kind.table} AS (INSERT INTO {kind.table} ({', '.join(names)})"
        f" SELECT {', '.join(value(kind, name) for name in names)} FROM {source})"
    )


def changes(number: int, linked: int) -> list[str]:
    """The changes, but for those of customers that were lost."""
    names = statements.columns(Change)
    return [
        f"left_out AS MATERIALIZED (SELECT v.tenant_id, v.id FROM unnest(${number}::changes_row[]) AS v"
        " WHERE (SELECT count(*) FROM lost) > 0 AND (v.tenant_id, v.customer_id) IN (SELECT tenant_id, id FROM lost))",
        f"new_changes AS (INSERT INTO changes ({', '.join(names)})"
        f" SELECT {', '.join(value(Change, name) for name in names)}"
        f" FROM unnest(${number}::changes_row[], ${linked}::boolean[]) AS v ({', '.join(names)}, chained)"
        f" JOIN others AS o ON o.tenant_id = v.tenant_id WHERE {KEPT.format('customer_id')})",
        # on its own, as the server may have to look at the counter's newest state when it adds this up
        "told AS MATERIALIZED (SELECT o.tenant_id, o.value + o.made - (SELECT count(*) FROM left_out AS l"
        " WHERE l.tenant_id = o.tenant_id) AS value FROM others AS o)",
        "last_change AS (UPDATE counters AS c SET value = t.value FROM told AS t"
        f" WHERE c.tenant_id = t.tenant_id AND c.name = '{NEXT_CHANGE}')",
    ]


def value(kind: type[Record], name: str) -> str:
    """What is written to a column."""
    if (kind, name) in ((Customer, "change_id"), (Change, "id")):
        return moved_up(name)
    if (kind, name) == (Change, "previous_id"):
        return f"CASE WHEN v.chained THEN {moved_up(name)} ELSE v.previous_id END"
    return f"v.{name}"


def moved_up(name: str) -> str:
    """The id of a change of this batch that was guessed as the column says: behind what others wrote in the meantime,
    and closer to the front by those that are left out."""
    return (
        f"CASE WHEN o.changes = 0 THEN v.{name} ELSE v.{name} + o.changes"
        f" - (SELECT count(*) FROM left_out AS l WHERE l.tenant_id = v.tenant_id AND l.id < v.{name}) END"
    )


def update(kind: type[Record], number: int, versions: int) -> str:
    names = statements.columns(kind)
    sets = ", ".join(f"{name} = {value(kind, name)}" for name in names[2:])
    if kind is Customer:
        source = (
            f"unnest(${number}::customers_row[], ${versions}::bigint[]) AS v ({', '.join(names)}, built)"
            " JOIN others AS o ON o.tenant_id = v.tenant_id"
        )
        condition = f"r.version = v.built AND {KEPT.format('id')} RETURNING 1"
    else:
        source, condition = f"unnest(${number}::{kind.table}_row[]) AS v", AFTER_LOCKS
    return (
        f"changed_{kind.table} AS (UPDATE {kind.table} AS r SET {sets} FROM {source}"
        f" WHERE r.tenant_id = v.tenant_id AND r.id = v.id AND {condition})"
    )


def counters(shape: Shape, number: "count[int]") -> list[str]:
    """The tenants' other counters, each only if it stands where the batch found it."""
    parts = []
    if shape.started:
        parts.append(
            "started AS (INSERT INTO counters (tenant_id, name, value)"
            f" SELECT * FROM unnest({arrays(number, 'bigint', 'text', 'bigint')}) AS v WHERE {AFTER_LOCKS}"
            " ON CONFLICT DO NOTHING RETURNING 1)"
        )
    if shape.counted:
        parts.append(
            "counted AS (UPDATE counters AS c SET value = v.value"
            f" FROM unnest({arrays(number, 'bigint', 'text', 'bigint', 'bigint')}) AS v (tenant_id, name, found, value)"
            " WHERE c.tenant_id = v.tenant_id AND c.name = v.name AND c.value = v.found"
            f" AND {AFTER_LOCKS} RETURNING 1)"
        )
    if shape.reference:
        parts.append(
            "referred AS (UPDATE counters AS c SET value = l.value + 1 FROM locked AS l WHERE l.tenant_id ="
            f" ANY (${next(number)}::bigint[]) AND l.name = '{REFERENCE_CHANGES}'"
            " AND c.tenant_id = l.tenant_id AND c.name = l.name)"
        )
        parts.append(
            "revised AS (UPDATE counters AS c SET value = c.value + 1"
            f" WHERE c.tenant_id = 0 AND c.name = '{REVISION}' AND {AFTER_LOCKS})"
        )
    return parts
