"""The commands, as a user types them."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regulars import customers
from regulars.app import backend
from regulars.cli import demo_text, main
from regulars.customers import Patch
from regulars.store import Actor, Store


def call(*arguments: str, store: Path | str | None = None, ok: bool = True, **environment: str) -> Result:
    url = f"sqlite:///{store}/book.db" if isinstance(store, Path) else store
    options = ["--store", url] if url else []
    result = CliRunner().invoke(main, [*arguments, *options], env={"REGULARS_PASSWORD": "correct horse", **environment})
    assert (result.exit_code == 0) is ok, result.output
    return result


def table(result: Result) -> list[dict[str, str]]:
    head, *rows = [line.split("\t") for line in result.stdout.splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.fixture
def book(book: str) -> str:
    """A store with a tenant, on each database."""
    call("init", "--tenant", "acme", "--user", "ann@example.com", store=book)
    return book


def test_init_is_idempotent_and_makes_a_company_and_an_admin(book: str) -> None:
    again = call("init", "--tenant", "ACME", "--user", "Ann@example.com", store=book)
    assert "up to date" in again.output
    assert [row["name"] for row in table(call("company", "list", store=book))] == ["acme"]
    [employee] = table(call("employee", "list", store=book))
    assert (employee["email"], employee["is_admin"], employee["enabled"]) == ("ann@example.com", "yes", "yes")


@pytest.mark.parametrize("name", ["a.b", "", "a b", "ü", "x" * 64])
def test_a_tenant_name_is_a_host_label(tmp_path: Path, name: str) -> None:
    assert "tenant name" in call("init", "--tenant", name, "--user", "a@b.test", store=tmp_path, ok=False).output


def test_a_short_password_is_refused(tmp_path: Path) -> None:
    result = call("init", "--tenant", "a", "--user", "a@b.test", store=tmp_path, ok=False, REGULARS_PASSWORD="short")
    assert "at least 8 characters" in result.output


def test_sample_is_the_same_for_the_same_seed_and_numbers_go_on(book: str) -> None:
    for seed in ("5", "6"):
        result = call("sample", "--customers", "30", "--seed", seed, store=book)
        assert "30 customers added" in result.output
    assert table(call("changes", "31", store=book))[0]["member"] == "created"
    assert "no history" in call("changes", "61", store=book, ok=False).output


@pytest.mark.parametrize(
    ("kind", "given", "shown"),
    [
        ("company", ["--name", "Two", "--allow-shipping-unpaid-orders"], {"allow_shipping_unpaid_orders": "yes"}),
        ("group", ["--name", "VIP"], {"name": "VIP"}),
        (
            "column",
            ["--name", "Tier", "--choices", "Gold, Silver", "--data-type", "string"],
            {"choices": "Gold, Silver"},
        ),
        ("term", ["--name", "Net 30"], {"name": "Net 30"}),
        ("carrier", ["--name", "UPS"], {"name": "UPS"}),
        ("service", ["--carrier-id", "1", "--name", "Ground"], {"carrier_id": "1"}),
    ],
)
def test_reference_records_can_be_listed_added_and_set(
    book: str, kind: str, given: list[str], shown: dict[str, str]
) -> None:
    [added] = table(call(kind, "add", *given, store=book))
    assert shown.items() <= added.items()
    assert added in table(call(kind, "list", store=book))
    [changed] = table(call(kind, "set", added["id"], "--name", "Other", store=book))
    assert changed == added | {"name": "Other"}
    assert "999" in call(kind, "set", "999", "--name", "x", store=book, ok=False).output
    assert "required" in call(kind, "add", store=book, ok=False).output


def test_employees_can_be_added_disabled_and_given_a_new_password(book: str) -> None:
    call("employee", "add", "shop@example.com", "--name", "Shop", "--no-can-delete", store=book)
    assert "already" in call("employee", "add", "SHOP@example.com", store=book, ok=False).output
    [row] = table(call("employee", "set", "shop@example.com", "--no-enabled", "--password", store=book))
    assert (row["enabled"], row["can_delete"], row["can_edit"]) == ("no", "no", "yes")
    assert "password" not in row
    assert "no employee" in call("employee", "set", "x@y.test", "--name", "x", store=book, ok=False).output


def test_settings_of_a_tenant(book: str) -> None:
    assert "require_business_name = false" in call("setting", "list", store=book).output
    assert "quirks = true" in call("setting", "set", "quirks", "true", store=book).output
    assert "quirks = true" in call("setting", "list", store=book).output


@pytest.mark.parametrize("url", ["book.db", "mysql://x/y", "sqlite://host/book.db", "sqlite:///"])
def test_a_store_is_named_by_url(url: str) -> None:
    assert "Expected a store such as" in call("company", "list", "--store", url, ok=False).output


def test_migrating_makes_the_tables_and_then_nothing(tmp_path: Path, book: str) -> None:
    assert "up to date" in call("migrate", store=book).output
    assert "applied migration" in call("migrate", store=tmp_path / "new").output


def test_a_missing_store_says_how_to_make_one(tmp_path: Path) -> None:
    assert "regulars init" in call("serve", store=tmp_path, ok=False).output


def test_an_unknown_tenant_lists_the_known_ones(book: str) -> None:
    assert "acme" in call("company", "list", "--tenant", "nobody", store=book, ok=False).output


def test_settings_come_from_a_file_the_environment_or_the_command_line(book: str, tmp_path: Path) -> None:
    config = tmp_path / "regulars.toml"
    config.write_text(f'store = "{book}"\n')
    assert table(call("company", "list", "--config", str(config)))
    assert table(call("company", "list", REGULARS_STORE=book))
    config.write_text("stor = 1\n")
    assert "unknown setting stor" in call("company", "list", "--config", str(config), ok=False).output
    assert "expected int" in call("serve", store=book, ok=False, REGULARS_PORT="many").output


def commands(group: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    for name, command in getattr(group, "commands", {}).items():
        found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    text = call(*path, "--help").output
    is_group = bool(path) and "COMMAND [ARGS]" in text
    assert is_group or re.search(r"regulars( [a-z]+)+", text.split("Options:")[0].split("Usage:")[1].split("\n", 1)[1])


def test_the_demo_prints_lines_to_paste() -> None:
    text = demo_text(9000)
    assert text.count("curl") == 3
    assert "http://127.0.0.1:9000/rest/api/token" in text


def test_undo_shows_what_it_would_do_does_it_and_says_what_is_in_the_way(book: str) -> None:
    def edit(**values: str) -> None:
        async def work() -> None:
            async with Store(backend(book)) as store:
                await store.run(Actor(1, 0, "operator", "cli", "wrong"), customers.update, 1, Patch(values))

        asyncio.run(work())

    call("sample", "--customers", "2", store=book)
    edit(phone1="1", fax="0")
    edit(phone1="2")
    before = table(call("changes", "1", store=book))
    [row] = table(call("undo", "4", "--dry-run", store=book))
    assert (row["customer"], row["member"], row["is"], row["would be"]) == ("1", "Phone1", "2", "1")
    assert table(call("changes", "1", store=book)) == before
    refused = call("undo", "3", store=book, ok=False)
    assert "Nothing was undone: Phone1 of customer 1 was altered again" in refused.output
    assert "1\tPhone1\t1\t2\toperator\t4" in refused.output
    done = table(call("undo", "--request", "wrong", store=book))
    assert {one["member"] for one in done} == {"Phone1", "Fax"}
    assert table(call("undo", "--employee", "Operator", "--since", "2026-01-01", "--door", "nowhere", store=book)) == []
    for arguments in ([], ["5", "--request", "x"], ["--since", "soon", "--door", "cli"], ["999"], ["1"]):
        assert call("undo", *arguments, store=book, ok=False).output.startswith("Error: ")


def test_changes_are_followed_from_where_one_says(book: str) -> None:
    call("sample", "--customers", "3", store=book)
    command = [sys.executable, "-m", "regulars", "changes", "--follow", "--after", "1", "--store", book]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline())["ID"] for _ in range(2)] == [2, 3]
        call("sample", "--customers", "1", store=book)
        assert json.loads(process.stdout.readline())["Kind"] == "created"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    for arguments in ([], ["1", "--follow"], ["1", "--after", "1"], ["--follow", "--after", "2-1"]):
        assert "Expected" in call("changes", *arguments, store=book, ok=False).output
