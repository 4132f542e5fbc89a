"""The raw store limit and the disk: what is left without HTTP, commands, rules and Python's records."""

import asyncio
import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import apsw
import msgspec

from bench.bodies import Bodies
from regulars.fields import fields_of
from regulars.record import Company, Customer
from regulars.store import Actor, Store, Tx
from regulars.store.file import connect
from regulars.store.sqlite import Sqlite
from regulars.store.wal import CHECKPOINT_PAGES

GROUP = 64
MOST_GROUPS = 600
FLUSHES = 200

Call = tuple[str, list[Any]]
"""A statement and its parameter sets: one to execute, more to executemany."""
Group = list[Call]


def record_groups(path: Path, ids: list[int], tenant_id: int = 1, groups: int = MOST_GROUPS) -> list[Group]:
    """What the product's own store sends to SQLite for so many groups of 64 updates, as it is sent.

    Changes the file at `path`: record on one copy, replay on another that has not been changed.
    """
    traces: list[list[tuple[str, Any]]] = []

    def listen(connection: apsw.Connection) -> None:
        trace: list[tuple[str, Any]] = []
        traces.append(trace)

        def keep(_cursor: apsw.Cursor, sql: str, values: Any) -> bool:
            trace.append((sql, values))
            return True

        connection.exec_trace = keep

    apsw.connection_hooks.append(listen)
    try:
        asyncio.run(send_groups(path, ids, tenant_id, groups))
    finally:
        apsw.connection_hooks.remove(listen)
    return split(max(traces, key=len))


async def send_groups(path: Path, ids: list[int], tenant_id: int, groups: int) -> None:
    """Run the updates through the store, 64 at once, so that each batch is one group."""
    actor = Actor(tenant_id, employee="bench@example.com", employee_id=1, request_id="r" * 32)
    async with Store(Sqlite(path)) as store:
        companies = [company.id for company in (await store.book(tenant_id)).all(Company)]
        bodies = Bodies(ids, companies, seed=2)
        for _ in range(groups):
            updates = [(customer, values_of(body)) for customer, body in bodies.take(GROUP)]
            await asyncio.gather(*(store.run(actor, alter, customer, values) for customer, values in updates))


def alter(tx: Tx, customer: int, values: dict[str, Any]) -> None:
    """An update without rules."""
    tx.put(msgspec.structs.replace(tx.get(Customer, customer), **values))


def values_of(body: bytes) -> dict[str, Any]:
    """The attributes of a customer that a body of the seed sets."""
    members = json.loads(body, parse_float=Decimal)
    first, _, last = str(members.pop("Name", "")).partition(" ")
    own = {spec.member: spec for spec in fields_of(Customer).values() if spec.body == "customer"}
    values = {own[member].name: own[member].convert(value) for member, value in members.items()}
    return values | ({"first_name": first, "last_name": last, "middle_name": ""} if first else {})


def split(trace: list[tuple[str, Any]]) -> list[Group]:
    """The groups of a trace, from BEGIN to COMMIT, with repeated statements put together."""
    groups: list[Group] = []
    for sql, calls in groupby(trace, key=lambda call: call[0]):
        values = [call[1] for call in calls]
        if sql.startswith("BEGIN"):
            groups.append([])
        if groups and (not groups[-1] or groups[-1][-1][0] != "COMMIT"):
            groups[-1].append((sql, values))
    return [group for group in groups if group and group[-1][0] == "COMMIT"]


def raw_limit(path: Path, groups: list[Group], seconds: float) -> float:
    """Updates per second when the recorded groups are sent in a tight loop to an unchanged copy of the store.

    The connection settings are the product's (WAL, synchronous=FULL); as there, a thread does checkpoints.
    """
    connection = connect(path, write=True)
    wal = [0]

    def note_pages(_connection: apsw.Connection, _database: str, pages: int) -> int:
        wal[0] = pages
        return apsw.SQLITE_OK

    connection.set_wal_hook(note_pages)
    done, begin = 0, time.perf_counter()
    with ThreadPoolExecutor(1) as checkpointer:
        running = checkpointer.submit(checkpoint, path)
        for group in groups:
            for sql, values in group:
                if len(values) == 1:
                    connection.execute(sql, values[0]).fetchall()
                else:
                    connection.executemany(sql, values)
            done += GROUP * any(sql.startswith("UPDATE customers") for sql, _ in group)
            if running.done() and wal[0] > CHECKPOINT_PAGES:
                running = checkpointer.submit(checkpoint, path)
            if time.perf_counter() - begin > seconds:
                break
        rate = done / (time.perf_counter() - begin)
    connection.close()
    return rate


def checkpoint(path: Path) -> None:
    """Move what is in the log into the file, without holding up the writer."""
    connection = connect(path, write=True)
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    connection.close()


def flush_ms(folder: Path) -> float:
    """The median time of writing 4 KiB and flushing it to the disk that holds `folder`, in milliseconds."""
    block, times = os.urandom(4096), list[int]()
    path = folder / "flush.bin"
    with path.open("wb", buffering=0) as file:
        for _ in range(FLUSHES):
            begin = time.perf_counter_ns()
            file.write(block)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter_ns() - begin)
    path.unlink()
    return statistics.median(times) / 1e6
