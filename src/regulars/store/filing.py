"""How search terms get to their place: logged with each batch, sorted when many have gathered, filed a few at a time.

To file a term at once would touch a page of the index for nearly each. A sweep takes all that the log holds in the
order of the index, so that terms which share a page are filed together; each batch files a few more of them in its own
commit. Until a sweep is through, the log keeps all of it: a crash, or another process that files the same log, costs
nothing but the work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import msgspec

from regulars.store import Plan

PART = 1_000
"""How many terms of a sweep one text holds."""

LOG = "INSERT INTO term_log (entries) VALUES (?)"
LATEST = (
    "SELECT substr(j.value, 1, length(j.value) - 1) AS term_key, max(l.id), substr(j.value, -1) AS came"
    " FROM term_log AS l, json_each(l.entries) AS j GROUP BY 1"
)
SORTED = (
    "SELECT json_group_array(entry), count(*) FROM"
    f" (SELECT term_key || came AS entry, (row_number() OVER (ORDER BY term_key) - 1) / ? AS part FROM ({LATEST}))"
    " GROUP BY part ORDER BY part"
)
KEY = (
    "CAST(substr(value, 1, 10) AS INTEGER), substr(value, 11, length(value) - 21),"
    " CAST(substr(value, -11, 10) AS INTEGER)"
)
REMOVE = (
    f"DELETE FROM customer_terms WHERE (tenant_id, term, customer_id) IN (SELECT {KEY} FROM %s substr(value, -1) = '0')"
)
INSERT = f"INSERT OR IGNORE INTO customer_terms SELECT {KEY} FROM %s substr(value, -1) = '1'"
TURN = (
    "INSERT INTO counters (tenant_id, name, value) VALUES (0, 'filing', 1)"
    " ON CONFLICT (tenant_id, name) DO UPDATE SET value = value + 1"
)

SOME = "json_each(?) WHERE key >= ? AND key < ? AND"

_encode = msgspec.json.encode


@dataclass(slots=True)
class Sweep:
    """All that the log held at one moment, sorted: JSON lists of `PART` entries, of which `done` are filed.

    `last` is the newest row of the log in it. `turn` counts how often somebody began to file; when another did since,
    what this sweep still holds may be outdated.
    """

    turn: int
    last: int
    parts: list[str]
    count: int
    done: int = 0


class Outdated(Exception):
    """Another process, or another way of filing, was faster."""


def entries(plan: Plan) -> list[str]:
    """What a batch appends to the log: tenant in ten digits, term, customer in ten digits, 1 for came or 0 for went."""
    found: list[str] = []
    for tenant_id, number, gone, come in plan.terms:
        tenant, customer = f"{tenant_id:010d}", f"{number:010d}"
        found += [f"{tenant}{term}{customer}0" for term in gone]
        found += [f"{tenant}{term}{customer}1" for term in come]
    return found


def log(connection: apsw.Connection, terms: Sequence[str]) -> None:
    """Append the entries of a batch, within its transaction."""
    connection.execute(LOG, (_encode(terms).decode(),))


def file_new(connection: apsw.Connection, terms: Sequence[str]) -> None:
    """File entries of customers that are new, and so cannot be in the log, within the transaction of their batch."""
    connection.execute(INSERT % "json_each(?) WHERE" + " ORDER BY value", (_encode(terms).decode(),))


def sweep(connection: apsw.Connection) -> Sweep:
    """Read the log; the last word on a term wins. Writes nothing."""
    with connection:
        last = connection.execute("SELECT max(id) FROM term_log").get
        parts: list[tuple[Any, ...]] = connection.execute(SORTED, (PART,)).fetchall()
        found = Sweep(turn(connection), last or 0, [text for text, _ in parts], sum(count for _, count in parts))
    return found


def turn(connection: apsw.Connection) -> int:
    return connection.execute("SELECT value FROM counters WHERE tenant_id = 0 AND name = 'filing'").get or 0


def file(connection: apsw.Connection, swept: Sweep, most: int) -> int:
    """File so many entries of a sweep, or all that are left, within a transaction; returns how many. Once that is
    committed, add it to `done`. Raises `Outdated` when the sweep is of no use any more."""
    if turn(connection) != swept.turn + bool(swept.done):
        raise Outdated
    if not swept.done:
        connection.execute(TURN)
    start, end = swept.done, min(swept.done + most, swept.count)
    while start < end:
        number, low = divmod(start, PART)
        high = min(low + end - start, PART)
        for statement in (REMOVE, INSERT):
            connection.execute(statement % SOME, (swept.parts[number], low, high))
        start += high - low
    if end == swept.count:
        connection.execute("DELETE FROM term_log WHERE id <= ?", (swept.last,))
    return end - swept.done


def file_all(connection: apsw.Connection) -> None:
    """File the whole log at once, within a transaction."""
    connection.execute(TURN)
    connection.execute(f"CREATE TEMP TABLE latest AS SELECT term_key || came AS value FROM ({LATEST})")
    connection.execute(REMOVE % "latest WHERE")
    connection.execute(INSERT % "latest WHERE")
    connection.execute("DROP TABLE latest")
    connection.execute("DELETE FROM term_log")
