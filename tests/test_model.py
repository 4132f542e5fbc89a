"""Everything that alters customers and all that tells of it, at random and at once, on both databases: a model of plain
dictionaries (model.py) that follows the feed must explain every answer, and no reader may have seen anything else.

Short here; `make chaos` makes many rounds. REGULARS_MODEL_SEED makes the same choices again, though not the same race.
"""

import asyncio
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from actors import Actor, Page, Place, Reader, Seen, histories, new_customer
from clients import Bound
from conftest import BOTH, new_store
from model import COLUMNS, Book, Call, Effect, Feed, Item, State, Told, flat, selected
from processes import PASSWORD, ROUNDS, USER, Process, make_book, rows, serving

from regulars import access, cli
from regulars.settings import Settings

EMPLOYEES = (USER, "ben@example.com", "cat@example.com")
CUSTOMERS = 4
ACTORS = 8
CALLS = 20
"""So many does each actor make in a round."""


@dataclass(slots=True)
class Run:
    """What all were told, and what there was before and is after."""

    columns: Mapping[str, int]
    start: dict[int, State]
    before: int
    """The last change before they began."""
    blank: State
    calls: list[Call]
    feed: list[Item]
    end: dict[int, State]
    readers: dict[str, list[Page]]
    histories: dict[int, list[Page]]


# ---- the run


def hire(url: str, emails: Sequence[str]) -> None:
    """Employees like the first one."""

    async def work() -> None:
        for email in emails:
            async with cli.opened(Settings(store=url)) as app:
                values = {"password_hash": await app.access.hash(PASSWORD)}
                tenant = min((await app.store.tenants()).values())
                await app.store.run(cli.operator(tenant), access.put_employee, email, values)

    asyncio.run(work())


def prepared(url: str, nodes: Sequence[Process]) -> tuple[Place, Mapping[str, int]]:
    """Where the actors will be: some new customers, so that all of what they have is known."""
    found = rows(url, "SELECT name, id FROM custom_columns WHERE tenant_id = 1")
    columns = {str(name): int(number) for name, number in found if name in COLUMNS}
    tokens = {}
    for email in EMPLOYEES:
        answer = httpx2.post(f"{nodes[0].url}/token", json={"Username": email, "Password": PASSWORD})
        tokens[email] = str(answer.json()["access_token"])
    headers = {"Authorization": f"Bearer {tokens[USER]}"}
    with httpx2.Client(base_url=f"{nodes[0].site}/api/v1", headers=headers) as http:
        items = [new_customer(f"first {number}") for number in range(CUSTOMERS)]
        made = http.post("/customers:batch", json={"Items": items}).json()["Items"]
        cursor = http.get("/changes?after=latest").json()["Cursor"]
    sites = [node.site for node in nodes]
    return Place(sites, tokens, [one["ID"] for one in made], cursor), columns


async def read_all(http: httpx2.AsyncClient, place: Place) -> list[Item]:
    items, cursor = list[Item](), "1-0"
    while True:
        answer = (await http.get(f"/api/v1/changes?limit=1000&after={cursor}")).json()
        items, cursor = items + answer["Items"], answer["Cursor"]
        if not answer["More"]:
            return items


async def book(http: httpx2.AsyncClient, columns: Mapping[str, int], customers: Sequence[int]) -> dict[int, State]:
    found = {}
    for number in customers:
        answer = await http.get(f"/api/v1/customers/{number}")
        assert answer.headers["ETag"] == f'"{answer.json()["Version"]}"'
        found[number] = flat(answer.json(), columns)
    return found


async def run(place: Place, columns: Mapping[str, int], seed: int, calls: int) -> Run:
    limits = httpx2.Limits(max_connections=200)
    headers = place.headers(USER)
    async with (
        httpx2.AsyncClient(timeout=30, limits=limits) as http,
        httpx2.AsyncClient(base_url=place.sites[0], headers=headers, timeout=30) as own,
    ):
        start = await book(own, columns, place.customers)
        seen, before = Seen(), len(await read_all(own, place))
        actors = [Actor(place, seen, http, f"{seed}-{number}") for number in range(ACTORS)]
        readers = {how: Reader(place, seen, http, f"{seed}-{how}", USER) for how in ("pages", "waits", "stream")}
        done = asyncio.Event()
        async with asyncio.timeout(60 * ROUNDS), asyncio.TaskGroup() as group:
            ways = (readers["pages"].in_pages, readers["waits"].waiting, readers["stream"].streaming)
            for way in ways:
                group.create_task(way())
            past = {
                number: group.create_task(histories(http, place, f"{seed}-{number}", number, done.is_set))
                for number in place.customers
            }
            async with asyncio.TaskGroup() as working:
                for actor in actors:
                    working.create_task(actor.work(calls))
            end = len(await read_all(own, place)) + 1
            for reader in readers.values():
                reader.end = f"1-{end}"
            await actors[0].make(Call("patch", USER, place.customers[0], {"Comments": "wakes those who wait"}))
            done.set()
        feed = await read_all(own, place)
        everybody = sorted({one["CustomerID"] for one in feed[before:]} | set(place.customers))
        return Run(
            columns,
            start,
            before,
            next(iter(start.values())),
            [call for actor in actors for call in actor.calls],
            feed,
            await book(own, columns, everybody),
            {how: reader.pages for how, reader in readers.items()},
            {number: task.result() for number, task in past.items()},
        )


# ---- is it so?


def check(run: Run) -> Counter[str]:
    """Fail unless the feed explains all that anybody was told; returns how often what was told."""
    feed = followed(run)
    own: dict[str, list[Item]] = defaultdict(list)
    for one in run.feed[run.before :]:
        own[one["RequestID"]].append(one)
    assert own.keys() <= {call.request_id for call in run.calls}, "a change that nobody asked for"
    told = Bound((call.end, own[call.request_id][-1]["ID"]) for call in run.calls if call.request_id in own)
    begun = Bound((call.start, own[call.request_id][-1]["ID"]) for call in run.calls if call.request_id in own)
    counts = Counter[str]()
    firsts = once(run.calls)
    for call in firsts:
        least, most = max(run.before, told.before(call.start)), max(run.before, begun.before(call.end))
        explained(call, own.pop(call.request_id, []), feed, run.columns, least, most)
        counts[f"{call.what} {call.status}"] += 1
    assert not own, f"done more than once for one key: {own}"
    for how, pages in run.readers.items():
        assert [one for page in pages for one in page.items] == run.feed[run.before :], f"{how}: not what the feed is"
        fresh(pages, told, run.before)
    for number, some in run.histories.items():
        for page in some:
            mine = [one for one in feed.by_customer[number] if one["ID"] <= page.items[0]["ID"]]
            assert page.items == mine[::-1], f"the history of {number} is not what the feed tells of it"
        mine = [one for one in feed.by_customer[number] if one["ID"] <= told.before(some[-1].start)]
        assert len(some[-1].items) >= len(mine), "a history without what was told before"
    return counts


def followed(run: Run) -> Feed:
    """The feed, and the book after each change, which ends as the customers are."""
    assert [one["ID"] for one in run.feed] == list(range(1, len(run.feed) + 1)), "the feed has gaps"
    feed = Feed(run.start, run.blank, run.feed[: run.before], run.feed[run.before :])
    for one in run.feed[run.before :]:
        created = None
        if one["Kind"] == "created":
            later = [change for change in feed.by_customer[one["CustomerID"]] if change is not one]
            created = run.end[one["CustomerID"]] | {"Version": 1, "ModifiedOn": one["At"]}
            for change in reversed(later):
                created |= {name: old for name, (old, _) in change["Fields"].items()}
        feed.follow(one, created)
    assert feed.books[len(run.feed)] == run.end, "the customers are not what their changes lead to"
    for number, state in run.end.items():
        assert state["Version"] == len(feed.by_customer[number]), "a version is not the number of changes"
    return feed


def once(calls: Sequence[Call]) -> list[Call]:
    """The calls without those that repeat one. Fail unless these were answered like the first, or are another, or
    came too soon."""
    found = [call for call in calls if not call.key]
    by_key: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.key:
            by_key[call.key].append(call)
    for some in by_key.values():
        early = [call for call in some if call.status == 409 and "conflicts" not in call.answer]
        other = [call for call in some if call.status == 422]
        assert all(call.body != some[0].body and "Fax" in call.body for call in other), other
        firsts = [call for call in some if call not in early and call not in other and not call.replayed]
        assert len(firsts) == 1, f"done {len(firsts)} times: {firsts}"
        first = firsts[0]
        again = [call for call in some if call.replayed]
        for call in again:
            assert (call.status, call.answer, call.version) == (first.status, first.answer, first.version), call
            assert call.body == first.body
        found.append(first)
    return found


def explained(call: Call, own: Sequence[Item], feed: Feed, columns: Mapping[str, int], least: int, most: int) -> None:
    """Fail unless there is a moment between its start and its end at which the model answers the call so, and does what
    it did."""
    assert not own or own[-1]["ID"] - own[0]["ID"] == len(own) - 1, f"more than one commit: {call}"
    moments = [own[0]["ID"] - 1] if own else range(least, most + 1)
    assert not own or moments[0] >= least, f"the feed has it before what was answered before it began: {call}"
    wanted = [Effect(one["CustomerID"], one["Kind"], one["Fields"], one["Undoes"]) for one in own]
    assert all(one["Employee"] == call.employee and one["Door"] == "api" for one in own), call
    tried = []
    for moment in moments:
        for changes in asked(call, feed, least, moment):
            book = Book(feed, moment, columns, own)
            told = book.told(call, changes)
            tried.append((moment, told, book.effects))
            if book.effects == wanted and same(call, told, feed, columns, moment, most):
                assert all(
                    book.states[one["CustomerID"]] == feed.books[own[-1]["ID"]][one["CustomerID"]] for one in own
                )
                return
    raise AssertionError(f"no moment explains {call}\nwhich did {wanted}\ntried {tried[:5]}")


def asked(call: Call, feed: Feed, least: int, moment: int) -> Iterator[Sequence[Item]]:
    """Which changes an undo may have found when it looked for them, before its command ran."""
    if call.what == "undo many":
        known: list[list[Item]] = []
        for position in range(moment, least - 1, -1):
            found = selected(feed.upto(position), call.body)
            if found not in known:
                known.append(found)
                yield found
    else:
        yield [feed.items[call.change - 1]] if call.what == "undo" else []


def same(call: Call, told: Told, feed: Feed, columns: Mapping[str, int], moment: int, most: int) -> bool:
    """Whether a call was answered so."""
    if (call.status, call.version) != (told.status, told.version):
        return False
    answer = call.answer
    match call.what, call.status:
        case ("get" | "patch", 200):
            return flat(answer, columns) == told.what
        case (_, 412):
            lower = {name.lower(): value for name, value in answer.items()}
            return (lower["version"], lower["expected"], lower["members"]) == told.what
        case ("batch", 200):
            return [outcome(one) for one in answer["Items"]] == told.what
        case (_, 400):
            return sorted(one["member"] for one in answer["errors"]) == told.what
        case (_, 409):
            in_the_way = {
                (one["CustomerID"], one["Member"]): (one["Expected"], one["Found"]) for one in answer["conflicts"]
            }
            return in_the_way == told.what and all(blamed(one, feed, moment, most) for one in answer["conflicts"])
        case ("undo" | "undo many", 200):
            done = [(one["CustomerID"], one["Version"], one["Undoes"], one["Fields"]) for one in answer["Customers"]]
            return (answer["DryRun"], done) == told.what
    return answer is None


def outcome(one: Mapping[str, Any]) -> tuple[str, int, int, list[str], list[str]]:
    return one["Outcome"], one["ID"], one["Version"], sorted(one["Members"]), sorted(one["Problems"])


def blamed(conflict: Mapping[str, Any], feed: Feed, moment: int, most: int) -> bool:
    """Whether the change that is said to be in the way altered the member last, then or while the answer was made."""
    for position in range(moment, most + 1):
        last = feed.last(conflict["CustomerID"], conflict["Member"], position)
        told = {"ChangeID": last and last["ID"]} | {name: last and last[name] for name in ("Employee", "Door", "At")}
        if told.items() <= conflict.items():
            return True
    return False


def fresh(pages: Sequence[Page], told: Bound, before: int) -> None:
    """Fail if a reader was told that there was no more, when somebody had been told of more before."""
    last = before
    for page in pages:
        last = page.items[-1]["ID"] if page.items else last
        assert not page.whole or last >= told.before(page.start), f"nothing more after {last}: {page.start}"


# ---- the tests


@contextmanager
def served(kind: str, folder: Path) -> Iterator[tuple[str, list[Process]]]:
    """A file has one server, PostgreSQL two."""
    with new_store(kind, folder) as url:
        make_book(url, 1)
        hire(url, EMPLOYEES[1:])
        with serving(*[url] * BOTH.index(kind), url) as nodes:
            yield url, nodes


@pytest.mark.parametrize("kind", BOTH)
def test_one_order_of_changes_explains_what_everybody_was_told(kind: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("REGULARS_MODEL_SEED", "0")) or random.randrange(1, 1 << 32)
    print(f"REGULARS_MODEL_SEED={seed}")  # shown when the test fails
    with served(kind, tmp_path) as (url, nodes):
        place, columns = prepared(url, nodes)
        found = asyncio.run(run(place, columns, seed, CALLS * ROUNDS))
        counts = check(found)
    print(counts)
    assert {f"{what} 200" for what in ("get", "put", "patch", "batch", "undo", "undo many")} <= counts.keys()
    for some in (("put 412", "patch 412"), ("undo 409", "undo many 409"), ("undo 400", "undo many 400", "batch 400")):
        assert any(counts[one] for one in some), f"none of {some}"
