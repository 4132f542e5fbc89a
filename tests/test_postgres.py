"""The store on PostgreSQL: its schema, what its statements may not use, the wall between tenants, outages."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import asyncpg
import msgspec
import postgres
import pytest
from click.testing import CliRunner
from conftest import Errors
from postgres import execute, rows
from test_store import ACTOR, START, opened, patch, run
from ways import Cutting

from regulars import access, cli, customers, sandbox, search
from regulars.app import backend, migrate
from regulars.errors import Unavailable
from regulars.fields import fields_of
from regulars.record import RECORDS, Change, Customer
from regulars.settings import shown
from regulars.store import Again, Store, Tx, link
from regulars.store.migrations import Schema, migrations
from regulars.store.postgres import LOOK_UP, READ_NEWS, Postgres, column_type, numbered
from regulars.store.statements import columns, matches

TABLES = {kind.table for kind in RECORDS} | {"customer_terms", "term_log", "counters"}
"""Every table that has rows of tenants."""


@pytest.fixture
def empty() -> Iterator[str]:
    with postgres.database(migrated=False) as url:
        yield url


# ---- the schema


def test_the_migrations_give_what_the_declarations_ask_for(url: str) -> None:
    found = rows(
        url,
        "SELECT table_name, column_name, data_type, coalesce(collation_name, ''), is_nullable"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
    )
    types = rows(
        url,
        "SELECT udt_name, attribute_name, data_type FROM information_schema.attributes"
        " WHERE udt_schema = 'public' ORDER BY udt_name, ordinal_position",
    )
    keys = rows(
        url,
        "SELECT table_name, column_name FROM information_schema.key_column_usage"
        " WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
    )
    for kind in RECORDS:
        asked = [(name, column_type(kind, name)) for name in columns(kind)]
        mine = [row for row in found if row[0] == kind.table]
        assert [(name, type_) for _, name, type_, *_ in mine] == asked
        assert {(type_, collation) for _, _, type_, collation, _ in mine} <= {("bigint", ""), ("text", "C")}
        assert {nullable for *_, nullable in mine} == {"NO"}
        assert [(name, type_) for table, name, type_ in types if table == f"{kind.table}_row"] == asked
        assert [name for table, name in keys if table == kind.table] == ["tenant_id", "id"]


def test_migrating_is_idempotent_and_may_be_done_by_several_at_once(empty: str) -> None:
    async def work() -> None:
        done = await asyncio.gather(*(migrate(empty) for _ in range(5)))
        assert sorted(done) == [[], [], [], [], [number for number, _ in migrations("postgres")]]
        assert await migrate(empty) == []

    run(work)


@pytest.mark.parametrize(
    ("sql", "hint"),
    [
        ("DELETE FROM schema_version", "regulars init"),
        ("DROP TABLE schema_version", "regulars init"),
        ("INSERT INTO schema_version VALUES (999, '')", "newer regulars"),
    ],
)
def test_another_schema_is_refused_with_the_command_to_run(url: str, sql: str, hint: str) -> None:
    execute(url, sql)

    async def work() -> None:
        with pytest.raises(Schema, match=hint):
            await Postgres(url).open()

    run(work)


SECRET = "s3cr:et@/"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{SECRET}@127.0.0.1:1/book",
        "postgresql://ann@127.0.0.1:1/book?password=s3cr%3Aet&connect_timeout=1",
        f"postgresql://ann:{SECRET}@localhost:port/book",
        f"postgresql://ann:{SECRET}@localhost/book?statement_timeout=soon",
        f"postgresql://ann:{SECRET}@localhost/book?sslmode=maybe",
    ],
)
def test_a_password_is_never_shown(url: str) -> None:
    for command in (["company", "list"], ["migrate"]):
        result = CliRunner().invoke(cli.main, [*command, "--store", url])
        assert result.exit_code == 1, result.output
        assert "***" in result.output and "s3cr" not in result.output
    assert "s3cr" not in shown(url)


def test_a_url_may_say_more() -> None:
    found = link.Link("postgresql://a@h/d?pool_size=3&statement_timeout=1.5&sslmode=require&application_name=shop")
    assert (found.pool_size, found.statement_timeout) == (3, 1.5)
    assert found.dsn == "postgresql://a@h/d?application_name=shop&sslmode=require"


# ---- what works on other engines that speak PostgreSQL, cut up by tenant

FORBIDDEN = (
    r"\b(big|small)?serial\b|\bidentity\b|\bsequence\b|\bnextval\b",
    r"\btrigger\b|\bprocedure\b|\bfunction\b|\bdo\s+\$|\blanguage\b|\brule\b",
    r"advisory|\blisten\b|\bnotify\b",
    r"\bdeferrable\b|\bexclude\b|\bexclusion\b|\b(int[48]|num|tsz?|tstz|date|multi)range\b|\bdomain\b|\binherits\b",
    r"\bnow\(|\bcurrent_(timestamp|date|time)\b|\blocaltime|\b(statement|clock|transaction)_timestamp\b|\brandom\(",
    r"\breferences\b|\bforeign\s+key\b",
    r"\bgen_random_uuid\b|\btemp(orary)?\b|\bunlogged\b",
)


def forbidden(sql: str) -> list[str]:
    sql = re.sub(r"--.*", "", sql)
    sql = re.sub(r"'[^']*'", "''", sql)
    return [found[0] for one in FORBIDDEN if (found := re.search(one, sql, re.I))]


def test_no_migration_uses_what_other_engines_lack() -> None:
    for number, sql in migrations("postgres"):
        assert forbidden(sql) == [], number
        for key in re.findall(r"PRIMARY KEY \((.*?)\)|INDEX \w+ ON \w+ \((.*?)\)", sql):
            names = "".join(key)
            # which tenant a name means is asked before a tenant is known; secrets belong to no tenant
            assert names.startswith("tenant_id") or names == "name", names
    assert forbidden("CREATE TABLE a (id BIGSERIAL)") and forbidden("SELECT pg_advisory_lock(1)")
    assert forbidden("SELECT now()") and not forbidden("SELECT 1 -- now()")


def test_no_statement_that_is_executed_uses_what_other_engines_lack(url: str) -> None:
    """Whatever connection it comes from, of ours or of the library's own doing."""
    seen: set[str] = set()

    async def work() -> None:
        store = Store(backend(url), lambda: START)
        assert isinstance(store.backend, Postgres)
        plain = store.backend.link.connect

        async def noted(*_: object, **__: object) -> Any:
            connection = await plain()
            connection.add_query_logger(lambda record: seen.add(record.query))
            return connection

        store.backend.link.connect = noted  # type: ignore[method-assign]
        async with store:
            await store.run(ACTOR, access.put_tenant, "demo")
            await store.run(ACTOR, access.put_reference, sandbox.reference(1))
            await store.run(ACTOR, customers.load, list(sandbox.customers(1, 20, 3)))
            await asyncio.gather(
                *(store.run(ACTOR, customers.update, n, patch(email=f"{n}@x.test")) for n in range(1, 9))
            )
            await store.run(ACTOR, lambda tx: tx.holders("e1@x.test"))
            await store.refresh()
            await store.book(1)
            await store.tenants()
            await store.get(Customer, 1, 1)
            await store.changes(1, 1)
            await store.secret("a", "b")
            await store.backend.writable()
            found = await store.find(1, [search.equal("rating", 1, 2), *search.keyword("ann lee")], 10, 0)
            assert found.total >= 0
            await store.find(1, [search.starts("lastName", "a"), search.between("createdOn", None, START)], 10, 0)
            await store.find(1, [], 10, 0)

    run(work)
    assert len(seen) > 20
    assert any("UPDATE customers" in sql for sql in seen) and any("JOIN changes" in sql for sql in seen)
    assert {sql: found for sql in seen if (found := forbidden(sql))} == {}


# ---- the wall between tenants


def test_row_level_security_is_forced_on_every_table_of_tenants(url: str) -> None:
    found = rows(
        url,
        "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner) FROM pg_class AS c"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace",
    )
    assert {row[0] for row in found} == TABLES
    assert all(enabled and forced and owner != link.ROLE for _, enabled, forced, owner in found)
    role = f"SELECT rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = '{link.ROLE}'"
    assert rows(url, role) == [(False, False, False)]


def test_a_statement_that_forgets_the_tenant_meets_the_wall(url: str) -> None:
    """Two tenants with the same customer ids; then statements made past the query builder, in the store's own
    transactions."""
    other = replace(ACTOR, tenant_id=2)

    async def work() -> None:
        async with opened(url, 5) as store:
            await store.run(other, access.put_tenant, "other")
            await store.run(other, customers.load, list(sandbox.customers(2, 7, 9)))
            assert isinstance(store.backend, Postgres)
            for tenants, expected in ([[1], 5], [[2], 7], [[1, 2], 12], [[3], 0], [[], 0]):
                async with store.backend._reading(tenants, "") as connection:
                    assert await connection.fetchval("SELECT count(*) FROM customers") == expected
                    assert (await connection.fetchval("SELECT count(*) FROM changes")) == expected
                    for table in TABLES - {"tenants", "counters"}:
                        strange = f"SELECT count(*) FROM {table} WHERE tenant_id <> ALL ($1)"
                        assert await connection.fetchval(strange, tenants) == 0
            await store.backend.begin([1])
            connection = store.backend._connection
            assert await connection.execute("UPDATE customers SET comments = 'mine'") == "UPDATE 5"
            assert await connection.execute("DELETE FROM customer_terms WHERE tenant_id = 2") == "DELETE 0"
            await store.backend.rollback()
            for sql in (
                "INSERT INTO counters (tenant_id, name, value) VALUES (2, 'x', 1)",
                "UPDATE customers SET tenant_id = 2, id = 100 WHERE id = 1",
                "TRUNCATE customers",
                "ALTER TABLE customers DISABLE ROW LEVEL SECURITY",
                "DELETE FROM changes",
                "INSERT INTO schema_version VALUES (2, '')",
            ):
                await store.backend.begin([1])
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await store.backend._connection.execute(sql)
                await store.backend.rollback()
            assert (await store.find(2, [], 10, 0)).total == 7

    run(work)


def test_owner_and_server_may_be_ordinary_users(empty: str) -> None:
    """The owner may make roles, the server's user may only act as the app; neither is a superuser."""
    owner, app = f"owner_{postgres.uuid4().hex}", f"app_{postgres.uuid4().hex}"
    execute(empty, f"CREATE ROLE {owner} LOGIN CREATEROLE; CREATE ROLE {app} LOGIN; GRANT {link.ROLE} TO {owner}")
    execute(empty, f'ALTER DATABASE "{empty.split("/")[3].split("?")[0]}" OWNER TO {owner}')
    try:
        mine, its = empty.replace("postgres@", f"{owner}@"), empty.replace("postgres@", f"{app}@")

        async def work() -> None:
            await migrate(mine)
            with pytest.raises(Schema, match="GRANT regulars_app"):
                await Postgres(its).open()
            execute(empty, f"GRANT {link.ROLE} TO {app}")
            async with opened(mine, 3) as store, Store(backend(its)) as same:
                await same.run(ACTOR, customers.update, 1, patch(phone1="1"))
                await same.refresh()
                assert (await store.get(Customer, 1, 1)).phone1 == "1"
                assert (await same.find(1, [], 10, 0)).total == 3

        postgres_url = empty
        run(work)
    finally:
        execute(postgres_url, f"DROP OWNED BY {app}, {owner} CASCADE")
        execute(postgres_url, f'ALTER DATABASE "{empty.split("/")[3].split("?")[0]}" OWNER TO postgres')
        execute(postgres_url, f"DROP ROLE {app}; DROP ROLE {owner}")


# ---- queries


def test_each_filter_is_answered_from_the_index(url: str) -> None:
    filters = [
        search.equal("email", "a@x.test"),
        search.starts("lastName", "smi"),
        search.ends("phoneNumber", "123"),
        search.equal("companyIds", 1, 2),
        search.between("modifiedOn", START, START),
        *search.keyword("ann"),
    ]

    async def work() -> None:
        async with opened(url, 50) as store:
            assert isinstance(store.backend, Postgres)
            async with store.backend._reading([1], LOOK_UP) as connection:
                for one in filters:
                    query, values = matches(1, [one])
                    plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {numbered(query)}", *values))
                    assert "customer_terms_pkey" in plan and "Seq Scan" not in plan
                    assert re.search(r"Index Cond: .*term (=|>=)|Index Cond: .*\(term", plan), plan

    run(work)


def test_what_others_changed_is_read_from_the_end_of_the_index(url: str) -> None:
    """However many changes there are, and though the server knows it."""

    async def work() -> None:
        async with opened(url, 1) as store:
            assert isinstance(store.backend, Postgres)
            names = ", ".join(columns(Change))
            values = names.replace(" id,", " n,").replace(" fields", " repeat('x', 400)")
            many = f"INSERT INTO changes ({names}) SELECT {values} FROM changes, generate_series(2, 50000) AS n"
            execute(url, f"{many}; ANALYZE")
            async with store.backend._reading([1], LOOK_UP) as connection:
                await connection.execute(f"PREPARE news (bigint[], bigint[]) AS {READ_NEWS}")
                explain = "EXPLAIN (ANALYZE, COSTS OFF) EXECUTE news ('{1}', '{49990}')"
                plan = "\n".join(row[0] for row in await connection.fetch(explain))
                assert re.search(r"changes_pkey.*rows=10\.?0* .*\n.*Index Cond: .*id > m.id", plan), plan

    run(work)


def test_the_longest_values_fit_into_the_index(url: str) -> None:
    """Four bytes a character, as long as each field may be."""

    def longest(kind: type[Any]) -> dict[str, str]:
        return {
            name: "".join(chr(0x20000 + (7 * n) % 9999) for n in range(spec.limit))
            for name, spec in fields_of(kind).items()
            if spec.type is str and name != "email"
        }

    def fill(tx: Tx) -> Customer:
        before = tx.get(Customer, 1)
        place = msgspec.structs.replace(before.addresses[0], **longest(type(before.addresses[0])))
        return tx.put(msgspec.structs.replace(before, addresses=(place,), **longest(Customer)))

    async def work() -> None:
        async with opened(url, 1) as store:
            after = await store.run(ACTOR, fill)
            assert await store.get(Customer, 1, 1) == after
            assert (await store.find(1, [search.starts("lastName", after.last_name)], 10, 0)).total == 1

    run(work)


# ---- others in the way


def test_a_batch_that_others_got_in_the_way_of_is_run_again_whole(url: str) -> None:
    """Somebody changes a customer past the store, between the batch's look at it and its commit."""
    tries = []

    def update(tx: Tx, text: str) -> int:
        before = tx.get(Customer, 1)
        tries.append(before.version)
        if len(tries) == 1:
            execute(url, "UPDATE customers SET version = version + 1, invoice_note = 'theirs'")
        return tx.put(msgspec.structs.replace(before, phone1=text)).version

    async def work() -> None:
        async with opened(url, 1) as store:
            assert await store.run(ACTOR, update, "mine") == 3
            found = await store.get(Customer, 1, 1)
            assert (found.version, found.phone1, found.invoice_note) == (3, "mine", "theirs")
            assert set(tries) == {1, 2}

    run(work)


def test_a_deadlock_is_run_again(url: str) -> None:
    execute(url, f"ALTER DATABASE \"{url.split('/')[3].split('?')[0]}\" SET deadlock_timeout = '50ms'")
    other = replace(ACTOR, tenant_id=2)
    lock = "SELECT 1 FROM counters WHERE tenant_id = {} AND name = 'changes' FOR UPDATE"

    async def work() -> None:
        async with opened(url, 1) as store:
            await store.run(other, access.put_tenant, "other")
            await store.run(other, customers.load, list(sandbox.customers(2, 1, 9)))
            outsider = await asyncpg.connect(url)
            await outsider.execute("SET deadlock_timeout = '60s'; BEGIN; " + lock.format(2))
            both = asyncio.gather(
                store.run(ACTOR, customers.update, 1, patch(phone1="1")),
                store.run(other, customers.update, 1, patch(phone1="2")),
            )
            await until(lambda: waiting(outsider, 1))
            await outsider.execute(lock.format(1))
            await outsider.execute("COMMIT")
            await outsider.close()
            assert [one.version for one in await both] == [2, 2]

    run(work)


async def waiting(connection: Any, count: int) -> bool:
    """Whether so many sessions wait for a lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await connection.fetchval(sql) >= count)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await true():
            await asyncio.sleep(0)


def test_somebody_who_never_lets_go_is_an_outage_and_not_for_ever(url: str, errors: Errors) -> None:
    async def work() -> None:
        async with opened(url, 1), Store(backend(url + "&statement_timeout=0.2")) as store:
            outsider = await asyncpg.connect(url)
            await outsider.execute("BEGIN; SELECT 1 FROM counters FOR UPDATE")
            with pytest.raises(Unavailable):
                await store.run(ACTOR, customers.update, 1, patch(phone1="1"))
            await outsider.close()
            assert (await store.run(ACTOR, customers.update, 1, patch(phone1="2"))).version == 2

    run(work)
    assert all("QueryCanceled" in text for text in errors.found)
    errors.found.clear()


# ---- outages


def test_connections_that_were_cut_are_made_anew(url: str, errors: Errors) -> None:
    async def work() -> None:
        async with opened(url, 1) as store:
            await store.get(Customer, 1, 1)
            for number in range(3):
                execute(
                    url,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
                )
                assert (await store.run(ACTOR, customers.update, 1, patch(phone1=str(number)))).version == number + 2
                assert (await store.get(Customer, 1, 1)).phone1 == str(number)

    run(work)


def test_a_commit_whose_answer_is_lost_is_unknown_and_never_done_twice(url: str, errors: Errors) -> None:
    if "host=/" not in url:
        pytest.skip("the way that is cut is a socket of the file system")

    async def work(way: Cutting) -> None:
        async with opened(url, 1) as store, Store(backend(way.url)) as far:
            assert (await far.run(ACTOR, customers.update, 1, patch(phone1="1"))).version == 2
            way.cut = "answered"
            with pytest.raises(Unavailable):
                await far.run(ACTOR, customers.update, 1, patch(phone1="2"))
            assert (await store.get(Customer, 1, 1)).version == 3, "it was committed, though nobody was told"
            assert [one.version for one in await store.changes(1, 1)] == [3, 2, 1]
            way.cut = "asked"
            with pytest.raises(Unavailable):
                await far.run(ACTOR, customers.update, 1, patch(phone1="3"))
            assert (await store.get(Customer, 1, 1)).version == 3, "the server never heard of it"
            assert (await far.run(ACTOR, customers.update, 1, patch(phone1="4"))).version == 4

    with Cutting(url) as way:
        run(lambda: work(way))
    errors.found.clear()


def test_what_an_error_of_the_server_means(errors: Errors) -> None:
    for error, known in (
        (asyncpg.SerializationError("x"), Again),
        (asyncpg.DeadlockDetectedError("x"), Again),
        (asyncpg.DiskFullError("x"), Unavailable),
        (asyncpg.ReadOnlySQLTransactionError("x"), Unavailable),
        (asyncpg.TooManyConnectionsError("x"), Unavailable),
        (asyncpg.UniqueViolationError("x"), link.Clash),
        (asyncpg.NumericValueOutOfRangeError("x"), link.Clash),
        (asyncpg.UndefinedTableError("x"), asyncpg.UndefinedTableError),
        (asyncpg.InterfaceError("closed"), Unavailable),
        (asyncpg.InternalClientError("cannot switch to state 12"), Unavailable),
        (ConnectionResetError(), Unavailable),
    ):
        assert type(link.meaning(error)) is known
    errors.found.clear()


def test_whoever_goes_away_amid_a_read_leaves_no_transaction_open(url: str) -> None:
    """Wherever it is. The pool would end the transaction, and log an error."""

    async def work() -> None:
        async with opened(url, 1) as store:
            for steps in [*range(40), *range(40, 400, 20)]:
                reading = asyncio.ensure_future(store.find(1, [search.starts("lastName", "x")], 1, 0))
                for _ in range(steps):
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

            async def none_open() -> bool:  # nor that of the search terms' filing, which goes on beside
                left = (
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
                )
                return rows(url, left) == [(0,)]

            await until(none_open)

    run(work)
