"""The command `regulars`: make a book, fill it, copy it, serve it; the other commands are in modules of their own."""

import asyncio
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import click
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

from regulars import access, cli_history, cli_tenant, cli_webhooks, customers, moving, sandbox
from regulars.app import migrate, whole
from regulars.record import Company, Employee
from regulars.settings import Settings, shown
from regulars.terminal import (
    Fail,
    console,
    load,
    opened,
    operator,
    options,
    output,
    password,
    run,
    show_table,
    tenant_named,
)

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


for _command in (*cli_tenant.COMMANDS, *cli_history.COMMANDS, cli_webhooks.webhooks, cli_webhooks.listen):
    main.add_command(_command)


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
    run(cli_tenant.change_tenant(chosen, DEMO_TENANT, {"quirks": quirks}))
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
