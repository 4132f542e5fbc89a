"""Moving house: a store copied into another one, in every direction, interrupted, refused, and compared."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import argon2
import httpx2
import msgspec
import pytest
from conftest import (
    ADMIN,
    BOTH,
    HOST,
    OTHER_HOST,
    PASSWORD,
    SAMPLE,
    SAMPLE_HOST,
    Api,
    Clock,
    Running,
    fill,
    new_store,
    running,
)
from postgres import wait
from processes import rows, write
from test_cli import call, table
from test_idempotency import same
from test_postgres import forbidden
from test_store import patch

from regulars import customers, moving, sandbox, search
from regulars.app import backend, whole
from regulars.moving import Halted, Verdict
from regulars.record import RECORDS, Customer, Tenant
from regulars.settings import Settings
from regulars.store import Store, statements
from regulars.store.whole_postgres import WholeDatabase

SAMPLES = 130


def fill_in(server: Running) -> None:
    """Customers of three tenants with a history, custom values, groups and addresses."""
    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    server.run(SAMPLE, fill, Tenant(tenant_id=SAMPLE, id=SAMPLE, name="sample"), hashed)
    server.run(SAMPLE, customers.load, list(sandbox.customers(SAMPLE, SAMPLES, 3)))
    for number in range(1, SAMPLES, 3):
        server.run(SAMPLE, customers.update, number, patch(phone1="+1 555 0100", comments=f"No. {number} Ω"))
    for host in (HOST, OTHER_HOST):
        api = server.api(host=host)
        api.post("/api/v1/webhooks", {"URL": "https://shop.example.com/hook", "Members": ["Email"]})
        one = api.new(LastName="Łukasiewicz")
        api.update(one, Title="Dr", BusinessAliases=["Ω", "Ł"], AccountManager1Commission=0.25)
        api.update(one, "CustomColumns", CustomColumns=[{"ColumnName": "Likes", "Value": ["Tea", "Coffee"]}])
        api.update(one, Title="")


def keyed(api: Api) -> list[httpx2.Response]:
    """What two requests with a key are answered, the first time or again: one is done and one refused."""
    return [
        api.put("Customers/2", {"Phone2": "+1 555 0199 Ω"}, Idempotency_Key="done", Prefer="return=representation"),
        api.put("Customers/2", {"CompanyId": 999}, Idempotency_Key="refused"),
    ]


def seen(api: Api) -> list[Any]:
    """What a caller finds, by filters of each kind, and reads."""
    one = api.read(1)
    address = one["Addresses"][0]
    queries = [
        f"lastName={one['General']['LastName'][:2]}",
        f"email={one['General']['Email']}",
        f"keyword={one['General']['FirstName']}",
        f"city={address['City'][:3]}",
        f"phoneNumber={one['Personal']['Phone1'][-4:]}",
        "customerType=Wholesale",
        "rating=5",
        "createdOnFrom=2020-01-01&createdOnTo=2030-01-01",
        "pageNumber=2",
    ]
    found = [api.list(query) for query in queries]
    assert all(page["TotalResults"] for page in found)
    history = [[msgspec.structs.astuple(change) for change in api.changes(number)] for number in (1, 2)]
    return [one, *found, *history, api.get("Customers/1").headers["etag"]]


class Source(NamedTuple):
    """A store of which the server was stopped, a token that it gave, and what a caller saw with it and was answered."""

    url: str
    token: str
    seen: list[Any]
    answers: list[httpx2.Response]


async def search_everywhere(url: str) -> None:
    """Have all search terms filed that are only logged: a copy files its own."""
    async with Store(backend(url)) as store:
        for tenant_id in (await store.tenants()).values():
            await store.find(tenant_id, search.keyword("anybody"), 1, 0)


@pytest.fixture(scope="module", params=BOTH)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """A store on each database, not to be written to."""
    with new_store(request.param, tmp_path_factory.mktemp("source")) as url:
        with running(url) as server:
            fill_in(server)
            api = server.api(host=SAMPLE_HOST)
            answers, found = keyed(api), seen(api)
        wait(search_everywhere(url))
        yield Source(url, api.token, found, answers)


@pytest.fixture(params=BOTH)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a store of either kind with nothing in it."""
    with new_store(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The URL of a SQLite file with some customers, to be written to."""
    url = f"sqlite:///{tmp_path}/source.db"
    call("init", "--tenant", "acme", "--user", ADMIN, store=url)
    call("sample", "--customers", "60", store=url)
    return url


def silent(part: str, total: int, done: int) -> None: ...


def move(source: str, target: str, report: moving.Report = silent, page_rows: int = 50) -> list[Verdict]:
    async def work() -> list[Verdict]:
        old, new = whole(source), whole(target)
        old.page_rows = new.page_rows = page_rows
        async with old.reading(), new.filling():
            return await moving.copy(old, new, report)

    return wait(work())


class Stopped(Exception):
    pass


def stop_in(part: str, rows: int = 1) -> moving.Report:
    """Stops a copy when so many rows of a part of it are done."""
    done = 0

    def report(name: str, total: int, more: int) -> None:
        nonlocal done
        done += more if name == part else 0
        if done >= rows:
            raise Stopped

    return report


def apart(work: Callable[[], Any]) -> Any:
    """What is done by another program, while a copy is being made here."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def contents(url: str) -> dict[str, list[Any]]:
    """All that two stores that are the same have in common, past the product."""
    found = {}
    for kind in RECORDS:
        found[kind.table] = rows(url, f"SELECT {', '.join(statements.columns(kind))} FROM {kind.table}")
    found["customer_terms"] = rows(url, "SELECT tenant_id, term, customer_id FROM customer_terms")
    found["secrets"] = rows(url, "SELECT name, value FROM secrets")
    # a file's counter of changes is its last change, and it counts how often terms were filed
    found["counters"] = rows(
        url, "SELECT tenant_id, name, value FROM counters WHERE name <> 'changes' AND name <> 'filing' AND value > 0"
    )
    return {name: sorted(some) for name, some in found.items()}


# ---- what a copy is


def test_a_copy_has_every_row_as_it_was(source: Source, target: str) -> None:
    verdicts = move(source.url, target)
    assert contents(target) == contents(source.url)
    assert all(one.same for one in verdicts)
    counted = {one.table: one.source.rows for one in verdicts}
    assert counted["customers"] == SAMPLES + 2
    assert counted["changes"] == SAMPLES + 2 * 4 + len(range(1, SAMPLES, 3)) + 1
    assert counted["answers"] == len(source.answers)
    assert set(counted) == {kind.table for kind in RECORDS} | {"customer_terms", "counters", "secrets"}
    everybody = map(statements.reader(Customer), contents(target)["customers"])
    filed = [(one.tenant_id, term, one.id) for one in everybody for term in search.terms(one)]
    assert contents(target)["customer_terms"] == sorted(filed)


def test_a_server_over_the_copy_goes_on_where_the_old_one_stopped(source: Source, target: str) -> None:
    """Tokens are good, lists find the same, versions and ids go on."""
    move(source.url, target)
    with Running(Settings(store=target), Clock()) as server:
        api = server.holding(source.token, SAMPLE_HOST)
        assert seen(api) == source.seen
        newest = rows(target, f"SELECT max(id) FROM changes WHERE tenant_id = {SAMPLE}")[0][0]
        assert api.update(1, SourceId="moved", Phone1="98765").headers["etag"] == '"3"'
        assert api.stored(1).change_id == newest + 1
        assert api.new(Email="new@example.com") == SAMPLES + 1
        assert [one["UserID"] for one in api.list("phoneNumber=98765")["Items"]] == [1]
        assert server.login(host=OTHER_HOST).status_code == 200


def test_a_request_that_is_sent_again_to_a_server_over_the_copy_gets_its_first_answer(
    source: Source, target: str
) -> None:
    move(source.url, target)
    with Running(Settings(store=target), Clock()) as server:
        api = server.holding(source.token, SAMPLE_HOST)
        api.update(2, Phone2="1")
        with api.unchanged(2):
            assert all(map(same, source.answers, keyed(api)))
    assert [one.status_code for one in source.answers] == [200, 400]


# ---- interruptions

FROM_FILE = pytest.mark.parametrize("source", BOTH[:1], indirect=True, scope="module")
"""For what is the same whatever the source is."""


@FROM_FILE
@pytest.mark.parametrize("part", ["changes", "customers", "search terms", "compared"])
def test_an_interrupted_copy_goes_on_where_it_stopped(source: Source, target: str, part: str) -> None:
    if part == "search terms" and target.startswith("postgres"):
        part = "customers"  # there they are written together
    with pytest.raises(Stopped):
        move(source.url, target, stop_in(part, 60), 20)
    there = len(rows(target, "SELECT id FROM customers"))
    assert rows(target, "SELECT id FROM tenants") == [], "nobody can be served yet"
    if part == "customers":
        assert 0 < there < SAMPLES
    refused = call("serve", store=target, ok=False).output
    assert f"regulars copy --from {source.url} --to {target}" in refused
    assert "not finished" in call("init", "--tenant", "new", "--user", ADMIN, store=target, ok=False).output
    told: list[int] = []
    move(source.url, target, lambda name, total, done: told.append(done) if name == "customers" else None, 20)
    assert contents(target) == contents(source.url)
    assert sum(told) == SAMPLES + 2, "what was there is counted, and not copied again: it would clash"


KILLED = """
import os, signal, sys
from regulars import cli, moving
from regulars.store import whole_postgres, whole_sqlite

whole_postgres.WholeDatabase.page_rows = whole_sqlite.WholeFile.page_rows = 20
copy, seen = moving.copy, 0

def killed(source, target, report):
    def last(part, total, done):
        global seen
        seen += done if part == "customers" else 0
        if seen >= 50:
            os.kill(os.getpid(), signal.SIGKILL)
    return copy(source, target, last)

moving.copy = killed
cli.main(["copy", "--from", sys.argv[1], "--to", sys.argv[2]])
"""


def test_a_killed_copy_goes_on_where_it_stopped(source: Source, target: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, source.url, target], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert 0 < len(rows(target, "SELECT id FROM customers")) < SAMPLES
    assert "not finished" in call("serve", store=target, ok=False).output
    finished = call("copy", "--from", source.url, "--to", target)
    assert {row["verdict"] for row in table(finished)} == {"same"}
    assert contents(target) == contents(source.url)


# ---- what is refused


def test_a_source_that_was_written_to_is_noticed_when_a_copy_goes_on(file: str, target: str) -> None:
    with pytest.raises(Stopped):
        move(file, target, stop_in("customers"), 20)
    call("sample", "--customers", "1", store=file)
    with pytest.raises(Halted, match="changes of tenant 1 from 60 to 61"):
        move(file, target)
    assert rows(target, "SELECT id FROM tenants") == []


@pytest.mark.parametrize("part", ["changes", "compared"])
def test_a_source_that_is_written_to_meanwhile_is_noticed(file: str, target: str, part: str) -> None:
    def report(name: str, total: int, done: int) -> None:
        if name == part and not written:
            written.append(apart(lambda: call("group", "add", "--name", "Late", store=file)))

    written: list[Any] = []
    with pytest.raises(Halted, match="revision of tenant 0"):
        move(file, target, report)
    assert written and rows(target, "SELECT id FROM tenants") == []


@FROM_FILE
def test_a_target_in_use_is_refused(source: Source, book: str) -> None:
    call("init", "--tenant", "acme", "--user", ADMIN, store=book)
    before = contents(book)
    assert "is in use" in call("copy", "--from", source.url, "--to", book, ok=False).output
    assert contents(book) == before
    assert "is in use" in call("copy", "--from", book, "--to", book, ok=False).output


@FROM_FILE
def test_a_target_that_was_opened_is_refused(source: Source, target: str) -> None:
    """A server may run there, with a signing key of its own."""
    call("company", "list", store=target, ok=False)
    assert "is in use" in call("copy", "--from", source.url, "--to", target, ok=False).output


@FROM_FILE
def test_an_unfinished_copy_of_another_store_is_refused(source: Source, file: str, target: str) -> None:
    with pytest.raises(Stopped):
        move(source.url, target, stop_in("customers"), 20)
    result = call("copy", "--from", file, "--to", target, ok=False)
    assert f"an unfinished copy of {source.url}" in result.output


@FROM_FILE
def test_an_unfinished_copy_or_an_empty_store_cannot_be_copied(source: Source, target: str, tmp_path: Path) -> None:
    new = f"sqlite:///{tmp_path}/new.db"
    assert "no tenants" in call("copy", "--from", target, "--to", new, ok=False).output
    with pytest.raises(Stopped):
        move(source.url, target, stop_in("customers"), 20)
    assert "not finished" in call("copy", "--from", target, "--to", new, ok=False).output


@FROM_FILE
def test_two_copies_at_once_do_not_mix(source: Source, target: str) -> None:
    """A file has one writer. In PostgreSQL the second goes on where the first is, which then finds rows in its way."""
    second: list[str] = []

    def report(part: str, total: int, done: int) -> None:
        if part == "changes" and done and not second:
            one_writer = target.startswith("sqlite")
            again = apart(lambda: call("copy", "--from", source.url, "--to", target, ok=not one_writer))
            second.append(again.output)

    if target.startswith("sqlite"):
        move(source.url, target, report, 20)
        assert "another program writes to it" in second[0]
    else:
        with pytest.raises(Halted, match="perhaps another copy"):
            move(source.url, target, report, 20)
    assert contents(target) == contents(source.url)


@FROM_FILE
def test_no_statement_uses_what_other_engines_lack(source: Source) -> None:
    seen: set[str] = set()

    async def work(url: str) -> None:
        old, new = whole(source.url), whole(url)
        assert isinstance(new, WholeDatabase)
        plain = new.link.connect

        async def noted(*_: object, **__: object) -> Any:
            connection = await plain()
            connection.add_query_logger(lambda record: seen.add(record.query))
            return connection

        new.link.connect = noted  # type: ignore[method-assign]
        async with old.reading(), new.filling():
            await moving.copy(old, new, silent)

    with new_store("postgres", Path()) as url:
        wait(work(url))
    assert len(seen) > 20 and any("DELETE FROM secrets" in sql for sql in seen)
    assert {sql: found for sql in seen if (found := forbidden(sql))} == {}


# ---- what is found


@FROM_FILE
@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("UPDATE customers SET comments = comments || '.' WHERE tenant_id = 4 AND id = 8", "customers: 8 of tenant 4"),
        ("UPDATE changes SET door = 'x' WHERE tenant_id = 1 AND id = 2", "changes: 2 of tenant 1"),
        ("DELETE FROM customers WHERE tenant_id = 4 AND id IN (5, 6)", "customers: 5 of tenant 4, 6 of tenant 4\n"),
        ("UPDATE employees SET is_admin = 1 - is_admin WHERE tenant_id = 2 AND id = 3", "employees: 3 of tenant 2"),
        ("DELETE FROM customer_terms WHERE tenant_id = 4 AND customer_id = 99", "customer_terms: 0–99 of tenant 4"),
    ],
)
def test_what_differs_is_named_and_the_copy_stays_unfinished(source: Source, target: str, sql: str, found: str) -> None:
    with pytest.raises(Stopped):
        move(source.url, target, stop_in("compared"))
    write(target, sql)
    result = call("copy", "--from", source.url, "--to", target, ok=False)
    assert found in result.output
    assert {row["table"] for row in table(result) if row["verdict"] == "DIFFERS"} == {found.split(":")[0]}
    assert "not finished" in call("serve", store=target, ok=False).output


def test_the_stores_may_be_named_in_the_environment(file: str, tmp_path: Path) -> None:
    assert "REGULARS_COPY_TO" in call("copy", "--from", file, ok=False).output
    named = {"REGULARS_STORE": file, "REGULARS_COPY_TO": f"sqlite:///{tmp_path}/new.db"}
    assert {row["verdict"] for row in table(call("copy", **named))} == {"same"}
    assert contents(named["REGULARS_COPY_TO"]) == contents(file)


def test_a_password_in_a_url_is_not_shown(file: str) -> None:
    url = "postgresql://ann:s3cret@127.0.0.1:1/book?connect_timeout=1"
    for given in (["--from", file, "--to", url], ["--from", url, "--to", f"{file}2"]):
        output = call("copy", *given, ok=False).output
        assert "***" in output and "s3cret" not in output
