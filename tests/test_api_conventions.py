"""What holds for every call: how paths, members and parameters may be written, methods, pages, and what is ignored."""

import re
from typing import Any

import httpx2
import pytest
from conftest import Api, Running, problems

from regulars.http.routes import ROUTES


def raw(server: Running, request: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request that is sent as it stands, but for its line ends."""
    with server.connect() as connection:
        connection.sendall(request.replace("\n", "\r\n").encode("latin-1"))
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in lines)}
    return int(line.split()[1]), headers, body


@pytest.mark.parametrize(
    "path",
    [
        "/rest/api/Customers/{}",
        "/rest/api/Customers/{}/",
        "/rest/api/customers/{}",
        "/REST/API/CUSTOMERS/{}",
        "//rest//api///Customers//{}//",
        "/rest/api/%43ustomers/{}",
    ],
)
def test_a_path_is_served_in_any_case_with_any_slashes_and_never_redirected(api: Api, customer: int, path: str) -> None:
    url = path.format(customer)
    status, headers, body = raw(
        api.server,
        f"PUT {url} HTTP/1.1\nHost: {api.host}\nAuthorization: Bearer {api.token}\nConnection: close\n"
        'Content-Type: application/json\nContent-Length: 14\n\n{"Fax": "12 3"',
    )
    assert (status, "location" in headers) == (400, False), "the body is cut off"
    status, headers, body = raw(
        api.server,
        f"PUT {url} HTTP/1.1\nHost: {api.host}\nAuthorization: Bearer {api.token}\nConnection: close\n"
        'Content-Type: application/json\nContent-Length: 15\n\n{"Fax": "12 3"}',
    )
    assert (status, body, "location" in headers) == (200, b"", False)
    assert api.read(customer)["Personal"]["Fax"] == "12 3"


@pytest.mark.parametrize("path", ["Customers", "Customers/", "CUSTOMERS", "customers//", "Companies/", "Companies/1/"])
def test_lists_are_served_with_a_trailing_slash(api: Api, path: str) -> None:
    assert api.get(path).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
@pytest.mark.parametrize(
    "path", ["/rest/api/Nothing", "/rest/api", "/", "/rest/api/Customers/1/Notes", "/api/Customers"]
)
def test_an_unknown_route_is_not_found(api: Api, method: str, path: str) -> None:
    answer = api.call(method, path)
    assert answer.status_code == 404
    if method != "HEAD":
        message = f"No HTTP resource was found that matches the request URI '{path}'."
        assert answer.json() == {"Message": message}


METHODS: dict[str, set[str]] = {}
for _route in ROUTES:
    METHODS.setdefault(_route.path, set()).add(_route.method)


@pytest.mark.parametrize("path", METHODS)
def test_a_wrong_method_is_refused_and_the_right_ones_named(api: Api, path: str) -> None:
    url = re.sub(r"\{\w+\}", "1", path)
    allowed = METHODS[path] | ({"HEAD"} if "GET" in METHODS[path] else set())
    for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - allowed:
        answer = api.call(method, url)
        assert answer.status_code == 405
        assert set(answer.headers["Allow"].split(", ")) == allowed
        if method != "HEAD":
            said = answer.json()["detail" if path.startswith("/api/v1/") else "Message"]
            assert said == f"The requested resource does not support http method '{method}'."


@pytest.mark.parametrize(
    "path", ["Customers", "Customers/{}", "Companies", "Settings/PaymentTerms", "Customers/999999"]
)
def test_head_answers_as_get_without_the_body(api: Api, customer: int, path: str) -> None:
    head, get = api.call("HEAD", path.format(customer)), api.get(path.format(customer))
    assert (head.status_code, head.content) == (get.status_code, b"")
    volatile = {"x-request-id", "date"}
    assert {k: v for k, v in head.headers.items() if k not in volatile} == {
        k: v for k, v in get.headers.items() if k not in volatile
    }


def test_a_get_may_come_with_a_content_type_and_no_body(api: Api, customer: int) -> None:
    for path in (f"Customers/{customer}", "Customers", "Companies", "Settings/PaymentTerms"):
        assert api.get(path, Content_Type="application/json").status_code == 200


def test_a_get_may_come_with_a_body_which_is_ignored(api: Api, customer: int) -> None:
    assert api.call("GET", f"Customers/{customer}", b"{not json").status_code == 200
    assert api.get(f"Customers/{customer}").status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "text/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        'text/json;charset="UTF-8"',
    ],
)
def test_bodies_are_taken_as_json_of_either_type(api: Api, customer: int, kind: str) -> None:
    assert api.put(f"Customers/{customer}", {"Fax": kind[:9]}, Content_Type=kind).status_code == 200


def test_a_body_without_a_type_is_taken_as_json(api: Api, customer: int) -> None:
    request = httpx2.Request("PUT", f"{api.server.url}/rest/api/Customers/{customer}", content=b'{"Fax":"5"}')
    request.headers |= api.headers
    assert "content-type" not in request.headers
    assert api.client.send(request).status_code == 200


def test_a_byte_order_mark_is_taken(api: Api, customer: int) -> None:
    assert api.put(f"Customers/{customer}", b'\xef\xbb\xbf{"Fax": "6"}').status_code == 200


def test_bodies_may_come_in_chunks(api: Api, customer: int) -> None:
    status, _, _ = raw(
        api.server,
        f"PUT /rest/api/Customers/{customer} HTTP/1.1\nHost: {api.host}\nAuthorization: Bearer {api.token}\n"
        'Connection: close\nTransfer-Encoding: chunked\n\n4\n{"Fa\n9;ext=1\nx": "12"}\n0\nTrailer: 1\n\n',
    )
    assert (status, api.read(customer)["Personal"]["Fax"]) == (200, "12")


def test_a_client_that_waits_for_100_continue_gets_it(api: Api, customer: int) -> None:
    with api.server.connect() as connection:
        connection.sendall(
            f"PUT /rest/api/Customers/{customer} HTTP/1.1\r\nHost: {api.host}\r\nAuthorization: Bearer {api.token}\r\n"
            "Expect: 100-continue\r\nContent-Length: 11\r\nConnection: close\r\n\r\n".encode()
        )
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b'{"Fax":"7"}')
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_client_of_http_1_0_is_served(api: Api, customer: int) -> None:
    status, headers, body = raw(
        api.server, f"GET /rest/api/Customers/{customer} HTTP/1.0\nAuthorization: Bearer {api.token}\n\n"
    )
    assert status == 200 and headers["connection"] == "close" and len(body) == int(headers["content-length"])


def test_a_client_that_offers_an_upgrade_is_served(api: Api, customer: int) -> None:
    # As Java's HttpClient does on plain connections, with a body too, and again on the same connection.
    with api.server.connect() as connection:
        for number in (1, 2, 3):
            connection.sendall(
                f"PUT /rest/api/Customers/{customer} HTTP/1.1\r\nHost: {api.host}\r\n"
                f"Authorization: Bearer {api.token}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                f'HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\nContent-Length: 11\r\n\r\n{{"Fax":"{number}"}}'.encode()
            )
            assert connection.recv(10000).startswith(b"HTTP/1.1 200 ")
            assert api.read(customer)["Personal"]["Fax"] == str(number)


def test_pipelined_requests_are_answered_in_order(api: Api, customer: int) -> None:
    def request(number: int, more: str = "") -> str:
        body = f'{{"Fax": "{number:02}"}}'
        return (
            f"PUT /rest/api/Customers/{customer} HTTP/1.1\nHost: {api.host}\nAuthorization: Bearer {api.token}\n"
            f"X-Request-Id: number-{number}\n{more}Content-Length: {len(body)}\n\n{body}"
        ).replace("\n", "\r\n")

    with api.server.connect() as connection:
        connection.sendall("".join(request(n, "Connection: close\n" if n == 9 else "") for n in range(10)).encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200"] * 10
    assert re.findall(rb"x-request-id: number-(\d)", answer) == [b"%d" % n for n in range(10)]
    assert [change.request_id for change in api.changes(customer)[:10]] == [f"number-{n}" for n in range(9, -1, -1)]


def test_unknown_members_are_ignored_and_named_in_a_header(api: Api, customer: int) -> None:
    answer = api.put(f"Customers/{customer}", {"Fax": "1", "Phnoe1": "2", "A b,\u00e9": {"deep": 1}})
    assert answer.status_code == 200
    assert answer.headers["Ignored-Members"] == "Phnoe1, A%20b%2C%C3%A9"
    assert len(api.changes(customer)) == 2
    nested = {"Addresses": [], "Other": 1}
    assert api.put(f"Customers/{customer}/Addresses", nested).headers["Ignored-Members"] == "Other"
    item = {"CustomColumns": [{"ColumnName": "Tier", "Value": "Gold", "Valeu": 1}]}
    answer = api.put(f"Customers/{customer}/CustomColumns", item)
    assert answer.headers["Ignored-Members"] == "CustomColumns[0].Valeu"
    assert "Ignored-Members" not in api.put(f"Customers/{customer}", {"Fax": "1"}).headers


def test_members_of_another_part_are_unknown(api: Api, customer: int) -> None:
    with api.unchanged(customer):
        answer = api.put(f"Customers/{customer}", {"TaxExempt": True, "FirstName": "X", "ID": 7, "Version": 9})
    assert answer.headers["Ignored-Members"] == "TaxExempt, FirstName, ID, Version"


def test_unknown_parameters_are_ignored(api: Api) -> None:
    assert api.list("nonsense=1&model.other=x")["TotalResults"] == api.list()["TotalResults"]


# ---- pages


@pytest.fixture(scope="module")
def dozens(api: Api) -> list[int]:
    """The numbers of 60 customers, newest first, that no other test makes."""
    return [api.new(LastName="Dozens") for _ in range(60)][::-1]


def page(api: Api, query: str) -> list[int]:
    body = api.list(f"lastName=Dozens&{query}")
    assert body["TotalResults"] == 60
    return [one["UserID"] for one in body["Items"]]


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("", slice(0, 10)),
        ("pageNumber=2", slice(10, 20)),
        ("pageSize=7&pageNumber=3", slice(14, 21)),
        ("pageSize=50", slice(0, 50)),
        ("pageSize=51", slice(0, 50)),
        ("pageSize=1000000", slice(0, 50)),
        ("pageSize=1000&pageNumber=2", slice(50, 60)),
        ("pageSize=25&pageNumber=3", slice(50, 60)),
        ("pageNumber=7", slice(0, 0)),
        ("pageNumber=2147483647&pageSize=50", slice(0, 0)),
        ("PAGESIZE=3&PageNumber=2", slice(3, 6)),
        ("pageSize=9&model.pageSize=3", slice(0, 3)),
        ("pageSize=&pageNumber=", slice(0, 10)),
        ("pageSize=4&pageSize=5", slice(0, 5)),
    ],
)
def test_pages_come_newest_first(api: Api, dozens: list[int], query: str, part: slice) -> None:
    assert page(api, query) == dozens[part]


@pytest.mark.parametrize("name", ["pageSize", "pageNumber"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "99999999999", "1,2"])
def test_a_page_that_makes_no_sense_is_refused(api: Api, name: str, value: str) -> None:
    assert set(problems(api.get(f"Customers?{name}={value}"))) == {name}


def test_a_listed_customer_has_the_members_of_the_contract_in_order(api: Api) -> None:
    number = api.new(CustomerType="WholeSale", BusinessName="Engines")
    api.update(number, Rating=4, EmailCC="cc@example.com")
    (one,) = api.list(f"customerIds={number}")["Items"]
    email = one["Email"]
    assert list(one.items()) == [
        ("UserID", number),
        ("Email", email),
        ("FirstName", "Ann"),
        ("LastName", "Lee"),
        ("MiddleInitial", ""),
        ("EmailCC", "cc@example.com"),
        ("Rating", 4),
        ("CorporateName", "Engines"),
        ("IsWholeSaleUser", True),
        ("IsWholesaleString", "Yes"),
        ("CustomColumns", None),
    ]
    assert api.list(f"customerIds={api.new()}")["Items"][0]["IsWholesaleString"] == "Retail"


def test_every_wrong_parameter_is_reported_at_once(api: Api) -> None:
    query = "rating=9&customerType=x&subscribed=2&exported=x&channel=-1&customerIds=1,x&companyIds=x&createdOnFrom=soon"
    query += "&createdOnTo=13/13/2026&modifiedOnFrom=1&modifiedOnTo=x&pageSize=x&pageNumber=x"
    expected = {part.split("=")[0] for part in query.split("&")}
    assert set(problems(api.get(f"Customers?{query}"))) == expected
    prefixed = "&".join(f"model.{part}" for part in query.split("&"))
    assert set(problems(api.get(f"Customers?{prefixed}"))) == expected


def test_swagger_and_probes_need_no_token(api: Api) -> None:
    for path in ("/swagger", "/rest/swagger", "/swagger/docs/v1", "/rest/swagger/docs/v1", "/livez", "/readyz"):
        answer = api.client.get(path, headers={"Authorization": ""})
        assert answer.status_code == 200, path


def test_the_routes_are_those_of_the_contract() -> None:
    found: Any = {
        (route.method, route.path.replace("/rest", "", 1)) for route in ROUTES if route.public and not route.own
    }
    assert found == {
        ("POST", "/api/token"),
        ("PUT", "/api/Customers/{id}"),
        ("GET", "/api/Customers/{id}"),
        ("GET", "/api/Customers"),
        ("POST", "/api/Customers"),
        ("PUT", "/api/Customers/{id}/Addresses"),
        ("PUT", "/api/Customers/{id}/CustomColumns"),
        ("PUT", "/api/Customers/{id}/OrderOptions"),
        ("PUT", "/api/Customers/{id}/ShippingPreferences"),
        ("POST", "/api/Customers/CustomersGroups/{id}/Customers"),
        ("GET", "/api/Companies"),
        ("GET", "/api/Companies/{id}"),
        ("GET", "/api/Settings/PaymentTerms"),
        ("GET", "/api/Settings/ShippingCarriers"),
        ("GET", "/api/Settings/ShippingServices"),
        ("GET", "/api/server-by-team"),
    }
