"""Many clients at once: what each asked and was answered, and whether one order of updates explains all of it.

That order is the one which the feed of changes tells. A request takes effect between its start and its end, if it was
answered; one that was not (or with 503) at some time after its start, or never, but not twice.
"""

import asyncio
import json
import math
import random
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import httpx2
from processes import ROUNDS, Process, rows

State = dict[str, str]
"""What a customer has, by member."""

READS = {
    "Comments": ("Internal", "Comment"),
    "SourceId": ("General", "SourceId"),
    "Phone1": ("Personal", "Phone1"),
    "Fax": ("Personal", "Fax"),
}
"""The members that the clients write, and where they read back. Each update has Comments of its own."""
COLUMNS = "version, comments, source_id, phone1, fax"
READ, CAS, PUT = "read", "compare and set", "put"
"""What a client may do: read; write what it read last, by If-Match; write."""
EVERYTHING = (READ, CAS, PUT, PUT)
NO_ANSWER = 0
LONGEST_SECONDS = 60 * ROUNDS
PAUSE = 0.02
"""How long a client leaves a server alone that did not serve it, in seconds."""


@dataclass(slots=True)
class Call:
    """One request and what came of it; `body` None is a read."""

    node: Process
    customer: int
    body: State | None
    expect: int | None = None
    start: float = field(default_factory=time.monotonic)
    end: float = math.inf
    status: int = NO_ANSWER
    version: int = 0
    """That of the answer's ETag."""
    found: State | None = None
    retry_after: int = 0


@dataclass(frozen=True, slots=True)
class Update:
    """One row of the feed."""

    number: int
    customer: int
    version: int
    state: State
    """The customer after it."""


class Clients:
    """Some clients that ask whichever server they like, until told to stop."""

    def __init__(self, nodes: Sequence[Process], customers: int, does: Sequence[str] = EVERYTHING) -> None:
        """`does` is what they choose from."""
        self.nodes, self.customers, self.does = nodes, customers, does
        self.calls: list[Call] = []
        self._name = uuid4().hex
        self._roll = random.Random(self._name)
        self._token = nodes[0].token()
        self._known: dict[int, int] = {}
        self._stop = False
        self._moved = asyncio.Event()

    @asynccontextmanager
    async def working(self, count: int = 16) -> AsyncIterator["Clients"]:
        """Clients at work while the block runs; then what they began is finished."""
        headers = {"Authorization": f"Bearer {self._token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as http,
            asyncio.timeout(LONGEST_SECONDS),
            asyncio.TaskGroup() as group,
        ):
            for number in range(count):
                group.create_task(self._client(http, number))
            try:
                yield self
            finally:
                self._stop = True

    async def served(self, count: int, node: Process | None = None) -> None:
        """Wait until so many more calls were answered well, by this server if one is given."""
        await self._more(count, lambda call: call.status == 200 and node in (None, call.node))

    async def refused(self, count: int, node: Process | None = None) -> None:
        """Wait until so many more calls were not served."""
        await self._more(count, lambda call: call.status in (503, NO_ANSWER) and node in (None, call.node))

    async def _more(self, count: int, counts: Callable[[Call], bool]) -> None:
        seen = len(self.calls)
        while True:
            count -= sum(call.end < math.inf and counts(call) for call in self.calls[seen:])
            if count <= 0:
                return
            seen = len(self.calls)
            self._moved.clear()
            await self._moved.wait()

    async def _client(self, http: httpx2.AsyncClient, number: int) -> None:
        count = 0
        while not self._stop:
            count += 1
            call = self._next(f"{self._name} {number}-{count}")
            await send(http, call)
            self.calls.append(call)
            self._moved.set()
            if call.version:
                self._known[call.customer] = call.version
            if call.status in (503, NO_ANSWER):
                await asyncio.sleep(PAUSE)

    def _next(self, text: str) -> Call:
        roll = self._roll
        node, customer, what = roll.choice(self.nodes), roll.randint(1, self.customers), roll.choice(self.does)
        if what == READ:
            return Call(node, customer, None)
        others = roll.sample([name for name in READS if name != "Comments"], roll.randint(0, 2))
        body = {"Comments": text} | {name: str(roll.randrange(100_000)) for name in others}
        return Call(node, customer, body, self._known.get(customer) if what == CAS else None)


async def send(http: httpx2.AsyncClient, call: Call) -> None:
    """Make the call and note what came of it."""
    url = f"{call.node.url}/Customers/{call.customer}"
    headers = {"If-Match": f'"{call.expect}"'} if call.expect is not None else {}
    call.start = time.monotonic()
    try:
        if call.body is None:
            answer = await http.get(url)
        else:
            answer = await http.put(url, json=call.body, headers=headers)
    except httpx2.TransportError:
        call.end = time.monotonic()
        return
    call.end, call.status = time.monotonic(), answer.status_code
    call.version = int(answer.headers.get("ETag", "0").strip('"'))
    call.retry_after = int(answer.headers.get("Retry-After", "0"))
    if call.status == 200 and call.body is None:
        read = answer.json()
        call.found = {name: read[section][key] for name, (section, key) in READS.items()}


# ---- is it so?


def statuses(calls: Iterable[Call], node: Process | None = None) -> set[int]:
    """What was answered, by one server or by all; 0 is no answer."""
    return {call.status for call in calls if node in (None, call.node)}


def check(store: str, calls: Sequence[Call]) -> dict[str, Update]:
    """Fail unless the feed is one order that explains every answer, and the customers are what it leads to. `calls` are
    all that this store was ever asked. Returns what they did, by Comments."""
    assert statuses(calls) <= {200, 412, 503, NO_ANSWER}, Counter(call.status for call in calls)
    assert all(call.retry_after >= 1 for call in calls if call.status == 503), "a 503 without Retry-After"
    feed = read_feed(store)
    updates = [one for one in feed if one.version > 1]
    effects = {one.state["Comments"]: one for one in updates}
    assert len(effects) == len(updates), "an update took effect twice"
    asked = {call.body["Comments"]: call for call in calls if call.body is not None}
    assert effects.keys() <= asked.keys(), "a change that nobody asked for"
    states = {(one.customer, one.version): one.state for one in feed}
    for call in calls:
        effect = effects.get(call.body["Comments"]) if call.body is not None else None
        explained(call, effect, states.get((call.customer, call.version)))
    for customer in {call.customer for call in calls}:
        mine = [call for call in calls if call.customer == customer]
        in_time(mine, [(asked[one.state["Comments"]], one.version) for one in updates if one.customer == customer])
    in_order([(call, effects[text].number) for text, call in asked.items() if text in effects])
    return effects


def read_feed(store: str) -> list[Update]:
    """What the feed tells, creations too. Fails unless its numbers and each customer's versions have no gaps, each row
    begins where the one before ended, and the customers are as the last one left them."""
    feed = rows(
        store, "SELECT id, previous_id, customer_id, version, fields FROM changes WHERE tenant_id = 1 ORDER BY id"
    )
    assert [row[0] for row in feed] == list(range(1, len(feed) + 1)), "the feed has gaps"
    customers = {row[0]: row[1:] for row in rows(store, f"SELECT id, {COLUMNS} FROM customers WHERE tenant_id = 1")}
    changed = [(row, json.loads(row[4])) for row in feed]
    states: dict[int, State] = {number: dict(zip(READS, row[1:], strict=True)) for number, row in customers.items()}
    for (_, _, customer, _, _), fields in reversed(changed):  # back to what they were made as
        states[customer].update({name: old for name, (old, _) in fields.items()})
    last: dict[int, tuple[int, int]] = {}
    updates = []
    for (number, previous, customer, version, _), fields in changed:
        assert (version - 1, previous) == last.get(customer, (0, 0)), "a customer's versions have gaps"
        assert all(states[customer][name] == old for name, (old, _) in fields.items()), "a change builds on another"
        states[customer] = states[customer] | {name: new for name, (_, new) in fields.items()}
        last[customer] = version, number
        updates.append(Update(number, customer, version, states[customer]))
    for customer, (version, *values) in customers.items():
        assert version == last[customer][0]
        assert values == list(states[customer].values()), "a customer is not what its changes lead to"
    return updates


def explained(call: Call, effect: Update | None, state: State | None) -> None:
    """Fail unless an answer is one that its effect, or its having none, can have."""
    if call.body is None:
        assert call.status != 200 or call.found == state, f"never so: {call}"
        return
    if effect is not None:
        assert call.customer == effect.customer and call.body.items() <= effect.state.items()
        assert call.expect in (None, effect.version - 1), f"If-Match was not kept: {call}"
        assert call.status in (200, 503, NO_ANSWER), f"refused, and done all the same: {call}"
    if call.status == 200:
        assert effect is not None and effect.version == call.version, f"answered, and not done: {call}"


def in_time(calls: Sequence[Call], effects: Sequence[tuple[Call, int]]) -> None:
    """Fail unless one customer's versions could be seen when they were: none before its update began, none that was
    past when an answered call began, and a 412 only where the version could be another than the expected one."""
    told = Bound((call.end, call.version) for call in calls if call.status in (200, 412))
    begun = Bound((call.start, version) for call, version in effects)
    for call, version in effects:
        assert version > told.before(call.start), f"an update that began later came earlier: {call}"
    for call in calls:
        least, most = told.before(call.start), max(1, begun.before(call.end))
        if call.status in (200, 412):
            assert least <= call.version <= most, f"version {call.version} in {least}–{most}: {call}"
        if call.status == 412:
            assert call.expect != call.version, f"a 412 for no reason: {call}"


def in_order(effects: Sequence[tuple[Call, int]]) -> None:
    """Fail unless the feed is in the order of time across customers."""
    told = Bound((call.end, number) for call, number in effects if call.status == 200)
    for call, number in effects:
        assert number > told.before(call.start), f"the feed has it before what was answered before it began: {call}"


class Bound:
    """The largest of the numbers that were there at a time."""

    def __init__(self, points: Iterable[tuple[float, int]]) -> None:
        self._times: list[float] = []
        self._largest: list[int] = []
        for at, number in sorted(points):
            self._times.append(at)
            self._largest.append(max(number, self._largest[-1] if self._largest else 0))

    def before(self, at: float) -> int:
        index = bisect_left(self._times, at)
        return self._largest[index - 1] if index else 0
