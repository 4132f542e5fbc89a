"""The command `regulars`: make a book, fill it, serve it, and look after what the API cannot administer."""

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from regulars import access, cli_webhooks, customers, feed, history, moving, sandbox, undo
from regulars.app import migrate, whole
from regulars.errors import Overtaken
from regulars.fields import Invalid, Record, fields_of, to_moment
from regulars.queries import MOST_CHANGES
from regulars.record import Carrier, Change, Column, Company, Employee, Group, PaymentTerm, Service, Tenant
from regulars.settings import Settings, shown
from regulars.terminal import (
    Fail,
    console,
    field_options,
    load,
    opened,
    operator,
    options,
    output,
    plain,
    run,
    show,
    show_table,
    tenant_named,
    tenant_option,
    values_of,
)

PATIENCE_SECONDS = 30.0
LEAST_CHUNK, MOST_CHUNK = 500, 40_000
DEMO_USER, DEMO_PASSWORD = "demo@example.com", "demo-regulars"
DEMO_TENANT = "demo"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("regulars"), prog_name="regulars")
def main() -> None:
    """The customer book you host yourself, speaking the Sellercloud Customers REST API.

    \b
    Try it:       regulars demo
    Set one up:   regulars init --store sqlite:///book.db --tenant acme --user ann@example.com
                  regulars serve --store sqlite:///book.db
    """


main.add_command(cli_webhooks.webhooks)
main.add_command(cli_webhooks.listen)


# ---- making, filling, serving


def password(confirm: bool = True) -> str:
    found = os.environ.get("REGULARS_PASSWORD")
    return found or click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)


@main.command()
@options("store")
@click.option("--tenant", required=True, help="The tenant's name: the first label of its host, such as tt.")
@click.option("--user", required=True, help="The e-mail address of its Client Admin.")
@click.option("--company", default=None, help="The name of its first company.  [default: the tenant's name]")
def init(chosen: Settings, tenant: str, user: str, company: str | None) -> None:
    """Create or upgrade a store, a tenant in it, a company, and a Client Admin. Doing it again changes nothing.

    The password comes from REGULARS_PASSWORD or is asked for. What a user of PostgreSQL needs: regulars migrate --help.

    \b
    Examples:
      REGULARS_PASSWORD=... regulars init --store sqlite:///book.db --tenant acme --user ann@example.com
      REGULARS_STORE=postgresql://owner:...@db.example.com/regulars regulars init --tenant acme --user ann@example.com
    """
    run(initialise(chosen, tenant, user, company or tenant))


@main.command("migrate")
@options("store")
def migrate_(chosen: Settings) -> None:
    """Upgrade a store to this version's schema, or make one without a tenant. Doing it again changes nothing.

    Servers of the version before may go on meanwhile. On PostgreSQL the user of the URL owns the tables and may create
    roles: the first time, the role regulars_app is made, which every transaction takes on and row-level security
    binds. A server may run as another user, after GRANT regulars_app TO that user.

    \b
    Examples:
      regulars migrate --store sqlite:///book.db
      regulars migrate --store postgresql://owner@db.example.com/regulars?sslmode=verify-full
    """
    run(upgrade(chosen.store))


async def upgrade(url: str) -> None:
    applied = await migrate(url)
    done = f"applied migration {applied[-1]}" if applied else "up to date"
    console.print(f"Store {shown(url)}: {done}")


async def initialise(chosen: Settings, tenant: str, user: str, company: str, secret: str | None = None) -> None:
    tenant = tenant.lower()
    if not tenant.isascii() or not tenant.replace("-", "").isalnum() or len(tenant) > 63:
        raise Fail(f"Expected a tenant name of letters, digits and hyphens, as in a host name; got {tenant!r}.")
    await upgrade(chosen.store)
    async with opened(chosen) as app:
        known = await app.store.tenants()
        tenant_id = known.get(tenant) or max(known.values(), default=0) + 1
        actor = operator(tenant_id)
        if tenant not in known:
            await app.store.run(actor, access.put_tenant, tenant)
        book = await app.store.book(tenant_id)
        if not book.all(Company):
            await app.store.run(actor, access.put_company, company)
        if not any(one.email.lower() == user.lower() for one in book.all(Employee)):
            hashed = await app.access.hash(secret or password())
            await app.store.run(actor, access.put_employee, user, {"password_hash": hashed, "is_admin": True})
    console.print(f"Tenant {tenant}, Client Admin {user}. Next: regulars serve --store {shown(chosen.store)}")


@main.command()
@options("store")
@click.option("--tenant", default=None, help="Which tenant.  [default: the first]")
@click.option("--customers", "count", default=1000, show_default=True, help="How many customers.")
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same customers.")
def sample(chosen: Settings, tenant: str | None, count: int, seed: int) -> None:
    """Fill a tenant with believable customers: retail and wholesale, from many countries.

    \b
    Example:
      regulars sample --store sqlite:///book.db --customers 100000 --seed 7
    """
    run(fill(chosen, tenant, count, seed))


async def fill(chosen: Settings, tenant: str | None, count: int, seed: int) -> None:
    async with opened(chosen) as app:
        actor = operator(await tenant_named(app.store, tenant), "sample")
        await app.store.run(actor, access.put_reference, sandbox.reference(actor.tenant_id))
        with progress() as bar:
            task = bar.add_task("customers", total=count)
            people = sandbox.customers(actor.tenant_id, count, seed)
            size = min(max(count // 10, LEAST_CHUNK), MOST_CHUNK)
            chunk = list(islice(people, size))
            while chunk:
                loaded = app.store.run(actor, customers.load, chunk)
                await asyncio.sleep(0)  # so that the next ones are made while these are committed
                await asyncio.sleep(0)
                chunk = list(islice(people, size))
                bar.advance(task, await loaded)
    console.print(f"{count:,} customers added. Next: regulars serve --store {shown(chosen.store)}")


class Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> str:
        speed = task.finished_speed or task.speed
        return f"{speed:,.0f}/s" if speed else ""


def progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn()
    return Progress(*columns, console=console)


@main.command("copy")
@click.option("--config", help="A TOML file with settings, of which `store` is used.  [REGULARS_CONFIG]")
@click.option("--from", "source", help="The store that is copied.  [REGULARS_STORE; default: 'sqlite:///regulars.db']")
@click.option(
    "--to",
    "target",
    envvar="REGULARS_COPY_TO",
    help="The store that it is copied to, which is made.  [REGULARS_COPY_TO; required]",
)
def copy_(config: str | None, source: str | None, target: str | None) -> None:
    """Copy a whole store to another one: from SQLite to PostgreSQL, back, or to one of the same kind.

    Everything is copied as it is: tenants, customers, ids, versions, history, passwords, and the key that tokens are
    signed with, so that they stay valid. Stop what serves the source first: a copy is of one moment, and halts when
    somebody writes to the source. The target must be new; its tables are made. After an interruption the same command
    goes on where it stopped, and until it is through, nothing else opens the target. At the end both stores are read
    again and compared row by row.

    \b
    Examples:
      regulars copy --from sqlite:///book.db --to postgresql://owner:...@db.example.com/regulars?sslmode=verify-full
      REGULARS_COPY_TO=postgresql://owner:...@db.example.com/regulars regulars copy --from sqlite:///book.db
      regulars copy --from postgresql://owner:...@db.example.com/regulars --to sqlite:///book.db
    """
    chosen = load({"store": source}, config)
    if target is None:
        raise Fail("Name the store to copy to: --to URL, or REGULARS_COPY_TO in the environment.")
    try:
        verdicts = run(move(chosen.store, target))
    except KeyboardInterrupt:
        raise Fail("Interrupted. The same command goes on where it stopped.") from None
    table = Table("table", "rows", "in the copy", "checksum", "in the copy", "verdict")
    for one in verdicts:
        numbers = f"{one.source.rows:,}", f"{one.target.rows:,}", one.source.checksum, one.target.checksum
        table.add_row(one.table, *numbers, "same" if one.same else "DIFFERS")
    show_table(table)
    if wrong := [f"  {one.table}: {', '.join(one.differing)}" for one in verdicts if not one.same]:
        first = f"{shown(target)} is not what {shown(chosen.store)} is, and stays unfinished. The first that differ:"
        raise Fail("\n".join([first, *wrong, "Make the target anew, and copy again."]))
    console.print(f"{shown(target)} is a copy of {shown(chosen.store)}. Next: regulars serve --store {shown(target)}")


async def move(source: str, target: str) -> list[moving.Verdict]:
    old, new = whole(source), whole(target)
    async with old.reading():
        await upgrade(target)
        async with new.filling():
            with progress() as bar:
                tasks: dict[str, TaskID] = {}

                def report(part: str, total: int, done: int) -> None:
                    if part and part not in tasks:
                        tasks[part] = bar.add_task(part, total=total)
                    if part:
                        bar.advance(tasks[part], done)

                return await moving.copy(old, new, report)


@main.command()
@options()
def serve(chosen: Settings) -> None:
    """Serve the API. Stops gracefully on SIGTERM or Ctrl-C: what was accepted is finished.

    \b
    Examples:
      regulars serve --store sqlite:///book.db --host 0.0.0.0 --port 8080
      REGULARS_STORE=sqlite:////var/lib/regulars/book.db regulars serve --log-format json
    """
    start(chosen)


def start(chosen: Settings) -> None:
    from regulars.http.server import run as run_server

    async def check() -> None:
        async with opened(chosen):
            pass

    run(check())
    run_server(chosen)


@main.command()
@click.option("--port", default=8080, show_default=True, help="The port to listen on.")
@click.option("--customers", "count", default=1000, show_default=True, help="How many sample customers.")
@click.option("--folder", default="regulars-demo", show_default=True, help="Where the demo's book is kept.")
@click.option("--quirks", is_flag=True, help="Answer as the live service does where it differs from good HTTP.")
def demo(port: int, count: int, folder: str, quirks: bool) -> None:
    """Try it: a book with sample customers, a server, and lines to paste.

    \b
    Example:
      regulars demo --port 9000
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    chosen = load({"store": f"sqlite:///{place / 'book.db'}", "port": port}, None)
    fresh = not (place / "book.db").exists()
    run(initialise(chosen, DEMO_TENANT, DEMO_USER, "Demo Company", DEMO_PASSWORD))
    if fresh:
        run(fill(chosen, DEMO_TENANT, count, 1))
    run(change_tenant(chosen, DEMO_TENANT, {"quirks": quirks}))
    output.print(demo_text(port), highlight=False, soft_wrap=True, markup=False)
    start(chosen)


def demo_text(port: int) -> str:
    base = f"http://127.0.0.1:{port}/rest/api"
    login = f'{{"Username": "{DEMO_USER}", "Password": "{DEMO_PASSWORD}"}}'
    return f"""
Regulars is at http://127.0.0.1:{port} · documentation: http://127.0.0.1:{port}/swagger
Log in as {DEMO_USER} with the password {DEMO_PASSWORD}. In another terminal:

TOKEN=$(curl -s {base}/token -H 'Content-Type: application/json' \\
  -d '{login}' | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')

curl -i -X PUT {base}/Customers/1 -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -d '{{"Name": "Ada Lovelace", "Phone1": "+1 555 0100", "Rating": "Very_Satisfied"}}'

curl -s {base}/Customers/1 -H "Authorization: Bearer $TOKEN"

Stop with Ctrl-C.
"""


# ---- looking after a tenant


@dataclass(frozen=True)
class Entity:
    """A kind of record that `regulars NAME list|add|set` administers, and the fields that can be given."""

    record: type[Record]
    plural: str
    example: str
    hidden: tuple[str, ...] = ("tenant_id", "id")


ENTITIES = {
    "company": Entity(Company, "companies", '--name "Acme Ltd" --allow-shipping-unpaid-orders'),
    "group": Entity(Group, "groups", "--name VIP"),
    "column": Entity(Column, "custom columns", '--name Tier --choices "Gold,Silver" --data-type String'),
    "term": Entity(PaymentTerm, "payment terms", '--name "Net 30"'),
    "carrier": Entity(Carrier, "shipping carriers", "--name UPS"),
    "service": Entity(Service, "shipping services", '--carrier-id 1 --name "UPS Ground"'),
}
EMPLOYEE_HIDDEN = ("tenant_id", "id", "email", "password_hash", "token_epoch")


async def list_records(chosen: Settings, tenant: str | None, record: type[Record]) -> list[Any]:
    async with opened(chosen) as app:
        return list((await app.store.book(await tenant_named(app.store, tenant))).all(record))


async def save_record(
    chosen: Settings, tenant: str | None, record: type[Record], number: int | None, given: dict[str, Any]
) -> Any:
    async with opened(chosen) as app:
        actor = operator(await tenant_named(app.store, tenant))
        return await app.store.run(actor, access.put_record, record, number, values_of(record, given))


def entity_commands(name: str, entity: Entity) -> None:
    """The commands `regulars NAME list`, `add` and `set`."""

    @main.group(name, help=f"The tenant's {entity.plural}.")
    def group() -> None: ...

    @group.command("list", help=f"List the {entity.plural}.\n\n\b\nExample:\n  regulars {name} list")
    @options("store")
    @tenant_option
    def list_(chosen: Settings, tenant: str | None) -> None:
        show(run(list_records(chosen, tenant, entity.record)), ("tenant_id",))

    @group.command("add", help=f"Add one.\n\n\b\nExample:\n  regulars {name} add {entity.example}")
    @options("store")
    @tenant_option
    @field_options(entity.record, entity.hidden)
    def add(chosen: Settings, tenant: str | None, **given: Any) -> None:
        show([run(save_record(chosen, tenant, entity.record, None, given))], ("tenant_id",))

    @group.command("set", help=f"Change one.\n\n\b\nExample:\n  regulars {name} set 1 {entity.example}")
    @options("store")
    @tenant_option
    @click.argument("number", type=int)
    @field_options(entity.record, entity.hidden)
    def set_(chosen: Settings, tenant: str | None, number: int, **given: Any) -> None:
        show([run(save_record(chosen, tenant, entity.record, number, given))], ("tenant_id",))


for _name, _entity in ENTITIES.items():
    entity_commands(_name, _entity)


@main.group()
def employee() -> None:
    """The tenant's employees: users of the API, and account managers."""


@employee.command("list")
@options("store")
@tenant_option
def employee_list(chosen: Settings, tenant: str | None) -> None:
    """List the employees.

    \b
    Example:
      regulars employee list --store sqlite:///book.db
    """
    show(run(list_records(chosen, tenant, Employee)), EMPLOYEE_HIDDEN)


@employee.command("add")
@options("store")
@tenant_option
@click.argument("email")
@field_options(Employee, EMPLOYEE_HIDDEN)
def employee_add(chosen: Settings, tenant: str | None, email: str, **given: Any) -> None:
    """Add an employee; the password comes from REGULARS_PASSWORD or is asked for.

    \b
    Example:
      regulars employee add shop@example.com --name "Web shop" --no-can-delete
    """
    show([run(save_employee(chosen, tenant, email, given, True, new=True))], EMPLOYEE_HIDDEN)


@employee.command("set")
@options("store")
@tenant_option
@click.argument("email")
@click.option("--password", "new_password", is_flag=True, help="Ask for a new password; ends the employee's tokens.")
@field_options(Employee, EMPLOYEE_HIDDEN)
def employee_set(chosen: Settings, tenant: str | None, email: str, new_password: bool, **given: Any) -> None:
    """Change an employee. Disabling one, or a new password, ends the tokens at once.

    \b
    Examples:
      regulars employee set shop@example.com --no-enabled
      regulars employee set shop@example.com --password
    """
    show([run(save_employee(chosen, tenant, email, given, new_password, new=False))], EMPLOYEE_HIDDEN)


async def save_employee(
    chosen: Settings, tenant: str | None, email: str, given: dict[str, Any], with_password: bool, *, new: bool
) -> Any:
    async with opened(chosen) as app:
        actor = operator(await tenant_named(app.store, tenant))
        known = [one.email.lower() for one in (await app.store.book(actor.tenant_id)).all(Employee)]
        if new == (email.lower() in known):
            raise Fail(f"There is {'already an' if new else 'no'} employee {email}; see: regulars employee list")
        values = values_of(Employee, given)
        if with_password:
            values["password_hash"] = await app.access.hash(password())
        return await app.store.run(actor, access.put_employee, email, values)


@main.group()
def setting() -> None:
    """The tenant's settings: the rules that its customers keep."""


@setting.command("list")
@options("store")
@tenant_option
def setting_list(chosen: Settings, tenant: str | None) -> None:
    """List the settings.

    \b
    Example:
      regulars setting list
    """
    show_settings(run(list_records(chosen, tenant, Tenant))[0])


@setting.command("set")
@options("store")
@tenant_option
@click.argument("name", type=click.Choice([name for name, spec in fields_of(Tenant).items() if spec.type is bool]))
@click.argument("value", type=bool)
def setting_set(chosen: Settings, tenant: str | None, name: str, value: bool) -> None:
    """Change a setting.

    \b
    Example:
      regulars setting set require_business_name true
    """
    show_settings(run(change_tenant(chosen, tenant, {name: value})))


async def change_tenant(chosen: Settings, tenant: str | None, values: dict[str, Any]) -> Any:
    async with opened(chosen) as app:
        actor = operator(await tenant_named(app.store, tenant))
        return await app.store.run(actor, access.put_record, Tenant, actor.tenant_id, values)


def show_settings(tenant: Tenant) -> None:
    for name, spec in fields_of(Tenant).items():
        if spec.type is bool:
            output.print(
                f"{name} = {str(getattr(tenant, name)).lower()}", f"  # {spec.doc}", highlight=False, soft_wrap=True
            )


@main.command()
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


@main.command("undo")
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
