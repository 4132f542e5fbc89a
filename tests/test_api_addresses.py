"""`PUT /api/Customers/{id}/Addresses`: replace those that are known, add new ones, leave the others."""

from typing import Any

import pytest
from conftest import Api, problems

from regulars.fields import fields_of
from regulars.record import Address, AddressSource, AddressStatus

WHOLE = {
    "ID": 0,
    "AddressSource": "LocalSite",
    "AddressStatus": "Confirmed",
    "IsShippingAddress": True,
    "IsBillingAddress": False,
    "Country": "US",
    "City": "Buffalo",
    "ZipCode": "14201",
    "Address": "1 Main St",
    "State": "NY",
    "ContactName": "Ann Lee",
}
EVERY = WHOLE | {
    "CompanyName": "Engines Ltd",
    "AddressSource": 18,
    "Address2": "Floor 2",
    "Region": "West",
    "Phone": "+1 555 0100",
    "Fax": "+1 555 0101",
}
REQUIRED = [spec.member for spec in fields_of(Address).values() if spec.required]


def addresses(api: Api, number: int) -> Any:
    return api.read(number)["Addresses"]


def add(api: Api, number: int, **members: Any) -> int:
    """The id of an address that is added."""
    known = {one["ID"] for one in addresses(api, number)}
    api.update(number, "Addresses", Addresses=[WHOLE | members | {"ID": 0}])
    return int(next(one["ID"] for one in addresses(api, number) if one["ID"] not in known))


def refused(api: Api, number: int, *given: Any) -> Any:
    with api.unchanged(number):
        return problems(api.put(f"Customers/{number}/Addresses", {"Addresses": list(given)}))


def test_an_address_is_added_whole_and_reads_back(api: Api, customer: int) -> None:
    number = add(api, customer, **EVERY)
    expected = EVERY | {"ID": number, "AddressSource": 18, "AddressStatus": 2, "RowStatus": 0, "IsModified": False}
    assert addresses(api, customer) == [expected]
    assert len(api.changes(customer)) == 2


def test_the_required_members_are_those_of_the_contract() -> None:
    assert set(REQUIRED) == set(WHOLE) - {"State", "ContactName"}


def test_a_known_address_is_replaced_and_the_others_stay(api: Api, customer: int) -> None:
    first, second = add(api, customer, **EVERY), add(api, customer, City="Chicago")
    before = addresses(api, customer)
    api.update(customer, "Addresses", Addresses=[WHOLE | {"ID": first, "City": "Houston"}])
    after = addresses(api, customer)
    assert [one["ID"] for one in after] == [first, second]
    assert after[1] == before[1]
    assert after[0]["City"] == "Houston"
    assert after[0]["Address2"] == after[0]["Phone"] == after[0]["CompanyName"] == ""


def test_several_are_replaced_and_added_at_once(api: Api, customer: int) -> None:
    first = add(api, customer)
    new = [WHOLE | {"City": "A"}, WHOLE | {"ID": str(first), "City": "B"}, WHOLE | {"City": "C"}]
    api.update(customer, "Addresses", Addresses=new)
    assert [(one["ID"] == first, one["City"]) for one in addresses(api, customer)] == [
        (True, "B"),
        (False, "A"),
        (False, "C"),
    ]
    assert len(api.changes(customer)) == 3


def test_no_addresses_and_the_same_addresses_change_nothing(api: Api, customer: int) -> None:
    number = add(api, customer)
    with api.unchanged(customer):
        api.update(customer, "Addresses", Addresses=[])
        api.update(customer, "Addresses", Addresses=[WHOLE | {"ID": number}])


@pytest.mark.parametrize("member", REQUIRED)
def test_an_address_lacks_nothing_that_is_required(api: Api, customer: int, member: str) -> None:
    known = add(api, customer)
    for number in (0, known):
        whole = WHOLE | {"ID": number}
        missing = {name: value for name, value in whole.items() if name != member}
        assert set(refused(api, customer, missing)) == {f"Addresses[0].{member}"}
        assert set(refused(api, customer, whole | {member: None})) == {f"Addresses[0].{member}"}
        assert f"Addresses[0].{member}" in refused(api, customer, whole | {member: ""})


def test_a_state_is_required_in_the_us_alone(api: Api, customer: int) -> None:
    stateless = {name: value for name, value in WHOLE.items() if name != "State"}
    for country in ("US", "us"):
        found = refused(api, customer, stateless | {"Country": country})
        assert found == {"Addresses[0].State": ["Expected a state: it is required in the US."]}
    assert set(refused(api, customer, WHOLE | {"State": ""})) == {"Addresses[0].State"}
    add(api, customer, State="", Country="DE")


def test_a_contact_or_a_company_is_required(api: Api, customer: int) -> None:
    nameless = {name: value for name, value in WHOLE.items() if name != "ContactName"}
    found = refused(api, customer, nameless)
    assert found == {"Addresses[0].ContactName": ["Expected a ContactName or a CompanyName."]}
    assert set(refused(api, customer, WHOLE | {"ContactName": ""})) == {"Addresses[0].ContactName"}
    add(api, customer, ContactName="", CompanyName="Engines Ltd")


@pytest.mark.parametrize("country", ["U", "USA", "U1", "ÄÖ", "  ", "U "])
def test_a_country_is_two_letters(api: Api, customer: int, country: str) -> None:
    assert set(refused(api, customer, WHOLE | {"Country": country})) == {"Addresses[0].Country"}


def test_an_id_of_no_address_of_this_customer_is_refused(api: Api, customer: int) -> None:
    mine, others = add(api, customer), add(api, api.new())
    found = refused(api, customer, WHOLE | {"ID": others})
    assert set(found) == {"Addresses[0].ID"}
    assert f"({mine}), got {others}" in found["Addresses[0].ID"][0]
    assert set(refused(api, customer, WHOLE | {"ID": -1})) == {"Addresses[0].ID"}


def test_an_address_comes_once(api: Api, customer: int) -> None:
    number = add(api, customer)
    found = refused(api, customer, WHOLE | {"ID": number, "City": "A"}, WHOLE | {"ID": number, "City": "B"})
    assert set(found) == {"Addresses[1].ID"}


def test_every_problem_of_every_address_is_reported_as_it_was_spelt(api: Api, customer: int) -> None:
    bad = {"id": 999, "CITY": 5, "country": "US", "Zipcode": "1", "addressStatus": "Perhaps", "isShippingAddress": 7}
    with api.unchanged(customer):
        found = problems(api.put(f"Customers/{customer}/Addresses", {"addresses": [WHOLE, bad, "x", None]}))
    assert set(found) == {
        "addresses[1].id",
        "addresses[1].CITY",
        "addresses[1].addressStatus",
        "addresses[1].isShippingAddress",
        "addresses[1].AddressSource",
        "addresses[1].IsBillingAddress",
        "addresses[1].Address",
        "addresses[1].ContactName",
        "addresses[1].State",
        "addresses[2]",
        "addresses[3]",
    }


@pytest.mark.parametrize("one", [*AddressSource, *AddressStatus], ids=lambda one: one.name)
def test_sources_and_states_are_taken_by_number_and_by_name(api: Api, customer: int, one: Any) -> None:
    member = type(one).__name__
    for sent in (one.value, str(one.value), one.name, one.name.upper()):
        number = add(api, customer, **{member: sent})
        assert next(found for found in addresses(api, customer) if found["ID"] == number)[member] == one.value


@pytest.mark.parametrize(
    "body",
    [{}, {"Addresses": None}, {"Addresses": {}}, {"Addresses": "x"}, {"Addresses": 5}, {"Addresses": [WHOLE] * 1001}],
    ids=lambda body: str(body)[:20],
)
def test_the_list_of_addresses_is_required(api: Api, customer: int, body: Any) -> None:
    with api.unchanged(customer):
        assert set(problems(api.put(f"Customers/{customer}/Addresses", body))) == {"Addresses"}


def test_there_are_at_most_a_hundred(api: Api, customer: int) -> None:
    api.update(customer, "Addresses", Addresses=[WHOLE] * 100)
    assert set(refused(api, customer, WHOLE)) == {"Addresses"}
    assert len(addresses(api, customer)) == 100


def test_numbers_of_refused_addresses_are_not_lost(api: Api, customer: int) -> None:
    first = add(api, customer)
    refused(api, customer, WHOLE, WHOLE | {"City": ""})
    assert add(api, customer) == first + 1


def test_other_fields_stay(api: Api, customer: int) -> None:
    before = api.read(customer)
    add(api, customer)
    after = api.read(customer)
    after["Addresses"] = []
    assert after == before
