"""Actors who change customers at random in every way that there is, and readers who follow what they do."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import httpx2
from model import CLEARED, COLUMNS, Call, Item

WAIT_SECONDS = 2
WAYS = {"get": 2, "put": 3, "patch": 4, "batch": 4, "undo": 5, "undo many": 3}
"""What an actor may do, and how often of 21 times."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the actors are: the servers, the token of each employee, and the customers."""

    sites: Sequence[str]
    tokens: Mapping[str, str]
    customers: Sequence[int]
    start: str
    """The cursor of the feed before which nothing is theirs."""

    def headers(self, employee: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[employee]}"}


class Seen:
    """What the actors know of the book, which is what they were told."""

    def __init__(self) -> None:
        self.versions: dict[int, int] = {}
        self.items: list[Item] = []
        """Changes, as a reader met them."""


class Actor:
    """Makes one call after another; its choices come from the seed."""

    def __init__(self, place: Place, seen: Seen, http: httpx2.AsyncClient, seed: str) -> None:
        self.place, self.seen, self.http, self.name = place, seen, http, seed
        self.roll = random.Random(seed)
        self.calls: list[Call] = []
        self._count = 0

    async def work(self, count: int) -> None:
        for _ in range(count):
            call = self.next()
            if self.roll.random() < 0.2 and call.what != "get":
                await self.repeated(replace(call, key=uuid4().hex))
            else:
                await self.make(call)

    async def repeated(self, call: Call) -> None:
        """The same call with the same key, at once and again; then another with that key."""
        again = [replace(call, node=self.roll.randrange(len(self.place.sites))) for _ in range(3)]
        await asyncio.gather(*map(self.make, again[:2]))
        await self.make(again[2])
        if again[2].what in ("put", "patch"):
            await self.make(replace(call, body=call.body | {"Fax": "another"}))

    # ---- choosing

    def next(self) -> Call:
        roll = self.roll
        what = roll.choices([*WAYS], [*WAYS.values()])[0]
        call = Call(what, roll.choice([*self.place.tokens]), roll.choice(self.place.customers))
        call.node = roll.randrange(len(self.place.sites))
        version = self.seen.versions.get(call.customer, 1)
        match what:
            case "get":
                call.known = roll.choice([0, version])
            case "put" | "patch":
                call.body = self.values(what == "patch")
                call.expect = roll.choice([[], [version], [max(1, version - 3), version], [max(1, version - 2)]])
            case "batch":
                items = [self.item() for _ in range(roll.randint(1, 5))]
                call.body = {"Items": items, "Atomic": roll.random() < 0.4}
            case "undo":
                if not self.seen.items:
                    return self.next()
                call.change = roll.choice(self.seen.items[-12:])["ID"]
            case _:
                if not self.seen.items:
                    return self.next()
                call.body = self.wanted(roll.choice(self.seen.items[-8:]))
        call.dry_run = what.startswith("undo") and roll.random() < 0.25
        return call

    def values(self, clears: bool) -> dict[str, Any]:
        """Some members with few values, so that there is often nothing to change, or the old value again."""
        values: dict[str, Any] = {}
        for name in self.roll.sample([*CLEARED], self.roll.randint(1, 3)):
            values[name] = self.roll.choice([1, 2, 3, None] if name == "Rating" else ["a", "b", "c", None])
        if clears and self.roll.random() < 0.4:
            column = self.roll.choice([*COLUMNS])
            value = self.roll.choice([*COLUMNS[column], None])
            values["CustomColumns"] = self.roll.choice([None, {column: value}, {column: value}])
        return values

    def item(self) -> dict[str, Any]:
        roll, kind = self.roll, self.roll.random()
        values = self.values(True)
        if kind < 0.15:
            source = f"source {roll.randrange(6)}"
            values = {name: one for name, one in values.items() if one is not None and name != "CustomColumns"}
            return new_customer(source) | values | {"Action": "upsert", "Key": "SourceId"}
        customer = roll.choice(self.place.customers)
        item = {"Action": "update", "ID": customer, **values}
        if kind < 0.25:
            item["Rating"] = "many"
        elif kind < 0.6:
            item["Version"] = self.seen.versions.get(customer, 1)
        return item

    def wanted(self, one: Item) -> dict[str, Any]:
        if self.roll.random() < 0.4:
            wanted = {"RequestID": one["RequestID"]}
        else:
            wanted = {"Employee": one["Employee"], "Since": one["At"]}
        return wanted | ({"KeepCreated": True} if self.roll.random() < 0.6 else {})

    # ---- calling

    async def make(self, call: Call) -> None:
        """Make the call and note what came of it."""
        self._count += 1
        call.request_id = f"{self.name}-{self._count}"
        method, path = route(call)
        headers = self.place.headers(call.employee) | {"X-Request-Id": call.request_id}
        if call.expect:
            headers["If-Match"] = ", ".join(f'"{one}"' for one in call.expect)
        if call.known:
            headers["If-None-Match"] = f'"{call.known}"'
        if call.key:
            headers["Idempotency-Key"] = call.key
        self.calls.append(call)
        call.start = time.monotonic()
        answer = await self.http.request(
            method, f"{self.place.sites[call.node]}{path}", json=call.body, headers=headers
        )
        call.end, call.status = time.monotonic(), answer.status_code
        call.answer = answer.json() if answer.content else None
        call.version = int(answer.headers.get("ETag", "0").strip('"'))
        call.replayed = "Idempotent-Replayed" in answer.headers
        if call.version:
            self.seen.versions[call.customer] = call.version


def route(call: Call) -> tuple[str, str]:
    dry_run = "?dryRun=true" if call.dry_run else ""
    return {
        "get": ("GET", f"/api/v1/customers/{call.customer}"),
        "put": ("PUT", f"/rest/api/Customers/{call.customer}"),
        "patch": ("PATCH", f"/api/v1/customers/{call.customer}"),
        "batch": ("POST", "/api/v1/customers:batch"),
        "undo": ("POST", f"/api/v1/changes/{call.change}/undo{dry_run}"),
        "undo many": ("POST", f"/api/v1/changes:undo{dry_run}"),
    }[call.what]


def new_customer(source: str) -> dict[str, Any]:
    email = f"{source.replace(' ', '-')}@example.com"
    who = {"FirstName": "Ann", "LastName": "Lee", "Email": email, "CompanyId": 1, "IsWholesale": False}
    return {"Action": "create", "SourceId": source, **who}


# ---- readers


@dataclass(slots=True)
class Page:
    """What a reader was told at once. Of a stream it is not known how much there was."""

    start: float
    end: float
    items: list[Item]
    whole: bool
    """There was nothing more to tell."""


class Reader:
    """Reads the feed in one way, on from where it was, until it has come to an end that is known once all have
    finished."""

    def __init__(self, place: Place, seen: Seen, http: httpx2.AsyncClient, seed: str, employee: str) -> None:
        self.place, self.seen, self.http = place, seen, http
        self.headers = place.headers(employee)
        self.roll = random.Random(seed)
        self.pages: list[Page] = []
        self.cursor = place.start
        self.end = ""

    @property
    def url(self) -> str:
        return f"{self.roll.choice(self.place.sites)}/api/v1/changes"

    def take(self, page: Page, cursor: str) -> None:
        """Note what was told. Fail if it does not go on where the reader was."""
        last = int(self.cursor.partition("-")[2])
        numbers = [one["ID"] for one in page.items]
        assert numbers == list(range(last + 1, last + 1 + len(numbers))), f"after {last} came {numbers}"
        assert cursor == f"1-{last + len(numbers)}"
        self.pages.append(page)
        self.cursor = cursor

    async def pull(self, wait: int = 0) -> None:
        limit, start = self.roll.randint(1, 20), time.monotonic()
        query = {"after": self.cursor, "limit": str(limit), "wait": str(wait)}
        answer = await self.http.get(self.url, params=query, headers=self.headers)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        self.take(Page(start, time.monotonic(), body["Items"], not body["More"]), body["Cursor"])
        self.seen.items += body["Items"]

    async def in_pages(self) -> None:
        while self.cursor != self.end:
            await self.pull()
            await asyncio.sleep(self.roll.random() / 50)

    async def waiting(self) -> None:
        while self.cursor != self.end:
            await self.pull(WAIT_SECONDS)

    async def streaming(self) -> None:
        """By Server-Sent Events, each time cut off after some."""
        while self.cursor != self.end:
            count, headers = self.roll.randint(1, 40), self.headers | {"Accept": "text/event-stream"}
            if self.pages:
                headers["Last-Event-ID"] = self.cursor
            first = {"after": self.place.start}
            async with self.http.stream("GET", self.url, params=first, headers=headers) as answer:
                assert answer.status_code == 200, await answer.aread()
                async with aclosing(changes_in(answer.aiter_lines())) as events:
                    async for cursor, item in events:
                        self.take(Page(0.0, time.monotonic(), [item], False), cursor)
                        count -= 1
                        if not count or cursor == self.end:
                            break


async def changes_in(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, Item]]:
    """Each change of a stream, and its cursor."""
    event: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            if event.get("event") == "change":
                yield event["id"], json.loads(event["data"])
            event = {}


async def history(http: httpx2.AsyncClient, place: Place, roll: random.Random, customer: int, employee: str) -> Page:
    """The history of a customer whole, newest first, page by page."""
    start, items, cursor = time.monotonic(), list[Item](), ""
    while True:
        url = f"{roll.choice(place.sites)}/api/v1/customers/{customer}/changes"
        query = {"limit": str(roll.randint(1, 30))} | ({"cursor": cursor} if cursor else {})
        answer = await http.get(url, params=query, headers=place.headers(employee))
        assert answer.status_code == 200, answer.text
        items += answer.json()["Items"]
        cursor = answer.json()["Next"]
        if cursor is None:
            return Page(start, time.monotonic(), items, True)


async def histories(
    http: httpx2.AsyncClient, place: Place, seed: str, customer: int, ended: Callable[[], bool]
) -> list[Page]:
    """One customer's history, read over and over until it has ended, and then once more."""
    roll, employee, pages = random.Random(seed), next(iter(place.tokens)), list[Page]()
    while True:
        last = ended()
        pages.append(await history(http, place, roll, customer, employee))
        if last:
            return pages
        await asyncio.sleep(roll.random() / 10)
