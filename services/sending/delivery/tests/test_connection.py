"""Connections to a relay, an independent one (aiosmtpd): TLS is verified, a password never goes in the clear."""

import asyncio
import ipaddress
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
import uvloop
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from aiosmtpd.smtp import Envelope as Received
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chassis.errors import Unavailable
from chassis.secret import Secret
from chassis.tests.deadlines import until
from services.sending.delivery.lanes import OTHERS
from services.sending.delivery.smtp.envelope import Answer, Broken, Envelope
from services.sending.delivery.smtp.pool import ConnectionPool
from services.sending.delivery.turns import Claimant
from services.sending.relay_address import RelayAddress

SOMEBODY = Claimant(UUID(int=1), urgent=False)
USER, PASSWORD = "mail@flow", "p@ss:word"
CREDENTIALS = "mail%40flow:p%40ss%3Aword"


class Inbox:
    """What the relay has taken."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.senders_known: list[bool] = []

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Received) -> str:  # noqa: N802
        self.received.append(envelope)
        self.senders_known.append(session.authenticated)
        return "250 2.0.0 taken"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, that nobody but the test knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay.test")])
    now = datetime.now(UTC)
    own = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "relay.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + own.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture(scope="module")
def served(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(scope="module")
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@asynccontextmanager
async def listening(
    session: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Scripted(asyncio.Protocol):
    """Says one thing at once, one at each thing it hears, and then hangs up."""

    def __init__(self, says: list[bytes]) -> None:
        self._unsaid = deque(says)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._unsaid.popleft())

    def data_received(self, data: bytes) -> None:
        if self._unsaid:
            self._transport.write(self._unsaid.popleft())
        else:
            self._transport.close()


def known(server: SMTP, session: Any, envelope: Any, mechanism: str, given: LoginPassword) -> AuthResult:
    right = (given.login, given.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


def pool_to(port: int) -> ConnectionPool:
    return ConnectionPool(RelayAddress.of(Secret(f"smtp://127.0.0.1:{port}")), "mail.test")


def hang_up(session: SMTP) -> None:
    cast("asyncio.Transport", session.transport).abort()


async def hand_over(pool: ConnectionPool, *recipients: str) -> list[int]:
    unbegun = deque(Envelope("bounces@mail.test", to, b"Subject: x\r\n\r\n.x\r\n") for to in recipients)
    codes: list[int] = []

    def settle(_: Envelope, answer: Answer) -> None:
        codes.append(answer.reply.code)

    async with pool.turn(SOMEBODY, OTHERS) as turn:
        await turn.connection.hand_over(lambda: unbegun.popleft() if unbegun else None, settle)
    return codes


@pytest.mark.parametrize("mechanisms", [[], ["PLAIN"]])
async def test_a_password_goes_over_starttls(
    served: ssl.SSLContext, trusting: ssl.SSLContext, mechanisms: list[str]
) -> None:
    inbox = Inbox()

    def session() -> SMTP:
        return SMTP(
            inbox,
            tls_context=served,
            require_starttls=True,
            authenticator=known,
            auth_required=True,
            # Without PLAIN there is LOGIN alone.
            auth_exclude_mechanism=mechanisms,
        )

    async with listening(session) as port:
        url = Secret(f"smtp://{CREDENTIALS}@127.0.0.1:{port}")
        async with ConnectionPool(RelayAddress.of(url), "mail.test", tls=trusting) as pool:
            assert await hand_over(pool, "a@example.com", "b@example.com") == [250, 250]
            # For operators: it is good for a day.
            assert pool.certificate_ends is not None
            assert 86_000 < pool.certificate_ends - time.time() <= 86_400
    assert [envelope.rcpt_tos for envelope in inbox.received] == [["a@example.com"], ["b@example.com"]]
    assert {envelope.content for envelope in inbox.received} == {b"Subject: x\r\n\r\n.x\r\n"}


def test_starttls_works_on_the_loop_that_processes_run_on(
    served: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    # Its TLS is its own.
    uvloop.run(test_a_password_goes_over_starttls(served, trusting, []))


async def test_tls_may_be_there_from_the_beginning(served: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    inbox = Inbox()

    def session() -> SMTP:
        return SMTP(inbox, authenticator=known, auth_require_tls=False)

    async with listening(session, served) as port:
        url = Secret(f"smtps://{CREDENTIALS}@127.0.0.1:{port}")
        async with ConnectionPool(RelayAddress.of(url), "mail.test", tls=trusting) as pool:
            assert await hand_over(pool, "a@example.com") == [250]
    assert inbox.senders_known == [True]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_relay_of_which_nobody_vouches_gets_nothing(served: ssl.SSLContext, scheme: str) -> None:
    inbox = Inbox()
    async with (
        listening(
            lambda: SMTP(inbox, tls_context=served if scheme == "smtp" else None),
            served if scheme == "smtps" else None,
        ) as port,
        ConnectionPool(RelayAddress.of(Secret(f"{scheme}://127.0.0.1:{port}")), "mail.test") as pool,
    ):
        with pytest.raises(Unavailable, match="verify"):
            await hand_over(pool, "a@example.com")
    assert not inbox.received


async def test_a_password_does_not_go_in_the_clear() -> None:
    heard: list[bytes] = []

    class Eavesdropper(SMTP):
        def data_received(self, data: bytes) -> None:
            heard.append(data)
            super().data_received(data)

    async with listening(lambda: Eavesdropper(Inbox(), authenticator=known, auth_require_tls=False)) as port:
        url = Secret(f"smtp://{CREDENTIALS}@127.0.0.1:{port}")
        async with ConnectionPool(RelayAddress.of(url), "mail.test") as pool:
            with pytest.raises(Unavailable, match="in the clear"):
                await hand_over(pool, "a@example.com")
    assert b"".join(heard).split()[0] == b"EHLO"
    assert b"AUTH" not in b"".join(heard)


async def test_a_wrong_password_is_told(served: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with listening(
        lambda: SMTP(Inbox(), tls_context=served, authenticator=known, auth_required=True)
    ) as port:
        url = Secret(f"smtp://mail:wrong@127.0.0.1:{port}")
        async with ConnectionPool(RelayAddress.of(url), "mail.test", tls=trusting) as pool:
            with pytest.raises(Unavailable, match="AUTH was 535"):
                await hand_over(pool, "a@example.com")


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ([b"220-a\r\n220 b\r\n"], "closed"),
        ([b"554 go away\r\n"], "554"),
        ([b"HTTP/1.1 400 Bad Request\r\n"], "SMTP"),
        ([b"220 " + b"x" * 100_000], "no end"),
        ([b"220-\r\n" * 100_000], "no end"),
        ([b"22\r\n"], "SMTP"),
        # What is said before the TLS and heard after it would be an attacker's (RFC 3207 §5).
        ([b"220 a\r\n", b"250-a\r\n250 STARTTLS\r\n", b"220 go on\r\n250 injected\r\n"], "between"),
        ([b"220 a\r\n", b"250-a\r\n250 STARTTLS\r\n", b"220 go on\r\n25"], "between"),
    ],
)
async def test_what_is_no_relay_is_left_alone(says: list[bytes], why: str) -> None:
    async with listening(lambda: Scripted(says)) as port, pool_to(port) as pool:
        with pytest.raises(Unavailable, match=why):
            await hand_over(pool, "a@example.com")


async def test_a_connection_that_the_relay_closed_meanwhile_is_replaced() -> None:
    inbox, sessions = Inbox(), list[SMTP]()

    def session() -> SMTP:
        sessions.append(SMTP(inbox))
        return sessions[-1]

    async with listening(session) as port, pool_to(port) as pool:
        assert await hand_over(pool, "a@example.com") == [250]
        (idle,) = pool._idle
        hang_up(sessions[0])
        await until(lambda: not idle.usable, 10)
        assert await hand_over(pool, "b@example.com") == [250]
    assert len(sessions) == 2


async def test_a_connection_that_breaks_tells_what_is_in_doubt_and_what_was_not_begun() -> None:
    class Dies(Inbox):
        async def handle_DATA(self, server: SMTP, session: Any, envelope: Received) -> str:  # noqa: N802
            hang_up(server)
            return "250 never heard"

    async with listening(lambda: SMTP(Dies())) as port, pool_to(port) as pool:
        with pytest.raises(Broken) as broken:
            await hand_over(pool, "a@example.com", "b@example.com")
    assert broken.value.in_doubt is not None
    assert broken.value.in_doubt.recipient == "a@example.com"


async def test_a_relay_that_takes_its_leave_and_talks_on_has_answered_no_message() -> None:
    settled: list[Answer] = []
    letter = Envelope("bounces@mail.test", "a@example.com", b"x")
    unbegun = deque([letter, letter])

    # The replies to RCPT and DATA come in with it, and say nothing of the message.
    says = [b"220 a\r\n", b"250-a\r\n250 PIPELINING\r\n", b"421 bye\r\n503 what\r\n503 what\r\n"]
    async with (
        listening(lambda: Scripted(says)) as port,
        pool_to(port) as pool,
        pool.turn(SOMEBODY, OTHERS) as turn,
    ):
        with pytest.raises(Broken, match="421 bye") as broken:
            await turn.connection.hand_over(unbegun.popleft, lambda _, answer: settled.append(answer))
    assert not settled
    assert broken.value.not_begun is letter
    assert broken.value.in_doubt is None
    assert len(unbegun) == 1


def test_no_address_of_an_envelope_begins_a_command() -> None:
    with pytest.raises(ValueError, match="one line"):
        Envelope("a@mail.test", "b@example.com>\r\nRCPT TO:<c@example.com", b"")
