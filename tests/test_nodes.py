"""Several nodes over one PostgreSQL: nothing is lost, nothing is doubled, and the feed of changes tells just that."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import msgspec
import pytest
from postgres import rows
from processes import Process, make_book
from test_store import ACTOR, opened, patch, run

from regulars import access, customers, sandbox
from regulars.app import backend
from regulars.errors import Conflict
from regulars.record import Customer
from regulars.store import Store, Tx

OTHER = replace(ACTOR, tenant_id=2)


def check_feed(url: str) -> None:
    """Change ids have no gaps, and each customer's changes follow each other version by version up to the last."""
    for tenant in (1, 2):
        ids = rows(url, f"SELECT id FROM changes WHERE tenant_id = {tenant} ORDER BY id")
        assert [row[0] for row in ids] == list(range(1, len(ids) + 1))
    versions: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for tenant, customer, version, number, previous in rows(
        url, "SELECT tenant_id, customer_id, version, id, previous_id FROM changes ORDER BY id"
    ):
        history = versions.setdefault((tenant, customer), [(0, 0)])
        assert (version - 1, previous) == history[-1]
        history.append((version, number))
    for tenant, customer, version, change in rows(url, "SELECT tenant_id, id, version, change_id FROM customers"):
        assert versions[tenant, customer][-1] == (version, change)


def add_one(tx: Tx, number: int) -> int:
    before = tx.get(Customer, number)
    after = msgspec.structs.replace(before, source_id=str(int(before.source_id or "0") + 1))
    tx.put(after)
    return int(after.source_id)


def zero(tx: Tx, numbers: range) -> None:
    for number in numbers:
        tx.put(msgspec.structs.replace(tx.get(Customer, number), source_id="0"))


def test_what_both_nodes_do_to_the_same_customers_adds_up(url: str) -> None:
    async def work() -> None:
        async with opened(url, 4) as one, Store(backend(url)) as two:
            await one.run(OTHER, access.put_tenant, "other")
            await one.run(OTHER, customers.load, list(sandbox.customers(2, 4, 9)))
            for actor in (ACTOR, OTHER):
                await two.run(actor, zero, range(1, 5))
            roll = random.Random(3)

            async def client(node: Store) -> list[tuple[int, int, int]]:
                seen = []
                for _ in range(30):
                    actor, number = roll.choice((ACTOR, OTHER)), roll.randint(1, 4)
                    seen.append((actor.tenant_id, number, await node.run(actor, add_one, number)))
                return seen

            done = await asyncio.gather(*(client(node) for node in (one, two) * 8))
            told: dict[tuple[int, int], list[int]] = {}
            for tenant, number, value in (row for some in done for row in some):
                told.setdefault((tenant, number), []).append(value)
            for key, values in told.items():
                assert sorted(values) == list(range(1, len(values) + 1)), "an answer was given twice, or lost"
                for node in (one, two):
                    assert (await node.get(Customer, *key)).source_id == str(len(values))

    run(work)
    check_feed(url)


def test_as_many_updates_succeed_as_the_version_counts(url: str) -> None:
    """Compare-and-set through either node, all after the same customer."""

    async def work() -> None:
        async with opened(url, 1) as one, Store(backend(url)) as two:

            async def client(node: Store, name: int) -> int:
                won = 0
                for count in range(25):
                    before = await node.get(Customer, 1, 1)
                    try:
                        after = await node.run(
                            ACTOR, customers.update, 1, patch(phone1=f"{name} {count}"), {before.version}
                        )
                    except Conflict:
                        continue
                    assert after.version == before.version + 1
                    won += 1
                return won

            won = await asyncio.gather(*(client((one, two)[name % 2], name) for name in range(10)))
            final = (await two.get(Customer, 1, 1)).version
            assert sum(won) == final - 1 and final > 2
            assert len(await one.changes(1, 1, 1000)) == final

    run(work)
    check_feed(url)


def test_numbers_are_given_once_whoever_gives_them(url: str) -> None:
    async def work() -> None:
        async with opened(url, 1) as one, Store(backend(url)) as two:
            new = patch(first_name="A", last_name="B", email="a@x.test", company_id=1)
            ids = await asyncio.gather(*((one, two)[n % 2].run(ACTOR, customers.create, new) for n in range(60)))
            assert sorted(ids) == list(range(2, 62))
            emails = [f"{n}@x.test" for n in range(10)]
            made = await asyncio.gather(
                *(node.run(ACTOR, access.put_employee, email, {}) for email in emails for node in (one, two))
            )
            assert len({one.id for one in made}) == 10
            await one.refresh()
            assert len((await one.book(1)).records[type(made[0])]) == rows(url, "SELECT count(*) FROM employees")[0][0]

    run(work)
    check_feed(url)


def test_a_new_tenant_made_by_both_nodes_at_once_is_made_once(url: str) -> None:
    async def work() -> None:
        async with Store(backend(url)) as one, Store(backend(url)) as two:
            await asyncio.gather(
                *(node.run(ACTOR, access.put_tenant, "demo") for node in (one, two)), return_exceptions=True
            )
            assert await two.tenants() == {"demo": 1}

    run(work)


@pytest.fixture
def nodes(url: str) -> Iterator[list[Process]]:
    """Two hosts' worth of servers: one process, and one with two workers."""
    make_book(url, 5)
    started = [Process(url), Process(url, "--workers", "2")]
    try:
        for one in started:
            one.wait()
        yield started
        for one in started:
            one.stop()
    finally:
        for one in started:
            one.close()


def test_a_revoked_token_ends_on_every_node(nodes: list[Process], url: str) -> None:
    token = nodes[0].token()
    headers = {"Authorization": f"Bearer {token}"}
    for node in nodes:
        assert httpx2.get(f"{node.url}/Customers/1", headers=headers).status_code == 200

    async def work() -> None:
        async with Store(backend(url)) as store:
            await store.run(ACTOR, access.put_employee, "ann@example.com", {"enabled": False})

    run(work)
    for node in nodes * 4:
        assert httpx2.get(f"{node.url}/Customers/1", headers=headers).status_code == 401
