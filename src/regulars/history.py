"""What happened to customers: who altered what, when, from which value, and what follows from that."""

import msgspec

from regulars.store import Store

MOST_LOOKED_AT = 100


async def members_since(store: Store, tenant_id: int, customer_id: int, since: int, until: int) -> list[str]:
    """The members that were changed after one version of a customer, up to another; none when that is too long ago."""
    if not 0 < until - since <= MOST_LOOKED_AT:
        return []
    changes = await store.changes(tenant_id, customer_id, MOST_LOOKED_AT)
    found = [msgspec.json.decode(one.fields) for one in reversed(changes) if since < one.version <= until]
    return list(dict.fromkeys(member for fields in found for member in fields))
