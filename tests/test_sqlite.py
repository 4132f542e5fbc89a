"""The store in a SQLite file: its schema, other programs that write to it, and how its queries are answered."""

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import apsw
import pytest
from processes import rows
from test_store import ACTOR, START, opened, patch, run

from regulars import customers, search
from regulars.fields import fields_of
from regulars.record import RECORDS
from regulars.store.file import migrate
from regulars.store.migrations import Schema, migrations
from regulars.store.sqlite import Sqlite
from regulars.store.statements import matches, sql_type


def test_the_migrations_give_what_the_declarations_ask_for(tmp_path: Path) -> None:
    assert migrate(tmp_path / "a.db") == [number for number, _ in migrations("sqlite")]
    for record in RECORDS:
        found = rows(tmp_path / "a.db", f"PRAGMA table_info({record.table})")
        asked = [(name, sql_type(spec), 1) for name, spec in fields_of(record).items()]
        assert [(name, kind, notnull) for _, name, kind, notnull, *_ in found] == asked
        assert [name for _, name, *_, key in found if key] == ["tenant_id", "id"]


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    migrate(tmp_path / "a.db")
    assert migrate(tmp_path / "a.db") == []


@pytest.mark.parametrize(("version", "hint"), [(0, "regulars init"), (999, "newer regulars")])
def test_another_schema_is_refused_with_the_command_to_run(tmp_path: Path, version: int, hint: str) -> None:
    migrate(tmp_path / "a.db")
    rows(tmp_path / "a.db", f"PRAGMA user_version = {version}")

    async def work() -> None:
        with pytest.raises(Schema, match=hint):
            await Sqlite(tmp_path / "a.db").open()

    run(work)


def test_a_writer_that_waits_for_another_process_is_served_when_that_is_done(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(f"sqlite:///{tmp_path}/a.db", 1) as store:
            await store.run(ACTOR, customers.update, 1, patch(phone1="1"))
            other = apsw.Connection(str(tmp_path / "a.db"))
            other.execute("BEGIN IMMEDIATE")
            waiting = store.run(ACTOR, customers.update, 1, patch(phone1="2"))
            await asyncio.wait([waiting], timeout=0.05)
            assert not waiting.done()
            other.execute("COMMIT")
            other.close()
            assert (await waiting).phone1 == "2"

    run(work)


def test_each_filter_is_answered_from_the_index(tmp_path: Path) -> None:
    migrate(tmp_path / "a.db")
    filters = [
        search.equal("email", "a@x.test"),
        search.starts("lastName", "smi"),
        search.ends("phoneNumber", "123"),
        search.equal("companyIds", 1, 2),
        search.between("modifiedOn", START, START + timedelta(days=1)),
        *search.keyword("ann"),
    ]
    connection = sqlite3.connect(tmp_path / "a.db")
    for one in filters:
        query, values = matches(1, [one])
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values))
        assert "SCAN customer" not in plan
        assert "SEARCH customer_terms USING PRIMARY KEY (tenant_id=? AND term" in plan
    connection.close()
