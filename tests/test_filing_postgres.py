"""On PostgreSQL too, search terms get to their place whoever files them, and a search sees what was answered before."""

import asyncio
import random

import asyncpg
import pytest
from postgres import rows
from test_filing import CUSTOMERS, force, some_updates
from test_postgres import until, waiting
from test_races import block_duplicates
from test_store import ACTOR, START, check_filed, opened, patch, run

from regulars import customers, search
from regulars.app import backend
from regulars.errors import Refused
from regulars.store import Store, filing_postgres
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
