"""On PostgreSQL too, search terms get to their place whoever files them, and a search sees what was answered before."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import asyncpg
import msgspec
import pytest
from conftest import Errors
from postgres import execute, rows
from test_filing import CUSTOMERS, force, some_updates
from test_postgres import until, waiting
from test_races import block_duplicates
from test_store import ACTOR, START, check_filed, opened, patch, run

from regulars import access, customers, sandbox, search
from regulars.app import backend
from regulars.errors import Refused
from regulars.record import Customer
from regulars.store import Store, Tx, filing_postgres
from regulars.store.postgres import Postgres


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is filed unless somebody asks for it."""
    monkeypatch.setattr(filing_postgres, "GATHER_SECONDS", 3600)


def logged(url: str) -> int:
    return int(rows(url, "SELECT count(*) FROM term_log")[0][0])


def test_terms_are_filed_though_nobody_searches(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filing_postgres, "GATHER_SECONDS", 0.01)

    async def work() -> None:
        async with opened(url, CUSTOMERS) as store:
            await some_updates(store, random.Random(1), 5)

            async def filed() -> bool:
                return logged(url) == 0

            await until(filed)
        await check_filed(url)

    run(work)


def test_what_a_node_left_in_the_log_is_found_by_the_next(url: str, late: None) -> None:
    async def work() -> None:
        async with opened(url, CUSTOMERS) as store:
            await some_updates(store, random.Random(2), 7)
        assert logged(url) == 7
        await check_filed(url)

    run(work)


def test_new_customers_are_filed_with_their_own_commit(url: str, late: None) -> None:
    async def work() -> None:
        async with opened(url, CUSTOMERS):
            assert logged(url) == 0
        await check_filed(url)

    run(work)


def test_two_nodes_file_the_same_log(url: str, late: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time all of both nodes' terms, a few rows of the log in each transaction, while both go on writing."""
    monkeypatch.setattr(filing_postgres, "MOST_FILED", 3)

    async def work() -> None:
        async with opened(url, CUSTOMERS) as one, Store(backend(url), lambda: START) as two:
            for turn in range(8):
                assert isinstance(one.backend, Postgres) and isinstance(two.backend, Postgres)
                await asyncio.gather(
                    some_updates(one, random.Random(turn), 6),
                    some_updates(two, random.Random(100 + turn), 6),
                    *(node.backend.file(1) for node in (one, two, one)),
                )
        await check_filed(url)

    run(work)


def test_who_files_waits_for_who_files(url: str, late: None) -> None:
    """The second must not start from what it saw before the first was through: it would miss a term that went."""

    async def work() -> None:
        async with opened(url, CUSTOMERS) as one, Store(backend(url), lambda: START) as two:
            assert isinstance(one.backend, Postgres) and isinstance(two.backend, Postgres)
            await one.run(ACTOR, force, 1, {"last_name": "First"})
            watcher = await asyncpg.connect(url)
            async with one.backend._reading([1], "", "READ COMMITTED READ WRITE") as connection:
                assert not await filing_postgres.file(connection, 1)
                await one.run(ACTOR, force, 1, {"last_name": "Second"})
                second = asyncio.create_task(two.backend.file(1))
                await until(lambda: waiting(watcher, 1))
            await second
            await watcher.close()
            for name, total in (("first", 0), ("second", 1)):
                assert (await two.find(1, [search.starts("lastName", name)], 9, 0)).total == total
        await check_filed(url)

    run(work)


def test_a_rule_knows_what_is_only_logged(url: str, late: None) -> None:
    """An address that a customer has just got, or given up, and that no one filed."""

    async def work() -> None:
        async with opened(url, 3) as store:
            await store.run(ACTOR, block_duplicates)
            await store.run(ACTOR, force, 1, {"email": "new@x.test"})
            assert logged(url) == 1
            with pytest.raises(Refused):
                await store.run(ACTOR, customers.update, 2, patch(email="new@x.test"))
            await store.run(ACTOR, force, 1, {"email": "newer@x.test"})
            assert (await store.run(ACTOR, customers.update, 2, patch(email="new@x.test"))).email == "new@x.test"

    run(work)


def test_large_batches_are_not_filed_all_at_once(url: str, late: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take longer than the server lets a statement take, and then again."""
    monkeypatch.setattr(filing_postgres, "MOST_CUSTOMERS", 30)

    def rename(tx: Tx, count: int, name: str) -> None:
        for one in tx.find_many(Customer, range(1, count + 1)).values():
            assert one is not None
            tx.put(msgspec.structs.replace(one, last_name=name))

    async def work() -> None:
        async with opened(url, CUSTOMERS) as store:
            for turn, count in enumerate((10, 15, 10, 40, 5)):
                await store.run(ACTOR, rename, count, f"Name {turn}")
            assert isinstance(store.backend, Postgres)
            left, last = [], 0
            while logged(url):
                async with store.backend._reading([1], "", "READ COMMITTED READ WRITE") as connection:
                    last = await filing_postgres.file(connection, 1, last)
                left.append(logged(url))
            assert left == [3, 2, 1, 0] and last == 0
        await check_filed(url)

    run(work)


def test_a_search_files_what_was_there_before_it_and_no_more(
    url: str, late: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would never end where more is logged than filed."""
    monkeypatch.setattr(filing_postgres, "MOST_FILED", 1)
    filed, turns = filing_postgres.file, []

    async def work() -> None:
        async with opened(url, CUSTOMERS) as store:

            async def amid_updates(*given: Any) -> Any:
                turns.append(await store.run(ACTOR, force, 4, {"last_name": f"Later {len(turns)}"}))
                assert len(turns) < 20
                return await filed(*given)

            for number in (1, 2, 3):
                await store.run(ACTOR, force, number, {"last_name": "Before"})
            monkeypatch.setattr(filing_postgres, "file", amid_updates)
            assert (await store.find(1, [search.starts("lastName", "before")], 9, 0)).total == 3
            assert (len(turns), logged(url)) == (4, 3)
            monkeypatch.setattr(filing_postgres, "file", filed)
        await check_filed(url)

    run(work)


def test_searches_that_wait_for_the_filing_take_one_connection(url: str, late: None) -> None:
    """All others are for those who need not wait."""

    async def work() -> None:
        async with opened(url, CUSTOMERS) as store:
            await store.run(ACTOR, force, 1, {"last_name": "First"})
            watcher, other = await asyncpg.connect(url), await asyncpg.connect(url)
            async with other.transaction():
                await other.execute("SELECT 1 FROM term_log FOR UPDATE")
                searches = [store.find(1, [search.starts("lastName", "first")], 9, 0) for _ in range(20)]
                found = asyncio.gather(*searches)
                await until(lambda: waiting(watcher, 1))
                assert (await store.get(Customer, 1, 1)).last_name == "First"
                assert await waiting(watcher, 1) and not await waiting(watcher, 2)
            assert {page.total for page in await found} == {1}
            for connection in (watcher, other):
                await connection.close()

    run(work)


def test_terms_that_cannot_be_filed_are_in_nobody_elses_way(
    url: str, errors: Errors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing_postgres, "GATHER_SECONDS", 0.01)
    second = replace(ACTOR, tenant_id=2)

    async def work() -> None:
        async with opened(url, CUSTOMERS) as store:
            await store.run(second, access.put_tenant, "other")
            await store.run(second, access.put_reference, sandbox.reference(2))
            await store.run(second, customers.load, list(sandbox.customers(2, 3, 3)))
            execute(url, "INSERT INTO term_log VALUES (1, 0, '{1}', '{no list}', '{no list}')")
            await asyncio.gather(
                store.run(ACTOR, force, 1, {"last_name": "First"}), store.run(second, force, 1, {"last_name": "Second"})
            )

            async def filed() -> bool:
                return bool(errors.found) and rows(url, "SELECT tenant_id FROM term_log") == [(1,), (1,)]

            await until(filed)
            assert (await store.find(2, [search.starts("lastName", "second")], 9, 0)).total == 1
            execute(url, "DELETE FROM term_log WHERE id = 0")
        await check_filed(url)

    run(work)
    found, errors.found = errors.found, []
    assert found and all("terms of tenant 1 cannot be filed" in one for one in found)
