"""The commands that look after what the API cannot administer: lists, employees and settings of a tenant."""

from dataclasses import dataclass
from typing import Any

import click

from regulars import access
from regulars.fields import Record, fields_of
from regulars.record import Carrier, Column, Company, Employee, Group, PaymentTerm, Service, Tenant
from regulars.settings import Settings
from regulars.terminal import (
    Fail,
    field_options,
    opened,
    operator,
    options,
    output,
    password,
    run,
    show,
    tenant_named,
    tenant_option,
    values_of,
)


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


def entity_commands(name: str, entity: Entity) -> click.Group:
    """The commands `regulars NAME list`, `add` and `set`."""

    @click.group(name, help=f"The tenant's {entity.plural}.")
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

    return group


@click.group()
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


@click.group()
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


COMMANDS = (*(entity_commands(name, entity) for name, entity in ENTITIES.items()), employee, setting)
