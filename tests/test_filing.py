"""Search terms get to their place whatever happens on the way; customers at hand are never outdated ones."""

import asyncio
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from processes import rows
from test_store import ACTOR, check_filed, opened, patch, run

from regulars import customers, sandbox, search
from regulars.errors import Conflict
from regulars.record import Customer
from regulars.store import Store, Tx, filing
from regulars.store.sqlite import Sqlite

CUSTOMERS = 40
POOL = list(sandbox.customers(1, 60, 11))


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps that begin early and go on in small steps."""
    for name, value in (("sqlite.MOST_UNFILED", 300), ("filing.PART", 900)):
        monkeypatch.setattr(f"regulars.store.{name}", value)


def some_values(chance: random.Random) -> dict[str, Any]:
    """A few searchable values of another customer."""
    names = sorted(set(search.LETTERS) - {"modified_on", "created_on", "company_id"})
    other = chance.choice(POOL)
    return {name: getattr(other, name) for name in chance.sample(names, 4)}


def force(tx: Tx, number: int, values: dict[str, Any]) -> Customer:
    return tx.put(msgspec.structs.replace(tx.get(Customer, number), **values))


async def some_updates(store: Store, chance: random.Random, batches: int = 1) -> None:
    for _ in range(batches):
        wanted = [(chance.randint(1, CUSTOMERS), some_values(chance)) for _ in range(15)]
        await asyncio.gather(*(store.run(ACTOR, force, number, values) for number, values in wanted))


def test_sweeps_amid_updates_file_every_term(tmp_path: Path, little: None) -> None:
    async def work() -> None:
        path, swept = tmp_path / "a.db", 0
        async with opened(f"sqlite:///{path}", CUSTOMERS) as store:
            chance = random.Random(1)
            for _ in range(60):
                await some_updates(store, chance)
                backend = store.backend
                assert isinstance(backend, Sqlite)
                swept += backend._sweep is not None
        assert swept > 5, "no sweep was under way"
        await check_filed(f"sqlite:///{path}")

    run(work)


def test_two_processes_sweep_the_same_log(tmp_path: Path, little: None) -> None:
    """Each overtakes the sweeps of the other; neither files what is outdated."""

    async def work() -> None:
        path = tmp_path / "a.db"
        async with opened(f"sqlite:///{path}", CUSTOMERS) as one, opened(f"sqlite:///{path}") as other:
            for round_ in range(40):
                chance = random.Random(round_)
                await asyncio.gather(some_updates(one, chance, 2), some_updates(other, chance, 3))
                if chance.random() < 0.2:
                    await one.find(1, search.keyword("smith"), 10, 0)
        await check_filed(f"sqlite:///{path}")

    run(work)


def test_a_crash_within_a_sweep_costs_nothing_but_the_work(tmp_path: Path, little: None) -> None:
    async def work() -> None:
        path, found = tmp_path / "a.db", 0
        async with opened(f"sqlite:///{path}", CUSTOMERS) as store:
            chance = random.Random(3)
            for _ in range(60):
                await some_updates(store, chance)
                backend = store.backend
                assert isinstance(backend, Sqlite)
                if backend._sweep is not None and backend._sweep.at:
                    found += 1
                    left = tmp_path / str(found)
                    left.mkdir()
                    for file in tmp_path.glob("a.db*"):
                        shutil.copy(file, left)
        assert found
        for number in range(1, found + 1):
            await check_filed(f"sqlite:///{tmp_path / str(number)}/a.db")

    run(work)


def test_a_sweep_is_cut_between_its_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = ['w","', '"', "\\", '\\"', '","w', "[", ",", "wü", "w😀"]
    entries = [f"{1:010d}{text}{number:010d}{number % 2}" for number, text in enumerate(odd * 7)]
    for size in (1, 20, 100, 100_000):
        monkeypatch.setattr("regulars.store.filing.PART", size)
        for text in (msgspec.json.encode(entries).decode(), json.dumps(entries, separators=(",", ":"))):
            parts = [(json.loads(part), count) for part, count in filing.cut(text)]
            assert [one for part, _ in parts for one in part] == entries
            assert all(len(part) == count for part, count in parts)
    assert filing.cut("[]") == []


def test_many_new_customers_are_filed_with_their_own_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regulars.store.sqlite.MANY_NEW", 100)

    async def work() -> None:
        path = tmp_path / "a.db"
        async with opened(f"sqlite:///{path}", CUSTOMERS):
            assert rows(path, "SELECT count(*) FROM term_log") == [(0,)]
        await check_filed(f"sqlite:///{path}")

    run(work)


@pytest.mark.parametrize("quiet", [True, False], ids=["between batches", "amid batches"])
def test_what_is_at_hand_is_what_another_process_wrote(tmp_path: Path, quiet: bool) -> None:
    """Read your writes, through either process, and compare-and-set over both."""

    async def work() -> None:
        path = tmp_path / "a.db"
        async with opened(f"sqlite:///{path}", CUSTOMERS) as one, opened(f"sqlite:///{path}") as other:
            busy = None if quiet else asyncio.create_task(some_updates(one, random.Random(5), 60))
            for number in range(60):
                written = await other.run(ACTOR, customers.update, 1, patch(source_id=f"other {number}"))
                assert (await one.get(Customer, 1, 1)).version >= written.version
                with pytest.raises(Conflict):
                    await one.run(ACTOR, customers.update, 1, patch(source_id="lost"), [written.version - 1])
                if quiet:
                    again = await one.run(ACTOR, customers.update, 1, patch(source_id="one"), [written.version])
                    assert (await other.get(Customer, 1, 1)) == again == await one.get(Customer, 1, 1)
            if busy:
                await busy

    run(work)


def test_a_batch_whose_customers_are_partly_at_hand_runs_in_order(tmp_path: Path) -> None:
    def copy(tx: Tx, source: int, target: int) -> str:
        name = tx.get(Customer, source).source_id + "+"
        tx.put(msgspec.structs.replace(tx.get(Customer, target), source_id=name))
        return name

    async def work() -> None:
        async with opened(f"sqlite:///{tmp_path}/a.db", 9) as store:
            await store.run(ACTOR, customers.update, 1, patch(source_id="a"))
            backend = store.backend
            assert isinstance(backend, Sqlite)
            for number in (2, 4, 5, 7):
                backend._at_hand.pop((1, number), None)
            steps: list[Callable[[], Any]] = [
                lambda n=n: store.run(ACTOR, copy, n, n + 1)  # type: ignore[misc]
                for n in range(1, 9)
            ]
            assert await asyncio.gather(*(step() for step in steps)) == ["a" + "+" * n for n in range(1, 9)]
            assert (await store.get(Customer, 1, 9)).source_id == "a++++++++"
            assert (await store.get(Customer, 1, 9)).version == 2

    run(work)
