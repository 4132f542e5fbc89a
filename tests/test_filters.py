"""Every list filter, alone and with others, against a slow search that this test makes itself (contract §3.1, §9)."""

import random
import re
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from urllib.parse import quote, urlencode

import argon2
import pytest
from conftest import PASSWORD, SAMPLE, SAMPLE_HOST, TT, Api, Running, fill, problems
from msgspec.structs import replace

from regulars import customers, sandbox
from regulars.record import Channel, Customer, Rating, Tenant

COUNT = 400
Test = Callable[[Customer], bool]


def plain(text: str) -> str:
    """Text as it is compared: in any case, composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip()


def digits(text: str) -> str:
    return "".join(one for one in text if one.isdecimal())


def phones(one: Customer) -> list[str]:
    found = [one.phone1, one.phone2, one.phone3, one.mobile, *(place.phone for place in one.addresses)]
    return [digits(phone) for phone in found if digits(phone)]


def words(one: Customer) -> set[str]:
    texts = [one.first_name, one.middle_name, one.last_name, one.email, one.business_name, *one.business_aliases]
    texts += [one.source_id, *(place.city for place in one.addresses)]
    return {word for text in texts for word in re.findall(r"\w+", plain(text))}


def keyword(one: Customer, text: str) -> bool:
    if re.fullmatch(r"[\d\s()+./-]+", text) and len(digits(text)) >= 5:
        return digits(text) in words(one) or any(phone.endswith(digits(text)) for phone in phones(one))
    return all(word in words(one) for word in re.findall(r"\w+", plain(text)))


def starts(text: str, start: str) -> bool:
    return bool(text) and plain(text).startswith(plain(start))


def moment(text: str, end: bool = False) -> datetime:
    if "/" in text:
        found = datetime.strptime(text, "%m/%d/%Y %H:%M" if ":" in text else "%m/%d/%Y")
    else:
        found = datetime.fromisoformat(text)
    found = found.replace(tzinfo=found.tzinfo or UTC)
    return found + timedelta(days=1, microseconds=-1) if end and ":" not in text else found


ORACLE: dict[str, Callable[[Customer, str], bool]] = {
    "customerIds": lambda one, value: one.id in map(int, value.split(",")),
    "firstName": lambda one, value: starts(one.first_name, value),
    "lastName": lambda one, value: starts(one.last_name, value),
    "email": lambda one, value: plain(one.email) == plain(value),
    "rating": lambda one, value: one.rating == (int(value) if value.isdigit() else Rating[value]),
    "customerType": lambda one, value: one.is_wholesale is (value.lower() in ("1", "wholesale")),
    "subscribed": lambda one, value: value in ("-1", "All") or one.subscribed is (value == "1"),
    "createdOnFrom": lambda one, value: one.created_on >= moment(value),
    "createdOnTo": lambda one, value: one.created_on <= moment(value, end=True),
    "modifiedOnFrom": lambda one, value: one.modified_on >= moment(value),
    "modifiedOnTo": lambda one, value: one.modified_on <= moment(value, end=True),
    "phoneNumber": lambda one, value: any(phone.endswith(digits(value)) for phone in phones(one)),
    "city": lambda one, value: any(starts(place.city, value) for place in one.addresses),
    "zipCode": lambda one, value: any(plain(place.zip_code) == plain(value) for place in one.addresses),
    "exported": lambda one, value: value == "-1" or one.exported is (value == "1"),
    "channel": lambda one, value: one.channel == (int(value) if value.isdigit() else Channel[value]),
    "corporateName": lambda one, value: starts(one.business_name, value),
    "companyIds": lambda one, value: one.company_id in map(int, value.split(",")),
    "keyword": keyword,
}


@pytest.fixture(scope="module")
def sample(server: Running) -> Api:
    """A caller of a tenant with sample customers, some of which were changed since."""
    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    server.run(SAMPLE, fill, Tenant(tenant_id=SAMPLE, id=SAMPLE, name="sample"), hashed)
    server.run(SAMPLE, customers.load, list(sandbox.customers(SAMPLE, COUNT, seed=11)))
    api = server.api(host=SAMPLE_HOST)
    for number in range(1, COUNT, 10):
        place = {
            "ID": 0, "AddressSource": 0, "AddressStatus": 0, "IsShippingAddress": 1, "IsBillingAddress": 0,
            "Country": "DE", "City": "Ulm an der Donau", "ZipCode": "89073", "Address": "Gasse 1", "ContactName": "X",
            "Phone": f"+49 731 {number:05}",
        }  # fmt: skip
        api.update(number, "Addresses", Addresses=[place])
        members: dict[str, Any] = {
            "Name": f"Jürgen STRASSE{number % 3}",
            "Phone2": "555-1234",
            "BusinessAliases": ["84 000"],
            "Rating": 1,
        }
        api.update(number, **members)
        api.update(number, Phone2=None, Phone3="(0731) 99-88", SourceId=f"ALT-{number}")
    return api


@pytest.fixture(scope="module")
def book(sample: Api) -> list[Customer]:
    """Every customer of the sample, newest first."""
    return [sample.stored(number) for number in range(COUNT, 0, -1)]


def check(api: Api, book: list[Customer], params: list[tuple[str, str]]) -> int:
    """The list gives just what the oracle finds, page by page; returns how many that are."""
    found = [one.id for one in book if all(ORACLE[name](one, value) for name, value in params)]
    query = urlencode(params)
    for page in (1, 2):
        body = api.list(f"{query}&pageSize=50&pageNumber={page}")
        assert body["TotalResults"] == len(found), params
        assert [one["UserID"] for one in body["Items"]] == found[50 * (page - 1) : 50 * page], params
    return len(found)


def choices(book: list[Customer], roll: random.Random) -> Iterator[tuple[str, str]]:
    """Values for every filter: taken from a customer, and some that match nobody."""
    one = roll.choice([found for found in book if found.business_name])
    place = one.addresses[-1]
    phone = roll.choice([found for found in (one.phone1, one.mobile, place.phone) if found])
    day = roll.choice(book).created_on
    case: Any = roll.choice([str.upper, str.lower, str])
    ids = [str(roll.choice(book).id) for _ in range(20)]
    yield "customerIds", ",".join(ids)
    yield "firstName", case(one.first_name[: roll.randint(1, 9)])
    yield "lastName", case(one.last_name[: roll.randint(1, 9)])
    yield "email", case(one.email)
    yield "rating", roll.choice([str(one.rating.value), one.rating.name])
    yield "customerType", roll.choice(["0", "1", "Wholesale", "retail"])
    yield "subscribed", roll.choice(["0", "1", "-1"])
    yield "exported", roll.choice(["0", "1", "-1"])
    yield "channel", roll.choice([str(one.channel), Channel(one.channel).name, "6", "4"])
    yield "corporateName", case(one.business_name[: roll.randint(1, 12)])
    yield "companyIds", roll.choice(["1", "2", "3", "1,3", "2,3,99"])
    yield "phoneNumber", roll.choice([phone, phone[-4:], "-" + digits(phone)[-7:], digits(phone)])
    yield "city", case(place.city[: roll.randint(1, 8)])
    yield "zipCode", case(place.zip_code)
    word = roll.choice([one.first_name, one.last_name, one.email, one.business_name, place.city, one.source_id, phone])
    yield "keyword", case(word)
    for name in ("createdOn", "modifiedOn"):
        yield name + "From", roll.choice([day.strftime("%m/%d/%Y"), day.strftime("%m/%d/%Y %H:%M"), day.isoformat()])
        yield name + "To", roll.choice([day.strftime("%m/%d/%Y"), (day + timedelta(400)).strftime("%Y-%m-%dT%H:%M:%S")])


@pytest.mark.parametrize("name", ORACLE)
def test_a_filter_alone_finds_just_what_it_should(sample: Api, book: list[Customer], name: str) -> None:
    roll = random.Random(name)
    values = {dict(choices(book, roll))[name] for _ in range(12)}
    counts = [check(sample, book, [(name, value)]) for value in sorted(values)]
    assert max(counts) > 0, "a filter that finds nobody tests nothing"


def test_filters_together_find_what_all_of_them_do(sample: Api, book: list[Customer]) -> None:
    roll = random.Random(5)
    pairs = list(combinations(ORACLE, 2))
    found = 0
    for names in (*roll.sample(pairs, 90), *roll.sample(list(combinations(ORACLE, 3)), 40)):
        values = dict(choices(book, roll))
        found += check(sample, book, [(name, values[name]) for name in names]) > 0
    assert found > 30


SPECIAL = [
    [("keyword", "ulm donau")],
    [("keyword", "DONAU jürgen")],
    [("keyword", "Ju\u0308rgen")],  # the same name, written with a combining mark
    [("firstName", "JU\u0308RG")],
    [("lastName", "straße1")],  # ß is ss in any case
    [("keyword", "STRASSE2")],
    [("keyword", "84")],
    [("keyword", "0731 9988")],
    [("keyword", "alt")],
    [("keyword", "nobody has this")],
    [("phoneNumber", "9988")],
    [("phoneNumber", "0731 99 88")],
    [("phoneNumber", "555-1234")],
    [("city", "ulm an")],
    [("city", "an")],
    [("zipCode", "8907")],
    [("rating", "1"), ("city", "Ulm")],
    [("lastName", "%")],
    [("lastName", "_")],
    [("firstName", "'; --")],
    [("corporateName", "*")],
    [("customerIds", "1,11,21,400,401")],
    [("channel", "0")],
    [("channel", "12345")],
    [("companyIds", "77")],
    [("createdOnFrom", "2030-01-01T00:00:00"), ("createdOnTo", "01/01/2020")],
    [("modifiedOnFrom", "01/01/2026")],
    [("createdOnTo", "12/31/9999")],
    [("createdOnFrom", "0001-01-01T00:00:00")],
]


@pytest.mark.parametrize("params", SPECIAL, ids=lambda params: urlencode(params)[:40])
def test_what_is_special_about_texts_and_numbers(sample: Api, book: list[Customer], params: Any) -> None:
    check(sample, book, params)


def test_a_text_of_which_nothing_is_left_to_find_finds_nobody(sample: Api) -> None:
    for query in (
        "phoneNumber=abc",
        "keyword=%21%3F",
        "customerIds=%2C",
        "companyIds=%2C",
        "firstName=%00",
        "email=%01",
    ):
        assert sample.list(query) == {"Items": [], "TotalResults": 0}, query


def test_a_keyword_finds_a_number_that_is_a_whole_name(sample: Api) -> None:
    number = sample.new(CustomerType=0, BusinessName="8675309")
    assert [one["UserID"] for one in sample.list("keyword=8675309")["Items"]] == [number]
    sample.server.run(SAMPLE, lambda tx: tx.put(replace(tx.get(Customer, number), business_name="")))


def total(api: Api, query: str) -> int:
    return int(api.list(query)["TotalResults"])


def test_parameters_are_taken_in_any_case_and_with_a_prefix_that_wins(sample: Api) -> None:
    wholesale, retail = total(sample, "customerType=1"), total(sample, "customerType=0")
    assert wholesale + retail == total(sample, "") and 0 < wholesale < retail
    assert total(sample, "CUSTOMERTYPE=1") == total(sample, "model.customerType=1") == wholesale
    assert total(sample, "Model.CustomerType=1&customerType=0") == wholesale
    assert total(sample, "customerType=0&MODEL.customertype=1&customerType=0") == wholesale
    assert total(sample, "customerType=&model.customerType=") == wholesale + retail


@pytest.mark.parametrize(
    "query",
    [
        "customerIds=3&customerIds=1&customerIds=2",
        "customerIds=1,2,3",
        "customerIds=1,2&customerIds=3",
        "customerIds=%201%20,%202,3,,3",
        "customerIds[]=1&customerIds[]=2&customerIds[]=3",
        "customerIds[0]=1&customerIds[1]=2&customerIds[2]=3",
        "model.customerIds=1,2,3&customerIds=9",
    ],
)
def test_lists_come_as_repeated_keys_or_with_commas(sample: Api, query: str) -> None:
    assert [one["UserID"] for one in sample.list(query)["Items"]] == [3, 2, 1]


def test_a_list_may_be_long_but_not_endless(sample: Api) -> None:
    assert total(sample, "customerIds=" + ",".join(map(str, range(1, 1001)))) >= COUNT
    assert set(problems(sample.get("Customers?customerIds=" + ",".join(["1"] * 1001)))) == {"customerIds"}
    assert set(problems(sample.get("Customers?" + "&".join(["customerIds=1"] * 1001)))) == {"customerIds"}


MOMENT = datetime(2026, 3, 5, 14, 30, 15, 250000, tzinfo=UTC)


@pytest.fixture(scope="module")
def dated(api: Api) -> int:
    """A customer that was created at a known moment."""
    number = api.new(LastName="Dated")
    api.server.run(TT, customers.load, [replace(api.stored(number), created_on=MOMENT)])
    return int(api.list("lastName=Dated")["Items"][0]["UserID"])


AT_MOST = ["2026-03-05T14:30:15.25", "2026-03-05T14:30:15.2500000Z", "2026-03-05T16:30:15.25+02:00"]
AT_MOST += [
    "2026-03-05T09:30:15.25-0500",
    "2026-03-05 14:30:15.25",
    "2026-03-05T14:30:15",
    "03/05/2026 14:30",
    "3/5/2026 14:30",
]
AT_MOST += ["3/5/2026", "03/05/2026", "2026-03-05", "2026-03-05T14:30", "2026-03-05T14:30:15z", "03/05/2026 14:30:15"]
LATER = [
    "2026-03-05T14:30:15.250001",
    "2026-03-05T14:30:16Z",
    "03/05/2026 14:31",
    "03/06/2026",
    "2026-03-05T16:30:15-00:00",
]


@pytest.mark.parametrize("name", ["createdOn", "modifiedOn"])
def test_dates_are_taken_in_every_spelling(api: Api, dated: int, name: str) -> None:
    for text in AT_MOST:
        assert total(api, f"customerIds={dated}&{name}From={quote(text)}") == 1, text
    for text in LATER:
        assert total(api, f"customerIds={dated}&{name}From={quote(text)}") == 0, text
        assert total(api, f"customerIds={dated}&{name}To={quote(text)}") == 1, text
    for text in ("03/05/2026", "2026-03-05", AT_MOST[0], AT_MOST[1], AT_MOST[2]):
        assert total(api, f"customerIds={dated}&{name}To={quote(text)}") == 1, "a day to its end, a moment itself"
    for text in ("2026-03-05T14:30:15.249999", "03/05/2026 14:30", "03/04/2026"):
        assert total(api, f"customerIds={dated}&{name}To={quote(text)}") == 0, text


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026",
        "2026-13-01",
        "02/30/2026",
        "2026-03-05T24:00:00",
        "05.03.2026",
        "1e3",
        "2026-03-05T14:30:15+99:99",
        "0000-01-01",
        "2026-03-05T14",
        "20260305",
        "03/05/26",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:00:00-05:00",
        "٠٣/٠٥/٢٠٢٦",
    ],
)
def test_what_is_no_date_is_refused(api: Api, text: str) -> None:
    for name in ("createdOnFrom", "createdOnTo", "modifiedOnFrom", "modifiedOnTo"):
        assert set(problems(api.get(f"Customers?{name}={quote(text)}"))) == {name}


def test_a_change_moves_the_customer_from_filter_to_filter(api: Api) -> None:
    number = api.new(LastName="Mover", CustomerType=0, BusinessName="Before Ltd")
    api.update(number, Phone1="111 222", Rating=5, Email="before@example.com")
    mine = f"customerIds={number}&"
    old = ["lastName=mover", "corporateName=before", "phoneNumber=222", "rating=5", "email=before%40example.com"]
    old += ["customerType=1", "companyIds=1", "keyword=mover", "keyword=before"]
    assert [total(api, mine + one) for one in old] == [1] * len(old)
    members: dict[str, Any] = {
        "Name": "New Name",
        "BusinessName": "After",
        "Phone1": "",
        "Rating": 0,
        "Email": "",
        "IsWholesale": False,
    }
    with api.server.clock.later(minutes=20):
        edge = quote(api.server.clock().isoformat())
        api.update(number, **members, CompanyId=2)
    assert [total(api, mine + one) for one in old] == [0] * len(old)
    new = ["lastName=name", "corporateName=after", "rating=0", "customerType=0", "companyIds=2", "keyword=new+after"]
    assert [total(api, mine + one) for one in new] == [1] * len(new)
    assert total(api, mine + f"modifiedOnFrom={edge}") == 1 and total(api, mine + f"createdOnFrom={edge}") == 0


def test_one_tenant_never_finds_the_customers_of_another(api: Api, sample: Api) -> None:
    api.new(LastName="Onlyhere")
    assert total(api, "lastName=onlyhere") == 1 and total(sample, "lastName=onlyhere") == 0
    assert total(api, "city=ulm+an+der") == 0 < total(sample, "city=ulm+an+der")
