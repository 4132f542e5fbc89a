"""Who gets in: tokens, what ends them, permissions, delays after failures, the rate limit."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import argon2
import pytest
from conftest import ADMIN, HOST, OTHER_HOST, PASSWORD, QUIRKY_HOST, TT, Api, Running, problems, running
from joserfc import jwt
from joserfc.jwk import OctKey

from regulars import access
from regulars.http.routes import ROUTES
from regulars.record import Employee

INVALID = {"Message": "Sorry, invalid username or password"}
NOT_VALID = {"Message": "Not Valid Token"}
FRESH = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


def employee(server: Running, email: str, **values: Any) -> Employee:
    return server.run(TT, access.put_employee, email, values)


def refused(api: Api) -> bool:
    """Whether the token is no longer good."""
    answer = api.get("Companies")
    assert answer.status_code in (200, 401)
    if answer.status_code == 401:
        assert answer.json() == NOT_VALID
    return answer.status_code == 401


# ---- logging in


def test_a_token_has_the_shape_of_the_contract(server: Running) -> None:
    answer = server.login()
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    body = answer.json()
    assert list(body) == ["access_token", "token_type", "username", "expires_in", ".issued", ".expires"]
    assert (body["token_type"], body["username"], body["expires_in"]) == ("Bearer", ADMIN, 3600)
    moments = []
    for name in (".issued", ".expires"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", body[name])
        moments.append(datetime.fromisoformat(body[name].partition(".")[0]))
    assert moments[1] - moments[0] == timedelta(minutes=60)


@pytest.mark.parametrize("names", [("Username", "Password"), ("username", "password"), ("USERNAME", "PassWord")])
def test_the_login_is_taken_as_json_and_as_a_form_with_names_in_any_case(
    server: Running, names: tuple[str, str]
) -> None:
    fields = dict(zip(names, (ADMIN.upper(), PASSWORD), strict=True))
    with server.plain() as client:
        for path in ("/rest/api/token", "/rest/API/Token/"):
            how: Any
            for how in ({"json": fields}, {"data": fields}):
                answer = client.post(path, headers={"Host": HOST}, **how)
                assert answer.status_code == 200, answer.text
                assert answer.json()["username"] == ADMIN


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(server: Running) -> None:
    employee(server, "disabled@example.com", password_hash=FRESH, enabled=False)
    employee(server, "passwordless@example.com")
    answers = [
        server.login("admin@example.com", "wrong password"),
        server.login("no-such-user@example.com"),
        server.login("disabled@example.com"),
        server.login("passwordless@example.com"),
        server.login("passwordless@example.com", "x"),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()) == (401, INVALID)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert server.login().status_code == 200


@pytest.mark.parametrize(
    ("body", "members"),
    [
        ({}, {"Username", "Password"}),
        ({"Username": ADMIN}, {"Password"}),
        ({"username": "", "PASSWORD": None}, {"username", "PASSWORD"}),
        ({"Username": 5, "Password": ["x"]}, {"Username", "Password"}),
        ({"Username": ADMIN, "Password": "x" * 1025}, {"Password"}),
        ([], {"body"}),
    ],
)
def test_a_login_that_is_none_is_refused(server: Running, body: Any, members: set[str]) -> None:
    with server.plain() as client:
        assert set(problems(client.post("/rest/api/token", json=body))) == members
        form = client.post("/rest/api/token", data={"Username": "", "pass": "x"})
        assert set(problems(form)) == {"Username", "Password"}


def test_a_form_that_is_no_text_is_refused(server: Running) -> None:
    with server.plain() as client:
        for content in (b"Username=%ff&Password=x", b"\xff\xfe"):
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            problems(client.post("/rest/api/token", content=content, headers=headers))


def test_passwords_are_kept_as_argon2id_of_full_strength(server: Running) -> None:
    hashed = server.wait(server.app.access.hash(PASSWORD))
    assert hashed.startswith("$argon2id$")
    kept = argon2.extract_parameters(hashed)
    assert kept.memory_cost >= 19 * 1024 and kept.time_cost >= 2


# ---- what ends a token


def test_a_token_is_good_for_sixty_minutes(server: Running) -> None:
    api = server.api()
    for seconds, ended in ((0, False), (3590, False), (3602, True), (90000, True)):
        with server.clock.later(seconds=seconds):
            assert refused(api) is ended, seconds
    assert not refused(api), "the clock of the test goes back, and nothing was revoked"


def test_a_token_of_the_future_is_not_good_yet(server: Running) -> None:
    with server.clock.later(minutes=30):
        fresh = server.login().json()["access_token"]
    assert refused(server.holding(fresh))


def test_a_user_who_is_disabled_is_out_at_once(server: Running) -> None:
    employee(server, "leaver@example.com", password_hash=FRESH)
    caller = server.api("leaver@example.com")
    assert not refused(caller)
    employee(server, "leaver@example.com", enabled=False)
    assert refused(caller)
    assert server.login("leaver@example.com").status_code == 401
    employee(server, "leaver@example.com", enabled=True)
    assert refused(caller), "the old token stays dead"
    assert not refused(server.api("leaver@example.com"))


def test_a_new_password_ends_the_tokens_of_the_old_one(server: Running) -> None:
    employee(server, "changer@example.com", password_hash=FRESH)
    caller = server.api("changer@example.com")
    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("another password")
    employee(server, "changer@example.com", password_hash=hashed)
    assert refused(caller)
    assert server.login("changer@example.com").status_code == 401
    assert server.login("changer@example.com", "another password").status_code == 200


def test_a_change_of_permissions_holds_at_once_and_keeps_the_token(server: Running) -> None:
    employee(server, "mover@example.com", password_hash=FRESH)
    caller = server.api("mover@example.com")
    assert caller.get("Companies").status_code == 200
    employee(server, "mover@example.com", can_view=False)
    assert caller.get("Companies").status_code == 403


def test_a_token_is_good_for_its_own_tenant_alone(server: Running, api: Api, other: Api, customer: int) -> None:
    for caller, host, status in (
        (api, HOST, 200),
        (api, HOST.upper() + ":8080", 200),
        (api, OTHER_HOST, 401),
        (other, HOST, 401),
        (api, "127.0.0.1", 200),
        (api, "unknown.api.example.com", 200),
    ):
        answer = caller.get("Companies", Host=host)
        assert answer.status_code == status, host
    with api.unchanged(customer):
        assert api.put(f"Customers/{customer}", {"Fax": "1"}, Host=OTHER_HOST).status_code == 401


def test_the_host_says_whose_user_logs_in(server: Running) -> None:
    employee(server, "only-in-tt@example.com", password_hash=FRESH)
    assert server.login("only-in-tt@example.com", host=HOST).status_code == 200
    assert server.login("only-in-tt@example.com", host=OTHER_HOST).status_code == 401
    assert server.login("only-in-tt@example.com", host="127.0.0.1").status_code == 200, "the first tenant"


# ---- tokens that nobody gave out


@pytest.fixture(scope="module")
def key(server: Running) -> OctKey:
    return OctKey.import_key(server.wait(server.app.store.secret("jwt", "")))


@pytest.fixture(scope="module")
def claims(api: Api) -> dict[str, Any]:
    part = api.token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return found


def test_the_claims_are_those_that_are_checked(server: Running, key: OctKey, claims: dict[str, Any]) -> None:
    assert claims["aud"] == "regulars:api" and claims["iss"] == "regulars" and claims["tenant"] == TT
    assert not refused(server.holding(jwt.encode({"alg": "HS256"}, claims | {"jti": "mine"}, key)))


def without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


def encoded(*parts: Any) -> str:
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)


def test_a_forged_token_is_refused(server: Running, api: Api, key: OctKey, claims: dict[str, Any]) -> None:
    def signed(claims: Mapping[str, Any], with_key: OctKey = key, alg: str = "HS256") -> str:
        return jwt.encode({"alg": alg}, dict(claims), with_key, algorithms=[alg])

    head, body, signature = api.token.split(".")
    changed = encoded(claims | {"sub": "2"})
    forged = {
        "alg none": encoded({"alg": "none"}, claims) + ".",
        "alg none with the signature": encoded({"alg": "none"}, claims) + f".{signature}",
        "alg NONE": encoded({"alg": "NONE", "typ": "JWT"}, claims) + ".",
        "another algorithm": signed(claims, alg="HS512"),
        "another key": signed(claims, OctKey.generate_key(256)),
        "another body": f"{head}.{changed}.{signature}",
        "signature cut": f"{head}.{body}.{signature[:-4]}",
        "signature empty": f"{head}.{body}.",
        "no signature": f"{head}.{body}",
        "another audience": signed(claims | {"aud": "regulars:console"}),
        "another issuer": signed(claims | {"iss": "somebody"}),
        "another epoch": signed(claims | {"epoch": 7}),
        "unknown employee": signed(claims | {"sub": "999"}),
        "employee no number": signed(claims | {"sub": "admin"}),
        "unknown tenant": signed(claims | {"tenant": 99}),
        "tenant no number": signed(claims | {"tenant": None}),
        "expired": signed(claims | {"exp": claims["iat"] - 1}),
        "expiry no number": signed(claims | {"exp": "x"}),
        "not yet": signed(claims | {"nbf": claims["exp"] + 100}),
        **{f"without {name}": signed(without(claims, name)) for name in claims if name not in ("iat", "jti")},
    }
    for what, token in forged.items():
        assert refused(server.holding(token)), what


def test_what_is_no_bearer_token_is_refused(server: Running, api: Api) -> None:
    values = ["", "Bearer", "Basic YTpi", api.token, f"Token {api.token}", f"Bearer {api.token}x"]
    values += [
        "Bearer a.b.c",
        "Bearer ..",
        f"Bearer {'x' * 20000}",
        f"Bearer {api.token} {api.token}",
        "Bearer \u00ff\u00fe",
    ]
    with server.plain() as client:
        for value in values:
            headers = {"Host": HOST, "Authorization": value.encode("latin-1")}
            answer = client.get("/rest/api/Companies", headers=headers)  # type: ignore[arg-type]
            assert (answer.status_code, answer.json()) == (401, NOT_VALID), value
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="regulars", error="invalid_token"'
            assert answer.reason_phrase == "Invalid token"
        for scheme in ("bearer", "BEARER", "Bearer  "):
            answer = client.get("/rest/api/Companies", headers={"Authorization": f"{scheme} {api.token}"})
            assert answer.status_code == 200


PROTECTED = [route for route in ROUTES if route.permission is not None]


@pytest.mark.parametrize("route", PROTECTED, ids=lambda route: route.name)
def test_every_call_needs_a_token(server: Running, route: Any) -> None:
    with server.plain() as client:
        answer = client.request(route.method, re.sub(r"\{\w+\}", "1", route.path), headers={"Host": HOST})
    assert answer.status_code == 401
    assert answer.json()["detail" if route.own else "Message"] == NOT_VALID["Message"]


def test_the_calls_that_need_none_are_these() -> None:
    assert {route.path for route in ROUTES if route.permission is None and route.public} == {
        "/rest/api/token",
        "/rest/api/server-by-team",
        "/api/server-by-team",
    }


# ---- permissions


MAY = {"admin": "view edit create admin", "viewer": "view", "editor": "edit", "creator": "create", "nobody": ""}


@pytest.mark.parametrize("user", MAY)
@pytest.mark.parametrize("route", PROTECTED, ids=lambda route: route.name)
def test_a_call_needs_its_permission(
    employees: Mapping[str, Api], api: Api, customer: int, route: Any, user: str
) -> None:
    expected = {
        "PUT": "edit",
        "PATCH": "edit",
        "GET": "view",
        "POST": "create" if route.name.startswith("Create") else "edit",
    }
    admin = "/webhooks" in route.path
    assert route.permission == ("admin" if admin else expected[route.method])
    path = re.sub("(?i)(customers)/{id}", rf"\1/{customer}", route.path).replace("{id}", "1")
    body = None if route.method == "GET" else b"not JSON"
    with api.unchanged(customer):
        answer = employees[user].call(route.method, path, body)
    if route.permission in MAY[user].split():
        assert answer.status_code in (200, 400, *([404] if admin else [])), (
            "let in; what the call needs besides is another matter"
        )
    else:
        assert answer.status_code == 403
        said = answer.json()["detail" if route.own else "Message"]
        assert said == "Authorization has been denied for this request."


def test_what_is_permitted_is_done(employees: Mapping[str, Api], customer: int) -> None:
    assert employees["viewer"].get(f"Customers/{customer}").status_code == 200
    assert employees["editor"].put(f"Customers/{customer}", {"Fax": "7"}).status_code == 200
    number = employees["creator"].new()
    assert employees["admin"].read(number)["General"]["FirstName"] == "Ann"
    assert employees["admin"].changes(customer)[0].employee == "editor@example.com"


# ---- too often


def test_failures_delay_longer_and_longer_whether_or_not_the_user_exists(server: Running) -> None:
    employee(server, "slow@example.com", password_hash=FRESH)
    with server.clock.stop():
        for user in ("slow@example.com", "no-slow-user@example.com"):
            waits, ahead = [], 0.0
            for _ in range(5):
                assert server.login(user, "wrong password").status_code == 401
            for _ in range(4):
                with server.clock.later(seconds=ahead):
                    answer = server.login(user)  # the right password does not help now
                    assert answer.status_code == 429
                    assert set(answer.json()) == {"Error", "RateLimitResetTime"}
                    assert answer.json()["Error"] == "Too many requests."
                    waits.append(int(answer.headers["Retry-After"]))
                ahead += waits[-1] + 0.1
                with server.clock.later(seconds=ahead):
                    assert server.login(user.upper(), "wrong password").status_code == 401
            assert waits == [1, 2, 4, 8]
    with server.clock.later(hours=1):
        assert server.login("slow@example.com").status_code == 200
        assert server.login("slow@example.com", "wrong password").status_code == 401, "the count began anew"
        assert server.login("slow@example.com").status_code == 200


@pytest.fixture(scope="module")
def limited(errors: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that lets each user make four calls an hour."""
    with running(tmp_path_factory.mktemp("limited"), rate_limit=4) as server:
        yield server


def test_a_user_may_make_so_many_calls_an_hour(limited: Running) -> None:
    api, viewer = limited.api(), limited.api("viewer@example.com")
    for left in (2, 1, 0):  # logging in was one
        answer = api.get("Companies")
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Policy"] == '"hour";q=4;w=3600'
        assert re.fullmatch(rf'"hour";r={left};t=3[56]\d\d', answer.headers["RateLimit"])
    number = 1
    answer = api.put(f"Customers/{number}", {"Fax": "1"})
    assert answer.status_code == 429
    assert answer.headers["RateLimit"].startswith('"hour";r=0;t=')
    assert 3500 < int(answer.headers["Retry-After"]) <= 3600
    body = answer.json()
    assert list(body) == ["Error", "RateLimitResetTime"] and body["Error"] == "Too many requests."
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", body["RateLimitResetTime"])
    assert viewer.get("Companies").status_code == 200, "everybody counts for themselves"
    assert limited.login().status_code == 429, "logging in is a call as well"
    assert limited.login(password="wrong").status_code == 401


def test_without_the_setting_nothing_is_counted(api: Api) -> None:
    assert "RateLimit" not in api.get("Companies").headers


# ---- quirks


def test_with_the_quirk_an_unknown_id_is_a_500(quirky: Api) -> None:
    for answer in (quirky.get("Customers/123456"), quirky.put("Customers/123456", {"Fax": "1"})):
        assert (answer.status_code, answer.json()) == (500, "Could not find or load record with ID 123456!")
    assert quirky.get("Companies/77").status_code == 500
    assert quirky.get("Nothing").status_code == 404


def test_with_the_quirk_too_many_requests_is_a_409(limited: Running) -> None:
    api = limited.api(host=QUIRKY_HOST)
    statuses = [api.get("Companies").status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 409]
    for _ in range(5):
        limited.login("nobody@example.com", "wrong password", QUIRKY_HOST)
    answer = limited.login("nobody@example.com", PASSWORD, QUIRKY_HOST)
    assert (answer.status_code, answer.json()["Error"]) == (409, "Too many requests.")


def test_with_the_quirk_a_new_customer_needs_no_email(api: Api, quirky: Api) -> None:
    body = {"CompanyID": 1, "FirstName": "Solo", "CustomerType": "Retail"}
    answer = quirky.post("Customers", body)
    assert answer.status_code == 200
    assert quirky.read(int(answer.text))["General"]["Name"] == "Solo"
    assert set(problems(api.post("Customers", body))) == {"Email", "LastName"}
    assert set(problems(quirky.post("Customers", {"CustomerType": "Retail"}))) == {"CompanyID", "FirstName"}
