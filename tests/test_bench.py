"""The benchmark on PostgreSQL: its page is true for any outcome, and what it compares with does the work it says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import postgres as server
import processes
import pytest

from bench import postgres, report_postgres
from bench.peers import fastapi, pgbench
from bench.report_postgres import AT_ONCE, FASTAPI, LONE, MANY, ONE, STEPS, TENANTS, TWO

CUSTOMERS = 20
WORDS = ("postgresql", "pgbench", "fastapi", "sqlalchemy", "cpu", "memory", "system", "python")


@pytest.fixture(scope="module")
def book() -> Iterator[str]:
    with server.database() as url:
        processes.make_book(url, CUSTOMERS)
        yield url


@pytest.fixture
def copy(book: str) -> Iterator[str]:
    """A copy of a book, as each of those compared gets one."""
    name = f"{book.split('?')[0].rsplit('/', 1)[1]}_copy"
    server.make_database(server.server(), name, book.split("?")[0].rsplit("/", 1)[1])
    yield server.named_database(book, name)
    server.drop_database(server.server(), name)


# ---- pgbench and the service


@pytest.mark.parametrize("script", [pgbench.STEPS, pgbench.AT_ONCE], ids=lambda path: path.stem)
def test_pgbench_does_one_update_with_one_change_for_each_transaction(copy: str, tmp_path: Path, script: Path) -> None:
    pgbench.prepare(copy)
    found = pgbench.measure(copy, script, CUSTOMERS, 4, 0.1, tmp_path / "logs")
    assert found.answers == len(found.latencies) > 0 and found.rate > 0
    ((versions, changes),) = server.rows(copy, "SELECT (SELECT sum(version) FROM customers), count(*) FROM changes")
    assert versions == changes == CUSTOMERS + found.answers
    updated = server.rows(
        copy,
        "SELECT c.fields, c.version, u.version, p.version FROM customers AS u JOIN changes AS c ON c.id = u.change_id"
        " JOIN changes AS p ON p.id = c.previous_id WHERE c.kind = 'updated'",
    )
    assert updated
    for fields, version, current, previous in updated:
        assert set(json.loads(fields)) == {"Comments", "Email", "Phone1", "Salesman", "Rating"}
        assert version == current == previous + 1


def test_a_script_that_fails_is_said(copy: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="change_ids"):
        pgbench.measure(copy, pgbench.AT_ONCE, CUSTOMERS, 1, 0.1, tmp_path / "logs")


def test_the_service_gets_the_same_rows_with_types_of_its_own(copy: str) -> None:
    fastapi.ordinary(copy)
    ((count, wholesale, commission, addresses),) = server.rows(
        copy,
        "SELECT count(*), min(pg_typeof(is_wholesale)::text), min(pg_typeof(account_manager1_commission)::text),"
        " min(pg_typeof(addresses)::text) FROM customers",
    )
    assert (count, wholesale, commission, addresses) == (CUSTOMERS, "boolean", "numeric", "jsonb")
    columns = "tenant_id, customer_id, version, at, employee_id, employee, door, request_id, kind, fields"
    insert = (
        f"INSERT INTO changes ({columns}) SELECT {columns} FROM changes LIMIT 1 RETURNING id, pg_typeof(fields)::text"
    )
    assert server.rows(copy, insert) == [(CUSTOMERS + 1, "jsonb")]


# ---- the page


def results(one: float = 5000, two: float = 9000, server_us: float = 150) -> dict[str, Any]:
    """What a run may have found."""
    rates = {ONE: one, TWO: two, TENANTS: 1.5 * two, STEPS: 4000.0, AT_ONCE: 8000.0, FASTAPI: 500.0}

    def figures(rate: float, name: str) -> dict[str, float]:
        servers = {} if name in (STEPS, AT_ONCE) else {"server_us": server_us}
        return {"rate": rate, "p50": 0.9, "p99": 4.0, "client_us": 10.0, "postgres_us": 60.0, "others": 0.1, **servers}

    return {
        "scenarios": {
            MANY: {name: figures(rate, name) for name, rate in rates.items()},
            LONE: {name: figures(rate / 10, name) for name, rate in rates.items()},
        },
        "machine": dict.fromkeys(WORDS, "x") | {"cores": 2},
        "settings": postgres.SETTINGS,
        "ours": True,
        "changes": dict.fromkeys(rates, 12345),
        "change_bytes": dict.fromkeys(rates, 480.0),
        "own": {"rate": 1e5, "client_us": 9.0},
        "flush_ms": 0.2,
        "rounds": 5,
        "seconds": 4.0,
        "customers": 10_000,
    }


def test_the_page_and_its_plot(tmp_path: Path) -> None:
    found = results()
    report_postgres.write(found, tmp_path)
    page = (tmp_path / "benchmark-postgres.md").read_text()
    assert page.startswith("# Benchmark on PostgreSQL\n") and "{" not in page
    assert max(len(line) for line in page.splitlines() if not line.startswith("|")) <= report_postgres.LINE
    assert "`shared_buffers = 1GB`" in page and "**12,345**" in page
    plot = ElementTree.fromstring((tmp_path / "benchmark-postgres.svg").read_text())
    assert set(found["changes"]) < {one.text for one in plot.iter("{http://www.w3.org/2000/svg}text")}


@pytest.mark.parametrize(
    ("figures", "reached"),
    [((5000, 9000), [True, True, True]), ((5000, 8900), [True, True, False]), ((5000, 3000), [False, False, False])],
)
def test_aims_are_reached_or_not(figures: tuple[float, float], reached: list[bool]) -> None:
    table = report_postgres.aims(results(*figures))
    assert ["**no**" not in line for line in table.splitlines()[2:5]] == reached
    assert table.count("≤ 1") == 2


@pytest.mark.parametrize(
    ("one", "two", "server_us", "said", "limit"),
    [
        (5000, 9000, 190, "1.80 × the updates of one: the second adds 80%", "it was at its limit"),
        (5000, 5100, 100, "no difference that can be told from noise", "it was not at its limit"),
        (5000, 3500, 100, "0.70 × the updates of one: the second costs 30%", "it was not at its limit"),
    ],
)
def test_what_the_second_process_adds(one: float, two: float, server_us: float, said: str, limit: str) -> None:
    text = " ".join(report_postgres.second_process(results(one, two, server_us)).split())
    assert said in text and limit in text
    assert ("hardly more to give" in text) == (two * (server_us + 70) >= report_postgres.BUSY * 2e6)
    assert "two tenants, two processes take 1.50 × as many as on one" in text
    assert f"it is {one / 10:,.0f} and {two / 10:,.0f} updates a second" in text


def test_a_run_of_some_only_says_nothing_of_the_others() -> None:
    found = results()
    for scenario in found["scenarios"].values():
        del scenario[TWO]
    table = report_postgres.table(found)
    assert "## Aims" in table and "second process" not in table
    assert len(report_postgres.aims(found).splitlines()) == 3, "one process, one connection"


# ---- what it insists on


def test_changes_must_add_up() -> None:
    postgres.must_add_up({ONE: 3}, {ONE: 3})
    with pytest.raises(SystemExit, match="3 updates were answered, 2 changes recorded"):
        postgres.must_add_up({ONE: 2}, {ONE: 3})


def test_a_server_that_does_not_flush_is_refused(book: str) -> None:
    postgres.must_flush(postgres.SETTINGS)
    found = postgres.settings(book)
    assert set(found) == set(postgres.SETTINGS)
    with pytest.raises(SystemExit, match="only figures with on compare"):
        postgres.must_flush(postgres.SETTINGS | {"fsync": "off"})


@pytest.mark.parametrize("text", ["regulars", "pgbench,fastapi", ""])
def test_words_that_are_known(text: str) -> None:
    assert postgres.known_words(text) == text
