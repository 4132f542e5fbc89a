"""The OpenAPI document tells the truth: it is valid, every route is in it, and the server keeps to it."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import schemathesis
from conftest import ADMIN, PASSWORD, Api, Running, running
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regulars import wire
from regulars.fields import to_bool, to_decimal, to_emails, to_enum, to_int, to_moment
from regulars.http import openapi, schemas
from regulars.http.examples import BODIES
from regulars.http.messages import STATUS
from regulars.http.routes import ROUTES, Route

DOCUMENT = json.loads(openapi.document_bytes())
PUBLIC = [route for route in ROUTES if route.public]
WITH_BODY = [route for route in PUBLIC if route.body]
READS = [route for route in PUBLIC if route.method == "GET"]


def route_name(route: Route) -> str:
    return route.name


def described(route: Route) -> Any:
    """The operation of a route, as the document has it."""
    return DOCUMENT["paths"][route.path][route.method.lower()]


def resolve(part: Any) -> Any:
    while "$ref" in part:
        found = DOCUMENT
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


def validator(part: Any) -> Any:
    """Judges values by a schema of the document, formats too."""
    return jsonschema_rs.Draft202012Validator({**part, "components": DOCUMENT["components"]}, validate_formats=True)


def conforms(route: Route, answer: httpx2.Response) -> None:
    """The answer must be one that the document describes: its status, type, body and headers."""
    assert str(answer.status_code) in described(route)["responses"], (answer.status_code, answer.text)
    one = resolve(described(route)["responses"][str(answer.status_code)])
    if "content" in one:
        kind = answer.headers["Content-Type"].partition(";")[0]
        validator(one["content"][kind]["schema"]).validate(answer.json())
    for name, header in one.get("headers", {}).items():
        if name in answer.headers:
            value: Any = answer.headers[name]
            spec = resolve(header)["schema"]
            validator(spec).validate(int(value) if spec["type"] == "integer" else value)
    assert "X-Request-Id" in answer.headers


@pytest.fixture(scope="module")
def book(errors: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of its own: what is sent here goes to whatever customer there is."""
    with running(tmp_path_factory.mktemp("openapi")) as server:
        yield server


@pytest.fixture(scope="module")
def caller(book: Running) -> Api:
    """The Client Admin of a book with one customer and one webhook, number 1 both."""
    api = book.api()
    assert api.new() == 1
    assert api.post("/api/v1/webhooks", BODIES["Webhook"]).json()["ID"] == 1
    return api


# ---- the document


def test_the_document_is_valid_openapi() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    for one in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**one, "$schema": "https://json-schema.org/draft/2020-12/schema"})


def test_every_reference_leads_somewhere_and_everything_is_used() -> None:
    used = set(re.findall(r'"\$ref":"#/components/([^"]+)"', openapi.document_bytes().decode()))
    known = {f"{kind}/{name}" for kind in ("schemas", "headers", "responses") for name in DOCUMENT["components"][kind]}
    assert used == known


def test_every_route_is_described_and_nothing_else() -> None:
    found = {(method.upper(), path) for path, calls in DOCUMENT["paths"].items() for method in calls}
    assert found == {(route.method, route.path) for route in PUBLIC}
    names = [call["operationId"] for calls in DOCUMENT["paths"].values() for call in calls.values()]
    assert sorted(names) == sorted({route.name for route in PUBLIC})


@pytest.mark.parametrize("route", PUBLIC, ids=route_name)
def test_a_route_is_described_whole(route: Route) -> None:
    call = described(route)
    assert call["summary"] == route.summary and call["tags"][0] in openapi.TAGS
    assert call["security"] == ([{"bearer": []}] if route.permission else [])
    assert ("requestBody" in call) == bool(route.body)
    assert all(one.get("description") or one["name"] == "id" for one in call["parameters"])
    assert {"200", "400", "500", "503"} <= set(call["responses"])
    for status, one in call["responses"].items():
        assert resolve(one)["description"]
        assert status in ("200", "304") or "application/problem+json" in resolve(one)["content"]


def test_every_error_has_a_status_that_is_described() -> None:
    described = {name.removesuffix("-own") for name in DOCUMENT["components"]["responses"]}
    assert {str(status) for status in STATUS.values()} <= described


def test_examples_keep_to_their_schemas() -> None:
    for route in PUBLIC:
        call = described(route)
        places = [one for status in call["responses"].values() for one in resolve(status).get("content", {}).values()]
        places += call.get("requestBody", {}).get("content", {}).values()
        places += [one for one in call["parameters"] if "example" in one]
        for place in places:
            if "example" in place:
                validator(place["schema"]).validate(place["example"])
        if route.method == "GET":
            assert "example" in call["responses"]["200"]["content"]["application/json"]


# ---- the server keeps to it


@pytest.mark.parametrize("route", WITH_BODY, ids=route_name)
def test_a_body_example_is_accepted(caller: Api, route: Route) -> None:
    (content,) = described(route)["requestBody"]["content"].values()
    body = {"Username": ADMIN, "Password": PASSWORD} if route.body == "Login" else content["example"]
    path = route.path.replace("{id}", "1")
    answer = caller.call(route.method, path, body)
    assert answer.status_code == 200, answer.text
    conforms(route, answer)
    if route.method == "PUT":
        whole = caller.call(route.method, path, body, Prefer="return=representation, handling=strict")
        assert whole.status_code == 200, whole.text
        validator(schemas.ref("CustomerDetails")).validate(whole.json())


@pytest.mark.parametrize("route", READS, ids=route_name)
def test_what_is_read_is_as_described(caller: Api, route: Route) -> None:
    query = {
        one["name"]: one["example"]
        for one in described(route)["parameters"]
        if one["in"] == "query" and "example" in one
    }
    required = any(one["required"] for one in described(route)["parameters"] if one["in"] == "query")
    for chosen in (query,) if required else ({}, query):
        answer = caller.client.get(route.path.replace("{id}", "1"), params=chosen)
        assert answer.status_code == 200, answer.text
        conforms(route, answer)
        assert caller.client.head(route.path.replace("{id}", "1"), params=chosen).status_code == 200
        assert (
            ("ETag" in answer.headers)
            == ("304" in described(route)["responses"])
            == (route.name not in ("ReadFeed", "ListCustomers"))
        )
        if route.conditional:
            known = {"If-None-Match": f'"1234", {answer.headers["ETag"]}'}
            again = caller.client.get(route.path.replace("{id}", "1"), params=chosen, headers=known)
            assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", answer.headers["ETag"])
            other = caller.client.get(
                route.path.replace("{id}", "1"), params=chosen, headers={"If-None-Match": '"1234"'}
            )
            assert (other.status_code, other.content) == (200, answer.content)


@pytest.mark.parametrize("kind", ["application/json", "application/problem+json"])
@pytest.mark.parametrize("route", PUBLIC, ids=route_name)
def test_errors_are_as_described(book: Running, caller: Api, route: Route, kind: str) -> None:
    path = route.path.replace("{id}", "1")
    body = BODIES.get(route.body)
    if route.body == "Login":
        body = {"Username": "nobody@example.org", "Password": "wrong"}
    nobody, stranger = book.api("nobody@example.com"), book.holding("nonsense")
    calls: dict[str, Callable[[], httpx2.Response]] = {
        "401": lambda: stranger.call(route.method, path, body, Accept=kind),
        "403": lambda: nobody.call(route.method, path, body, Accept=kind),
        "404": lambda: caller.call(route.method, route.path.replace("{id}", "9999"), body, Accept=kind),
        "412": lambda: caller.call(route.method, path, body, Accept=kind, If_Match='"9999"'),
        "415": lambda: caller.call(route.method, path, body, Accept=kind, Content_Type="text/plain"),
        "400": lambda: caller.call(route.method, path + "?%ff" * (not route.body), b"[]", Accept=kind),
    }
    if route.path.endswith("{id}") or route.name in ("ListPaymentTerms", "ListWebhooks", "RotateWebhookSecret"):
        del calls["400"]  # nothing that can be sent there is wrong but the id, which has tests of its own
    for status in set(described(route)["responses"]) & set(calls):
        answer = calls[status]()
        assert str(answer.status_code) == status, (status, answer.status_code, answer.text)
        assert answer.headers["Content-Type"].startswith("application/problem+json" if route.own else kind)
        conforms(route, answer)


# ---- the patterns are what is accepted

FULL_NAME = wire.names_of("customer")["name"]
CC = wire.names_of("customer")["emailcc"]


def full_name(value: str) -> object:
    reading = wire.read_update("customer", {"Name": value}, False)
    assert not reading.problems
    return reading


PATTERNS: dict[str, tuple[str, Callable[[str], object]]] = {
    "moment": (schemas.MOMENT, to_moment),
    "name": (schemas.FULL_NAME, full_name),
    "emails": (schemas.PLAIN_EMAILS, lambda value: to_emails(value, CC.many)),
    "line": (schemas.ONE_LINE, wire.names_of("customer")["title"].convert),
    "lines": (schemas.LINES, wire.names_of("customer")["comments"].convert),
    "number": (DOCUMENT["components"]["schemas"]["NumberText"]["pattern"], to_int),
    "positive": (DOCUMENT["components"]["schemas"]["PositiveNumberText"]["pattern"], lambda value: to_int(value, 1)),
    "decimal": (DOCUMENT["components"]["schemas"]["DecimalText"]["pattern"], to_decimal),
    "boolean": (DOCUMENT["components"]["schemas"]["BooleanText"]["anyOf"][0]["pattern"], to_bool),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_what_a_pattern_allows_is_accepted(name: str) -> None:
    pattern, read = PATTERNS[name]

    @settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @given(value=st.from_regex(pattern[:-1] + r"\Z", alphabet=st.characters(codec="utf-8")))
    def check(value: str) -> None:
        if len(value) <= 50:
            read(value)

    check()


@pytest.mark.parametrize("kind", schemas.ENUMERATIONS, ids=lambda kind: kind.__name__)
def test_every_word_of_an_enumeration_is_accepted(kind: Any) -> None:
    found = DOCUMENT["components"]["schemas"][kind.__name__]
    words = [word for one in found.get("anyOf", [found]) for word in one.get("enum", [])]
    assert {to_enum(kind, word) for word in words} == set(kind)


# ---- Schemathesis

CONFIG = Path(__file__).parent.parent / "schemathesis.toml"
MODES = [
    (route, mode)
    for route in PUBLIC
    for mode in schemathesis.GenerationMode
    if mode.is_positive or described(route)["parameters"] or route.body
]
"""Every call with what the document allows, and with what it does not where there is anything to get wrong."""


@pytest.fixture(scope="module")
def described_server(book: Running, caller: Api) -> Any:
    """The document as Schemathesis takes it from the server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(CONFIG.parent)  # the hooks' path in the configuration begins there
        config = schemathesis.Config.from_path(CONFIG)
    config.projects.default.headers = {"Authorization": f"Bearer {caller.token}"}
    return schemathesis.openapi.from_url(f"{book.url}/swagger/docs/v1", config=config)


@pytest.mark.parametrize(("route", "mode"), MODES, ids=lambda one: one.value if hasattr(one, "value") else one.name)
def test_whatever_is_sent_the_server_keeps_to_the_document(
    described_server: Any, route: Route, mode: schemathesis.GenerationMode
) -> None:
    operation = described_server.find_operation_by_id(route.name)

    @settings(max_examples=4, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate()

    check()
