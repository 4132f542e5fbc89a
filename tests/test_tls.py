"""TLS on the way to PostgreSQL: `sslmode=verify-full` takes the right certificate and no other.

The server that the tests use was built without TLS, so that its side is played by a way in front of it."""

import ipaddress
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from test_store import ACTOR, opened, patch, run
from ways import Encrypted

from regulars import customers
from regulars.app import backend
from regulars.record import Customer
from regulars.store import Store
from regulars.store.migrations import Schema

Key = ec.EllipticCurvePrivateKey


def certificate(name: str, key: Key, by: str, signed: Key, **extensions: Any) -> x509.Certificate:
    """A certificate for this name and key, signed by another."""

    def called(one: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)])

    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(called(name)).issuer_name(called(by)).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
    made = made.not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signed.public_key()), False)
    for one in extensions.values():
        made = made.add_extension(one, critical=isinstance(one, x509.BasicConstraints))
    return made.sign(signed, hashes.SHA256())


def authority(file: Path) -> Key:
    """A new authority, whose certificate is written into the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    may = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    made = certificate("CA", key, "CA", key, ca=x509.BasicConstraints(ca=True, path_length=0), may=may)
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return key


@pytest.fixture
def way(url: str, tmp_path: Path) -> Iterator[Encrypted]:
    """A way with a certificate for 127.0.0.1, of an authority that ca.pem tells; other.pem is another's."""
    if "host=/" not in url:
        pytest.skip("the way leads to a socket of the file system")
    authority(tmp_path / "other.pem")
    signed, key = authority(tmp_path / "ca.pem"), ec.generate_private_key(ec.SECP256R1())
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "server.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        + certificate("127.0.0.1", key, "CA", signed, host=host).public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with Encrypted(url, context) as way:
        yield way


def encrypted(url: str, way: Encrypted, query: str, host: str = "127.0.0.1") -> str:
    database = url.partition("?")[0].rpartition("/")[2]
    return f"postgresql://postgres@{host}:{way.port}/{database}?{query}"


def test_the_right_certificate_is_taken(url: str, way: Encrypted, tmp_path: Path) -> None:
    async def work() -> None:
        far = encrypted(url, way, f"sslmode=verify-full&sslrootcert={tmp_path / 'ca.pem'}")
        async with opened(url, 1) as store, Store(backend(far)) as safe:
            assert (await safe.run(ACTOR, customers.update, 1, patch(phone1="1"))).version == 2
            assert (await store.get(Customer, 1, 1)).phone1 == (await safe.get(Customer, 1, 1)).phone1 == "1"
        assert way.met > 0

    run(work)


@pytest.mark.parametrize(("root", "host"), [("other.pem", "127.0.0.1"), ("ca.pem", "localhost")])
def test_another_certificate_is_refused(url: str, way: Encrypted, tmp_path: Path, root: str, host: str) -> None:
    refused(
        encrypted(url, way, f"sslmode=verify-full&sslrootcert={tmp_path / root}", host), "certificate verify failed"
    )
    assert way.met == 0


def test_a_server_without_tls_is_refused(url: str, way: Encrypted, tmp_path: Path) -> None:
    way.context = None
    refused(encrypted(url, way, f"sslmode=verify-full&sslrootcert={tmp_path / 'ca.pem'}"), "rejected SSL upgrade")


def refused(url: str, why: str) -> None:
    async def work() -> None:
        with pytest.raises(Schema, match=f"cannot be opened as a store.*{why}"):
            await Store(backend(url)).open()

    run(work)
