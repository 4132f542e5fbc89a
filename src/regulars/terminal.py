"""What the commands share: their options, a store that is open while they run, and how records are shown."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from enum import Enum
from functools import update_wrapper
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from regulars import moving, settings
from regulars.app import App
from regulars.errors import RegularsError
from regulars.fields import Invalid, Record, fields_of
from regulars.settings import BadSetting, Settings
from regulars.store import Actor, Store
from regulars.store.migrations import Schema

T = TypeVar("T")

console = Console(stderr=True, soft_wrap=True)
output = Console()


class Fail(click.ClickException):
    """A message that says what was wrong and what would be right; exit code 1."""


def run(work: Awaitable[T]) -> T:
    """Run to the end; what the user can do something about becomes a message."""

    async def main() -> T:
        return await work

    try:
        return asyncio.run(main())
    except (RegularsError, BadSetting, Schema, moving.Halted) as error:
        raise Fail(str(error)) from error


def load(given: dict[str, Any], config: str | None) -> Settings:
    try:
        return settings.load(given, config=config)
    except BadSetting as error:
        raise Fail(str(error)) from error


def options(*names: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """The options of some settings (none named: of all); the command gets a `Settings`."""

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        chosen = [one for one in fields(Settings) if not names or one.name in names]

        def wrapped(config: str | None, **given: Any) -> T:
            mine = {one.name: given.pop(one.name) for one in chosen}
            return command(load(mine, config), **given)

        wrapped = update_wrapper(wrapped, command)
        for one in reversed(chosen):
            flag = "--" + one.name.replace("_", "-")
            kind = type(one.default)
            wrapped = click.option(
                f"{flag}/--no{flag[1:]}" if kind is bool else flag,
                one.name,
                type=None if kind is bool else kind,
                default=None,
                help=f"{one.metadata['help']}  [{settings.PREFIX}{one.name.upper()}; default: {one.default!r}]",
            )(wrapped)
        return click.option("--config", help="A TOML file with settings.  [REGULARS_CONFIG]")(wrapped)

    return decorate


@asynccontextmanager
async def opened(chosen: Settings) -> AsyncIterator[App]:
    async with App(chosen) as app:
        yield app


async def tenant_named(store: Store, name: str | None) -> int:
    """The number of a tenant; without a name that of the first."""
    known = await store.tenants()
    if name is None and known:
        return min(known.values())
    if name is None or name.lower() not in known:
        listed = ", ".join(known) or "none yet; make one: regulars init --tenant NAME --user EMAIL"
        raise Fail(f"There is no tenant {name!r} in this store. Known are: {listed}.")
    return known[name.lower()]


def password() -> str:
    """A new password, from the environment or asked for twice."""
    return os.environ.get("REGULARS_PASSWORD") or click.prompt(
        "Password", hide_input=True, confirmation_prompt=True, err=True
    )


def operator(tenant_id: int, door: str = "cli") -> Actor:
    return Actor(tenant_id, 0, "operator", door)


def field_options(record: type[Record], hidden: tuple[str, ...]) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """An option for each field of a record."""

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        for name, spec in reversed(fields_of(record).items()):
            if name not in hidden:
                flag = "--" + name.replace("_", "-")
                flag = f"{flag}/--no{flag[1:]}" if spec.type is bool else flag
                kind = None if spec.type is bool else int if spec.type is int else str
                command = click.option(flag, name, type=kind, default=None, help=spec.doc)(command)
        return command

    return decorate


def values_of(record: type[Record], given: dict[str, Any]) -> dict[str, Any]:
    """The given options as values of the record's fields."""
    found = {}
    for name, value in given.items():
        if value is None:
            continue
        spec = fields_of(record)[name]
        try:
            if spec.type == tuple[str, ...]:
                value = [part.strip() for part in value.split(",") if part.strip()]
            found[name] = spec.convert(value)
        except Invalid as error:
            raise Fail(f"--{name.replace('_', '-')}: {error}") from error
    return found


def show(records: list[Any], hidden: tuple[str, ...]) -> None:
    """Records as a table; tab-separated when the output is not a terminal."""
    if not records:
        console.print("None yet.")
        return
    record: type[Record] = type(records[0])
    names = [name for name in fields_of(record) if name not in hidden or name in ("id", "email")]
    table = Table(*names)
    for one in records:
        table.add_row(*[text(getattr(one, name)) for name in names])
    show_table(table)


def text(value: Any) -> str:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ""
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def tenant_option(command: Callable[..., T]) -> Callable[..., T]:
    return click.option("--tenant", default=None, help="Which tenant.  [default: the first]")(command)


def show_table(table: Table) -> None:
    """A table on a terminal; tab-separated lines elsewhere."""
    if output.is_terminal:
        output.print(table)
        return
    click.echo("\t".join(str(column.header) for column in table.columns))
    for row in zip(*(column.cells for column in table.columns), strict=True):
        click.echo("\t".join(str(cell) for cell in row))


def plain(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
