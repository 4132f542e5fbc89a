"""The commands `regulars changes` and `regulars undo`: what happened to customers, and put back."""

from contextlib import suppress
from decimal import Decimal
from typing import Any

import click
import msgspec
from rich.table import Table

from regulars import feed, history, undo
from regulars.errors import Overtaken
from regulars.fields import Invalid, to_moment
from regulars.queries import MOST_CHANGES
from regulars.record import Change
from regulars.settings import Settings
from regulars.terminal import (
    Fail,
    opened,
    operator,
    options,
    output,
    plain,
    run,
    show_table,
    tenant_named,
    tenant_option,
)

PATIENCE_SECONDS = 30.0


@click.command()
@options("store")
@tenant_option
@click.argument("customer_id", type=int, required=False)
@click.option("--limit", default=100, show_default=True, help="At most so many, newest first.")
@click.option("--follow", "following", is_flag=True, help="Every customer's, as they come, each as a line of JSON.")
@click.option("--after", default=None, help="Follow from after this change: its ID; 0: all.  [default: the newest]")
def changes(
    chosen: Settings, tenant: str | None, customer_id: int | None, limit: int, following: bool, after: str | None
) -> None:
    """Show who changed what of a customer, when, and from which value; newest first. Or follow the changes of all.

    \b
    Examples:
      regulars changes 1042
      regulars changes --follow --after 345
    """
    if following == (customer_id is not None) or (after is not None and not following):
        raise Fail("Expected a customer's number, or --follow, perhaps with --after.")
    if customer_id is None:
        with suppress(KeyboardInterrupt):
            run(follow(chosen, tenant, after))
        return

    async def read() -> list[Any]:
        async with opened(chosen) as app:
            return await app.store.changes(await tenant_named(app.store, tenant), customer_id, limit)

    found = run(read())
    if not found:
        raise Fail(f"Customer {customer_id} has no history here. Is the number right, and --tenant?")
    table = Table("version", "when (UTC)", "who", "door", "member", "old", "new")
    for change in found:
        head = [str(change.version), change.at.strftime("%Y-%m-%d %H:%M:%S"), change.employee, change.door]
        for member, old, new in [(name, *pair) for name, pair in decoded(change.fields).items()] or [
            (change.kind, "", "")
        ]:
            table.add_row(*head, member, plain(old), plain(new))
            if output.is_terminal:
                head = [""] * len(head)
    show_table(table)


async def follow(chosen: Settings, tenant: str | None, after: str | None) -> None:
    """Print every change after one, for ever."""
    async with opened(chosen) as app:
        number = await tenant_named(app.store, tenant)
        begin = feed.LATEST if after is None else feed.cursor(number, int(after)) if after.isdecimal() else after
        page = await feed.read(app.store, number, begin, MOST_CHANGES)
        while True:
            for one in page.changes:
                click.echo(feed.write_change(one))
            if not page.more:
                await app.store.newer(number, page.last, PATIENCE_SECONDS)
            page = await feed.read_on(app.store, number, page.last, MOST_CHANGES)


@click.command("undo")
@options("store")
@tenant_option
@click.argument("change_id", type=int, required=False)
@click.option("--request", "request_id", default="", help="All that a request altered, by its X-Request-Id.")
@click.option("--employee", default="", help="All that an employee altered, by e-mail address; or operator.")
@click.option("--door", default="", help="All that came by a door: api, cli, sample.")
@click.option("--since", default=None, help="From this moment on, UTC; needed but for --request.")
@click.option("--keep-created", is_flag=True, help="Leave customers that were created there, as created.")
@click.option("--dry-run", is_flag=True, help="Only show what would be put back.")
def undo_(
    chosen: Settings, tenant: str | None, change_id: int | None, since: str | None, dry_run: bool, **given: Any
) -> None:
    """Put back what a change altered, or all that a request, an employee or a door did; that is a change, too.

    Nothing is undone when others altered the same again since: what is in the way is shown. Nor when that would
    break a rule of today, such as a custom column that no longer takes its old value. Change numbers are the ID of the
    API and of regulars changes --follow. At most 1,000 customers at once.

    \b
    Examples:
      regulars undo 345
      regulars undo --employee shop@example.com --since 2026-11-23T14:30 --dry-run
      regulars undo --request import-7 --keep-created
    """
    try:
        wanted = undo.Wanted(since=to_moment(since) if since else None, **given)
    except Invalid as error:
        raise Fail(f"--since: {error}") from error
    if (change_id is None) == (wanted == undo.Wanted()):
        raise Fail("Expected the number of a change; or --request; or --since with --employee or --door.")
    rows = []
    for one in run(put_back(chosen, tenant, change_id, wanted, dry_run)):
        for member, (old, new) in decoded(undo.told(one)["Fields"]).items():
            rows.append([str(one.after.id), str(one.after.version), member, plain(old), plain(new)])
    table = Table("customer", "version", "member", "is" if dry_run else "was", "would be" if dry_run else "is")
    for row in rows:
        table.add_row(*row)
    show_table(table)


async def put_back(
    chosen: Settings, tenant: str | None, change_id: int | None, wanted: undo.Wanted, dry_run: bool
) -> list[undo.Undone]:
    async with opened(chosen) as app:
        actor = operator(await tenant_named(app.store, tenant))
        try:
            if change_id is not None:
                found = [await app.store.get(Change, actor.tenant_id, change_id)]
            else:
                found = await undo.matching(app.store, actor.tenant_id, wanted)
            how = {"keep_created": wanted.keep_created, "dry_run": dry_run}
            return await history.run(app.store, actor, undo.undo, found, **how)
        except Overtaken as error:
            table = Table("customer", "member", "expected", "found", "by", "change")
            for one in error.conflicts:
                values = [
                    plain(one["Expected"]),
                    plain(one["Found"]),
                    one["Employee"] or "",
                    str(one["ChangeID"] or ""),
                ]
                table.add_row(str(one["CustomerID"]), one["Member"], *values)
            show_table(table)
            raise


def decoded(fields: str | msgspec.Raw) -> dict[str, tuple[Any, Any]]:
    return msgspec.json.Decoder(dict[str, tuple[Any, Any]], float_hook=Decimal).decode(fields)


COMMANDS = (changes, undo_)
