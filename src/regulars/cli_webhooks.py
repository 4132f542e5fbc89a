"""The commands `regulars webhooks …` and `regulars listen`."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from rich.table import Table

from regulars import webhooks as hooks
from regulars.errors import Refused
from regulars.fields import fields_of
from regulars.posting import Answer, Poster
from regulars.record import Change, Endpoint, Progress
from regulars.settings import Settings
from regulars.store import Tx
from regulars.terminal import (
    Fail,
    field_options,
    opened,
    operator,
    options,
    output,
    run,
    show_table,
    tenant_named,
    tenant_option,
    text,
    values_of,
)
from regulars.wire import Reading

T = TypeVar("T")

WAIT_SECONDS = 60
"""After which time `listen` reads on even if it heard of no new change."""
GIVEN_BY_SERVICE = (
    "tenant_id", "id", "disabled_because", "version", "altered", "created_on", "old_secret_until", "removed"
)  # fmt: skip
HIDDEN = (*GIVEN_BY_SERVICE, "secret", "old_secret")


def table(rows: list[dict[str, Any]]) -> None:
    """Objects of the same members as a table."""
    if not rows:
        output.print("None yet.")
        return
    found = Table(*rows[0])
    for row in rows:
        found.add_row(*[text(value) for value in row.values()])
    show_table(found)


async def command(
    chosen: Settings, tenant: str | None, do: Callable[..., Any], *args: Any, from_now_on: bool = False
) -> list[dict[str, Any]]:
    """Run a command on an endpoint, `from_now_on` with the last change there is; returns the endpoint as it is then and
    its secret."""

    def both(tx: Tx, *more: int) -> list[dict[str, Any]]:
        done: Endpoint | Progress | None = do(tx, *args, *more)
        if done is None:
            return []
        endpoint = tx.get(Endpoint, done.id)
        return [described(endpoint, tx.get(Progress, endpoint.id)) | {"Secret": endpoint.secret}]

    async with opened(chosen) as app:
        number = await tenant_named(app.store, tenant)
        more = [await app.store.newest(number)] if from_now_on else []
        return await app.store.run(operator(number), both, *more)


def described(endpoint: Endpoint, progress: Progress) -> dict[str, Any]:
    """An endpoint, and how far it got."""
    return hooks.public(endpoint) | hooks.told(progress)


def reading(given: dict[str, Any]) -> Reading:
    return Reading(values=values_of(Endpoint, given))


def without_secret(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name != "Secret"} for one in found]


@click.group()
def webhooks() -> None:
    """Endpoints that are told of changes."""


@webhooks.command("list")
@options("store")
@tenant_option
def list_(chosen: Settings, tenant: str | None) -> None:
    """List the endpoints, and how far each was told.

    \b
    Example:
      regulars webhooks list --store sqlite:///book.db
    """

    async def read() -> list[dict[str, Any]]:
        async with opened(chosen) as app:
            number = await tenant_named(app.store, tenant)
            return [described(*one) for one in await hooks.standing(app.store, number)]

    table(run(read()))


@webhooks.command("add")
@options("store", "webhook_allow_private")
@tenant_option
@click.argument("url")
@field_options(Endpoint, (*HIDDEN, "url"))
def add(chosen: Settings, tenant: str | None, url: str, **given: Any) -> None:
    """Add an endpoint, and show its secret, this once. Lists are separated by commas.

    \b
    Examples:
      regulars webhooks add https://shop.example.com/hook --description "The web shop"
      regulars webhooks add https://crm.example.com/hook --events customer.updated --members Email,Phone1
    """
    wanted = reading({"url": url, **given})
    allowed = chosen.webhook_allow_private
    table(run(command(chosen, tenant, hooks.add, wanted, hooks.new_secret(), allowed, from_now_on=True)))


@webhooks.command("set")
@options("store", "webhook_allow_private")
@tenant_option
@click.argument("number", type=int)
@field_options(Endpoint, HIDDEN)
def set_(chosen: Settings, tenant: str | None, number: int, **given: Any) -> None:
    """Change an endpoint. One that is turned on goes on where it stopped.

    \b
    Examples:
      regulars webhooks set 1 --no-enabled
      regulars webhooks set 1 --members "" --enabled
    """
    wanted = reading(given)
    table(without_secret(run(command(chosen, tenant, hooks.change, number, wanted, chosen.webhook_allow_private))))


@webhooks.command("rotate")
@options("store")
@tenant_option
@click.argument("number", type=int)
def rotate(chosen: Settings, tenant: str | None, number: int) -> None:
    """Exchange an endpoint's secret, and show the new one, this once. For 24 hours events are signed with both.

    \b
    Example:
      regulars webhooks rotate 1
    """
    table(run(command(chosen, tenant, hooks.rotate, number, hooks.new_secret())))


@webhooks.command("remove")
@options("store")
@tenant_option
@click.argument("number", type=int)
def remove(chosen: Settings, tenant: str | None, number: int) -> None:
    """Remove an endpoint; what waits is not sent any more.

    \b
    Example:
      regulars webhooks remove 1
    """
    run(command(chosen, tenant, hooks.remove, number))


@webhooks.command("log")
@options("store")
@tenant_option
@click.argument("number", type=int)
@click.option("--limit", default=100, show_default=True, help=f"At most so many; {hooks.MOST_KEPT} are kept.")
def log(chosen: Settings, tenant: str | None, number: int, limit: int) -> None:
    """Show an endpoint's last attempts, newest first.

    \b
    Example:
      regulars webhooks log 1 --limit 20
    """

    async def read() -> list[dict[str, Any]]:
        async with opened(chosen) as app:
            book = await app.store.book(await tenant_named(app.store, tenant))
            endpoint = hooks.known(book.get(Endpoint, number), number)
            return [hooks.public(one) for one in await hooks.attempts(app.store, endpoint, limit)]

    table(run(read()))


@webhooks.command("resend")
@options("store")
@tenant_option
@click.argument("number", type=int)
@click.argument("changes", type=int, nargs=-1, required=True)
def resend(chosen: Settings, tenant: str | None, number: int, changes: tuple[int, ...]) -> None:
    """Have the events of these changes sent again, or now if they wait. The server that delivers sends them.

    \b
    Example:
      regulars webhooks resend 1 345 346
    """
    wanted = hooks.read_resend({"ChangeIDs": list(changes)}, strict=True)
    table(without_secret(run(command(chosen, tenant, hooks.resend, number, wanted))))


# ---- listen


@click.command()
@options("store")
@tenant_option
@click.option("--forward-to", "url", required=True, help="Where to, such as http://127.0.0.1:3000/hook.")
@click.option("--events", default=None, help=fields_of(Endpoint)["events"].doc)
@click.option("--members", default=None, help=fields_of(Endpoint)["members"].doc)
@click.option("--after", type=int, default=None, help="Begin after this change.  [default: what comes from now on]")
@click.option("--secret", default=None, help="What to sign with.  [default: a new one, which is shown]")
def listen(
    chosen: Settings, tenant: str | None, url: str, after: int | None, secret: str | None, **filters: str | None
) -> None:
    """Send changes to a local program as they come, signed as a webhook: to write a receiver without a public address.

    Each is sent once, whatever is answered. Stop with Ctrl-C.

    \b
    Examples:
      regulars listen --forward-to http://127.0.0.1:3000/hook
      regulars listen --forward-to http://127.0.0.1:3000/hook --events customer.created --after 0
    """
    values = {**values_of(Endpoint, {"url": url, **filters}), "secret": secret or hooks.new_secret()}
    try:
        endpoint = hooks.checked(Endpoint(tenant_id=0, id=0, **values), Reading(), True)
    except Refused as error:
        raise Fail(str(error)) from error
    if not hooks.is_secret(endpoint.secret):
        raise Fail("--secret: expected whsec_ and base64 of at least 24 bytes.")
    output.print(f"Secret: {endpoint.secret}", highlight=False, soft_wrap=True, markup=False)
    place = [after]
    try:
        run(forward(chosen, tenant, endpoint, place))
    except KeyboardInterrupt:
        output.print(f"Stopped. To go on from here: --after {place[0]}", highlight=False)


async def forward(chosen: Settings, tenant: str | None, endpoint: Endpoint, place: list[int | None]) -> None:
    """Send what comes, for ever; `place` is kept at the last change that was seen to."""
    poster = Poster(allow_private=True)
    async with opened(chosen) as app:
        number = await tenant_named(app.store, tenant)
        cursor = place[0]
        if cursor is None:
            cursor = await app.store.newest(number)
        while True:
            place[0] = cursor
            changes, _ = await app.store.feed(number, cursor)
            for change in changes:
                if hooks.wanted(endpoint, change):
                    shown(change, await sent(poster, endpoint, change, app.store.clock()))
                cursor = place[0] = change.id
            if not changes:
                await app.store.newer(number, cursor, WAIT_SECONDS)


async def sent(poster: Poster, endpoint: Endpoint, change: Change, now: Any) -> Answer:
    body = hooks.payload(change)
    headers = hooks.signing(endpoint, hooks.message_id(endpoint, change.id), body, now)
    return await poster.post(endpoint.url, headers, body)


def shown(change: Change, answer: Answer) -> None:
    came = f"{answer.status} in {answer.milliseconds} ms" if answer.status else answer.said
    click.echo(f"{change.id}\t{hooks.event(change)}\tcustomer {change.customer_id} version {change.version}\t{came}")
