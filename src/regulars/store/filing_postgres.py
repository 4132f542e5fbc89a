"""How search terms get to their place on PostgreSQL: logged with each batch, filed by any process a moment later.

To file a term at once costs more than all else that an update writes. So a batch leaves one row in `term_log`; now and
then somebody takes the oldest of these rows, and files under each term what the last word on it was.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from regulars.errors import Unavailable
from regulars.store import Again
from regulars.store.link import Connection

log = logging.getLogger("regulars.store")

GATHER_SECONDS = 0.25
"""How long terms are left in the log, so that those of many batches are filed together."""
REST_SECONDS = 2.0
"""How long to let the database alone that would not file."""
MOST_FILED = 100
"""How many batches one transaction files."""
MOST_CUSTOMERS = 2_000
"""How many customers' terms one transaction files, unless one batch has more: it must be done long before the server
ends it, or the log would never get shorter."""

UNFILED = "SELECT 1 FROM term_log WHERE tenant_id = $1 LIMIT 1"
OLDEST = (
    "SELECT id, cardinality(customers), (SELECT max(id) FROM term_log WHERE tenant_id = $1)"
    " FROM term_log WHERE tenant_id = $1 ORDER BY id LIMIT $2 FOR UPDATE"
)
"""Whoever else files for this tenant wants the same rows, and waits."""
FILE = (
    "WITH taken AS (DELETE FROM term_log WHERE tenant_id = $1 AND id <= $2"
    " RETURNING tenant_id, id, customers, gone, come),"
    " latest AS MATERIALIZED (SELECT DISTINCT ON (e.term, c.customer_id) l.tenant_id, e.term, c.customer_id, e.came"
    " FROM taken AS l, unnest(l.customers, l.gone, l.come) AS c (customer_id, gone, come), LATERAL"
    ' (SELECT value COLLATE "C" AS term, false AS came FROM json_array_elements_text(c.gone::json)'
    ' UNION ALL SELECT value COLLATE "C", true FROM json_array_elements_text(c.come::json)) AS e'
    " ORDER BY e.term, c.customer_id, l.id DESC),"
    " gone AS (DELETE FROM customer_terms AS t USING latest AS v WHERE t.tenant_id = v.tenant_id"
    " AND t.term = v.term AND t.customer_id = v.customer_id AND NOT v.came)"
    " INSERT INTO customer_terms (tenant_id, term, customer_id)"
    " SELECT tenant_id, term, customer_id FROM latest WHERE came ON CONFLICT DO NOTHING"
)
"""The tenant is taken from the log, so that nothing but the whole key finds the terms: the server must not start from
all that a tenant has."""


async def file(connection: Connection, tenant_id: int, last: int = 0) -> int:
    """File a tenant's oldest terms, within a transaction that sees what others commit. Returns up to which row of the
    log there is more to file, or 0: up to `last`, or to the newest that there is now."""
    rows = await connection.fetch(OLDEST, tenant_id, MOST_FILED)
    if not rows:
        return 0
    last = last or rows[0][2]
    size, taken = 0, rows[0][0]
    for number, customers, _ in rows:
        size += customers
        if size > MOST_CUSTOMERS:
            break
        taken = number
    await connection.execute(FILE, tenant_id, taken)
    return last if taken < last else 0


class Filing:
    """Has the terms filed that this process logged, a moment later. `file` files all of one tenant's."""

    def __init__(self, file: Callable[[int], Awaitable[None]]) -> None:
        self._file = file
        self._tenants: set[int] = set()
        self._task: asyncio.Task[None] | None = None

    def logged(self, tenants: Iterable[int]) -> None:
        """There are new terms in the log."""
        self._tenants.update(tenants)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        seconds = GATHER_SECONDS
        while self._tenants:
            await asyncio.sleep(seconds)
            seconds = GATHER_SECONDS
            tenants, self._tenants = self._tenants, set()
            for number in sorted(tenants):
                try:
                    await self._file(number)
                except (Again, Unavailable) as error:
                    log.info("terms of tenant %d are filed later: %s", number, error)
                    self._tenants.add(number)
                    seconds = REST_SECONDS
                except Exception:
                    log.exception("terms of tenant %d cannot be filed", number)

    async def close(self) -> None:
        """Leave what is not filed to whoever searches or writes next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
