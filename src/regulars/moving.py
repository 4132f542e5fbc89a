"""Moving house: a whole store copied into an empty one, of whatever kind each is, and compared row by row.

A copy is of one moment, that of the source's snapshot. It is written page by page in the order of ids, so an
interrupted one goes on after the highest id that is there; a mark says of which store, and at which counters, it was
begun. The tenants come last, in one commit with the removal of the mark: until then there is nobody to be served.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any
from zlib import crc32

import msgspec

from regulars import search
from regulars.fields import Record
from regulars.record import RECORDS, Change, Customer, Tenant
from regulars.store import NEXT_CHANGE, TOTAL_CUSTOMERS, Again, Clash, Plan, statements
from regulars.store.statements import Row
from regulars.store.whole import COPYING, Counters, Mark, Report, Whole

LARGE: Mapping[type[Record], str] = {Change: NEXT_CHANGE, Customer: TOTAL_CUSTOMERS}
"""The large tables, and the counter that tells how many rows of a tenant each has."""
KINDS = (*(kind for kind in RECORDS if kind not in LARGE), *LARGE)
MOST_NAMED = 10
"""How many keys of rows that differ are named."""
LOOK_SECONDS = 1.0
"""While rows are copied, it is looked so often whether somebody writes to the source."""
BLOCK = 100
"""The search terms of so many customers are added up together."""

_encode = msgspec.msgpack.encode


class Halted(Exception):
    """The copy cannot be made, or not be finished; the text says why, and what would be right."""


@dataclass
class Tally:
    """What was counted on one side: rows, and a checksum of them."""

    rows: int = 0
    checksum: str = ""


@dataclass
class Verdict:
    """What was found of one table on both sides, and by which keys the first rows that differ are known."""

    table: str
    source: Tally
    target: Tally
    differing: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return self.source == self.target


@dataclass
class Move:
    """One store being copied into another."""

    source: Whole
    target: Whole
    report: Report
    tenants: Sequence[int]
    counters: Counters
    looked: float = 0.0
    """When it was last looked whether the source is as it was."""


async def copy(source: Whole, target: Whole, report: Report) -> list[Verdict]:
    """Copy all of `source`, opened to be read, into `target`, opened to be filled, or go on with that; then compare
    them. When nothing differs, the target is finished and can be served.

    Raises `Halted` when the target is in use or a copy of something else, and when the source was written to meanwhile.
    """
    tenants = await source.tenants()
    if not tenants:
        raise Halted(f"{source.url} has no tenants: there is nothing to copy.")
    await source.about(tenants)
    move = Move(source, target, report, tenants, await source.counters())
    try:
        await claim(move)
        await target.about(tenants)
        for kind in KINDS:
            if kind is not Tenant:
                await copy_table(move, kind)
        await target.file(partial(report, "search terms", 2 * counted(move, Customer)))
        await settle(move)
    except (Clash, Again) as error:
        raise Halted(f"Somebody else writes to {target.url}, perhaps another copy: {error}") from error
    verdicts = await compare(move)
    await unmoved(move)
    if all(one.same for one in verdicts):
        await target.finish()
    return verdicts


# ---- copying


async def claim(move: Move) -> None:
    """Put the mark into a target that nobody used yet, or find that it has just this one."""
    source, target = move.source.url, move.target.url
    theirs = await move.source.secrets()
    secrets = await move.target.secrets()
    found = secrets.pop(COPYING, None)
    if found is None:
        if secrets or await move.target.tenants():
            raise Halted(f"{target} is in use. A copy needs a store of its own: name one that is not there yet.")
        mark = Mark(source, [(*key, value) for key, value in sorted(move.counters.items())])
        await move.target.put_secrets({**theirs, COPYING: msgspec.json.encode(mark).decode()})
        await move.target.save()
        return
    mark = msgspec.json.decode(found, type=Mark)
    if secrets != theirs:
        raise Halted(f"{target} is an unfinished copy of {mark.source}, which is not the same store as {source}.")
    begun = {(tenant, name): value for tenant, name, value in mark.counters}
    if begun != move.counters:
        raise Halted(changed(move, begun, move.counters))


def changed(move: Move, before: Counters, after: Counters) -> str:
    """What to say when the source is not as it was."""
    names = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    listed = ", ".join(
        f"{name} of tenant {tenant} from {before.get((tenant, name), 0)} to {after.get((tenant, name), 0)}"
        for tenant, name in names[:MOST_NAMED]
    )
    return (
        f"{move.source.url} was written to since the copy began: {listed}. Stop whoever serves it, make "
        f"{move.target.url} anew (it holds nothing but the unfinished copy), and copy again."
    )


async def unmoved(move: Move, often: float = 0.0) -> None:
    """Raise `Halted` when somebody wrote to the source since the copy began; look once in so many seconds."""
    if time.monotonic() - move.looked < often:
        return
    move.looked = time.monotonic()
    now = await move.source.counters(now=True)
    if now != move.counters:
        raise Halted(changed(move, move.counters, now))


def counted(move: Move, *kinds: type[Record]) -> int:
    """How many rows these tables have, as the counters tell; few and unknown but for the large ones."""
    return sum(move.counters.get((tenant, LARGE.get(kind, "")), 0) for tenant in move.tenants for kind in kinds)


async def copy_table(move: Move, kind: type[Record]) -> None:
    read = statements.reader(kind)
    report = partial(move.report, kind.table if kind in LARGE else "", counted(move, kind))
    for tenant in move.tenants:
        after = await move.target.newest(kind, tenant)
        report(max(after, 0))
        written = asyncio.ensure_future(asyncio.sleep(0))
        try:
            while page := await move.source.page(kind, tenant, after):
                await unmoved(move, LOOK_SECONDS)
                records, after = list(map(read, page)), page[-1][1]
                await written
                written = asyncio.ensure_future(put(move.target, kind, records, report))
                await asyncio.sleep(0)  # so that the next page is read while this one is written
        finally:
            await written


async def put(target: Whole, kind: type[Record], records: list[Record], report: Callable[[int], None]) -> None:
    await target.write(Plan(inserts={kind: records}))
    await target.save()
    report(len(records))


async def settle(move: Move) -> None:
    """Write the tenants and the counters; not to be saved before all is compared."""
    read = statements.reader(Tenant)
    rows = [row for tenant in move.tenants for row in await move.source.page(Tenant, tenant, -1)]
    counters: list[tuple[int, str, int | None, int]] = [(*key, None, value) for key, value in move.counters.items()]
    await move.target.write(Plan(inserts={Tenant: list(map(read, rows))}, counters=counters))


# ---- comparing


async def compare(move: Move) -> list[Verdict]:
    """Read both sides, each by itself, and compare each table by count and checksum. Search terms are compared with
    those that follow from the source's customers."""
    expected, filed = Terms(), Terms()
    verdicts = []
    for kind in KINDS:
        theirs = await tally(move, move.source, kind, expected if kind is Customer else None)
        verdict = Verdict(kind.table, theirs, await tally(move, move.target, kind))
        if not verdict.same:
            verdict.differing = await differing(move, kind)
        verdicts.append(verdict)
    for tenant in move.tenants:
        await add_terms(filed, move.target, tenant)
    verdicts.append(judged("customer_terms", expected.named(), filed.named(), expected.rows, filed.rows))
    verdicts.append(judged("counters", move.counters, await move.target.counters()))
    ours = await move.target.secrets()
    verdicts.append(judged("secrets", await move.source.secrets(), {one: ours[one] for one in ours if one != COPYING}))
    return verdicts


async def pages(store: Whole, kind: type[Record], tenants: Sequence[int]) -> AsyncIterator[list[Row]]:
    for tenant in tenants:
        after = -1
        while page := await store.page(kind, tenant, after):
            yield page
            after = page[-1][1]


async def tally(move: Move, store: Whole, kind: type[Record], terms: "Terms | None" = None) -> Tally:
    """The rows of a table in the order of their keys; those of the source as a record of today would be written."""
    read, write = statements.reader(kind), statements.writer(kind)
    digest, count = sha256(), 0
    report = partial(move.report, "compared" if kind in LARGE else "", 2 * counted(move, *LARGE))
    async for page in pages(store, kind, move.tenants):
        if store is move.source:
            records = list(map(read, page))
            page = list(map(write, records))
            if terms is not None:
                terms.add_customers(records)
        for row in page:
            digest.update(_encode(row))
        count += len(page)
        report(len(page))
    return Tally(count, digest.hexdigest()[:16])


class Terms:
    """Search terms added up, so that their order does not matter; by tenant and block of customers."""

    def __init__(self) -> None:
        self.rows = 0
        self.sums: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))

    def add_customers(self, customers: Sequence[Customer]) -> None:
        for one in customers:
            terms = search.terms(one)
            self.rows += len(terms)
            self.sums[one.tenant_id][one.id // BLOCK] += sum(crc32(f"{one.id} {term}".encode()) for term in terms)

    def add(self, tenant: int, filed: Sequence[tuple[str, int]]) -> None:
        self.rows += len(filed)
        sums = self.sums[tenant]
        for term, number in filed:
            sums[number // BLOCK] += crc32(f"{number} {term}".encode())

    def named(self) -> dict[tuple[int, str], int]:
        """The sums by tenant and the numbers of the block's customers."""
        return {
            (tenant, f"{number * BLOCK}–{number * BLOCK + BLOCK - 1}"): value
            for tenant, sums in self.sums.items()
            for number, value in sums.items()
        }


async def add_terms(terms: Terms, store: Whole, tenant: int) -> None:
    after = ("", 0)
    while page := await store.terms(tenant, after):
        terms.add(tenant, page)
        after = page[-1]


def judged(table: str, source: Mapping[Any, Any], target: Mapping[Any, Any], *rows: int) -> Verdict:
    """The verdict on what stands under a few keys."""
    names = [key for key in sorted(source.keys() | target.keys()) if source.get(key) != target.get(key)]
    ours, theirs = (Tally(len(one), sha256(_encode(sorted(one.items()))).hexdigest()[:16]) for one in (source, target))
    if rows:
        ours.rows, theirs.rows = rows
    shown = [key if isinstance(key, str) else f"{key[1]} of tenant {key[0]}" for key in names[:MOST_NAMED]]
    return Verdict(table, ours, theirs, shown)


async def differing(move: Move, kind: type[Record]) -> list[str]:
    """The first keys under which the two stores do not have the same."""
    read, write = statements.reader(kind), statements.writer(kind)
    found: list[str] = []
    for tenant in move.tenants:
        after = -1
        while len(found) < MOST_NAMED:
            theirs = await move.source.page(kind, tenant, after)
            ours = await move.target.page(kind, tenant, after)
            if not theirs and not ours:
                break
            # a page that is not full is the last one; of another one it is not known what follows
            full = [page[-1][1] for page in (theirs, ours) if len(page) >= move.source.page_rows]
            after = min(full) if full else max(row[1] for row in (*theirs, *ours))
            wanted = {row[1]: write(read(row)) for row in theirs if row[1] <= after}
            there = {row[1]: row for row in ours if row[1] <= after}
            numbers = sorted(wanted.keys() | there.keys())
            found += [f"{n} of tenant {tenant}" for n in numbers if wanted.get(n) != there.get(n)]
    return found[:MOST_NAMED]
