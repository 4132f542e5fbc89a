"""What can go wrong, each with a stable code that every door (HTTP, CLI, client) translates in one place."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar


class RegularsError(Exception):
    """The root of the tree; `code` is stable and part of the public interface.

    RegularsError
    ├── Unauthenticated   no credential, or one that is not (or no longer) good
    ├── Denied            the caller may not do this
    ├── NotFound          no such record in this tenant
    ├── Refused           the request breaks the contract or a business rule
    ├── Conflict          a precondition failed: somebody else was first
    ├── Overtaken         what is to be undone was altered again since
    ├── Unconditional     a precondition is demanded, and there was none
    ├── Reused            the Idempotency-Key was used for another request
    ├── Running           the first request with this Idempotency-Key is still being answered
    ├── TooMany           slow down
    └── Unavailable       the store cannot take this now; nothing is promised
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class Unauthenticated(RegularsError):
    code = "unauthenticated"

    def __init__(self, message: str = "Not Valid Token") -> None:
        super().__init__(message)


class Denied(RegularsError):
    code = "denied"


class NotFound(RegularsError):
    code = "not_found"


class Refused(RegularsError):
    """`problems` maps a member (as the declaration spells it) to the reasons why it was refused."""

    code = "refused"

    def __init__(self, problems: Mapping[str, list[str]], message: str = "The request is invalid.") -> None:
        super().__init__(message)
        self.problems = dict(problems)

    def __str__(self) -> str:
        reasons = "; ".join(f"{member}: {' '.join(why)}" for member, why in self.problems.items())
        return f"{self.message} {reasons}".strip()


class Conflict(RegularsError):
    """`version` is the one the record has now, `expected` those that were named, and `members` what was changed since
    the newest of these, as far as that is known."""

    code = "conflict"

    def __init__(
        self,
        message: str,
        version: int,
        expected: Collection[int] = (),
        members: Collection[str] = (),
        *,
        customer_id: int = 0,
    ) -> None:
        super().__init__(message)
        self.version, self.expected, self.members = version, sorted(expected), list(members)
        self.customer_id = customer_id


class Overtaken(RegularsError):
    """`conflicts` are the members that stand in the way: each with the customer, the value that was expected, the one
    that was found and, as far as that is known, the change it comes from."""

    code = "overtaken"

    def __init__(self, message: str, conflicts: Collection[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.conflicts = list(conflicts)


class Unconditional(RegularsError):
    code = "unconditional"


class Reused(RegularsError):
    code = "idempotency_key_reused"


class Running(RegularsError):
    """`retry_after` is in seconds."""

    code = "idempotency_key_running"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooMany(RegularsError):
    """`retry_after` is in seconds."""

    code = "too_many"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(RegularsError):
    """`retry_after` is in seconds; whether a write took effect is not known."""

    code = "unavailable"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
