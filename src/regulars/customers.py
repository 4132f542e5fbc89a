"""What may happen to a customer: the commands, and the rules they keep.

Every rule is judged on the customer as it would be after the command. A command that finds problems reports all of
them at once, together with those that reading the request had found, and changes nothing.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from regulars.errors import Refused
from regulars.fields import Field, Invalid, converter, fields_of, shown, to_moment
from regulars.preconditions import hold_to
from regulars.record import (
    Address,
    Carrier,
    Column,
    ColumnType,
    Company,
    Customer,
    Employee,
    Group,
    PaymentTerm,
    Service,
    Tenant,
)
from regulars.search import CODES, fold
from regulars.store import Tx

Problems = dict[str, list[str]]
"""Member → what is wrong with it."""

MOST_ADDRESSES = 100
ANY_VERSION = range(1, 2**63)
"""For `expect`: whichever version the customer is at."""


@dataclass(slots=True)
class Patch:
    """What a request wants: new values by attribute, and what was wrong with the rest of it, by member."""

    values: dict[str, Any] = field(default_factory=dict)
    problems: Problems = field(default_factory=dict)
    whole: bool = False
    """It is the seed's: rules of the whole customer are judged even on what it leaves as it is."""

    def fresh(self) -> "Patch":
        """A copy that a command may add problems to; the command may be run again."""
        return Patch(self.values, {member: list(why) for member, why in self.problems.items()}, self.whole)

    def refuse(self, member: str, why: str) -> None:
        self.problems.setdefault(member, []).append(why)


MEMBERS = {name: spec.member for name, spec in fields_of(Customer).items()}
ADDRESS_MEMBERS = {name: spec.member for name, spec in fields_of(Address).items()}


# ---- commands


def update(tx: Tx, customer_id: int, patch: Patch, expect: Collection[int] | None = None) -> Customer:
    """Change what `patch` names and leave the rest (contract §4.2, §4.5, §4.6).

    `expect` are the versions that it may be at. Raises NotFound, Conflict, Refused. Returns the customer as stored.
    """
    patch = patch.fresh()
    before = current(tx, customer_id, expect)
    after = replace(before, **patch.values) if patch.values else before
    return store(tx, before, after, patch)


def update_addresses(tx: Tx, customer_id: int, patch: Patch, expect: Collection[int] | None = None) -> Customer:
    """Replace the addresses with a known id, add those with id 0, leave the others (contract §4.3)."""
    patch = patch.fresh()
    before = current(tx, customer_id, expect)
    after = replace(before, addresses=placed(tx, before, patch, before.addresses))
    return store(tx, before, after, patch)


def placed(tx: Tx, before: Customer, patch: Patch, kept: Sequence[Address]) -> tuple[Address, ...]:
    """The addresses of a patch in their places, and those of `kept` that it does not name."""
    own = {one.id for one in before.addresses}
    addresses = {one.id: one for one in kept}
    seen: set[int] = set()
    for index, one in patch.values.get("addresses", ()):
        check_address(one, index, patch)
        if one.id and one.id not in own:
            known = ", ".join(str(number) for number in sorted(own)) or "none"
            patch.refuse(
                f"Addresses[{index}].ID",
                f"Expected 0 for a new address, or the id of one that the customer has ({known}), got {one.id}.",
            )
        elif one.id in seen:
            patch.refuse(f"Addresses[{index}].ID", f"Expected each address once, got {one.id} again.")
        elif not patch.problems:
            number = one.id or tx.next_id("addresses")
            addresses[number] = replace(one, id=number)
        seen.add(one.id) if one.id else None
    check_count(addresses.values(), patch)
    return tuple(addresses[number] for number in sorted(addresses))


def update_custom_columns(tx: Tx, customer_id: int, patch: Patch, expect: Collection[int] | None = None) -> Customer:
    """Set the values of custom columns, named as the tenant defined them (contract §4.4)."""
    patch = patch.fresh()
    before = current(tx, customer_id, expect)
    return store(tx, before, replace(before, custom_values=valued(tx, before, patch)), patch)


def valued(tx: Tx, before: Customer, patch: Patch) -> dict[int, Any]:
    """The customer's custom columns with the values of a patch, each of which says under which members to refuse its
    name and its value."""
    columns = {fold(column.name): column for column in tx.all(Column)}
    values = dict(before.custom_values)
    seen: set[int] = set()
    wanted = patch.values.get("custom_values", ())
    if wanted is None:
        wanted = [("CustomColumns", "CustomColumns", one.name, "") for one in columns.values() if one.id in values]
    for named, given, name, value in wanted:
        column = columns.get(fold(name))
        if column is None:
            known = ", ".join(column.name for column in columns.values()) or "none"
            patch.refuse(named, f"Expected one of {known}, got {shown(name)}.")
        elif column.id in seen:
            patch.refuse(named, f"Expected each column once, got {column.name} again.")
        elif value is not None:
            try:
                values[column.id] = custom_value(column, value)
            except Invalid as error:
                patch.refuse(given, f"{column.name}: {error}")
        if column is not None:
            seen.add(column.id)
    return {key: values[key] for key in sorted(values) if values[key] not in ("", ())}


def merge(tx: Tx, customer_id: int, patch: Patch, expect: Collection[int] | None = None) -> Customer:
    """Change what `patch` names, of all that a customer has: addresses and groups are replaced whole, custom columns
    one by one. Otherwise as `update`."""
    patch = patch.fresh()
    before = current(tx, customer_id, expect)
    return store(tx, before, merged(tx, before, patch), patch)


def merged(tx: Tx, before: Customer, patch: Patch) -> Customer:
    values = patch.values
    if "addresses" in values:
        values = {**values, "addresses": placed(tx, before, patch, ())}
    if "custom_values" in values:
        values = {**values, "custom_values": valued(tx, before, patch)}
    return replace(before, **values)


def create(tx: Tx, patch: Patch, *, lenient: bool = False) -> int:
    """A new customer (contract §4.1); returns its id. `lenient` asks for no e-mail and no last name, as the live
    service does (quirk `needed`)."""
    patch = patch.fresh()
    customer = Customer(tenant_id=tx.tenant_id, id=tx.next_id("customers"), **patch.values)
    demand(customer, patch, lenient)
    store(tx, None, customer, patch)
    return customer.id


def create_whole(tx: Tx, patch: Patch) -> Customer:
    """A new customer with any members, as `merge` takes them; it needs what `create` does, and to be wholesale or not.
    Returns the customer as stored."""
    patch = patch.fresh()
    if "is_wholesale" not in patch.values and "IsWholesale" not in patch.problems:
        patch.refuse("IsWholesale", "Expected a value: it is required for a new customer.")
    customer = merged(tx, Customer(tenant_id=tx.tenant_id, id=tx.next_id("customers")), patch)
    demand(customer, patch)
    return store(tx, None, customer, patch)


def demand(customer: Customer, patch: Patch, lenient: bool = False) -> None:
    """Refuse what a new customer lacks (contract §4.1)."""
    required = ["company_id", "first_name"]
    if not lenient:
        required += ["email", "last_name"] if patch.values.get("is_wholesale") is False else ["email"]
    for name in required:
        if not getattr(customer, name) and MEMBERS[name] not in patch.problems:
            patch.refuse(
                MEMBERS[name], f"Expected a value: it is required{'' if name != 'last_name' else ' for retail'}."
            )


def add_to_group(tx: Tx, group_id: int, patch: Patch) -> None:
    """Make customers members of a group (contract §4.7). Unknown group: NotFound; unknown customers: Refused."""
    patch = patch.fresh()
    tx.get(Group, group_id)
    found = tx.find_many(Customer, dict.fromkeys(patch.values.get("customer_ids", ())))
    unknown = [number for number, customer in found.items() if customer is None]
    if unknown:
        listed = ", ".join(map(str, unknown[:10])) + (", …" if len(unknown) > 10 else "")
        patch.refuse("CustomersIDs", f"Expected ids of customers, got unknown {listed}.")
    if patch.problems:
        raise Refused(patch.problems)
    for customer in found.values():
        if customer and group_id not in customer.group_ids:
            tx.put(replace(customer, group_ids=tuple(sorted((*customer.group_ids, group_id)))))


def load(tx: Tx, customers: Sequence[Customer]) -> int:
    """Take over whole customers, such as samples; each gets numbers of its own. Returns how many."""
    for one in customers:
        addresses = tuple(replace(address, id=tx.next_id("addresses")) for address in one.addresses)
        tx.put(replace(one, tenant_id=tx.tenant_id, id=tx.next_id("customers"), addresses=addresses), new=True)
    return len(customers)


# ---- what every command does


def current(tx: Tx, customer_id: int, expect: Collection[int] | None) -> Customer:
    before = tx.get(Customer, customer_id)
    hold_to(tx, f"Customer {customer_id}", before.version, expect, customer_id=customer_id)
    return before


def store(tx: Tx, before: Customer | None, after: Customer, patch: Patch) -> Customer:
    """Judge the customer as it would be, and write it unless something is wrong."""
    check(tx, before, after, patch)
    if patch.problems:
        raise Refused(patch.problems)
    return tx.put(after, new=before is None)


# ---- rules


def check(tx: Tx, before: Customer | None, after: Customer, patch: Patch) -> None:
    """Every rule of contract §4 that looks at more than one value; problems go to the member that must change."""

    def touched(*names: str) -> bool:
        """Only what the request changed is judged against what it now finds; the rest was fine when it was set."""
        for name in names:  # noqa: SIM110 - any() over a generator takes four times as long
            if before is None or getattr(before, name) != getattr(after, name):
                return True
        return False

    if after.is_wholesale and not after.business_name and (patch.whole or touched("is_wholesale", "business_name")):
        tenant = tx.get(Tenant, tx.tenant_id)
        if tenant.require_business_name:
            patch.refuse(
                "BusinessName", "Expected a business name: the customer is wholesale, and this tenant requires one."
            )
    if touched("company_id") and (after.company_id or before is not None) and not tx.find(Company, after.company_id):
        patch.refuse("CompanyId", unknown("company", tx.all(Company), after.company_id))
    for number in (1, 2, 3):
        name = f"account_manager{number}_id"
        manager = getattr(after, name)
        if manager and touched(name) and not tx.find(Employee, manager):
            patch.refuse(MEMBERS[name], f"Expected the id of an employee, or 0 for nobody, got {manager}.")
    if after.tax_id and not after.tax_exempt and touched("tax_id", "tax_exempt"):
        if "tax_id" in patch.values:
            patch.refuse("TaxID", "Expected TaxExempt to be on: a TaxID is only for a tax-exempt customer.")
        else:
            patch.refuse("TaxExempt", 'Expected to stay on while there is a TaxID; send TaxID "" with it.')
    if after.apply_shipping_charges and not after.is_wholesale and touched("apply_shipping_charges", "is_wholesale"):
        if "apply_shipping_charges" in patch.values:
            patch.refuse("ApplyShippingChargesToOrderTotal", "Expected a wholesale customer; this one is retail.")
        else:
            patch.refuse(
                "IsWholesale", "Expected to stay on while ApplyShippingChargesToOrderTotal is on; turn that off first."
            )
    if after.allow_shipping_unpaid_orders and touched("allow_shipping_unpaid_orders", "company_id"):
        company = tx.find(Company, after.company_id)
        if company is not None and not company.allow_shipping_unpaid_orders:
            if "allow_shipping_unpaid_orders" in patch.values:
                patch.refuse(
                    "AllowShippingUnpaidOrders", f"Expected a company that allows it; {company.name} does not."
                )
            else:
                patch.refuse(
                    "CompanyId",
                    f"Expected a company that allows shipping unpaid orders, as it is on; {company.name} does not.",
                )
    if touched("carrier_id", "carrier_method_id"):
        check_carrier(tx, after, patch)
    if touched("credit_term") and after.credit_term and not tx.find(PaymentTerm, after.credit_term):
        patch.refuse("CreditTerm", unknown("payment term", tx.all(PaymentTerm), after.credit_term))
    if touched("group_ids"):
        for number in after.group_ids:
            if not tx.find(Group, number):
                patch.refuse("CustomerGroups", unknown("group", tx.all(Group), number))
    if after.email and touched("email") and tx.get(Tenant, tx.tenant_id).block_duplicate_email:
        others = tx.holders(CODES["email"] + fold(after.email)) - {after.id}
        if others:
            patch.refuse(
                "Email", f"Expected an address that no other customer has; customer {min(others)} has this one."
            )


COUNTRY = re.compile("[A-Za-z]{2}")


def check_address(one: Address, index: int, patch: Patch) -> None:
    """The rules of one address (contract §4.3)."""
    path = f"Addresses[{index}]."
    for name in ("country", "city", "zip_code", "address"):
        member = path + ADDRESS_MEMBERS[name]
        if not getattr(one, name) and member not in patch.problems:
            patch.refuse(member, "Expected a value: it is required.")
    if one.country and not COUNTRY.fullmatch(one.country):
        patch.refuse(path + "Country", f"Expected two letters such as US, got {shown(one.country)}.")
    unnamed = not one.company_name and not one.contact_name
    if unnamed and not {path + "CompanyName", path + "ContactName"} & patch.problems.keys():
        patch.refuse(path + "ContactName", "Expected a ContactName or a CompanyName.")
    if one.country.upper() == "US" and not one.state and path + "State" not in patch.problems:
        patch.refuse(path + "State", "Expected a state: it is required in the US.")


def check_carrier(tx: Tx, after: Customer, patch: Patch) -> None:
    if after.carrier_id and not tx.find(Carrier, after.carrier_id):
        patch.refuse("CarrierId", unknown("carrier", tx.all(Carrier), after.carrier_id))
        return
    service = tx.find(Service, after.carrier_method_id) if after.carrier_method_id else None
    offered = [one for one in tx.all(Service) if not after.carrier_id or one.carrier_id == after.carrier_id]
    if after.carrier_method_id and service not in offered:
        patch.refuse(
            "CarrierMethodId" if "carrier_method_id" in patch.values else "CarrierId",
            unknown("shipping service of the carrier", offered, after.carrier_method_id),
        )


def unknown(what: str, known: Sequence[Any], got: int) -> str:
    listed = ", ".join(f"{one.id} ({one.name})" for one in known[:10]) or "none defined yet"
    return f"Expected the id of a {what}: {listed}{', …' if len(known) > 10 else ''}; got {got}."


def check_stored(tx: Tx, before: Customer, after: Customer, patch: Patch) -> None:
    """What no request brings, but what was stored once: the rules that are otherwise kept while a request's addresses
    and custom values are put in their places. A custom value must be what its column would store today."""
    check_count(after.addresses, patch, len(before.addresses))
    old, new = before.custom_values, after.custom_values
    for number in sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)):
        member, value, column = f"{MEMBERS['custom_values']}[{number}]", new.get(number, ""), tx.find(Column, number)
        if column is None and value != "":
            patch.refuse(member, f"Expected a column that is still there, got {shown(value)} for one that is not.")
        elif column is not None:
            try:
                taken = custom_value(column, list(value) if isinstance(value, tuple) else value)
                if (type(taken), taken) != (type(value), value):
                    raise Invalid(f"Expected a value as the column takes it today, {shown(taken)}; got {shown(value)}.")
            except Invalid as error:
                patch.refuse(member, f"{column.name}: {error}")


def check_count(addresses: Collection[Address], patch: Patch, had: int = 0) -> None:
    """A customer that `had` more than are allowed may keep so many."""
    if len(addresses) > max(MOST_ADDRESSES, had):
        patch.refuse("Addresses", f"Expected at most {MOST_ADDRESSES} addresses, got {len(addresses)}.")


CUSTOM: Mapping[ColumnType, Field] = {
    ColumnType.String: Field("", type=str),
    ColumnType.nText: Field("", type=str, limit=8000, lines=True),
    ColumnType.Hyperlink: Field("", type=str, limit=2000),
    ColumnType.Integer: Field("", type=int, least=-(2**31)),
    ColumnType.Decimal: Field("", type=Decimal),
    ColumnType.Boolean: Field("", type=bool),
}


def custom_value(column: Column, value: object) -> Any:
    """A value for a custom column, as it is stored: decimals and times as text. `""` empties it."""
    if column.required and value in ("", []):
        raise Invalid("Expected a value: the column is required.")
    if value == "":
        return ""
    if column.choices:
        return choice(column, value)
    if column.data_type is ColumnType.DateTime:
        return to_moment(value).isoformat()[:19]
    spec = CUSTOM[column.data_type]
    if column.data_type is ColumnType.String:
        spec = Field("", type=str, limit=column.length)
    converted = converter(spec)(value)
    if column.data_type is ColumnType.Hyperlink and not converted.startswith(("http://", "https://")):
        raise Invalid(f"Expected a link that starts with http:// or https://, got {shown(value)}.")
    return str(converted) if isinstance(converted, Decimal) else converted


def choice(column: Column, value: object) -> str | tuple[str, ...]:
    """A drop-down's value; several as a list where the column allows it."""
    chosen = value if isinstance(value, list) and column.allow_multiple else [value]
    found = []
    for one in chosen:
        text = converter(Field("", type=str, limit=column.length))(one)
        match = next((known for known in column.choices if fold(known) == fold(text)), None)
        if match is None and not column.allow_custom_text:
            raise Invalid(f"Expected one of {', '.join(column.choices)}, got {shown(one)}.")
        found.append(match or text)
    return tuple(found) if isinstance(value, list) else found[0]
