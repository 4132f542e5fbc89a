"""Where a POST to somebody else's address may go, and whose certificate it takes."""

import asyncio
import datetime
import socket
import ssl
import threading
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from receiver import Receiver

from regulars.posting import Answer, Forbidden, Poster, check, is_public, judge, resolve, retry_after

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "2001:0:a00:1::",
    "192.0.0.192",
    "192.88.99.1",
    "168.63.129.16",
    "3fff::1",
    "5f00::1",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_or_special_address_is_not_called(address: str) -> None:
    assert not is_public(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    for url in (f"http://{host}/", f"https://{host}:8443/a?b=c"):
        with pytest.raises(Forbidden, match="Expected a public address"):
            check(url, False)
        check(url, True)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is(address: str) -> None:
    assert is_public(ip_address(address))
    check(f"https://[{address}]/" if ":" in address else f"https://{address}/", False)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:25/",
        "http://",
        "http://user@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com/\r\nX: y",
        "http://exa mple.com/",
        "http://[::1/",
        "http://[:::::]/",
        "http://[fe80::1%25eth0]/",
        "http://a..b/",
        "http://-a.example/",
        "http://bücher.example/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "HTTP://example.com/",
        "http://localhost./",
        "http://127.0.0.1./",
        "http://a.example:80@127.0.0.1/",
        "http://[::ffff:127.0.0.1%1]/",
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(Forbidden, match="Expected a URL"):
        check(url, True)


def post(url: str, allow_private: bool, context: ssl.SSLContext | None = None) -> Answer:
    async def work() -> Answer:
        poster = Poster(allow_private, context)
        try:
            return await poster.post(url, {"x-test": "1"}, b"{}")
        finally:
            await poster.close()

    return asyncio.run(work())


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "017700000001", "[::ffff:127.0.0.1]"]
)
def test_a_name_that_stands_for_a_private_address_is_not_called(host: str) -> None:
    with Receiver() as receiver:
        answer = post(f"http://{host}:{receiver.port}/ok", False)
        assert answer.status == 0 and answer.said.startswith("Expected a public address")
        assert receiver.requests == []


def test_who_asks_for_a_name_while_it_is_looked_up_waits_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that does not answer occupies one thread for each receiver, not one for each event; and who asks
    for another name gets the addresses of that."""
    asked, answered, real = list[str](), threading.Event(), socket.getaddrinfo

    def slow(host: str, *args: Any, **kwargs: Any) -> Any:
        if host == "localhost":
            asked.append(host)
            answered.wait(10)
        return real(host, *args, **kwargs)

    async def work(url: str) -> list[Answer]:
        poster = Poster(True)
        posts = [asyncio.create_task(poster.post(url, {}, b"{}")) for _ in range(5)]
        while not asked:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            assert (await poster.post(url.replace("localhost", "127.0.0.1"), {}, b"{}")).status == 204
        posts[0].cancel()
        await asyncio.wait(posts[:1])
        answered.set()
        found = await asyncio.gather(*posts[1:])
        await poster.close()
        return found

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with Receiver() as receiver:
        assert [one.status for one in asyncio.run(work(f"http://localhost:{receiver.port}/ok"))] == [204] * 4
    assert len(asked) == 1


def test_when_one_of_the_addresses_is_private_none_is_called() -> None:
    with pytest.raises(Forbidden, match=r"example.test is at 10.0.0.1, private"):
        judge("example.test", [ip_address("8.8.8.8"), ip_address("10.0.0.1")], False)


def test_the_host_of_the_url_is_sent_whatever_address_is_called() -> None:
    with Receiver() as receiver:
        answer = post(f"http://localhost:{receiver.port}/ok/a%20b?c=d", True)
        assert (answer.status, answer.good) == (204, True)
        [request] = receiver.requests
    assert request.headers["host"] == f"localhost:{receiver.port}"
    assert (request.path, request.body, request.headers["x-test"]) == ("/ok/a%20b?c=d", b"{}", "1")


def test_the_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver, Receiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        assert post(receiver.url("ok"), True).status == 204
        assert proxy.requests == []


def test_a_name_that_there_is_not_and_a_port_where_nobody_listens() -> None:
    with Receiver() as receiver:
        port = receiver.port
    assert post(f"http://127.0.0.1:{port}/", True).said.startswith("ConnectError")
    assert post("http://no-such-host.invalid/", True).said.startswith("gaierror")
    assert post(f"http://{'a.' * 200}b/", True).status == 0


def test_addresses_come_once() -> None:
    assert asyncio.run(resolve("127.0.0.1", 80)) == [ip_address("127.0.0.1")]


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server for a host shows, and a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    formats = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(pem + key.private_bytes(serialization.Encoding.PEM, *formats))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


def test_the_certificate_must_be_for_the_host_of_the_url(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "localhost")
    with Receiver(server) as receiver:
        assert post(f"https://localhost:{receiver.port}/ok", True, client).status == 204
        for host, context in (("127.0.0.1", client), ("localhost", None)):
            answer = post(f"https://{host}:{receiver.port}/ok", True, context)
            assert answer.status == 0 and "certificate" in answer.said.lower(), answer
        assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", None),
        ("120", 120),
        ("soon", None),
        ("-5", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("9" * 40, 999999999),
    ],
)
def test_retry_after(header: str, seconds: Any) -> None:
    assert retry_after(header) == seconds
