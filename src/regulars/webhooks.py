"""Webhooks by Standard Webhooks: what an endpoint hears of, how an event is signed, when it is tried again, and the
commands on endpoints. Nothing is sent from here; `worker` does that.

An endpoint is told of the changes of the feed, in their order. How far it got is kept in its `Progress`: a cursor, and
the events before it that wait. Of one customer only the first that waits may be sent, and the next one only when the
outcome of that is on disk. So a customer's versions never go back, whatever fails or is killed; other customers' events
go on meanwhile, up to `MOST_WAITING` of them, and then the cursor stands until one is settled.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import replace

from regulars.errors import NotFound, Refused
from regulars.fields import Field, Invalid, Record, bind, differing, expected, fields_of, shown, to_int
from regulars.history import CHANGE
from regulars.posting import Answer, Forbidden, check
from regulars.preconditions import hold_to
from regulars.record import Change, Customer, Delivery, Endpoint, Event, Lease, Progress
from regulars.store import UNTRACKED, Store, Tx
from regulars.wire import Reading, encode

RETRIES = tuple(timedelta(minutes=one) for one in (1 / 12, 5, 30, 120, 300, 600, 840, 1200, 1440))
"""After which time a failed event is tried again, attempt by attempt: three days in all."""
JITTER = 0.1
"""Each of these times is up to so much shorter or longer, so that not all come at once."""
LONGEST_PAUSE = timedelta(hours=24)
OUTAGE = 5
"""After so many failures in a row the receiver was down; when it answers again, all that failed is tried at once."""
MOST_WAITING = 100
MOST_ENDPOINTS = 500
MOST_KEPT = 1000
"""How many attempts the log of an endpoint keeps, and for how long; those of a removed one as well."""
KEPT_FOR = timedelta(days=30)
ROTATION = timedelta(hours=24)
"""How long events are signed with the old secret as well."""
SECRET_BYTES = 32
PREFIX = "whsec_"
WEBHOOKS = 1
"""The number of the lease on a tenant's deliveries."""
GONE = 410
WRITES = "webhooks.writes"
"""A counter that each command moves which writes a lease or a progress, before it reads one. Counters are compared when
a batch is written, so of two processes that do so at once one is told, and runs its commands again."""

MEMBERS: Mapping[str, str] = {
    spec.member.lower(): spec.member for name, spec in fields_of(Customer).items() if name not in UNTRACKED
}
"""What an update can alter, by member name in lower case."""
EVENTS: Mapping[str, str] = {one.value: one.value for one in Event}


class Waiting(msgspec.Struct, frozen=True, array_like=True):
    """An event that is not delivered yet. Times are in seconds since 1970; `since` is that of the first attempt."""

    change_id: int
    customer_id: int
    attempts: int = 0
    since: float = 0.0
    due: float = 0.0


NAMES: Mapping[str, Field] = {
    spec.member.lower(): spec for spec in fields_of(Endpoint).values() if spec.body == "webhook"
}
"""What is given when an endpoint is added or changed, by member name in lower case."""
EMPTY: Mapping[str, Any] = {one.name: one.default for one in msgspec.structs.fields(Endpoint) if not one.required}
RESEND: Mapping[str, Field] = {"changeids": bind(Field("Changes, by their ids.", "ChangeIDs"), "change_ids", Any)}
MOST_RESENT = 100

_waiting = msgspec.json.Decoder(list[Waiting]).decode
_altered = msgspec.json.Decoder(dict[str, int]).decode


# ---- endpoints


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def is_secret(text: str) -> bool:
    """Whether events can be signed with this."""
    try:
        return text.startswith(PREFIX) and len(base64.b64decode(text.removeprefix(PREFIX), validate=True)) >= 24
    except ValueError:
        return False


def current(tx: Tx, endpoint_id: int, expect: Collection[int] | None) -> Endpoint:
    """The endpoint, if it is at a version that is expected. Raises `NotFound`, `Conflict`, `Unconditional`."""
    found = known(tx.find(Endpoint, endpoint_id), endpoint_id)

    def members_since(version: int) -> list[str]:
        return [member for member, altered in _altered(found.altered).items() if altered > version]

    hold_to(tx, f"Webhook endpoint {endpoint_id}", found.version, expect, members_since)
    return found


def put(tx: Tx, before: Endpoint, after: Endpoint) -> Endpoint:
    """Write an endpoint; if anything is altered, as its next version."""
    names = differing(before, after)
    if not names:
        return before
    version = before.version + 1
    members = {**members_of(Endpoint), "secret": "Secret"}
    altered = _altered(before.altered) | {members[name]: version for name in names if name in members}
    return tx.put(replace(after, version=version, altered=encode(altered).decode()))


def known(endpoint: Endpoint | None, endpoint_id: int) -> Endpoint:
    if endpoint is None or endpoint.removed:
        raise NotFound(f"There is no webhook endpoint {endpoint_id}.")
    return endpoint


def present(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Those that were not removed."""
    return [one for one in endpoints if not one.removed]


def read(data: object, strict: bool) -> Reading:
    """The members of an endpoint that is added or changed; null stands for the default."""
    reading = Reading()
    reading.values = reading.members(data, NAMES)
    for spelt, value in data.items() if isinstance(data, dict) else ():
        spec = NAMES.get(spelt.lower())
        if value is None and spec is not None:
            reading.values[spec.name] = EMPTY.get(spec.name, "")
    reading.demand(NAMES, strict)
    return reading


def add(tx: Tx, reading: Reading, secret: str, allow_private: bool, cursor: int) -> Endpoint:
    """A new endpoint, told of what is changed after `cursor`, the last change that was known to be on disk; raises
    `Refused`."""
    if len(present(tx.all(Endpoint))) >= MOST_ENDPOINTS:
        raise Refused({"URL": [f"Expected at most {MOST_ENDPOINTS} endpoints; remove one first."]})
    values = {"url": "", **reading.values, "secret": secret, "created_on": tx.now}
    endpoint = Endpoint(tenant_id=tx.tenant_id, id=tx.next_id(Endpoint.table), **values)
    tx.put(Progress(tenant_id=tx.tenant_id, id=endpoint.id, cursor=cursor))
    return tx.put(checked(endpoint, reading, allow_private))


def change(
    tx: Tx, endpoint_id: int, reading: Reading, allow_private: bool, expect: Collection[int] | None = None
) -> Endpoint:
    """Change an endpoint; one that is turned on, or gets another URL, goes on where it stopped, and what failed is
    tried at once. Raises `NotFound`, `Conflict`, `Unconditional`, `Refused`."""
    tx.next_id(WRITES)
    before = current(tx, endpoint_id, expect)
    after = checked(replace(before, **reading.values), reading, allow_private)
    turned_on = after.enabled and not before.enabled
    if turned_on:
        after = replace(after, disabled_because="")
    if turned_on or after.url != before.url:
        progress = tx.get(Progress, endpoint_id)
        anew = [Waiting(one.change_id, one.customer_id) for one in waiting(progress)]
        tx.put(replace(progress, waiting=written(anew), failures=0, paused_until=None))
    return put(tx, before, after)


def rotate(tx: Tx, endpoint_id: int, secret: str, expect: Collection[int] | None = None) -> Endpoint:
    """Exchange the secret; for a day events are signed with both. Raises `NotFound`, `Conflict`, `Unconditional`."""
    before = current(tx, endpoint_id, expect)
    until = tx.now + ROTATION
    return put(tx, before, replace(before, secret=secret, old_secret=before.secret, old_secret_until=until))


def remove(tx: Tx, endpoint_id: int, expect: Collection[int] | None = None) -> None:
    """Forget an endpoint, all but its number. Raises `NotFound`, `Conflict`, `Unconditional`."""
    tx.next_id(WRITES)
    before = current(tx, endpoint_id, expect)
    tx.put(Endpoint(tenant_id=before.tenant_id, id=before.id, url="", enabled=False, removed=True))
    tx.put(replace(tx.get(Progress, endpoint_id), waiting="[]"))


def read_resend(data: object, strict: bool) -> Reading:
    """The ids of changes, each once."""
    reading = Reading()
    given = reading.members(data, RESEND).get("change_ids")
    try:
        if isinstance(data, dict) and not (isinstance(given, list) and 0 < len(given) <= MOST_RESENT):
            raise expected(f"a list of 1 to {MOST_RESENT} ids of changes", given)
        reading.values["change_ids"] = tuple(sorted({to_int(one, 1) for one in given or ()}))
    except Invalid as error:
        reading.refuse("ChangeIDs", str(error))
    reading.demand(RESEND, strict)
    return reading


def resend(tx: Tx, endpoint_id: int, reading: Reading) -> Progress:
    """Have events sent again, or now those that wait; while the endpoint is off they wait. Raises `NotFound`,
    `Refused`."""
    tx.next_id(WRITES)
    known(tx.find(Endpoint, endpoint_id), endpoint_id)
    progress = tx.get(Progress, endpoint_id)
    if reading.problems:
        raise Refused(reading.problems)
    changes = tx.find_many(Change, reading.values["change_ids"])
    others = [one for one in waiting(progress) if one.change_id not in changes]
    again = [Waiting(one.id, one.customer_id) for one in changes.values() if one and one.id <= progress.cursor]
    if len(again) < len(changes):
        strange = next(number for number in changes if number not in {one.change_id for one in again})
        raise Refused({"ChangeIDs": [f"Expected changes that the endpoint came past, got {strange}."]})
    if len(others) + len(again) > MOST_WAITING + MOST_RESENT:
        raise Refused({"ChangeIDs": [f"Expected fewer: {len(others)} events wait already."]})
    return tx.put(replace(progress, waiting=written([*others, *again]), paused_until=None))


def checked(endpoint: Endpoint, reading: Reading, allow_private: bool) -> Endpoint:
    """The endpoint with events and members as they are spelt; raises `Refused` with all that is wrong."""
    problems = dict(reading.problems)
    try:
        if not {"URL", "body"} & problems.keys():
            check(endpoint.url, allow_private)
    except Forbidden as error:
        problems["URL"] = [str(error)]
    found = {}
    for name, names, member in (("events", EVENTS, "Events"), ("members", MEMBERS, "Members")):
        given = getattr(endpoint, name)
        if wrong := [one for one in given if one.lower() not in names]:
            problems[member] = [f"Expected some of {', '.join(sorted(names.values()))}, got {shown(wrong[0])}."]
        found[name] = tuple(dict.fromkeys(names.get(one.lower(), one) for one in given))
    if problems:
        raise Refused(problems)
    return replace(endpoint, **found)


# ---- events


def event(change: Change) -> Event:
    return Event.CREATED if change.kind == "created" else Event.UPDATED


def wanted(endpoint: Endpoint, change: Change) -> bool:
    """Whether an endpoint hears of a change. The filter of members is for updates."""
    kind = event(change)
    if endpoint.events and kind not in endpoint.events:
        return False
    if not endpoint.members or kind is Event.CREATED:
        return True
    altered = {member.partition("[")[0] for member in msgspec.json.decode(change.fields, type=dict[str, msgspec.Raw])}
    return not altered.isdisjoint(endpoint.members)


def payload(change: Change) -> bytes:
    """The body that tells of a change: always the same for the same change."""
    return encode({"type": event(change).value, "timestamp": change.at, "data": CHANGE(change)})


def message_id(endpoint: Endpoint, change_id: int) -> str:
    """The same for each attempt, and another one for each endpoint."""
    return f"msg_{endpoint.tenant_id}_{endpoint.id}_{change_id}"


def signature(secret: str, message: str, timestamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return (
        "v1," + base64.b64encode(hmac.digest(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256)).decode()
    )


def signing(endpoint: Endpoint, message: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of a request; for a day after the secret was exchanged there are two signatures."""
    keys = [endpoint.secret]
    if endpoint.old_secret and endpoint.old_secret_until and now < endpoint.old_secret_until:
        keys.append(endpoint.old_secret)
    timestamp = int(now.timestamp())
    return {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(key, message, timestamp, body) for key in keys),
    }


# ---- progress


class Taken(msgspec.Struct, frozen=True):
    """What a worker has read of the feed: up to where, and which events before that it wants delivered."""

    cursor: int = 0
    events: tuple[Waiting, ...] = ()


class Outcome(msgspec.Struct, frozen=True):
    """What came of an attempt to deliver an event to `url`; `luck`, from 0 to 1, is what the jitter is made of."""

    event: Waiting
    url: str
    at: datetime
    answer: Answer
    luck: float = 0.5


def waiting(progress: Progress) -> list[Waiting]:
    return _waiting(progress.waiting)


def written(events: Iterable[Waiting]) -> str:
    return encode(sorted(events, key=lambda one: one.change_id)).decode()


def joined(progress: Progress, taken: Taken) -> Progress:
    """The progress with what was read since."""
    if taken.cursor <= progress.cursor:
        return progress
    new = [one for one in taken.events if one.change_id > progress.cursor]
    text = written([*waiting(progress), *new]) if new else progress.waiting
    return replace(progress, cursor=taken.cursor, waiting=text)


def sendable(events: Sequence[Waiting], under_way: Collection[int], now: datetime) -> list[Waiting]:
    """The events whose turn it is: of each customer the first, when it is due and not under way."""
    moment, seen, found = now.timestamp(), set(), []
    for one in events:
        if one.customer_id not in seen:
            seen.add(one.customer_id)
            if one.due <= moment and one.change_id not in under_way:
                found.append(one)
    return found


def again_in(attempts: int, answer: Answer, luck: float) -> timedelta | None:
    """After which time an event that failed so often is tried again; None: not any more. A receiver that asks for a
    longer pause gets it."""
    if attempts > len(RETRIES):
        return None
    usual = RETRIES[attempts - 1] * (1 + JITTER * (2 * luck - 1))
    return max(usual, pause(answer))


def pause(answer: Answer) -> timedelta:
    return min(timedelta(seconds=answer.retry_after or 0), LONGEST_PAUSE)


def holds(tx: Tx, holder: str) -> bool:
    lease = tx.find(Lease, WEBHOOKS)
    return lease is not None and lease.holder == holder


def settle(tx: Tx, endpoint_id: int, holder: str, taken: Taken, outcomes: Sequence[Outcome] = ()) -> Endpoint | None:
    """Write down what a worker has read and what came of its attempts. Returns the endpoint as it then is, or None
    when the lease is no longer the worker's, and nothing was written."""
    tx.next_id(WRITES)
    if not holds(tx, holder):
        return None
    before, progress = tx.get(Endpoint, endpoint_id), joined(tx.get(Progress, endpoint_id), taken)
    if before.removed:
        return before
    endpoint = before
    for one in outcomes:
        endpoint, progress = after(tx, endpoint, progress, one)
    tx.put(progress)
    return put(tx, before, endpoint)


def after(tx: Tx, endpoint: Endpoint, progress: Progress, outcome: Outcome) -> tuple[Endpoint, Progress]:
    """Endpoint and progress after an attempt, which is logged."""
    answer, attempts = outcome.answer, outcome.event.attempts + 1
    since = outcome.event.since or outcome.at.timestamp()
    others = [one for one in waiting(progress) if one.change_id != outcome.event.change_id]
    next_on, said = None, "delivered"
    if answer.good:
        if progress.failures >= OUTAGE:
            others = [replace(one, due=0.0) for one in others]
        progress = replace(progress, failures=0, succeeded_on=outcome.at, paused_until=None)
    elif outcome.url != endpoint.url:  # what a former receiver says is nothing to the one that there is now
        said, next_on = "failed", outcome.at
        others.append(Waiting(outcome.event.change_id, outcome.event.customer_id))
    else:
        said = "failed"
        progress = replace(progress, failures=progress.failures + 1)
        if answer.retry_after is not None:
            progress = replace(progress, paused_until=outcome.at + pause(answer))
        wait = again_in(attempts, answer, outcome.luck)
        last = progress.succeeded_on
        heard = last is not None and last.timestamp() >= since
        if answer.status == GONE:
            endpoint = turned_off(endpoint, "The receiver answered 410 Gone.")
        elif wait is None and not heard:
            endpoint = turned_off(endpoint, "Nothing could be delivered for three days.")
        if wait is None and endpoint.enabled:
            said = "given up"
        else:
            next_on = outcome.at + wait if wait and endpoint.enabled else None
            due = outcome.at + (wait or RETRIES[-1])  # when the endpoint is off, it is tried once that is on again
            others.append(replace(outcome.event, attempts=attempts, since=since, due=due.timestamp()))
    number = progress.attempts + 1
    tx.put(
        Delivery(
            tenant_id=tx.tenant_id,
            id=place(endpoint.id, number),
            number=number,
            at=outcome.at,
            message=message_id(endpoint, outcome.event.change_id),
            change_id=outcome.event.change_id,
            customer_id=outcome.event.customer_id,
            attempt=attempts,
            outcome=said,
            status=answer.status,
            milliseconds=answer.milliseconds,
            answer=answer.said,
            next_on=next_on,
        )
    )
    return endpoint, replace(progress, waiting=written(others), attempts=number)


def turned_off(endpoint: Endpoint, why: str) -> Endpoint:
    return replace(endpoint, enabled=False, disabled_because=why)


def place(endpoint_id: int, number: int) -> int:
    """Where an attempt is logged: each endpoint has a ring of its own."""
    return endpoint_id * MOST_KEPT + number % MOST_KEPT


async def attempts(store: Store, endpoint: Endpoint, limit: int) -> list[Delivery]:
    """An endpoint's last attempts, newest first."""
    first = place(endpoint.id, 0)
    found = await store.between(Delivery, endpoint.tenant_id, first, first + MOST_KEPT - 1)
    return sorted(found, key=lambda one: one.number, reverse=True)[:limit]


# ---- which process delivers


def hold(tx: Tx, holder: str, life: timedelta, dead: str = "") -> Lease:
    """Take or renew the lease on the tenant's deliveries, unless somebody else has it who is not known to be `dead`.
    Returns it as it then stands."""
    tx.next_id(WRITES)
    before = tx.find(Lease, WEBHOOKS)
    if before is not None and before.holder not in ("", holder, dead) and before.until > tx.now:
        return before
    return tx.put(Lease(tenant_id=tx.tenant_id, id=WEBHOOKS, holder=holder, until=tx.now + life))


def release(tx: Tx, holder: str) -> None:
    tx.next_id(WRITES)
    if holds(tx, holder):
        tx.put(Lease(tenant_id=tx.tenant_id, id=WEBHOOKS, holder="", until=tx.now))


# ---- as they are read


@cache
def members_of(kind: type[Record]) -> Mapping[str, str]:
    """The members of a kind of record that a door may show, by attribute: those that have a name, but no secret."""
    return {name: spec.member for name, spec in fields_of(kind).items() if spec.member != name and name != "secret"}


def public(record: Record) -> dict[str, Any]:
    return {member: getattr(record, name) for name, member in members_of(type(record)).items()}


def told(progress: Progress) -> dict[str, Any]:
    """How far an endpoint got."""
    return public(progress) | {"Waiting": len(waiting(progress))}


async def standing(store: Store, tenant_id: int) -> list[tuple[Endpoint, Progress]]:
    """A tenant's endpoints, and how far each got."""
    endpoints = present((await store.book(tenant_id)).all(Endpoint))
    if not endpoints:
        return []
    found = {one.id: one for one in await store.between(Progress, tenant_id, endpoints[0].id, endpoints[-1].id)}
    return [(one, found[one.id]) for one in endpoints if one.id in found]
