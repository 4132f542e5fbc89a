"""Two nodes over one PostgreSQL that get in each other's way, at moments that the tests choose."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import asyncpg
import msgspec
import pytest
from postgres import rows
from test_nodes import add_one, check_feed
from test_postgres import until, waiting
from test_store import ACTOR, START, check_filed, opened, patch, run

from regulars import access, customers, idempotency, search
from regulars.app import backend
from regulars.errors import Conflict, Refused, Unauthenticated
from regulars.fields import Record
from regulars.record import Address, Answer, Company, Customer, Employee, Tenant
from regulars.store import MOST_LOSSES, Book, Plan, Store, TermKey, Tx
from regulars.store.postgres import Postgres
from regulars.store.writing import Written


class Stopping(Postgres):
    """A node that stops at a chosen step of its batch until it is let on."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.stop_at = ""
        self.stopped, self.go_on = asyncio.Event(), asyncio.Event()

    async def _stop(self, step: str) -> None:
        if self.stop_at == step:
            self.stop_at = ""
            self.stopped.set()
            await self.go_on.wait()

    async def load(self, kind: type[Record], keys: Sequence[tuple[int, int]]) -> list[Any]:
        await self._stop("load")
        return await super().load(kind, keys)

    async def holders(self, keys: Sequence[TermKey]) -> list[tuple[int, str, int]]:
        await self._stop("holders")
        return await super().holders(keys)

    async def commit(self, plan: Plan) -> Collection[tuple[int, int]]:
        await self._stop("commit")
        return await super().commit(plan)

    async def _write(self, plan: Plan) -> Written:
        found = await super()._write(plan)
        await self._stop("end")
        return found


class Slow(Store):
    """A store over such a node."""

    def __init__(self, url: str) -> None:
        super().__init__(Stopping(url), lambda: START)

    @asynccontextmanager
    async def stopped_at(self, step: str, *taken: Awaitable[Any]) -> AsyncIterator[None]:
        """While the block runs, the batch of what was taken stands still before this step."""
        node = self.backend
        assert isinstance(node, Stopping)
        node.stop_at = step
        node.stopped.clear()
        node.go_on.clear()
        try:
            await asyncio.wait_for(node.stopped.wait(), 20)
            yield
        finally:
            node.go_on.set()


@asynccontextmanager
async def two(url: str, count: int) -> AsyncIterator[tuple[Store, Slow]]:
    """A fast node and a slow one that has seen all customers."""
    async with opened(url, count) as fast, Slow(url) as slow:
        await asyncio.gather(*(slow.run(ACTOR, look, number) for number in range(1, count + 1)))
        yield fast, slow


@asynccontextmanager
async def outsider(url: str) -> AsyncIterator[Any]:
    """A connection past the product."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def look(tx: Tx, number: int) -> Customer:
    return tx.get(Customer, number)


def set_phone(tx: Tx, number: int, phone: str, ran: list[int]) -> Customer:
    before = tx.get(Customer, number)
    ran.append(number)
    return tx.put(msgspec.structs.replace(before, phone1=phone))


def copy_phone(tx: Tx, source: int, to: int) -> Customer:
    return tx.put(msgspec.structs.replace(tx.get(Customer, to), phone1=tx.get(Customer, source).phone1))


def create(tx: Tx, email: str = "a@x.test") -> int:
    return customers.create(tx, patch(first_name="A", last_name="B", email=email, company_id=1))


def feed(url: str) -> list[int]:
    """Whose customers' updates the feed tells, in order."""
    return [row[0] for row in rows(url, "SELECT customer_id FROM changes WHERE kind = 'updated' ORDER BY id")]


def test_only_those_that_lost_are_run_again(url: str) -> None:
    async def work() -> None:
        ran: list[int] = []
        async with two(url, 6) as (fast, slow):
            before = slow.batches
            both = asyncio.gather(
                *(slow.run(ACTOR, set_phone, n, f"s{k}", ran) for k, n in enumerate((1, 2, 3, 1, 5, 6)))
            )
            async with slow.stopped_at("commit"):
                for number in (2, 5):
                    await fast.run(ACTOR, set_phone, number, "fast", [])
            done = await both
            assert ran == [1, 2, 3, 1, 5, 6, 2, 5]
            assert slow.batches == before + 2
            assert [(one.id, one.version) for one in done] == [(1, 2), (2, 3), (3, 2), (1, 3), (5, 3), (6, 2)]
            assert feed(url) == [2, 5, 1, 3, 1, 6, 2, 5]
            for one in done[1:]:
                assert await slow.get(Customer, 1, one.id) == one == await fast.get(Customer, 1, one.id)
            assert [change.id for change in await slow.changes(1, 1)] == [done[3].change_id, done[0].change_id, 1]
            await asyncio.gather(*(slow.run(ACTOR, set_phone, n, "later", []) for n in range(1, 7)))

    run(work)
    check_feed(url)
    asyncio.run(check_filed(url))


def test_what_was_at_hand_is_not_trusted_after_a_new_connection_amid_a_batch(url: str) -> None:
    """Then it is not known any more up to where the feed was looked through."""

    async def work() -> None:
        async with two(url, 2) as (fast, slow):
            node = slow.backend
            assert isinstance(node, Stopping)
            await slow.run(ACTOR, set_phone, 2, "known", [])
            written = asyncio.ensure_future(slow.run(ACTOR, set_phone, 1, "slow", []))
            async with slow.stopped_at("commit"):
                await fast.run(ACTOR, set_phone, 2, "fast", [])
                await (await node.link.connect()).close()
            assert (await written).version == 2
            await fast.run(ACTOR, set_phone, 1, "fast", [])
            assert (await slow.run(ACTOR, look, 1)).phone1 == "fast"

    run(work)
    check_feed(url)


def test_what_others_commit_while_the_statement_waits_for_them_is_seen(url: str) -> None:
    """The statement began before the other node committed, so all but the locked rows looks to it as it was."""

    async def work() -> None:
        async with two(url, 6) as (_, first), Slow(url) as second, outsider(url) as watch:
            await asyncio.gather(*(second.run(ACTOR, look, number) for number in range(1, 7)))
            theirs = asyncio.gather(*(first.run(ACTOR, set_phone, n, f"{k}", []) for k, n in enumerate((5, 2, 2))))
            async with first.stopped_at("end"):
                mine = asyncio.gather(
                    *(second.run(ACTOR, set_phone, n, f"s{k}", []) for k, n in enumerate((1, 2, 3, 1, 5, 6)))
                )
                await until(lambda: waiting(watch, 1))
            await theirs
            done = await mine
            assert [(one.id, one.version) for one in done] == [(1, 2), (2, 4), (3, 2), (1, 3), (5, 3), (6, 2)]
            assert feed(url) == [5, 2, 2, 1, 3, 1, 6, 2, 5]
            # one that belongs to another that was lost, and numbers that are gone
            theirs = asyncio.gather(first.run(ACTOR, set_phone, 2, "again", []), first.run(ACTOR, create))
            async with first.stopped_at("end"):
                both = second.run(ACTOR, copy_phone, 2, 1), second.run(ACTOR, set_phone, 4, "4", [])
                await until(lambda: waiting(watch, 1))
            await theirs
            assert (await both[0]).phone1 == "again" and (await both[1]).version == 2

    run(work)
    check_feed(url)
    asyncio.run(check_filed(url))


def test_an_answer_that_was_built_on_what_was_lost_is_not_given(url: str) -> None:
    """The second command saw the version that the first one did not get."""

    async def work() -> None:
        async with two(url, 3) as (fast, slow):
            both = asyncio.gather(
                slow.run(ACTOR, customers.update, 1, patch(phone1="first")),
                slow.run(ACTOR, customers.update, 1, patch(phone1="never"), {1}),
                slow.run(ACTOR, customers.update, 1, patch(phone1="never"), {2}),
                slow.run(ACTOR, customers.update, 1, patch(phone1="last"), {3}),
                slow.run(ACTOR, customers.update, 2, patch(company_id=99)),
                slow.run(ACTOR, customers.update, 3, patch(last_name="Never"), {1}),
                return_exceptions=True,
            )
            async with slow.stopped_at("commit"):
                await fast.run(ACTOR, customers.update, 1, patch(phone1="fast"))
                await fast.run(ACTOR, customers.update, 3, patch(phone1="fast"))
            first, early, second, third, other, late = await both
            assert isinstance(early, Conflict) and "version 3" in str(early)
            assert isinstance(late, Conflict)
            assert isinstance(first, Customer) and isinstance(third, Customer)
            assert (first.version, third.version) == (3, 4)
            assert isinstance(second, Conflict) and "version 3" in str(second)
            assert isinstance(other, Refused)
            assert (await fast.get(Customer, 1, 1)).phone1 == "last"

    run(work)
    check_feed(url)
    asyncio.run(check_filed(url))


@pytest.mark.parametrize("changed", [1, 2, 3])
def test_a_command_after_several_customers_does_all_or_nothing(url: str, changed: int) -> None:
    async def work() -> None:
        ran: list[int] = []
        async with two(url, 5) as (fast, slow):
            both = asyncio.gather(
                slow.run(ACTOR, set_phone, 5, "5", ran),
                slow.run(ACTOR, customers.add_to_group, 1, patch(customer_ids=[1, 2, 3])),
            )
            async with slow.stopped_at("commit"):
                await fast.run(ACTOR, customers.update, changed, patch(phone1="fast"))
            await both
            assert ran == [5, 5], "the whole batch was run again"
            found = [await slow.get(Customer, 1, number) for number in (1, 2, 3, 5)]
            assert all(1 in one.group_ids for one in found[:3])
            assert found[changed - 1].phone1 == "fast" and found[3].phone1 == "5"

    run(work)
    check_feed(url)


def test_what_a_command_only_looked_at_counts_as_well(url: str) -> None:
    async def work() -> None:
        async with two(url, 3) as (fast, slow):
            taken = slow.run(ACTOR, copy_phone, 1, 2)
            async with slow.stopped_at("commit"):
                await fast.run(ACTOR, customers.update, 1, patch(phone1="fast"))
            assert (await taken).phone1 == "fast"

    run(work)
    check_feed(url)


def test_whoever_lost_often_enough_is_let_through(url: str) -> None:
    async def work() -> None:
        async with two(url, 2) as (fast, slow), outsider(url) as watch:
            await fast.run(ACTOR, customers.update, 1, patch(source_id="0"))
            taken = slow.run(ACTOR, add_one, 1)
            for count in range(MOST_LOSSES):
                async with slow.stopped_at("commit"):
                    await fast.run(ACTOR, customers.update, 1, patch(source_id=str(10 * count + 10)))
            async with slow.stopped_at("commit"):
                other = fast.run(ACTOR, add_one, 1)
                await until(lambda: waiting(watch, 1))
            assert (await taken, await other) == (10 * count + 11, 10 * count + 12)

    run(work)
    check_feed(url)


def test_a_token_that_another_node_revokes_before_the_batch_is_written_is_refused(url: str) -> None:
    caller = replace(ACTOR, epoch=0)

    async def work() -> None:
        async with two(url, 2) as (fast, slow):
            await fast.run(ACTOR, access.put_employee, "ann@example.com", {"name": "Ann"})
            taken = slow.run(caller, customers.update, 1, patch(phone1="late"))
            async with slow.stopped_at("commit"):
                await fast.run(ACTOR, access.put_employee, "ann@example.com", {"enabled": False})
            with pytest.raises(Unauthenticated):
                await taken
            assert (await fast.get(Customer, 1, 1)).version == 1

    run(work)


def test_a_rule_is_judged_by_the_reference_records_of_the_moment_of_writing(url: str) -> None:
    async def work() -> None:
        async with two(url, 2) as (fast, slow):
            company = await fast.run(
                ACTOR, access.put_record, Company, None, {"name": "Open", "allow_shipping_unpaid_orders": True}
            )
            taken = slow.run(
                ACTOR, customers.update, 1, patch(company_id=company.id, allow_shipping_unpaid_orders=True)
            )
            async with slow.stopped_at("commit"):
                await fast.run(ACTOR, access.put_record, Company, company.id, {"allow_shipping_unpaid_orders": False})
            with pytest.raises(Refused):
                await taken
            # what another tenant changes is nobody's business here
            other = slow.run(ACTOR, customers.update, 1, patch(phone1="1"))
            before = slow.batches
            async with slow.stopped_at("commit"):
                await fast.run(replace(ACTOR, tenant_id=2), access.put_tenant, "other")
            assert (await other).version == 2 and slow.batches == before + 1

    run(work)
    check_feed(url)


@pytest.mark.parametrize("step", ["load", "holders", "commit"])
def test_of_two_nodes_that_want_one_address_one_gets_it(url: str, step: str) -> None:
    """Wherever the slow node is when the other one comes."""
    new = patch(first_name="A", last_name="B", email="One@x.test", company_id=1)

    async def work() -> None:
        async with two(url, 2) as (fast, slow), outsider(url) as watch:
            await fast.run(ACTOR, block_duplicates)
            await slow.run(ACTOR, customers.create, patch(**{**new.values, "email": "other@x.test"}))
            taken = asyncio.gather(
                slow.run(ACTOR, customers.create, new),
                slow.run(ACTOR, look_at_all, [1, 2, 99]),
                return_exceptions=True,
            )
            async with slow.stopped_at(step):
                other = asyncio.gather(fast.run(ACTOR, customers.create, new), return_exceptions=True)
                if step == "commit":
                    await until(lambda: waiting(watch, 1))
                else:
                    await other
            made = [(await taken)[0], *await other]
            assert sorted(type(one).__name__ for one in made) == ["Refused", "int"]
            assert (await fast.find(1, [search.equal("email", "one@x.test")], 10, 0)).total == 1

    run(work)
    check_feed(url)


def block_duplicates(tx: Tx) -> None:
    tx.put(msgspec.structs.replace(tx.get(Tenant, 1), block_duplicate_email=True))


def look_at_all(tx: Tx, numbers: list[int]) -> int:
    return len(tx.find_many(Customer, numbers))


def test_an_address_that_is_free_only_by_what_was_lost_is_not_given_away(url: str) -> None:
    """The batch moves customer 1 to another address and gives its old one to a new customer; but it lost customer 1."""

    async def work() -> None:
        async with two(url, 2) as (fast, slow):
            await fast.run(ACTOR, block_duplicates)
            await fast.run(ACTOR, customers.update, 1, patch(email="one@x.test"))
            new = patch(first_name="A", last_name="B", email="one@x.test", company_id=1)
            await slow.run(ACTOR, customers.create, patch(**{**new.values, "email": "other@x.test"}))
            taken = asyncio.gather(
                slow.run(ACTOR, force, 1, {"email": "two@x.test"}, "one@x.test"),
                slow.run(ACTOR, customers.create, new),
                return_exceptions=True,
            )
            async with slow.stopped_at("holders"):
                await fast.run(ACTOR, customers.update, 1, patch(phone1="fast"))
            moved, made = await taken
            assert isinstance(moved, Customer) and isinstance(made, int)
            for email in ("one@x.test", "two@x.test"):
                assert (await fast.find(1, [search.equal("email", email)], 10, 0)).total == 1
            assert (await fast.get(Customer, 1, 1)).phone1 == "fast"

    run(work)
    check_feed(url)


def force(tx: Tx, number: int, values: dict[str, Any], only_from: str) -> Customer:
    """Without rules."""
    before = tx.get(Customer, number)
    assert before.email == only_from
    return tx.put(msgspec.structs.replace(before, **values))


@pytest.mark.parametrize("text", ["same", "another"])
def test_what_a_key_was_answered_is_what_was_written(url: str, text: str) -> None:
    """The other node changes the customer first: for a request with the same key, which is then the only one, or with
    another one, of which the answer that was made before knew nothing."""

    def keyed(tx: Tx, text: str) -> tuple[Answer, bool]:
        key = idempotency.key_of(text, 1)
        return idempotency.once(tx, key, partial(answer, key), customers.update, 1, patch(phone1=text))

    def answer(key: idempotency.Key, customer: Customer, _: Book) -> Answer:
        return Answer(1, key.id, key.digest, START, 200, (), f"version {customer.version}")

    async def work() -> None:
        async with two(url, 2) as (fast, slow):
            await slow.run(ACTOR, keyed, "warm")
            taken = slow.run(ACTOR, keyed, "same")
            async with slow.stopped_at("commit"):
                first, _ = await fast.run(ACTOR, keyed, text)
            second, replayed = await taken
            assert (first.body, replayed) == ("version 3", text == "same")
            assert second.body == ("version 3" if replayed else "version 4")
            for node in (fast, slow):
                assert (await node.get(Customer, 1, 1)).version == (3 if replayed else 4)

    run(work)
    check_feed(url)


PLACE = Address(id=0, contact_name="A", country="DE", city="Ulm", zip_code="1", address="B 1")


def test_numbers_that_both_nodes_had_in_mind_are_given_once(url: str) -> None:
    new = patch(first_name="A", last_name="B", email="a@x.test", company_id=1)

    async def work() -> None:
        async with two(url, 2) as (fast, slow):
            first = await slow.run(ACTOR, customers.create, new)
            taken = asyncio.gather(
                slow.run(ACTOR, customers.create, new),
                slow.run(ACTOR, customers.update_addresses, 2, patch(addresses=[(0, PLACE)])),
            )
            async with slow.stopped_at("commit"):
                theirs = await fast.run(ACTOR, customers.create, new)
                there = await fast.run(ACTOR, customers.update_addresses, 1, patch(addresses=[(0, PLACE)]))
            mine, here = await taken
            assert (first, theirs, mine) == (3, 4, 5)
            assert {one.id for one in there.addresses}.isdisjoint({one.id for one in here.addresses})
            assert (await slow.find(1, [], 10, 0)).total == 5

    run(work)
    check_feed(url)


def test_reference_records_made_by_both_nodes_at_once(url: str) -> None:
    async def work() -> None:
        async with two(url, 1) as (fast, slow):
            await slow.run(ACTOR, access.put_employee, "a@x.test", {"name": "A"})
            taken = slow.run(ACTOR, access.put_employee, "b@x.test", {"name": "slow"})
            async with slow.stopped_at("commit"):
                made = await fast.run(ACTOR, access.put_employee, "b@x.test", {"name": "fast", "can_view": False})
            changed = await taken
            assert changed == msgspec.structs.replace(made, name="slow")
            await fast.refresh()
            assert (await fast.book(1)).get(Employee, made.id) == changed

    run(work)


def test_whatever_both_nodes_do_at_random_the_feed_tells_it(url: str) -> None:
    roll = random.Random(11)

    async def anything(node: Store, count: int) -> None:
        number = roll.randint(1, 8)
        match roll.randrange(8):
            case 0:
                some = sorted({number, roll.randint(1, 8), roll.randint(1, 8)})
                await node.run(ACTOR, customers.add_to_group, roll.randint(1, 2), patch(customer_ids=some))
            case 1:
                new = patch(first_name="A", last_name="B", email=f"{count}@x.test", company_id=1)
                await node.run(ACTOR, customers.create, new)
            case 2:
                await node.run(ACTOR, customers.update_addresses, number, patch(addresses=[(0, PLACE)]))
            case 3:
                await node.run(ACTOR, copy_phone, number, roll.randint(1, 8))
            case 4:
                await node.run(ACTOR, access.put_employee, f"{number}@x.test", {"name": str(count)})
            case _:
                before = await node.get(Customer, 1, number)
                expect = {before.version} if roll.random() < 0.5 else None
                after = await node.run(ACTOR, customers.update, number, patch(comments=f"note {count}"), expect)
                assert expect is None or after.version == before.version + 1

    async def client(node: Store, name: int) -> None:
        for count in range(25):
            with suppress(Conflict):
                await anything(node, 100 * name + count)

    async def work() -> None:
        async with opened(url, 8) as one, Store(backend(url), lambda: START) as other:
            await asyncio.gather(*(client((one, other)[name % 2], name) for name in range(12)))
            total = rows(url, "SELECT count(*) FROM customers")[0][0]
            assert (await one.find(1, [], 10, 0)).total == (await other.find(1, [], 10, 0)).total == total
            for number in range(1, total + 1):
                assert await one.get(Customer, 1, number) == await other.get(Customer, 1, number)
            places = [place.id for n in range(1, 9) for place in (await one.get(Customer, 1, n)).addresses]
            assert len(set(places)) == len(places)

    run(work)
    check_feed(url)
    asyncio.run(check_filed(url))
