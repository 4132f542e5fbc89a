"""Idempotency-Key: a request that is sent again is done once, and answered as it was the first time (contract §10).

The answer is a record like any other. It commits with what the request did, so whoever finds one knows that the other
happened, on whichever node and after whatever crash. A refusal did nothing, so it is kept by a command of its own.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

import msgspec
from msgspec.structs import replace

from regulars.errors import Refused, Reused
from regulars.record import Answer
from regulars.store import Book, Tx

P = ParamSpec("P")
T = TypeVar("T")

HEADER = "Idempotency-Key"
LONGEST_KEY = 255
KEY = re.compile(rf"[\x20-\x7e]{{1,{LONGEST_KEY}}}")

_encode = msgspec.msgpack.encode


@dataclass(frozen=True, slots=True)
class Key:
    """A key as one employee uses it for one request: where its answer is kept, and the digest of all three."""

    id: int
    digest: str


def key_of(text: str, employee_id: int, *request: str | bytes) -> Key:
    """The key of a request, whose parts are all that makes it another one; raises `Refused`."""
    if not KEY.fullmatch(text):
        raise Refused({HEADER: [f"Expected 1 to {LONGEST_KEY} printable ASCII characters, got {len(text)}."]})
    place = hashlib.sha256(_encode((employee_id, text))).digest()
    digest = hashlib.sha256(_encode((employee_id, text, *request))).hexdigest()
    return Key(int.from_bytes(place[:8], "big") >> 1, digest)


def once(
    tx: Tx,
    key: Key,
    answer: Callable[[T, Book], Answer],
    command: Callable[Concatenate[Tx, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> tuple[Answer, bool]:
    """Run a command, unless a request with this key was answered before. Returns what `answer` made of its result, now
    or then, and whether it was then. Raises `Reused` when that was another request."""
    known = recall(tx, key)
    if known is not None:
        return known, True
    return tx.put(replace(answer(command(tx, *args, **kwargs), tx.book()), at=tx.now), new=True), False


def keep(tx: Tx, key: Key, answer: Answer) -> tuple[Answer, bool]:
    """Keep the answer to a command that was refused; otherwise as `once`."""
    known = recall(tx, key)
    if known is not None:
        return known, True
    return tx.put(replace(answer, at=tx.now), new=True), False


def recall(tx: Tx, key: Key) -> Answer | None:
    """However old: an answer that is there is good."""
    known = tx.find(Answer, key.id)
    if known is not None and known.digest != key.digest:
        raise Reused("This Idempotency-Key was used for another request. Choose a new one for each.")
    return known
