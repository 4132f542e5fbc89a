"""The headers that requests may carry and answers do: versions, preferences, request ids, problems."""

import pytest
from conftest import HOST, Api, Running, problems

PARTS = {
    "": {"Fax": "1"},
    "/Addresses": {"Addresses": []},
    "/CustomColumns": {"CustomColumns": [{"ColumnName": "Tier", "Value": "Gold"}]},
    "/OrderOptions": {"TaxExempt": True},
    "/ShippingPreferences": {"Charges": 1},
}


def test_the_etag_is_the_version_on_reading_creating_and_updating(api: Api) -> None:
    created = api.post(
        "Customers",
        {"CompanyID": 1, "FirstName": "A", "LastName": "B", "Email": "", "CustomerType": 1}
        | {"Email": "etag@example.com"},
    )
    number = int(created.text)
    assert created.headers["ETag"] == api.get(f"Customers/{number}").headers["ETag"] == '"1"'
    for version, (part, body) in enumerate((item for item in PARTS.items() if item[0] != "/Addresses"), 2):
        answer = api.put(f"Customers/{number}{part}", body)
        assert answer.headers["ETag"] == api.get(f"Customers/{number}").headers["ETag"] == f'"{version}"'


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("value", ['"1"', "*", '"1" ,', '"7", "1"', '"7","1","8"', 'W/"7", "1"'])
def test_an_update_goes_through_at_the_version_that_it_expects(api: Api, customer: int, part: str, value: str) -> None:
    assert api.put(f"Customers/{customer}{part}", PARTS[part], If_Match=value).status_code == 200


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "value",
    [
        '"2"',
        '"0"',
        'W/"1"',
        "1",
        "garbage",
        '""',
        '"1',
        '"x"',
        '"01"',
        'x"1"',
        '"a"1""',
        '"' + "9" * 30 + '"',
        '"1.0"',
        "",
    ],
)
def test_an_update_at_any_other_version_is_refused(api: Api, customer: int, part: str, value: str) -> None:
    with api.unchanged(customer):
        answer = api.put(f"Customers/{customer}{part}", PARTS[part], If_Match=value)
    assert answer.status_code == 412
    assert answer.headers["ETag"] == '"1"'
    assert "version 1" in answer.json()["Message"]


def test_two_if_match_lines_are_one_list(api: Api, customer: int) -> None:
    headers = [("If-Match", '"1"'), ("If-Match", '"9"')]
    answer = api.client.put(f"/rest/api/Customers/{customer}", json={"Fax": "1"}, headers=headers)
    assert answer.status_code == 200


def test_of_two_updates_at_one_version_the_second_is_refused(api: Api, customer: int) -> None:
    etag = api.get(f"Customers/{customer}").headers["ETag"]
    assert api.put(f"Customers/{customer}", {"Fax": "1"}, If_Match=etag).status_code == 200
    assert api.put(f"Customers/{customer}", {"Fax": "2"}, If_Match=etag).status_code == 412
    assert api.read(customer)["Personal"]["Fax"] == "1"


def test_a_version_of_an_unknown_customer_is_not_found(api: Api) -> None:
    assert api.put("Customers/123456", {"Fax": "1"}, If_Match='"1"').status_code == 404


@pytest.mark.parametrize(
    "prefer",
    [
        "return=representation",
        'return="representation"',
        "RETURN = representation",
        "handling=lenient, return=representation",
        "return=representation; foo=bar, wait=5",
    ],
)
def test_the_customer_is_answered_on_request(api: Api, customer: int, prefer: str) -> None:
    answer = api.put(f"Customers/{customer}", {"Fax": "1"}, Prefer=prefer)
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "return=representation")
    assert answer.content == api.get(f"Customers/{customer}").content
    assert answer.headers["ETag"] == '"2"'


def test_two_prefer_lines_are_one_list(api: Api, customer: int) -> None:
    headers = [("Prefer", "return=representation"), ("Prefer", "handling=lenient")]
    answer = api.client.put(f"/rest/api/Customers/{customer}", json={"Fax": "1"}, headers=headers)
    assert answer.content == api.get(f"Customers/{customer}").content


@pytest.mark.parametrize("prefer", ["return=minimal", "handling=lenient", "nonsense", "", '";,='])
def test_without_that_the_answer_is_empty(api: Api, customer: int, prefer: str) -> None:
    answer = api.put(f"Customers/{customer}", {"Fax": "1"}, Prefer=prefer)
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "0")
    assert "Content-Type" not in answer.headers and "Preference-Applied" not in answer.headers


@pytest.mark.parametrize(
    ("path", "body", "member", "hint"),
    [
        ("Customers/{}", {"Fax": "1", "Phnoe1": "2"}, "Phnoe1", "Did you mean Phone1?"),
        ("Customers/{}", {"Salesmen": "2"}, "Salesmen", "Did you mean Salesman?"),
        ("Customers/{}", {"qqqqq": "2"}, "qqqqq", "Known are AccountManager1Commission, "),
        ("Customers/{}/OrderOptions", {"TaxExemp": True}, "TaxExemp", "Did you mean TaxExempt?"),
        ("Customers/{}/ShippingPreferences", {"Carrier": 1}, "Carrier", "Did you mean CarrierId?"),
        ("Customers/{}/Addresses", {"Addresses": [], "Adress": 1}, "Adress", "Did you mean Address"),
        (
            "Customers/{}/CustomColumns",
            {"CustomColumns": [{"ColumnName": "Tier", "Value": "Gold", "Valeu": 1}]},
            "CustomColumns[0].Valeu",
            "Did you mean Value?",
        ),
        ("Customers/CustomersGroups/1/Customers", {"CustomersIDs": [], "CustomrsID": 1}, "CustomrsID", "CustomersIDs?"),
        ("Customers", {"FristName": "x"}, "FristName", "Did you mean FirstName?"),
    ],
)
def test_in_strict_handling_an_unknown_member_is_refused_with_a_suggestion(
    api: Api, customer: int, path: str, body: object, member: str, hint: str
) -> None:
    method = "POST" if path in ("Customers", "Customers/CustomersGroups/1/Customers") else "PUT"
    with api.unchanged(customer):
        found = problems(api.call(method, path.format(customer), body, Prefer="handling=strict"))
    assert hint in found[member][0]


def test_strict_handling_takes_what_is_known(api: Api, customer: int) -> None:
    for part, body in PARTS.items():
        answer = api.put(f"Customers/{customer}{part}", body, Prefer="handling=strict")
        assert (answer.status_code, "Ignored-Members" in answer.headers) == (200, False)


def test_a_request_id_comes_back_and_stands_in_the_history(api: Api, customer: int) -> None:
    answer = api.put(f"Customers/{customer}", {"Fax": "1"}, X_Request_Id="my-id/1")
    assert answer.headers["X-Request-Id"] == api.changes(customer)[0].request_id == "my-id/1"


@pytest.mark.parametrize("given", ["", "two words", "x" * 101, "ünï"])
def test_a_request_id_that_is_none_is_replaced(api: Api, customer: int, given: str) -> None:
    answers = [
        api.client.get("/rest/api/Customers/1", headers={"X-Request-Id": given.encode("latin-1")})  # type: ignore[arg-type]
        for _ in "12"
    ]
    ids = {answer.headers["X-Request-Id"] for answer in answers}
    assert len(ids) == 2 and given not in ids


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("PUT", "Customers/{}", {"Rating": 9, "FAX": 5}, 400, "refused"),
        ("GET", "Customers/999999", None, 404, "not_found"),
        ("GET", "Nothing", None, 404, "http"),
        ("PATCH", "Customers", None, 405, "http"),
        ("PUT", "Customers/{}", b"{", 400, "refused"),
    ],
)
def test_a_client_that_accepts_problems_gets_them(
    api: Api, customer: int, method: str, path: str, body: object, status: int, code: str
) -> None:
    for accept in ("application/problem+json", "application/json, Application/Problem+JSON;q=0.9"):
        answer = api.call(method, path.format(customer), body, Accept=accept, X_Request_Id="abc")
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
        problem = answer.json()
        assert set(problem) == {"type", "title", "status", "detail", "instance", "errors"}
        assert (problem["type"], problem["status"]) == (f"urn:regulars:{code}", status)
        assert problem["instance"] == "urn:request:abc"
        if isinstance(body, dict):
            assert {one["member"] for one in problem["errors"]} == {"Rating", "FAX"}


def test_other_clients_get_plain_json(api: Api) -> None:
    answer = api.get("Nothing", Accept="application/json")
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


def test_a_challenge_comes_with_every_401(server: Running, api: Api) -> None:
    for authorization, challenge in (
        ("", 'Bearer realm="regulars"'),
        ("Bearer x", 'Bearer realm="regulars", error="invalid_token"'),
    ):
        headers = {"Host": HOST, "Authorization": authorization} if authorization else {"Host": HOST}
        with server.plain() as client:
            answer = client.get("/rest/api/Customers", headers=headers)
        assert (answer.status_code, answer.json()) == (401, {"Message": "Not Valid Token"})
        assert answer.headers["WWW-Authenticate"] == challenge


def test_answers_do_not_tell_what_serves_them(api: Api) -> None:
    assert "Server" not in api.get("Companies").headers
