"""Visits to a provider's own host, here one of the tests' own with a certificate of its own: bounded, verified, and led nowhere else."""

from pathlib import Path

import pytest

from chassis.errors import Unauthenticated, Unavailable
from services.sending.feedback.providers.visits import Visits
from services.sending.feedback.tests.https_host import answer, https_host, make_certificate, trusting

HOST = "sns.eu-west-1.amazonaws.com"
URL = f"https://{HOST}/SimpleNotificationService-1.pem?x=1"


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
