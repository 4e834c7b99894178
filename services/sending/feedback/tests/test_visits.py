"""Visits to a provider's own host, here one of the tests' own with a certificate of its own: bounded, verified, and led nowhere else."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from chassis.errors import Unauthenticated, Unavailable
from services.sending.feedback.providers.visits import Visits

HOST = "sns.eu-west-1.amazonaws.com"
URL = f"https://{HOST}/SimpleNotificationService-1.pem?x=1"


def make_certificate(path: Path, host: str) -> Path:
    """A certificate of a host, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return path


@asynccontextmanager
async def https_host(
    pem: Path, answers: Callable[[str], bytes], asked: list[str] | None = None
) -> AsyncIterator[int]:
    """A host that answers each GET with these bytes; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if asked is not None:
            asked.append(head)
        writer.write(answers(head.split(" ")[1]))
        writer.close()

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


def trusting(pem: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pem.read_text()[pem.read_text().index("-----BEGIN CERT") :])


def answer(status: str, body: bytes = b"", *fields: str) -> bytes:
    head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""))
    return head.encode() + body


async def visit(tmp_path: Path, answered: bytes, *, host: str = HOST, trusts: bool = True) -> bytes:
    pem = make_certificate(tmp_path / "host.pem", host)
    async with https_host(pem, lambda _: answered) as port:
        tls = trusting(pem) if trusts else None
        return await Visits(tls, lambda _: ("127.0.0.1", port)).get(URL)


async def test_a_visit_asks_the_host_by_its_name_for_the_path_alone(tmp_path: Path) -> None:
    pem, asked = make_certificate(tmp_path / "host.pem", HOST), list[str]()
    async with https_host(pem, lambda _: answer("200 OK", b"here"), asked) as port:
        assert await Visits(trusting(pem), lambda _: ("127.0.0.1", port)).get(URL) == b"here"
    assert asked[0].startswith("GET /SimpleNotificationService-1.pem?x=1 HTTP/1.1\r\n")
    assert f"Host: {HOST}\r\n" in asked[0]


async def test_a_host_that_does_not_prove_its_name_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await visit(tmp_path, answer("200 OK", b"here"), host="evil.test")
    with pytest.raises(Unavailable):
        await visit(tmp_path, answer("200 OK", b"here"), trusts=False)


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    for status in ("301 Moved", "302 Found", "307 Temporary Redirect"):
        with pytest.raises(Unavailable):
            await visit(tmp_path, answer(status, b"", "Location: https://evil.test/"))


async def test_what_is_not_there_proves_nothing(tmp_path: Path) -> None:
    for status in ("403 Forbidden", "404 Not Found"):
        with pytest.raises(Unauthenticated):
            await visit(tmp_path, answer(status))


async def test_what_is_broken_or_too_large_is_no_answer(tmp_path: Path) -> None:
    for answered in (answer("200 OK", b"x" * 70_000), answer("500 Oops"), b"", b"no HTTP\r\n\r\n"):
        with pytest.raises(Unavailable):
            await visit(tmp_path, answered)


async def test_a_host_that_nobody_reaches_is_no_answer() -> None:
    with pytest.raises(Unavailable):
        await Visits(dial=lambda _: ("127.0.0.1", 1)).get(URL)
