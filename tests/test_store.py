"""The store on both databases: batches, order, isolation of failures, other processes, search against brute force."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from conftest import Errors
from processes import rows

from regulars import access, customers, sandbox, search
from regulars.app import backend, migrate
from regulars.customers import Patch
from regulars.errors import Conflict, NotFound, Refused, Unauthenticated, Unavailable
from regulars.record import Customer, Employee
from regulars.search import Filter
from regulars.store import Actor, Store, Tx
from regulars.store.statements import columns, reader, writer

ACTOR = Actor(1, 1, "ann@example.com", "api", "request-1")
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def opened(url: str, count: int = 0) -> AsyncIterator[Store]:
    """A store with one tenant, its reference records and some sample customers."""
    await migrate(url)
    async with Store(backend(url), lambda: START) as store:
        if not await store.tenants():
            await store.run(ACTOR, access.put_tenant, "demo")
            await store.run(ACTOR, access.put_reference, sandbox.reference(1))
            await store.run(ACTOR, customers.load, list(sandbox.customers(1, count, 3)))
        yield store


async def check_filed(url: str) -> None:
    """After a search has seen to the filing, the index holds exactly what the first tenant's customers yield."""
    async with Store(backend(url), lambda: START) as store:
        await store.find(1, search.keyword("smith"), 10, 0)
        expected = set()
        for (number,) in rows(url, "SELECT id FROM customers WHERE tenant_id = 1"):
            expected |= {(term, number) for term in search.terms(await store.get(Customer, 1, number))}
    assert set(rows(url, "SELECT term, customer_id FROM customer_terms WHERE tenant_id = 1")) == expected
    assert rows(url, "SELECT count(*) FROM term_log") == [(0,)]


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def patch(**values: Any) -> Patch:
    return Patch(values)


def test_every_record_survives_the_way_through_a_row() -> None:
    for record in [*sandbox.customers(1, 200, 5), *sandbox.reference(1)]:
        kind = type(record)
        row = writer(kind)(record)
        assert len(row) == len(columns(kind))
        assert reader(kind)(row) == record


def test_commands_that_wait_together_share_a_commit_and_see_each_other(book: str) -> None:
    async def work() -> None:
        async with opened(book, 10) as store:
            before = store.batches
            done = await asyncio.gather(
                *(store.run(ACTOR, customers.update, 1, patch(comments=f"note {n}")) for n in range(100)),
                store.run(ACTOR, customers.update, 2, patch(phone1="555")),
            )
            assert [one.version for one in done[:-1]] == list(range(2, 102))
            assert store.batches - before <= 2
            assert (await store.get(Customer, 1, 1)).comments == "note 99"
            history = await store.changes(1, 1, 1000)
            assert [change.version for change in history] == list(range(101, 0, -1))
            assert msgspec.json.decode(history[0].fields) == {"Comments": ["note 98", "note 99"]}

    run(work)


def test_a_reader_of_the_feed_that_goes_on_misses_nothing_and_sees_nothing_twice(book: str) -> None:
    async def work() -> None:
        async with opened(book, 5) as store:
            await store.run(replace(ACTOR, tenant_id=2), access.put_tenant, "other")
            updates = asyncio.gather(
                *(store.run(ACTOR, customers.update, 1 + n % 5, patch(fax=str(n))) for n in range(60))
            )
            seen: list[int] = []
            while not updates.done() or len(seen) < 65:
                changes, newest = await store.feed(1, seen[-1] if seen else 0, 7)
                assert len(changes) <= 7 and all(change.id <= newest for change in changes)
                seen += [change.id for change in changes]
            assert seen == list(range(1, 66))
            assert await store.feed(1, 65) == ([], 65)
            assert await store.feed(2, 0) == ([], 0)

    run(work)


def test_a_refused_command_leaves_its_neighbours_alone(book: str, errors: Errors) -> None:
    def broken(tx: Tx) -> None:
        tx.put(msgspec.structs.replace(tx.get(Customer, 1), phone1="lost"))
        raise RuntimeError("a bug")

    async def work() -> None:
        async with opened(book, 3) as store:
            results = await asyncio.gather(
                store.run(ACTOR, customers.update, 1, patch(phone1="1")),
                store.run(ACTOR, customers.update, 1, patch(company_id=99)),
                store.run(ACTOR, customers.update, 77, patch(phone1="2")),
                store.run(ACTOR, broken),
                store.run(ACTOR, customers.update, 1, patch(phone1="3"), {1}),
                store.run(ACTOR, customers.update, 2, patch(phone1="4")),
                return_exceptions=True,
            )
            kinds = [type(one) for one in results]
            assert kinds == [Customer, Refused, NotFound, RuntimeError, Conflict, Customer]
            assert all("a bug" in text for text in errors.found)
            errors.found.clear()
            assert [(await store.get(Customer, 1, number)).phone1 for number in (1, 2)] == ["1", "4"]
            assert len(rows(book, "SELECT 1 FROM changes WHERE kind = 'updated'")) == 2

    run(work)


def test_a_part_of_a_command_that_raises_did_nothing(book: str) -> None:
    """Not to records, numbers, history, or to what others are found by."""
    email = search.CODES["email"]

    def command(tx: Tx) -> list[Any]:
        seen: list[Any] = []
        for number, good in enumerate((True, False, True)):
            with suppress(Refused), tx.part() as part:
                with part.part() as inner:
                    new = customers.create(inner, new_customer(f"{number}@x.test"))
                customers.update(part, 1, patch(email=f"{number}@x.test"))
                seen.append((new, sorted(part.holders(f"{email}{number}@x.test"))))
                if not good:
                    raise Refused({})
            seen.append(sorted(tx.holders(f"{email}{number}@x.test")))
        return [*seen, sorted(tx.holders(f"{email}0@x.test")), tx.get(Customer, 1).email]

    def new_customer(address: str) -> Patch:
        return patch(first_name="A", last_name="B", email=address, company_id=1)

    async def work() -> None:
        async with opened(book, 1) as store:
            first = [(2, [1, 2]), [1, 2], (3, [1, 3]), [], (3, [1, 3]), [1, 3], [2], "2@x.test"]
            assert await store.run(ACTOR, command) == first
            assert [(await store.get(Customer, 1, number)).version for number in (1, 2, 3)] == [3, 1, 1]
            assert [change.id for change in (await store.feed(1, 1))[0]] == [2, 3, 4, 5]
            for number, count in ((0, 1), (1, 0), (2, 2)):
                assert (await store.find(1, [search.equal("email", f"{number}@x.test")], 10, 0)).total == count

    run(work)


def test_a_row_that_the_database_refuses_spoils_only_its_own_command(book: str) -> None:
    """Two employees with one e-mail address, made past the rule that would have found it."""

    def add(tx: Tx, email: str) -> int:
        return tx.put(Employee(tenant_id=1, id=tx.next_id("employees"), email=email), new=True).id

    async def work() -> None:
        async with opened(book, 3) as store:
            results = await asyncio.gather(
                store.run(ACTOR, add, "a@x.test"),
                store.run(ACTOR, add, "a@x.test"),
                store.run(ACTOR, customers.update, 1, patch(phone1="1")),
                store.run(ACTOR, add, "b@x.test"),
                return_exceptions=True,
            )
            assert [type(one) for one in results] == [int, Refused, Customer, int]
            emails = [one.email for one in (await store.book(1)).all(Employee)]
            assert emails == ["a@x.test", "b@x.test"]

    run(work)


def test_a_no_op_writes_nothing(book: str) -> None:
    async def work() -> None:
        async with opened(book, 1) as store:
            before = await store.get(Customer, 1, 1)
            after = await store.run(ACTOR, customers.update, 1, patch(phone1=before.phone1, rating=before.rating))
            assert after == before == await store.get(Customer, 1, 1)
            assert len(await store.changes(1, 1)) == 1

    run(work)


def test_another_process_that_writes_is_noticed(book: str) -> None:
    """Numbers and reference records come from the file, not from memory, once somebody else has written."""

    async def work() -> None:
        async with opened(book, 1) as one, opened(book) as other:
            new = patch(first_name="A", last_name="B", email="a@x.test", company_id=1)
            ids = []
            for store in (one, other, one, one, other):
                ids.append(await store.run(ACTOR, customers.create, new))
                await store.find(1, [search.equal("email", "a@x.test")], 10, 0)
            assert ids == [2, 3, 4, 5, 6]
            await other.run(ACTOR, access.put_employee, "new@x.test", {"name": "New"})
            await one.refresh()
            assert [employee.name for employee in (await one.book(1)).all(Employee)] == ["New"]
            page = await one.find(1, [search.equal("email", "a@x.test")], 10, 0)
            assert [customer.id for customer in page.customers] == [6, 5, 4, 3, 2]

    run(work)


def test_tenants_with_the_same_customer_ids_never_meet(book: str) -> None:
    other = replace(ACTOR, tenant_id=2)

    async def work() -> None:
        async with opened(book, 5) as store:
            await store.run(other, access.put_tenant, "other")
            await store.run(other, customers.load, list(sandbox.customers(2, 5, 9)))
            await asyncio.gather(
                store.run(ACTOR, customers.update, 1, patch(source_id="mine")),
                store.run(other, customers.update, 1, patch(source_id="theirs")),
            )
            assert (await store.get(Customer, 1, 1)).source_id == "mine"
            assert (await store.get(Customer, 2, 1)).source_id == "theirs"
            for tenant, word in ((1, "theirs"), (2, "mine")):
                assert (await store.find(tenant, search.keyword(word), 10, 0)).total == 0
            assert (await store.find(2, [], 10, 0)).total == 5

    run(work)


def test_a_command_is_refused_once_its_token_is_revoked_here_or_elsewhere(book: str) -> None:
    """Even when it was taken before: what counts is the moment of its batch."""
    caller = replace(ACTOR, epoch=0)

    async def work() -> None:
        async with opened(book, 1) as store, opened(book) as other:
            await store.run(ACTOR, access.put_employee, "ann@example.com", {"name": "Ann"})
            assert (await store.run(caller, customers.update, 1, patch(phone1="1"))).phone1 == "1"
            disabled, late = await asyncio.gather(
                store.run(ACTOR, access.put_employee, "ann@example.com", {"enabled": False}),
                store.run(caller, customers.update, 1, patch(phone1="2")),
                return_exceptions=True,
            )
            assert isinstance(disabled, Employee)
            assert isinstance(late, Unauthenticated)
            enabled = await other.run(ACTOR, access.put_employee, "ann@example.com", {"enabled": True})
            again = replace(ACTOR, epoch=enabled.token_epoch)
            assert (await store.run(again, customers.update, 1, patch(phone1="3"))).phone1 == "3"
            await other.run(ACTOR, access.put_employee, "ann@example.com", {"password_hash": "new"})
            with pytest.raises(Unauthenticated):
                await store.run(again, customers.update, 1, patch(phone1="4"))
            assert (await store.get(Customer, 1, 1)).phone1 == "3"

    run(work)


def test_a_full_queue_says_so(book: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regulars.store.MOST_WAITING", 3)

    async def work() -> None:
        async with opened(book, 1) as store:
            taken = [store.run(ACTOR, customers.update, 1, patch(phone1=str(n))) for n in range(3)]
            with pytest.raises(Unavailable):
                store.run(ACTOR, customers.update, 1, patch(phone1="9"))
            assert [(await one).phone1 for one in taken] == ["0", "1", "2"]

    run(work)


def test_closing_finishes_what_was_taken(book: str) -> None:
    async def work() -> None:
        async with opened(book, 1) as store:
            taken = [store.run(ACTOR, customers.update, 1, patch(phone1=str(n))) for n in range(300)]
        assert [(await one).version for one in taken] == list(range(2, 302))

    run(work)


def test_the_index_is_what_the_customers_yield_after_any_updates(book: str) -> None:
    """Random updates, some searches between them: in the end the filed terms are exactly those of the customers."""
    chance = random.Random(7)
    some = list(sandbox.customers(1, 60, 11))

    def change(number: int) -> Patch:
        other, names = chance.choice(some), chance.sample(sorted(search.LETTERS), 4)
        skip = ("modified_on", "created_on", "company_id")
        return Patch({name: getattr(other, name) for name in names if name not in skip})

    def force(tx: Tx, number: int, wanted: Patch) -> None:
        tx.put(msgspec.structs.replace(tx.get(Customer, number), **wanted.values))

    async def work() -> None:
        async with opened(book, 40) as store:
            for _ in range(20):
                numbers = [chance.randint(1, 40) for _ in range(15)]
                await asyncio.gather(*(store.run(ACTOR, force, number, change(number)) for number in numbers))
                if chance.random() < 0.5:
                    await store.find(1, search.keyword("smith"), 10, 0)
            assert (await store.find(1, [Filter(terms=("y0",)), Filter(terms=("y1",))], 10, 0)).total == 0
            expected = set()
            for number in range(1, 41):
                customer = await store.get(Customer, 1, number)
                expected |= {(term, number) for term in search.terms(customer)}
        assert set(rows(book, "SELECT term, customer_id FROM customer_terms")) == expected

    run(work)
