"""The bodies of the updates: three to eight fields of the seed each, and never the same value twice.

A load that repeats its bodies turns updates into no-ops and flatters whoever notices: every body therefore
carries at least one text or number made of a counter that never returns, and the few fields that have no such
value (a yes or no, a rating, a company, a title) get something other than what this customer was given last.
"""

import json
import random
from collections.abc import Sequence
from typing import Any

FIRST = (
    "Anna",
    "Ben",
    "Carla",
    "David",
    "Elena",
    "Farid",
    "Grace",
    "Henrik",
    "Ines",
    "Jonas",
    "Kemal",
    "Lucia",
)
LAST = ("Berg", "Castillo", "Dubois", "Evans", "Fischer", "Garcia", "Hughes", "Ivanova", "Jensen", "Kowalski")
TRADES = ("Supply", "Outfitters", "Hardware", "Trading", "Imports", "Garden Centre", "Cycles", "Optics")
NOTES = (
    "Asked for a call back about the open order",
    "Prefers delivery before noon; the yard closes at three and nobody signs after that",
    "Moved to the new warehouse, the old address is only for returns",
    "Paid late twice, terms were discussed with the owner and stay as they are for this quarter",
)
TITLES = ("", "Ms", "Mr", "Mx", "Dr", "Prof")

# How often a field turns up beside the others: contact data and notes often, bookkeeping fields seldom.
WEIGHTS = {
    "Comments": 14, "Phone1": 12, "Email": 10, "Name": 8, "Rating": 8, "Mobile": 7, "BusinessName": 6,
    "Phone2": 5, "EmailCC": 5, "Salesman": 4, "Title": 3, "SourceId": 3, "CompanyId": 3,
    "BusinessAliases": 3, "Fax": 2,
    "Phone3": 2, "AccountManager1Commission": 2, "AccountManager2Commission": 1,
    "AccountManager3Commission": 1,
}  # fmt: skip
FEW_VALUES = {"Title", "Rating", "CompanyId"}
SHAPES = 4096


def letters(n: int) -> str:
    """A number as lower-case letters: an ending that makes a name nobody else has."""
    return (letters(n // 26) if n > 25 else "") + chr(ord("a") + n % 26)


class Bodies:
    """An endless supply of (customer id, body); the same seed gives the same supply."""

    def __init__(self, ids: Sequence[int], companies: Sequence[int], seed: int = 1) -> None:
        self.ids, self.companies = ids, companies
        self.random = random.Random(seed)
        self.counter = 0
        self.last: dict[tuple[int, str], object] = {}
        self.shapes = [self.shape() for _ in range(SHAPES)]

    def shape(self) -> list[str]:
        """The members of one body, at least one of them with a value that never returns."""
        usable = {m: w for m, w in WEIGHTS.items() if m != "CompanyId" or len(self.companies) > 1}
        while True:
            wanted, chosen = self.random.randint(3, 8), list[str]()
            while len(chosen) < wanted:
                member = self.random.choices(list(usable), list(usable.values()))[0]
                if member not in chosen:
                    chosen.append(member)
            if len(chosen) <= 8 and not FEW_VALUES.issuperset(chosen):
                return chosen

    def take(self, count: int) -> list[tuple[int, bytes]]:
        """The next `count` updates."""
        pick, ids, shapes = self.random.randrange, self.ids, self.shapes
        taken = []
        for _ in range(count):
            self.counter += 1
            customer = ids[pick(len(ids))]
            body = {m: self.value(m, customer, self.counter) for m in shapes[pick(SHAPES)]}
            taken.append((customer, json.dumps(body, separators=(",", ":")).encode()))
        return taken

    def value(self, member: str, customer: int, n: int) -> Any:
        """A value for one member that this customer does not have yet."""
        if member in FEW_VALUES:
            return self.other(member, customer, n)
        if member.startswith("Phone") or member in ("Mobile", "Fax"):
            return f"({200 + n * 37 % 800}) {n // 10_000 % 1000:03d}-{n % 10_000:04d}"
        match member:
            case "Comments":
                return f"{NOTES[n % len(NOTES)]} (#{n})"
            case "Name":
                return f"{FIRST[n % len(FIRST)]} {LAST[n % len(LAST)]}{letters(n)}"
            case "Email":
                return f"{FIRST[n % len(FIRST)].lower()}{n}@shop{n % 977}.example.com"
            case "EmailCC":
                return f"orders{n}@shop{n % 977}.example.com; books@shop{n % 977}.example.com"
            case "BusinessName":
                return f"{LAST[n % len(LAST)]} {TRADES[n % len(TRADES)]} {n}"
            case "BusinessAliases":
                return [f"{LAST[n % len(LAST)]} {n}", f"{TRADES[n % len(TRADES)]} & Co"][: 1 + n % 2]
            case "Salesman":
                return f"{FIRST[n % len(FIRST)]} {LAST[n % len(LAST)]}{letters(n)}"
            case "SourceId":
                return f"SHOP-{n:08d}"
            case _:  # a commission
                return n % 1_000_000 / 10_000

    def other(self, member: str, customer: int, n: int) -> Any:
        """A value of a field that has only a few, other than the one given to this customer last."""
        choices: Sequence[object] = {
            "Title": TITLES,
            "Rating": range(6),
            "CompanyId": self.companies,
        }[member]
        value = choices[n % len(choices)]
        if value == self.last.get((customer, member)):
            value = choices[(n + 1) % len(choices)]
        self.last[customer, member] = value
        return value
