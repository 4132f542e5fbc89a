"""What customers become by the words of the documentation, in plain dictionaries: the model that answers are held to.

A book is a state per customer: all members of the flat customer, its custom columns each by its number.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

State = dict[str, Any]
Item = dict[str, Any]
"""A change as the feed tells it."""

CLEARED = {"Phone1": "", "Fax": "", "Mobile": "", "Comments": "", "Rating": 0}
"""The members that are written, and what null makes of each."""
COLUMNS: Mapping[str, tuple[Any, ...]] = {
    "LoyaltyNumber": ("x", "y"),
    "HeardFrom": ("Friend",),
    "OrdersPerYear": (1, 2),
}
"""The custom columns that are written, and with what."""
LOOKED_AT = 100
"""How many changes of a customer are looked through for who is in the way."""


def part(number: int) -> str:
    """A custom column as a change names it."""
    return f"CustomColumns[{number}]"


def flat(customer: Mapping[str, Any], columns: Mapping[str, int]) -> State:
    """A customer as it was read, with a value or None for each column."""
    state = dict(customer)
    custom = state.pop("CustomColumns")
    return state | {part(number): custom.get(name) for name, number in columns.items()}


@dataclass(slots=True)
class Call:
    """One request and what came of it. `body` is what was sent; `changes` names what is to be undone."""

    what: str
    employee: str
    customer: int = 0
    body: Any = None
    expect: list[int] = field(default_factory=list)
    known: int = 0
    """The version of If-None-Match."""
    change: int = 0
    dry_run: bool = False
    key: str = ""
    request_id: str = ""
    node: int = 0
    start: float = 0.0
    end: float = 0.0
    status: int = 0
    answer: Any = None
    version: int = 0
    """That of the answer's ETag."""
    replayed: bool = False


@dataclass(slots=True)
class Told:
    """What a call must be answered: what counts of it, comparable with `told` of the answer."""

    status: int
    what: Any = None
    version: int = 0


@dataclass(slots=True)
class Effect:
    customer: int
    kind: str
    fields: dict[str, list[Any]]
    undoes: list[int]


class Wrong(Exception):
    """A command is refused; nothing it did holds."""

    def __init__(self, told: Told) -> None:
        super().__init__(told)
        self.told = told


class Book:
    """A book at one moment, with the feed that led to it, on which one call is tried."""

    def __init__(self, feed: "Feed", position: int, columns: Mapping[str, int], own: Sequence[Item] = ()) -> None:
        """`own` are the changes that the call is known to have made: they say what cannot be foreseen, which is the
        moment, and the number of a new customer."""
        self.feed, self.position, self.columns = feed, position, columns
        self.states = dict(feed.books[position])
        self.at = own[0]["At"] if own else ""
        self.new = [one["CustomerID"] for one in own if one["Kind"] == "created"]
        self.effects: list[Effect] = []

    # ---- one customer

    def alter(self, number: int, values: Mapping[str, Any], undoes: Sequence[int] | None = None) -> list[str]:
        """The members that differ then."""
        before = self.states[number]
        fields = {name: [before[name], new] for name, new in values.items() if before[name] != new}
        if fields:
            self.states[number] = before | values | {"Version": before["Version"] + 1, "ModifiedOn": self.at}
            self.effects.append(Effect(number, "updated" if undoes is None else "undone", fields, list(undoes or ())))
        return list(fields)

    def merged(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What a merge patch asks for, by member; null clears."""
        values: dict[str, Any] = {}
        for name, value in body.items():
            if name != "CustomColumns":
                values[name] = CLEARED[name] if value is None else value
            elif value is None:
                values |= {part(number): None for number in self.columns.values()}
            else:
                values |= {part(self.columns[column]): one for column, one in value.items()}
        return values

    def must_be_at(self, call: Call) -> None:
        version = self.states[call.customer]["Version"]
        if call.expect and version not in call.expect:
            expected = sorted(set(call.expect))
            members = self.feed.members(call.customer, expected[-1], version)
            raise Wrong(Told(412, (version, expected, members), version))

    # ---- calls

    def told(self, call: Call, changes: Sequence[Item]) -> Told:
        """What the call is answered here; `changes` are those that it is to undo."""
        try:
            match call.what:
                case "get":
                    return self.get(call)
                case "put":
                    self.must_be_at(call)
                    self.alter(call.customer, {name: one for name, one in call.body.items() if one is not None})
                    return Told(200, None, self.states[call.customer]["Version"])
                case "patch":
                    self.must_be_at(call)
                    self.alter(call.customer, self.merged(call.body))
                    return Told(200, self.states[call.customer], self.states[call.customer]["Version"])
                case "batch":
                    return self.batch(call.body["Items"], call.body["Atomic"])
            keep = call.what == "undo many" and call.body.get("KeepCreated", False)
            return self.undo(changes, keep, call.dry_run)
        except Wrong as error:
            self.effects.clear()
            return error.told

    def get(self, call: Call) -> Told:
        state = self.states[call.customer]
        if call.known == state["Version"]:
            return Told(304, None, state["Version"])
        return Told(200, state, state["Version"])

    def batch(self, items: Sequence[Mapping[str, Any]], atomic: bool) -> Told:
        outcomes = [self.item(dict(one)) for one in items]
        refused = [f"Items[{n}].{name}" for n, one in enumerate(outcomes) for name in one[4]]
        if atomic and refused:
            raise Wrong(Told(400, sorted(refused)))
        return Told(200, outcomes)

    def item(self, item: dict[str, Any]) -> tuple[str, int, int, list[str], list[str]]:
        """Outcome, customer, version, members and problems, as the answer has them."""
        action, number = item.pop("Action"), item.pop("ID", 0)
        version = item.pop("Version", None)
        if action == "upsert":
            source = item["SourceId"]
            number = next((one for one, state in self.states.items() if state["SourceId"] == source), 0)
            if not number:
                return self.create(item)
            item = {name: item[name] for name in CLEARED if name in item}
        now = self.states[number]["Version"]
        if version not in (None, now):
            return "refused", number, now, [], ["Version"]
        if item.get("Rating") == "many":
            return "refused", number, now, [], ["Rating"]
        names = sorted({name.partition("[")[0] for name in self.alter(number, self.merged(item))})
        return "updated" if names else "unchanged", number, self.states[number]["Version"], names, []

    def create(self, item: dict[str, Any]) -> tuple[str, int, int, list[str], list[str]]:
        number = self.new.pop(0) if self.new else -1
        given = {name: item[name] for name in (*CLEARED, "SourceId", "Email") if name in item}
        made = {"ID": number, "Version": 1, "CreatedOn": self.at, "ModifiedOn": self.at}
        self.states[number] = self.feed.blank | given | made
        self.effects.append(Effect(number, "created", {}, []))
        names = [name for name, value in item.items() if value and name not in ("Key", "IsWholesale")]
        return "created", number, 1, sorted(names), []

    def undo(self, changes: Sequence[Item], keep_created: bool, dry_run: bool) -> Told:
        """Going back from now, each of the changes must have led to where we are; or all is as before it already."""
        made = {f"Customers[{one['CustomerID']}]" for one in changes if one["Kind"] == "created"}
        if made and not keep_created:
            raise Wrong(Told(400, sorted(made)))
        steps: dict[int, list[Item]] = {}
        for one in sorted(changes, key=lambda one: -int(one["ID"])):
            if one["Kind"] != "created":
                steps.setdefault(one["CustomerID"], []).append(one)
        values: dict[int, dict[str, Any]] = {}
        conflicts: dict[tuple[int, str], tuple[Any, Any]] = {}
        for number in sorted(steps):
            for member in {name for one in steps[number] for name in one["Fields"]}:
                pairs = [one["Fields"][member] for one in steps[number] if member in one["Fields"]]
                now, values.setdefault(number, {})[member] = self.states[number][member], pairs[-1][0]
                here = now
                for old, new in pairs:
                    if now == pairs[-1][0]:
                        break
                    if here != new:
                        conflicts[number, member] = new, now
                        break
                    here = old
        if conflicts:
            raise Wrong(Told(409, conflicts))
        done = []
        for number, some in values.items():
            undoes = [one["ID"] for one in steps[number]]
            if self.alter(number, some, undoes):
                done.append((number, self.states[number]["Version"], undoes, self.effects[-1].fields))
        if dry_run:
            self.effects.clear()
        return Told(200, (dry_run, done))


class Feed:
    """All changes, in order, and the book after each."""

    def __init__(self, start: Mapping[int, State], blank: State, before: Sequence[Item], after: Sequence[Item]) -> None:
        """`start` is the book after the changes `before`; `blank` what a new customer has besides what is given."""
        self.items = [*before, *after]
        self.blank = blank
        self.books: dict[int, dict[int, State]] = {len(before): dict(start)}
        self.by_customer: dict[int, list[Item]] = {}
        for one in self.items:
            self.by_customer.setdefault(one["CustomerID"], []).append(one)

    def upto(self, position: int) -> list[Item]:
        return self.items[:position]

    def members(self, customer: int, since: int, until: int) -> list[str]:
        """Those that were changed after one version, up to another."""
        if not 0 < until - since <= LOOKED_AT:
            return []
        found = self.by_customer[customer][since:until]
        return list(dict.fromkeys(name for one in found for name in one["Fields"]))

    def last(self, customer: int, member: str, position: int) -> Item | None:
        """The change that altered a member last, before a position."""
        some = [one for one in self.by_customer[customer] if one["ID"] <= position][-LOOKED_AT:]
        return next((one for one in reversed(some) if member in one["Fields"]), None)

    def follow(self, one: Item, created: State | None) -> None:
        """Go on by one change. Fail unless it begins where the customer was."""
        position, number = one["ID"] - 1, one["CustomerID"]
        book = self.books[position]
        if one["Kind"] == "created":
            assert number not in book and one["Version"] == 1 and one["Fields"] == {} and created is not None
            after = created
        else:
            before = book[number]
            assert one["Version"] == before["Version"] + 1, f"a customer's versions have gaps: {one}"
            assert all(before[name] == old != new for name, (old, new) in one["Fields"].items()), one
            assert one["Fields"], f"a change that changed nothing: {one}"
            values = {name: new for name, (_, new) in one["Fields"].items()}
            after = before | values | {"Version": one["Version"], "ModifiedOn": one["At"]}
        self.books[one["ID"]] = book | {number: after}


def selected(items: Iterable[Item], wanted: Mapping[str, Any]) -> list[Item]:
    """The changes that an undo of many is about."""

    def so(one: Item) -> Iterator[bool]:
        yield "RequestID" not in wanted or one["RequestID"] == wanted["RequestID"]
        yield "Employee" not in wanted or one["Employee"] == wanted["Employee"]
        yield "Since" not in wanted or datetime.fromisoformat(one["At"]) >= datetime.fromisoformat(wanted["Since"])

    return [one for one in items if all(so(one))]
