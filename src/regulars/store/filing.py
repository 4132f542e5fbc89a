"""How search terms get to their place: logged with each batch, sorted when many have gathered, filed a few at a time.

To file a term at once would touch a page of the index for nearly each. A sweep takes all that the log holds in the
order of the index, so that terms which share a page are filed together; each batch files a few more of them in its own
commit. Until a sweep is through, the log keeps all of it: a crash, or another process that files the same log, costs
nothing but the work.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import msgspec

from regulars.store import Plan

PART = 4 << 10
"""How long the texts are, about, that the entries of a sweep are kept in, to be filed one after the other."""

LOG = "INSERT INTO term_log (entries) VALUES (?)"
LATEST = (
    "SELECT substr(j.value, 1, length(j.value) - 1) AS term_key, max(l.id), substr(j.value, -1) AS came"
    " FROM term_log AS l, json_each(l.entries) AS j GROUP BY 1"
)
TURN_NOW = "SELECT coalesce(max(value), 0) FROM counters WHERE tenant_id = 0 AND name = 'filing'"
SWEEP = (
    f"SELECT (SELECT max(id) FROM term_log), ({TURN_NOW}), (SELECT json_group_array(term_key || came) FROM ({LATEST}))"
)
BETWEEN = '","'
"""Stands in that list between two entries and nowhere else: each of them begins and ends with a digit."""
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
LISTED = "json_each(?) WHERE"

_encode = msgspec.json.encode


@dataclass(slots=True)
class Sweep:
    """All that the log held at one moment, sorted, in parts: JSON lists of entries, and how many each has. From part
    `at` on they are still to be filed.

    `last` is the newest row of the log in it. `turn` counts how often somebody began to file; when another did since,
    what this sweep still holds may be outdated.
    """

    turn: int
    last: int
    parts: list[tuple[str, int]]
    at: int = 0

    @property
    def done(self) -> bool:
        return self.at == len(self.parts)


class Outdated(Exception):
    """Another process, or another way of filing, was faster."""


def entries(plan: Plan) -> list[str]:
    """What a batch appends to the log: tenant in ten digits, term, customer in ten digits, 1 for came or 0 for went."""
    found: list[str] = []
    for tenant_id, number, gone, come in plan.terms:
        tenant, left, came = f"{tenant_id:010d}", f"{number:010d}0", f"{number:010d}1"
        found += [tenant + term + left for term in gone]
        found += [tenant + term + came for term in come]
    return found


def log(connection: apsw.Connection, terms: Sequence[str]) -> None:
    """Append the entries of a batch, within its transaction."""
    connection.execute(LOG, (_encode(terms).decode(),))


def file_new(connection: apsw.Connection, terms: Sequence[str]) -> None:
    """File entries of customers that are new, and so cannot be in the log, within the transaction of their batch."""
    connection.execute(INSERT % LISTED, (_encode(sorted(terms)).decode(),))


def sweep(connection: apsw.Connection) -> Sweep:
    """Read the log; the last word on a term wins. Writes nothing."""
    row: tuple[Any, ...] = connection.execute(SWEEP).fetchall()[0]
    last, turn, text = row
    return Sweep(turn, last or 0, cut(text))


def cut(text: str) -> list[tuple[str, int]]:
    """A JSON list of entries as several, each with the number of its entries."""
    parts, start, end = [], 1, len(text) - 1
    while start < end:
        stop = text.find(BETWEEN, start + PART) + 1 or end
        part = text[start:stop]
        parts.append((f"[{part}]", part.count(BETWEEN) + 1))
        start = stop + 1
    return parts


def file(connection: apsw.Connection, swept: Sweep, most: int, seconds: float) -> int:
    """File about so many entries of a sweep, or all that are left, but hardly longer than `seconds`, within a
    transaction. When that is committed, the sweep is `at` the part that is returned. Raises `Outdated` when it is of no
    use any more."""
    end = time.perf_counter() + seconds
    at = swept.at
    if connection.execute(TURN_NOW).get != swept.turn + bool(at):
        raise Outdated
    if not at:
        connection.execute(TURN)
    while most > 0 and at < len(swept.parts) and time.perf_counter() < end:
        text, count = swept.parts[at]
        connection.execute(REMOVE % LISTED, (text,))
        connection.execute(INSERT % LISTED, (text,))
        most -= count
        at += 1
    if at == len(swept.parts):
        connection.execute("DELETE FROM term_log WHERE id <= ?", (swept.last,))
    return at


def file_all(connection: apsw.Connection) -> None:
    """File the whole log at once, within a transaction."""
    connection.execute(TURN)
    connection.execute(f"CREATE TEMP TABLE latest AS SELECT term_key || came AS value FROM ({LATEST})")
    connection.execute(REMOVE % "latest WHERE")
    connection.execute(INSERT % "latest WHERE")
    connection.execute("DROP TABLE latest")
    connection.execute("DELETE FROM term_log")
