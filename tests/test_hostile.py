"""What no honest client sends: always a clear 4xx, or a closed connection where nobody is left to answer; never a 500,
never a changed row. That the server logged no error is checked after every test (conftest)."""

import json
import random
import re
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import HOST, Api, Running, problems, running, until

from regulars.http.protocol import Protocol


def head(api: Api, customer: int, *more: str, method: str = "PUT", path: str = "") -> bytes:
    lines = [f"{method} {path or f'/rest/api/Customers/{customer}'} HTTP/1.1", f"Host: {HOST}"]
    lines += [f"Authorization: Bearer {api.token}", "Content-Type: application/json", *more]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def everything(connection: socket.socket) -> bytes:
    """All that the server sends until it closes."""
    found = b""
    while part := connection.recv(65536):
        found += part
    return found


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def send(server: Running, data: bytes, *, half_close: bool = False) -> bytes:
    """The whole answer to raw bytes."""
    with server.connect() as connection:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return everything(connection)


def message(answer: bytes) -> str:
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["Message"].startswith(("Expected ", "The request is invalid."))
    return str(body["Message"])


# ---- bodies

BODIES: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \r\n ",
    "cut off": b'{"Phone1": "1"',
    "two values": b'{"Phone1": "1"}{}',
    "trailing comma": b'{"Phone1": "1",}',
    "single quotes": b"{'Phone1': '1'}",
    "no JSON": b"Phone1=1",
    "comment": b'{"Phone1": "1" /* why */}',
    "array": b'[{"Phone1": "1"}]',
    "string": b'"Phone1"',
    "number": b"5",
    "null": b"null",
    "true": b"true",
    "NaN": b'{"AccountManager1Commission": NaN}',
    "Infinity": b'{"AccountManager1Commission": Infinity}',
    "-Infinity": b'{"AccountManager1Commission": -Infinity}',
    "1e400": b'{"AccountManager1Commission": 1e400}',
    "1e-400": b'{"AccountManager1Commission": 1e-400}',
    "1e999999": b'{"AccountManager1Commission": 1e999999}',
    "1e99999999999999999999": b'{"AccountManager1Commission": 1e99999999999999999999}',
    "1e-99999999999999999999": b'{"AccountManager1Commission": 1e-99999999999999999999}',
    "1e1000000 as integer": b'{"CompanyId": 1e1000000}',
    "400 digits": b'{"AccountManager1Commission": ' + b"9" * 400 + b"}",
    "400 digits as integer": b'{"CompanyId": ' + b"9" * 400 + b"}",
    "5000 digits as text": b'{"CompanyId": "' + b"9" * 5000 + b'"}',
    "90 digits": b'{"CompanyId": ' + b"9" * 90 + b"}",
    "400 digits somewhere unknown": b'{"Unknown": ' + b"9" * 400 + b"}",
    "leading zero": b'{"CompanyId": 01}',
    "hex": b'{"CompanyId": 0x1}',
    "plus": b'{"CompanyId": +1}',
    "repeated member": b'{"Phone1": "1", "Phone1": "2"}',
    "repeated in another case": b'{"Phone1": "1", "PHONE1": "2"}',
    "repeated unknown member": b'{"x": "1", "x": "2", "Phone1": "3"}',
    "invalid UTF-8": b'{"Phone1": "\xff\xfe"}',
    "UTF-8 cut off": b'{"Phone1": "\xc3"}',
    "overlong UTF-8": b'{"Phone1": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"Phone1": "\xed\xa0\x80"}',
    "Latin-1": '{"Phone1": "ü"}'.encode("latin-1"),
    "UTF-16": '{"Phone1": "1"}'.encode("utf-16"),
    "lone surrogate": b'{"Phone1": "\\ud800"}',
    "surrogates the wrong way round": b'{"Phone1": "\\udc00\\ud800"}',
    "NUL": b'{"Phone1": "\\u0000"}',
    "escape": b'{"Phone1": "\\u001b[31m"}',
    "raw control character": b'{"Phone1": "a\x01"}',
    "line": b'{"Phone1": "a\\nX-Evil: 1"}',
    "noncharacter": b'{"Phone1": "\\uffff"}',
    "100k brackets": b"[" * 100_000,
    "100k brackets in a member": b'{"Phone1": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100k braces": b'{"a":' * 100_000,
    "deep but whole": b'{"Phone1": ' + b"[" * 500 + b"]" * 500 + b"}",
    "deep and unknown": b'{"Phone1": 5, "x": ' + b"[" * 500 + b"]" * 500 + b"}",
    "member of surrogates": b'{"\\ud800": 1, "\\ud800": 2}',
    "huge text": b'{"Phone1": "' + b"x" * 1_000_000 + b'"}',
    "huge list": b'{"BusinessAliases": [' + b"1," * 400_000 + b"1]}",
    "object for a text": b'{"Phone1": {"a": "\\ud800"}}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("part", ["", "/Addresses", "/CustomColumns"])
def test_a_body_that_makes_no_sense_is_refused(api: Api, customer: int, body: bytes, part: str) -> None:
    if part and b"Unknown" not in body and body.startswith(b'{"'):
        body = body.replace(b"Phone1", part[1:].encode())
    with api.unchanged(customer):
        answer = api.put(f"Customers/{customer}{part}", body)
        found = problems(answer)
    assert len(answer.content) < 100_000
    assert all(one.startswith(("Expected ", "Item ")) for why in found.values() for one in why)


@pytest.mark.parametrize(
    "name", [b"\\ud800", b"\\u0000\\r\\nX: 1", b"a, b", b"%", b"\xf0\x9f\x99\x82", b"x" * 70000, b""]
)
@pytest.mark.parametrize("prefer", ["", "handling=strict"])
def test_the_name_of_an_unknown_member_may_be_anything(api: Api, customer: int, name: bytes, prefer: str) -> None:
    body = b'{"Fax": "1", "' + name + b'": 1}'
    answer = api.put(f"Customers/{customer}", body, Prefer=prefer)
    if prefer:
        assert len(problems(answer)) == 1
    else:
        assert answer.status_code == 200
        assert re.fullmatch(r"[\x21-\x7e]{0,1000}", answer.headers["Ignored-Members"])
    assert api.read(customer)["Personal"]["Fax"] == ("" if prefer else "1")


def test_a_great_many_members_are_answered_quickly(api: Api, customer: int) -> None:
    unique = b",".join(b'"m%d":1' % number for number in range(70_000))
    repeated = b",".join(b'"m%d":1,"m%d":1' % (number, number) for number in range(35_000))
    for body, prefer, status in (
        (b"{" + unique + b"}", "", 200),
        (b"{" + unique + b"}", "handling=strict", 400),
        (b"{" + repeated + b"}", "", 400),
        (b'{"Fax":"1","Fax":"2",' + unique + b"}", "", 400),
    ):
        started = time.perf_counter()
        answer = api.put(f"Customers/{customer}", body, Prefer=prefer)
        assert answer.status_code == status
        assert len(answer.content) < 50_000
        assert time.perf_counter() - started < 2
    assert api.stored(customer).version == 1


@pytest.mark.parametrize("body", ["Addresses", "CustomColumns", "CustomersIDs"])
def test_a_thousand_wrong_items_are_answered(api: Api, customer: int, body: str) -> None:
    method, path = "PUT", f"Customers/{customer}/{body}"
    if body == "CustomersIDs":
        method, path = "POST", "Customers/CustomersGroups/1/Customers"
    with api.unchanged(customer):
        item: Any
        for item in (None, 0, {}, [], "x", {"ID": -1, "ColumnName": "x", "Value": 1}):
            assert len(problems(api.call(method, path, {body: [item] * 1000}))) >= 1000
        assert len(problems(api.call(method, path, {body: [{}] * 1001}))) == 1


def test_random_bytes_for_a_body_never_break_anything(api: Api, customer: int) -> None:
    roll = random.Random(3)
    good = b'{"Phone1": "12", "Rating": 3, "IsWholesale": true, "OrderHandlingFee": 1.5, "BusinessAliases": ["a"]}'
    before = api.snapshot(customer)
    for _ in range(150):
        body = bytearray(good)
        for _ in range(roll.randint(1, 4)):
            where = roll.randrange(len(body))
            body[where : where + roll.randint(0, 3)] = roll.randbytes(roll.randint(0, 3))
        answer = api.put(f"Customers/{customer}", bytes(body), If_Match='"0"')
        assert answer.status_code in (400, 412), bytes(body)
    assert api.snapshot(customer) == before


# ---- media types and sizes


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/xml"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": 'application/json; charset="UTF-16"'},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/json, text/json"},
        {"Content-Type": "x" * 1000},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "identity, br"},
        {"Content-Encoding": "nonsense"},
    ],
    ids=lambda headers: str(headers)[:60],
)
def test_another_media_type_is_refused(api: Api, customer: int, headers: dict[str, str]) -> None:
    with api.unchanged(customer):
        named = {"Content-Type": "application/json"} | headers
        url = f"/rest/api/Customers/{customer}"
        answer = api.client.put(url, content=b'{"Fax": "1"}', headers=named)
    assert answer.status_code == 415
    assert answer.json()["Message"].startswith("Expected ")


LIMIT = 1 << 20


def padded(size: int) -> bytes:
    return b'{"Fax": "1"' + b" " * (size - 12) + b"}"


def test_a_body_of_just_the_limit_is_taken(api: Api, customer: int) -> None:
    assert api.put(f"Customers/{customer}", padded(LIMIT)).status_code == 200


@pytest.mark.parametrize("size", [LIMIT + 1, 3 * LIMIT])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_and_the_client_gets_to_read_it(
    api: Api, customer: int, size: int, chunked: bool
) -> None:
    body = padded(size)
    content: Any = iter([body[start : start + 50_000] for start in range(0, size, 50_000)]) if chunked else body
    with api.unchanged(customer):
        answer = api.client.put(f"/rest/api/Customers/{customer}", content=content)
        assert (answer.status_code, answer.json()) == (413, {"Message": f"Expected a body of at most {LIMIT} bytes."})


@pytest.mark.parametrize("path", ["/rest/api/Customers/{}", "/rest/api/token"])
@pytest.mark.parametrize("length", ["Content-Length: 100000000", "Transfer-Encoding: chunked"])
def test_a_body_without_end_is_cut_off_and_the_client_gets_to_read_why(
    api: Api, customer: int, length: str, path: str
) -> None:
    with api.unchanged(customer), api.server.connect() as connection:
        method = "POST" if "token" in path else "PUT"
        connection.sendall(head(api, customer, length, method=method, path=path.format(customer)))
        block = b"x" * 65536
        if "chunked" in length:
            block = b"10000\r\n" + block + b"\r\n"
        sent = 0
        while not select.select([connection], [], [], 0)[0]:
            assert sent < 90_000_000
            sent += connection.send(block)
        assert statuses(everything(connection)) == [413]


def test_a_client_that_asks_first_is_told_that_its_body_is_too_large(api: Api, customer: int) -> None:
    answer = send(api.server, head(api, customer, "Content-Length: 2000000", "Expect: 100-continue"))
    assert statuses(answer) == [413]


# ---- bodies and heads that never come whole


class Hasty(Protocol):
    request_seconds = 0.15


@pytest.fixture(scope="module")
def hasty(errors: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A caller of a server that waits for a request no longer than a blink."""
    with running(tmp_path_factory.mktemp("hasty"), Hasty) as server:
        yield server.api()


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"PUT /rest/api/Cust",
        b"PUT /rest/api/Customers/1 HTTP/1.1\r\nHost: x\r\n",
        b"PUT /rest/api/Customers/1 HTTP/1.1\r\nHost: x\r\nX-Long: abc",
    ],
)
def test_a_head_that_does_not_come_is_not_waited_for(hasty: Api, start: bytes) -> None:
    answer = send(hasty.server, start)
    assert statuses(answer) == [408] and "0.15 s" in message(answer)


@pytest.mark.parametrize(
    ("header", "start"),
    [("Content-Length: 20", b""), ("Content-Length: 20", b'{"Fax": '), ("Transfer-Encoding: chunked", b'5\r\n{"Fax')],
)
def test_a_body_that_does_not_come_is_not_waited_for(hasty: Api, header: str, start: bytes) -> None:
    customer = hasty.new()
    with hasty.unchanged(customer):
        assert statuses(send(hasty.server, head(hasty, customer, header) + start)) == [408]


def test_a_body_that_drips_is_not_waited_for(hasty: Api) -> None:
    customer = hasty.new()
    with hasty.unchanged(customer), hasty.server.connect() as connection:
        connection.sendall(head(hasty, customer, "Content-Length: 12"))
        for byte in b'{"Fax": "1':
            connection.send(bytes([byte]))
            connection.settimeout(0.04)
            try:
                answer = connection.recv(1000)
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("the server waited for ever")
        assert statuses(answer) == [408]


def test_a_second_request_that_does_not_come_whole_is_not_waited_for(hasty: Api) -> None:
    customer = hasty.new()
    whole = head(hasty, customer, "Content-Length: 12") + b'{"Fax": "1"}'
    for tail in (b"PUT /rest", head(hasty, customer, "Content-Length: 12") + b'{"Fax"'):
        assert statuses(send(hasty.server, whole + tail)) == [200, 408]
    assert hasty.read(customer)["Personal"]["Fax"] == "1"
    assert len(hasty.changes(customer)) == 2


def test_a_connection_that_rests_between_requests_is_kept(hasty: Api) -> None:
    customer = hasty.new()
    with hasty.server.connect() as connection:
        for _ in range(2):
            connection.sendall(head(hasty, customer, method="GET"))
            assert statuses(connection.recv(65536)) == [200]
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)


CUT = {
    "head": b"PUT /rest/api/Customers/1 HTTP/1.1\r\nHost:",
    "length": b"Content-Length: 20",
    "chunks": b"Transfer-Encoding: chunked",
}


@pytest.mark.parametrize("how", CUT)
def test_a_request_that_is_cut_off_is_refused(api: Api, customer: int, how: str) -> None:
    data = CUT[how] if how == "head" else head(api, customer, CUT[how].decode())
    data += {"head": b"", "length": b'{"Fax": "1"}', "chunks": b'c\r\n{"Fax": "1"}\r\n'}[how]
    with api.unchanged(customer):
        answer = send(api.server, data, half_close=True)
    assert statuses(answer) == [400] and "the connection ended before it" in message(answer)


@pytest.mark.parametrize("how", CUT)
@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_midway_changes_nothing(api: Api, customer: int, how: str, reset: bool) -> None:
    data = CUT[how] if how == "head" else head(api, customer, CUT[how].decode()) + b'{"Fax"'
    with api.unchanged(customer):
        for _ in range(5):
            with api.server.connect() as connection:
                connection.sendall(data)
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_client_that_sends_and_half_closes_gets_its_answer(api: Api, customer: int) -> None:
    body = b'{"Fax": "1"}'
    data = head(api, customer, f"Content-Length: {len(body)}") + body
    for number in (1, 2, 5):
        assert statuses(send(api.server, data * number, half_close=True)) == [200] * number
    get = head(api, customer, method="GET")
    answer = send(api.server, get, half_close=True)
    assert statuses(answer) == [200] and answer.endswith(b"}")


def test_a_client_that_leaves_after_a_whole_request_has_done_it(api: Api, customer: int) -> None:
    body = b'{"Fax": "left"}'
    with api.server.connect() as connection:
        connection.sendall(head(api, customer, f"Content-Length: {len(body)}") + body)
    until(lambda: api.read(customer)["Personal"]["Fax"] == "left")


# ---- what is no HTTP


NO_HTTP = {
    "garbage": bytes(range(128, 256)) * 4,
    "zeros": b"\x00" * 100,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x55" * 100,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/9": b"GET / HTTP/9.9\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown method": b"BREW /rest/api/Customers HTTP/1.1\r\nHost: x\r\n\r\n",
    "blank in header name": b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
    "control in header": b"GET / HTTP/1.1\r\nHost: x\x00y\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n\tfolded\r\nX-B\r\n\r\n",
    "length no number": b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    "length negative": b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "length too large": b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "two lengths": b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0",
    "unknown transfer": b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\nabc",
    "raw bytes in the path": b"GET /rest/api/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
}


@pytest.mark.parametrize("data", NO_HTTP.values(), ids=NO_HTTP)
def test_what_is_no_http_gets_a_400_and_a_closed_connection(server: Running, data: bytes) -> None:
    answer = send(server, data)
    assert statuses(answer)[-1] == 400
    assert answer.count(b"connection: close") >= 1
    message(answer[answer.rindex(b"HTTP/1.1 400 ") :])


@pytest.mark.parametrize("chunk", [b"zz\r\nabc\r\n", b"-1\r\n", b"5\r\nabcdefgh\r\n", b"ffffffffffffffffff\r\n"])
def test_chunks_that_make_no_sense_are_refused(api: Api, customer: int, chunk: bytes) -> None:
    with api.unchanged(customer):
        assert statuses(send(api.server, head(api, customer, "Transfer-Encoding: chunked") + chunk)) == [400]


@pytest.mark.parametrize("pause", [0, 0.05])
def test_what_came_whole_is_answered_before_what_is_no_http(api: Api, customer: int, pause: float) -> None:
    body = b'{"Fax": "1"}'
    whole = head(api, customer, f"Content-Length: {len(body)}") + body
    with api.server.connect() as connection:
        connection.sendall(whole)
        time.sleep(pause)
        connection.sendall(b"\x00garbage\r\n\r\n")
        assert statuses(everything(connection)) == [200, 400]
    assert len(api.changes(customer)) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"GET /rest/api/Companies HTTP/1.1\r\nX-Huge: " + b"x" * 2_000_000,
        b"GET /" + b"x" * 2_000_000,
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(200_000)),
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-Trailer: y\r\n" * 500_000,
    ],
    ids=["one header", "path", "many headers", "trailers"],
)
def test_a_head_without_end_is_cut_off(server: Running, data: bytes) -> None:
    with server.connect() as connection:
        try:
            connection.sendall(data)
            answer = everything(connection)
        except OSError:
            answer = b""
    assert all(400 <= status < 500 for status in statuses(answer))
    assert set(statuses(answer)) <= {404, 413, 431}


def test_a_head_that_is_too_large_is_told_so(server: Running) -> None:
    with server.connect() as connection:
        for _ in range(12):
            connection.sendall(b"GET / HTTP/1.1\r\nX-A: " if not _ else b"x" * 10_000)
            time.sleep(0.005)
        assert statuses(everything(connection)) == [431]


# ---- paths and parameters


@pytest.mark.parametrize(
    "number",
    [
        "abc",
        "-1",
        "1.5",
        "1e3",
        "0x1",
        "2147483648",
        "9" * 25,
        "9" * 5000,
        "%00",
        "%20",
        "null",
        "1;2",
        "%d9%a3",
        "'--",
        "{}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_number_in_the_path_that_is_none_is_refused(api: Api, number: str, method: str) -> None:
    for part in ("",) if method == "GET" else ("", "/Addresses", "/CustomColumns", "/OrderOptions"):
        body: Any = None if method == "GET" else {"Addresses": [], "CustomColumns": []}
        answer = api.call(method, f"Customers/{number}{part}", body)
        assert set(problems(answer)) == {"id"}
        assert len(answer.content) < 1000


@pytest.mark.parametrize("number", ["0", "2147483647"])
def test_a_number_that_nobody_has_is_not_found(api: Api, number: str) -> None:
    assert api.get(f"Customers/{number}").status_code == 404
    assert api.put(f"Customers/{number}", {"Fax": "1"}).status_code == 404


QUERIES = {
    "bytes that are no UTF-8": ("email=%ff", 400),
    "UTF-8 cut off": ("email=%c3", 400),
    "surrogate": ("email=%ed%a0%80", 400),
    "percent alone": ("email=100%", 200),
    "percent and no hex": ("email=%zz", 200),
    "NUL": ("keyword=%00&email=%00", 200),
    "no name": ("=1&&&==", 200),
    "only signs": ("?&%26=%3d;;", 200),
    "many parameters": ("&".join("a=1" for _ in range(1999)), 200),
    "too many parameters": ("&".join("a=1" for _ in range(2001)), 400),
    "many of one": ("&".join("email=a" for _ in range(1500)), 200),
    "huge text": ("email=" + "x" * 20_000, 200),
    "huge keyword": ("keyword=" + "+".join(f"w{n}" for n in range(3000)), 400),
    "long keyword": ("keyword=" + "+".join(f"w{n}" for n in range(50)), 200),
    "too many companies": ("companyIds=" + ",".join(map(str, range(1000))), 400),
    "many companies": ("companyIds=" + ",".join(map(str, range(100))), 200),
    "many companies and words": (
        "companyIds=" + ",".join(map(str, range(100))) + "&keyword=a+b+c&city=x&rating=1",
        200,
    ),
    "the same keyword again": ("keyword=" + "a+" * 5000, 200),
    "all filters": (
        "keyword=a&email=a&city=a&zipCode=a&firstName=a&lastName=a&phoneNumber=1&corporateName=a&rating=1",
        200,
    ),
    "number of 5000 digits": ("customerIds=" + "9" * 5000, 400),
    "text for a number": ("pageSize=ten", 400),
    "SQL": ("email='%20OR%201=1--&lastName=%25&city=_", 200),
    "nested brackets": ("customerIds[a][b]=1", 200),
    "last of its kind": ("firstName=%f4%8f%bf%bf", 200),
}


@pytest.mark.parametrize(("query", "status"), QUERIES.values(), ids=QUERIES)
def test_a_query_that_is_absurd_is_answered_sensibly(api: Api, query: str, status: Any) -> None:
    with api.server.connect() as connection:
        connection.sendall(head(api, 0, "Connection: close", method="GET", path=f"/rest/api/Customers?{query}"))
        answer = everything(connection)
    assert statuses(answer)[0] in (status if isinstance(status, tuple) else (status,)), answer[-300:]


def test_bytes_in_a_query_that_are_not_encoded_are_refused(api: Api) -> None:
    answer = send(api.server, head(api, 0, "Connection: close", method="GET", path="/rest/api/Customers?email=\xfc"))
    assert statuses(answer) == [400]


@pytest.mark.parametrize(
    "path", ["%", "%zz", "%00", "%ff%fe", "..", "%2e%2e/%2e%2e/etc/passwd", "a" * 30_000, "\\", "~", "%C3%A9"]
)
def test_a_path_that_is_absurd_is_not_found(api: Api, path: str) -> None:
    for base in ("/", "/rest/api/", "/rest/swagger/ui/", "/swagger/ui/"):
        answer = send(api.server, head(api, 0, "Connection: close", method="GET", path=base + path))
        assert statuses(answer) == [404], (base, path)
        assert len(answer) < 2000


def test_options_for_the_whole_server_is_not_found(api: Api) -> None:
    assert statuses(send(api.server, head(api, 0, "Connection: close", method="OPTIONS", path="*"))) == [404]


def test_the_server_still_serves(api: Api, customer: int) -> None:
    api.update(customer, Fax="still here")
    assert api.read(customer)["Personal"]["Fax"] == "still here"
