"""At which version a record must be that somebody wants to change: the rule behind `If-Match`, for all kinds."""

from collections.abc import Callable, Collection

from regulars.errors import Conflict, Unconditional
from regulars.record import Tenant
from regulars.store import Tx


def hold_to(
    tx: Tx,
    what: str,
    version: int,
    expect: Collection[int] | None,
    members_since: Callable[[int], Collection[str]] = lambda version: (),
    *,
    customer_id: int = 0,
) -> None:
    """Let go on who expects the version that it has, or nothing where the tenant allows that. `members_since` tells
    which members a version lacks. Raises `Conflict`, `Unconditional`."""
    if expect is None:
        if tx.actor.door == "api" and tx.get(Tenant, tx.tenant_id).require_if_match:
            raise Unconditional(
                f'Expected If-Match with the version that is meant, such as "{version}", or * for any: '
                "this tenant demands it."
            )
    elif version not in expect:
        raise Conflict(
            f"{what} is at version {version}, not at the version that If-Match names. "
            "Read it again and repeat the change.",
            version,
            expect,
            members_since(max(expect)) if expect else (),
            customer_id=customer_id,
        )
