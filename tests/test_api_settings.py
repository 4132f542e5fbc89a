"""Companies, the lists that give meaning to keys, and where a team's API is."""

import pytest
from conftest import HOST, Api, Running, problems

from regulars import access
from regulars.record import Company


def test_companies_are_listed(api: Api) -> None:
    assert api.get("Companies").json() == {
        "Items": [
            {"ID": 1, "CompanyName": "Careful Ltd", "AllowShippingUnpaidOrders": False},
            {"ID": 2, "CompanyName": "Generous Ltd", "AllowShippingUnpaidOrders": True},
        ],
        "TotalResults": 2,
    }


@pytest.mark.parametrize(
    ("query", "ids", "total"),
    [
        ("pageSize=1", [1], 2),
        ("pageSize=1&pageNumber=2", [2], 2),
        ("pageNumber=3", [], 2),
        ("pageSize=51", [1, 2], 2),
        ("companyID=2", [2], 1),
        ("model.companyID=1,2", [1, 2], 2),
        ("companyID=9", [], 0),
        ("keyword=GENER", [2], 1),
        ("keyword=nope", [], 0),
    ],
)
def test_companies_are_paged_and_found(api: Api, query: str, ids: list[int], total: int) -> None:
    body = api.get(f"Companies?{query}").json()
    assert ([one["ID"] for one in body["Items"]], body["TotalResults"]) == (ids, total)


@pytest.mark.parametrize("query", ["pageSize=x", "pageNumber=0", "companyID=x"])
def test_parameters_of_companies_that_make_no_sense_are_named(api: Api, query: str) -> None:
    assert set(problems(api.get(f"Companies?{query}"))) == {query.split("=")[0]}


def test_one_company(api: Api) -> None:
    assert api.get("Companies/2").json()["CompanyName"] == "Generous Ltd"
    assert api.get("Companies/9").status_code == 404
    assert api.get("Companies/9").json() == "Could not find or load record with ID 9!"
    assert set(problems(api.get("Companies/x"))) == {"id"}


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("PaymentTerms", {1: "Net 10", 2: "Net 30"}),
        ("ShippingCarriers", {1: "UPS", 2: "DHL"}),
        ("ShippingCarriers?siteCode=0", {1: "UPS", 2: "DHL"}),
        ("ShippingServices?siteCode=0&carrier=UPS", {11: "UPS Ground", 12: "UPS Air"}),
        ("ShippingServices?carrier=dhl", {21: "DHL Paket"}),
        ("ShippingServices?Carrier=2", {21: "DHL Paket"}),
    ],
)
def test_lists_that_give_meaning_to_keys(api: Api, path: str, names: dict[int, str]) -> None:
    assert {one["ID"]: one["Name"] for one in api.get(f"Settings/{path}").json()} == names


def test_parameters_of_lists_that_make_no_sense_are_named(api: Api) -> None:
    assert set(problems(api.get("Settings/ShippingServices?carrier=nope"))) == {"carrier"}
    assert "UPS, DHL" in api.get("Settings/ShippingServices").text
    assert set(problems(api.get("Settings/ShippingCarriers?siteCode=x"))) == {"siteCode"}


@pytest.mark.parametrize("path", ["/rest/api/server-by-team/", "/api/server-by-team/", "/API/Server-By-Team"])
def test_a_team_is_told_its_address_without_a_token(server: Running, api: Api, path: str) -> None:
    for host, team, found in (
        (HOST, "OTHER", "http://other.api.example.com/rest"),
        ("api.example.com:8080", "tt", "http://tt.api.example.com:8080/rest"),
        ("127.0.0.1:80", "tt", "http://127.0.0.1:80/rest"),
        ("localhost", "tt", "http://localhost/rest"),
    ):
        answer = api.client.get(f"{path}?team={team}", headers={"Host": host, "Authorization": ""})
        assert (answer.status_code, answer.json()) == (200, {"Success": True, "RestApiEndpoint": found})
    answer = api.client.get(f"{path}?team=nope", headers={"Authorization": ""})
    assert answer.json() == {"Success": False, "Message": "Team name not found. Please try again."}
    assert api.client.get(path, headers={"Authorization": ""}).json()["Success"] is False


# ---- what the client has already


@pytest.mark.parametrize("path", ["Companies", "Companies/2", "Companies?keyword=gen"])
def test_a_list_has_another_etag_when_it_tells_something_else(server: Running, api: Api, other: Api, path: str) -> None:
    def known(tag: str) -> int:
        return api.get(path, If_None_Match=tag).status_code

    def rename(tenant_id: int, name: str) -> None:
        server.run(tenant_id, access.put_record, Company, 2, {"name": name})

    before = api.get(path)
    tag = before.headers["ETag"]
    assert tag[0] == tag[-1] == '"' and tag[1:-1].isdecimal()
    assert [known(one) for one in (tag, f"W/{tag}", f'"1", {tag}', "*", '"1"', "nonsense")] == [304] * 4 + [200] * 2
    rename(other.tenant_id, "Other Ltd")
    assert known(tag) == 304
    rename(api.tenant_id, "Generous Inc")
    try:
        assert known(tag) == 200 and api.get(path).headers["ETag"] != tag
    finally:
        rename(api.tenant_id, "Generous Ltd")
    assert (api.get(path).content, api.get(path).headers["ETag"]) == (before.content, tag)
