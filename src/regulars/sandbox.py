"""Sample data: a believable book of customers from many countries, the same for the same seed everywhere.

Customer number `n` of a seed is always the same. Its choices are the bytes of a hash of the two, so a customer costs
one hash and no generator has to be wound forward. Names, places and habits are in `sample_data.toml`.
"""

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from hashlib import shake_128
from importlib.resources import files
from itertools import cycle
from random import Random
from struct import Struct
from typing import Any, NamedTuple, TypeVar

import msgspec

from regulars.fields import Record
from regulars.record import (
    Address,
    AddressSource,
    AddressStatus,
    Carrier,
    Channel,
    Column,
    Company,
    Customer,
    Group,
    PaymentTerm,
    PriceBasis,
    Rating,
    Service,
    TaxExemptType,
    Values,
)

T = TypeVar("T")
R = TypeVar("R", bound=Record)
Roll = Callable[[], int]
"""The next number from 0 to 65535 that the customer was dealt."""

DEAL = Struct("<84H")
"""A hash of 168 bytes, which is one block of SHAKE128. A customer needs 41 numbers on average, hardly ever over 70."""

FIRST = int(datetime(2020, 1, 1, 4, tzinfo=UTC).timestamp())
DAYS = 2190
"""Customers came on one of the days from 2020-01-01 on, all before 2026, between 04:00 and 22:13."""

POSTAL_CODES = 100
"""How many postal codes a city has at most."""

EBAY = AddressSource.eBay
OTHER = TaxExemptType.OTHER
LETTERS = tuple("ABEGHJLNPRSTWXYZ")
MONTHS = tuple(datetime(2024 + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in range(24))
VISITS = tuple((datetime(2024, 1, 1) + timedelta(day)).isoformat() for day in range(720))
RATINGS = tuple(map(Rating, (0, 0, 0, 0, 5, 5, 5, 4, 4, 4, 4, 3, 3, 2, 1)))
BASES = tuple(PriceBasis)
EXEMPT = (*[TaxExemptType.WHOLESALE] * 6, TaxExemptType.GOVERNMENT, OTHER)
STATUSES = tuple(map(AddressStatus, (2, 2, 2, 0, 1, 3)))
SALES = (
    (Channel.Website.value, "SHOP-", AddressSource.Shopify),
    (Channel.Website.value, "SHOP-", AddressSource.LocalSite),
    (Channel.Amazon.value, "AMZ-", AddressSource.Amazon),
    (Channel.Amazon.value, "AMZ-", AddressSource.Amazon),
    (Channel.eBayOrder.value, "EBAY-", EBAY),
    (Channel.Magento.value, "MAG-", AddressSource.Magento),
    (Channel.Walmart_Marketplace.value, "WMT-", AddressSource.LocalSite),
    (Channel.Etsy.value, "ETSY-", AddressSource.LocalSite),
    (Channel.Local_Store.value, "", AddressSource.LocalSite),
)
"""How retail customers come: channel, what their ids look like there, where their address is from."""

TRADE = (Channel.Wholesale.value, "B2B-", AddressSource.LocalSite)
NET_30 = 4


class Name(NamedTuple):
    text: str
    latin: str


class Pattern(NamedTuple):
    """A text with gaps, and what each of them is filled from."""

    text: str
    gaps: tuple[Sequence[object], ...]


class City(NamedTuple):
    name: str
    area: str
    postal: list[str]
    phone: Pattern


class Country(msgspec.Struct, frozen=True):
    """What people, places and businesses of a country are like; `given`, `surnames` and `titles` are men's, then
    women's; `streets` have a gap for the number."""

    code: str
    has_states: bool
    middle: bool
    double: bool
    titles: list[str]
    given: list[list[Name]]
    surnames: list[list[Name]]
    cities: list[City]
    highest: int
    streets: list[str]
    seconds: list[Pattern]
    mobile: Pattern
    tax: Pattern
    trades: list[Name]
    business: list[str]
    aliases: list[str]


class Book(NamedTuple):
    """All that customers are made of; a country is listed as often as its share says."""

    countries: list[Country]
    words: Mapping[str, list[str]]
    amounts: Mapping[str, list[Decimal]]
    services: list[tuple[int, int]]
    choices: list[str]
    allowing: frozenset[int]


class Person(NamedTuple):
    """Who is at the address, and where that is."""

    country: Country
    city: City
    given: Name
    middle: str
    last: Name
    surname: str
    title: str


@cache
def data() -> Mapping[str, Any]:
    """The lists of `sample_data.toml`."""
    return tomllib.loads(files("regulars").joinpath("sample_data.toml").read_text("utf-8"))


def listed(value: str | list[str]) -> list[str]:
    """The items of a list that is written as one text."""
    return value if isinstance(value, list) else [item.strip() for item in value.split(",")]


def latin(text: str) -> str:
    """A name as it stands in an e-mail address: small Latin letters and digits alone."""
    return re.sub("[^a-z0-9]", "", unicodedata.normalize("NFKD", text).lower())


def name_of(spelling: str) -> Name:
    """A name from `Name` or `Name=latin`."""
    text, _, given = spelling.partition("=")
    return Name(text, given or latin(text))


def pattern_of(text: str) -> Pattern:
    """A pattern in which # stands for a digit and @ for a letter."""
    gaps = [LETTERS if run == "@" else range(10 ** len(run)) for run in re.findall("@|#{1,4}", text)]
    return Pattern(re.sub("@|#{1,4}", lambda run: "%s" if run[0] == "@" else f"%0{len(run[0])}d", text), tuple(gaps))


def second_of(text: str) -> Pattern:
    """The second line of an address, in which # stands for a digit from 1: there is no floor 0 or flat 07."""
    return Pattern(text.replace("#", "%d"), (range(1, 10),) * text.count("#"))


def city_of(line: str) -> City:
    """A city from its line, with as many of its postal codes as are worth telling apart."""
    name, area, postal, phone = (part.strip() for part in line.split("|"))
    roll, pattern = partial(Random(line).getrandbits, 16), pattern_of(postal)
    return City(name, area, [fill(roll, pattern) for _ in range(POSTAL_CODES)], pattern_of(phone))


def country_of(row: Mapping[str, Any]) -> Country:
    surnames = [one.split("|") for one in listed(row["surnames"])]
    return Country(
        code=row["code"],
        has_states=row["area"] == "state",
        middle=row.get("middle", False),
        double=row.get("double", False),
        titles=row["titles"],
        given=[[name_of(one) for one in listed(row[sex])] for sex in ("men", "women")],
        surnames=[[name_of(forms[sex % len(forms)]) for forms in surnames] for sex in (0, 1)],
        cities=[city_of(line) for line in row["cities"].strip().splitlines()],
        highest=row["highest"],
        streets=[row["street"].format(street=one, number="%d") for one in listed(row["streets"])],
        seconds=[second_of(one) for one in listed(row["seconds"])],
        mobile=pattern_of(row["mobile"]),
        tax=pattern_of(row["tax"]),
        trades=[name_of(one) for one in listed(row["trades"])],
        business=listed(row["business"]),
        aliases=listed(row["aliases"]),
    )


@cache
def book() -> Book:
    """What customers are made of, read once."""
    rows = data()
    words = {key: listed(value) for key, value in rows["shop"].items()}
    money = ("credit_limits", "commissions", "discounts", "cost_plus", "fees", "charges")
    return Book(
        countries=[country for row in rows["countries"] for country in [country_of(row)] * row["share"]],
        words=words,
        amounts={key: [Decimal(text) for text in words[key]] for key in money},
        services=[(one.carrier_id, one.id) for one in reference(0) if isinstance(one, Service)],
        choices=next(row["choices"] for row in rows["columns"] if "choices" in row),
        allowing=frozenset(row["id"] for row in rows["companies"] if row.get("allow_shipping_unpaid_orders")),
    )


def companies() -> list[str]:
    """The names of the sample companies, in the order of their ids from 1; `reference` has the records."""
    return [row["name"] for row in data()["companies"]]


def reference(tenant_id: int) -> list[Record]:
    """The lists that sample customers refer to, ids from 1 each: companies (id 1 is among them), groups, custom
    columns, payment terms, carriers and their services."""

    def records(kind: type[R], rows: list[dict[str, Any]]) -> list[R]:
        numbered = [{"tenant_id": tenant_id, "id": number, **row} for number, row in enumerate(rows, 1)]
        return msgspec.convert(numbered, list[kind])  # type: ignore[valid-type]

    def named(texts: str) -> list[dict[str, Any]]:
        return [{"name": text} for text in listed(texts)]

    rows = data()
    carriers = rows["carriers"]
    services = [{"carrier_id": at, **row} for at, one in enumerate(carriers, 1) for row in named(one["services"])]
    return [
        *records(Company, rows["companies"]),
        *records(Group, named(rows["shop"]["groups"])),
        *records(Column, rows["columns"]),
        *records(PaymentTerm, named(rows["shop"]["payment_terms"])),
        *records(Carrier, [{"name": one["name"]} for one in carriers]),
        *records(Service, services),
    ]


def customers(tenant_id: int, count: int, seed: int, start: int = 0) -> Iterator[Customer]:
    """The sample customers numbered `start` up to `start + count` of a seed. The ids of the customers and of their
    addresses are 0: the store gives them. They refer to the records of `reference`."""
    made_of = book()
    for number in range(start, start + count):
        yield customer(tenant_id, number, dice(seed, number), made_of)


def dice(seed: int, number: int) -> Roll:
    """The numbers that customer `number` of a seed is dealt, over again should they not be enough."""
    return cycle(DEAL.unpack(shake_128(b"%d:%d" % (seed, number)).digest(DEAL.size))).__next__


def pick(roll: Roll, items: Sequence[T]) -> T:
    return items[roll() % len(items)]


def fill(roll: Roll, pattern: Pattern) -> str:
    text, gaps = pattern
    return text % tuple([gap[roll() % len(gap)] for gap in gaps])


def customer(tenant_id: int, number: int, roll: Roll, made_of: Book) -> Customer:
    """Sample customer `number` with what it was dealt."""
    person = person_of(roll, made_of)
    is_wholesale = roll() % 10 < 3
    channel, prefix, source = TRADE if is_wholesale else pick(roll, SALES)
    phone = fill(roll, person.country.mobile if roll() % 3 == 0 else person.city.phone)
    created_on = datetime.fromtimestamp(FIRST + roll() % DAYS * 86400 + roll(), UTC)
    subscribed = roll() % 100 < 45
    more = wholesale(roll, person, number, made_of) if is_wholesale else retail(roll, person, number, made_of)
    chances = roll()
    if chances % 3 == 0:
        more |= shipping(roll, made_of)
    return Customer(
        tenant_id=tenant_id,
        id=0,
        created_on=created_on,
        modified_on=created_on,
        title=person.title,
        first_name=person.given.text,
        middle_name=person.middle,
        last_name=person.surname,
        source_id=f"{prefix}{10000 + number}" if prefix else "",
        ebay_user_id=f"{person.given.latin}_{number}" if source is EBAY else "",
        is_blacklisted=chances % 211 == 0,
        is_wholesale=is_wholesale,
        comments=pick(roll, made_of.words["comments"]) if chances % 5 < 2 else "",
        rating=pick(roll, RATINGS),
        disable_ship_notifications=chances % 29 == 0,
        phone1=phone,
        phone2=fill(roll, person.city.phone) if chances % 7 == 0 else "",
        phone3=fill(roll, person.city.phone) if chances % 37 == 0 else "",
        mobile=fill(roll, person.country.mobile) if chances % 11 < 4 else "",
        addresses=addresses(roll, person, more.get("business_name", ""), phone, source),
        custom_values=custom_values(roll, number, made_of.choices),
        group_ids=groups(roll(), subscribed, more.get("credit_term", 0)),
        channel=channel,
        subscribed=subscribed,
        exported=chances % 13 < 5,
        **more,
    )


def person_of(roll: Roll, made_of: Book) -> Person:
    country = pick(roll, made_of.countries)
    sex = roll() % 2
    given, last = pick(roll, country.given[sex]), pick(roll, country.surnames[sex])
    surname = f"{last.text} {pick(roll, country.surnames[sex]).text}" if country.double else last.text
    middle = f"{pick(roll, LETTERS)}." if country.middle and roll() % 4 == 0 else ""
    title = "" if roll() % 4 else country.titles[sex]
    return Person(country, pick(roll, country.cities), given, middle, last, surname, title)


def retail(roll: Roll, person: Person, number: int, made_of: Book) -> dict[str, Any]:
    """What only retail customers are like."""
    given, last = person.given.latin, person.last.latin
    local = pick(roll, made_of.words["retail_names"]).format(given=given, last=last, initial=given[0], n=number)
    return {
        "email": f"{local}@{pick(roll, made_of.words['retail_mail'])}",
        "company_id": (1, 1, 3)[roll() % 3],
        **(tax(roll, person, OTHER) if roll() % 50 == 0 else {}),
    }


def wholesale(roll: Roll, person: Person, number: int, made_of: Book) -> dict[str, Any]:
    """What only wholesale customers are like."""
    words, amounts, country = made_of.words, made_of.amounts, person.country
    trade = pick(roll, country.trades)
    names = {"last": person.last.text, "trade": trade.text, "city": person.city.name}
    domain = f"{person.last.latin}-{trade.latin}{number}.example"
    company_id = (2, 2, 2, 1, 3)[roll() % 5]
    term = roll() % (len(words["payment_terms"]) + 1)
    chances = roll()
    found = {
        "email": f"{person.given.latin}@{domain}",
        "business_name": pick(roll, country.business).format_map(names),
        "business_aliases": tuple([alias.format_map(names) for alias in country.aliases[: roll() % 4]]),
        "company_id": company_id,
        "salesman": pick(roll, words["salesmen"]),
        "account_manager1_commission": pick(roll, amounts["commissions"]),
        "order_handling_fee": pick(roll, amounts["fees"]),
        "apply_shipping_charges": chances % 3 == 0,
        "allow_shipping_unpaid_orders": company_id in made_of.allowing and chances % 2 == 0,
        "send_invoice_with_ship_notification_email": chances % 5 < 2,
        "send_invoice_with_payment_confirmation_email": chances % 7 < 2,
        "order_pdf_invoice_plugin": pick(roll, words["plugins"]),
        "wholesale_discount": pick(roll, amounts["discounts"]),
        "credit_term": term,
    }
    if term:
        found |= {"credit_limit": pick(roll, amounts["credit_limits"]), "billing_cycle_start": pick(roll, MONTHS)}
    if chances % 11 < 4:
        found |= cost_plus(roll, amounts)
    if chances % 13 < 5:
        found |= tax(roll, person, pick(roll, EXEMPT))
    if chances % 17 < 4:
        found |= account(roll, person)
    if chances % 19 < 4:
        found |= {"fax": fill(roll, person.city.phone), "invoice_note": pick(roll, words["invoice_notes"])}
    if chances % 23 < 6:
        found["email_cc"] = ("; " if roll() % 2 else ",").join(
            [f"{one}@{domain}" for one in words["departments"][: roll() % 3 + 1]]
        )
    return found


def cost_plus(roll: Roll, amounts: Mapping[str, list[Decimal]]) -> dict[str, Any]:
    """Prices by cost, or by a discount on the site's price."""
    if roll() % 3 == 0:
        return {
            "site_price_based_discount_enabled": True,
            "site_price_based_discount_value": pick(roll, amounts["discounts"]),
        }
    return {
        "cost_plus_enabled": True,
        "cost_plus_percent": pick(roll, amounts["cost_plus"]),
        "cost_plus_using_type": pick(roll, BASES),
    }


def tax(roll: Roll, person: Person, kind: TaxExemptType) -> dict[str, Any]:
    return {"tax_exempt": True, "tax_exempt_type": kind, "tax_id": fill(roll, person.country.tax)}


def account(roll: Roll, person: Person) -> dict[str, Any]:
    """An account of the customer's own at a carrier."""
    return {
        "account_number": f"{pick(roll, LETTERS)}{roll():05d}{pick(roll, LETTERS)}",
        "postal_code": pick(roll, person.city.postal),
        "enable_customer_shipping_account": True,
    }


def shipping(roll: Roll, made_of: Book) -> dict[str, Any]:
    carrier_id, service_id = pick(roll, made_of.services)
    charges = pick(roll, made_of.amounts["charges"])
    return {"carrier_id": carrier_id, "carrier_method_id": service_id, "charges": charges}


def addresses(roll: Roll, person: Person, business: str, phone: str, source: AddressSource) -> tuple[Address, ...]:
    """One address for everything, or for every fourth customer a second one in another place for the goods."""
    if roll() % 4:
        return (address(roll, person, person.city, business, phone, source, True, True),)
    return (
        address(roll, person, person.city, business, phone, source, False, True),
        address(roll, person, pick(roll, person.country.cities), business, phone, source, True, False),
    )


def address(
    roll: Roll,
    person: Person,
    city: City,
    business: str,
    phone: str,
    source: AddressSource,
    is_shipping: bool,
    is_billing: bool,
) -> Address:
    country = person.country
    return Address(
        id=0,
        company_name=business,
        source=source,
        status=pick(roll, STATUSES),
        is_shipping=is_shipping,
        is_billing=is_billing,
        address2=fill(roll, pick(roll, country.seconds)) if roll() % 4 == 0 else "",
        contact_name=f"{person.given.text} {person.surname}",
        country=country.code,
        city=city.name,
        state=city.area if country.has_states else "",
        region="" if country.has_states else city.area,
        zip_code=pick(roll, city.postal),
        address=pick(roll, country.streets) % (roll() % country.highest + 1),
        phone=phone,
    )


def custom_values(roll: Roll, number: int, choices: list[str]) -> Values:
    """Values of some of the custom columns of `reference`, by column id."""
    chances = roll() & roll()
    found: dict[int, str | int | bool | tuple[str, ...]] = {}
    if chances & 1:
        found[1] = f"L-{number:06d}"
    if chances & 2:
        found[2] = roll() % 60
    if chances & 4:
        found[3] = f"{roll() % 25000}.{roll() % 20 * 5:02d}"
    if chances & 8:
        found[4] = pick(roll, VISITS)
    if chances & 16:
        found[5] = roll() % 2 == 0
    if chances & 32:
        found[6] = pick(roll, choices)
    return found


def groups(chances: int, subscribed: bool, term: int) -> tuple[int, ...]:
    """The ids of the groups of `reference` that the customer is in."""
    found = [1] if chances % 13 == 0 else []
    if subscribed:
        found.append(2)
    if term == NET_30:
        found.append(3)
    if chances % 10 == 0:
        found.append(4 + chances // 10 % 3)
    return tuple(found)
