"""Under which terms the customers are filed that a batch has written, before anything of it is on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regulars import search
from regulars.record import Change, Customer

Place = tuple[int, int]
"""(tenant, customer)"""


@dataclass(slots=True)
class Letter:
    """The terms of one letter: those of each customer, and the customers of each."""

    seen: int = 0
    """How many changes were looked at."""
    terms: dict[Place, set[str]] = field(default_factory=dict)
    under: dict[tuple[int, str], set[int]] = field(default_factory=dict)

    def file(self, place: Place, terms: set[str]) -> None:
        tenant_id, number = place
        for term in self.terms.get(place, ()):
            self.under[tenant_id, term].discard(number)
        for term in terms:
            self.under.setdefault((tenant_id, term), set()).add(number)
        self.terms[place] = terms


class Filed:
    """What a list of changes, which grows, means for the terms; each is looked at once, and only if somebody asks."""

    def __init__(self, changes: Sequence[Change], records: Mapping[Any, Any]) -> None:
        self._changes, self._records = changes, records
        self._letters: dict[str, Letter] = {}

    def amend(self, key: tuple[int, str], ids: set[int]) -> set[int]:
        """The customers under a term of a tenant, given those that were under it before the changes."""
        tenant_id, term = key
        letter = self._letters.setdefault(term[0], Letter())
        for change in self._changes[letter.seen :]:
            record = self._records[Customer, change.tenant_id, change.customer_id]
            letter.file((change.tenant_id, change.customer_id), search.terms(record, term[0]))
        letter.seen = len(self._changes)
        return {number for number in ids if (tenant_id, number) not in letter.terms} | letter.under.get(key, set())
