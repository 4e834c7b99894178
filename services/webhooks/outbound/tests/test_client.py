"""Posts over real sockets: what counts as an answer, what is kept open, what fails and how it is told."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from services.webhooks.outbound import client as client_module
from services.webhooks.outbound.addresses import AddressRules
from services.webhooks.outbound.answers import Failure, PostFailed, retry_after
from services.webhooks.outbound.client import Client, Pool
from services.webhooks.outbound.destinations import DestinationRules, parse_destination
from services.webhooks.outbound.ports import PortRanges
from services.webhooks.outbound.resolver import Resolver
from services.webhooks.outbound.tests.zone import serving

RULES = DestinationRules(False, PortRanges.parse("1-65535"), AddressRules([ip_network("127.0.0.0/8")]))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Answering = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Receiver:
    """What has come, and over how many connections."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                await self._answering(self.requests[-1], writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(answering: Answering, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(answering)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


def answering(answer: bytes) -> Answering:
    async def write(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return write


def pool_to(receiver: Receiver, path: str = "/") -> Pool:
    client = Client(RULES, Resolver("127.0.0.1:9"))
    return client.pool(parse_destination(f"http://127.0.0.1:{receiver.port}{path}", RULES))


async def failure(pool: Pool) -> PostFailed:
    with pytest.raises(PostFailed) as failed:
        await pool.post([], b"{}")
    return failed.value


async def test_a_post_arrives_as_it_was_given_and_its_answer_is_told() -> None:
    async with receiving(answering(OK)) as receiver:
        answer = await pool_to(receiver, "/hooks?a=1").post([("X-One", "1")], b'{"a":1}')
    assert (answer.status, answer.body, answer.address) == (200, b"ok", "127.0.0.1")
    assert receiver.requests == [
        b"POST /hooks?a=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
        b"User-Agent: FlowNurture-Webhooks/1\r\nAccept: */*\r\nX-One: 1\r\nContent-Length: 7\r\n\r\n"
        % receiver.port
        + b'{"a":1}'
    ]


async def test_one_connection_serves_post_after_post() -> None:
    async with receiving(answering(OK)) as receiver:
        pool = pool_to(receiver)
        for _ in range(20):
            await pool.post([], b"{}")
        assert (receiver.connections, len(receiver.requests)) == (1, 20)


async def test_posts_at_the_same_moment_have_connections_of_their_own() -> None:
    async with receiving(answering(OK)) as receiver:
        pool = pool_to(receiver)
        answers = await asyncio.gather(*(pool.post([], b"{}") for _ in range(8)))
        assert [answer.status for answer in answers] == [200] * 8
        assert receiver.connections == 8


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_connection_that_is_to_close_is_not_used_again(answer: bytes) -> None:
    async with receiving(answering(answer)) as receiver:
        pool = pool_to(receiver)
        await pool.post([], b"{}")
        await pool.post([], b"{}")
        assert receiver.connections == 2


async def test_a_connection_that_was_closed_meanwhile_is_replaced_before_anything_is_sent() -> None:
    async def answer_and_close(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with receiving(answer_and_close) as receiver:
        pool = pool_to(receiver)
        await pool.post([], b"{}")
        async with asyncio.timeout(5):
            while pool._idle and pool._idle[-1].is_open:  # noqa: ASYNC110 - it is told by the network alone
                await asyncio.sleep(0)
        assert (await pool.post([], b"{}")).status == 200
        assert (receiver.connections, len(receiver.requests)) == (2, 2)


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def answer_and_close(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 202 Fine\r\n\r\nto the end")
        await writer.drain()
        writer.close()

    async with receiving(answer_and_close) as receiver:
        answer = await pool_to(receiver).post([], b"{}")
        assert (answer.status, answer.body) == (202, b"to the end")


async def test_a_body_that_does_not_end_is_cut_off_and_its_status_counts() -> None:
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n"

    async def stream(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(endless)
        while not writer.is_closing():
            writer.write(b"400\r\n" + b"y" * 1024 + b"\r\n")
            await writer.drain()

    async with receiving(stream) as receiver:
        answer = await pool_to(receiver).post([], b"{}")
        assert (answer.status, answer.body) == (200, b"x" * 1024)


async def test_who_informs_first_is_waited_for() -> None:
    async with receiving(answering(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK)) as receiver:
        assert (await pool_to(receiver).post([], b"{}")).status == 200


async def test_a_second_answer_to_one_post_is_not_heard_and_ends_the_connection() -> None:
    forged = b"HTTP/1.1 410 Gone\r\nRetry-After: 9\r\nContent-Length: 4\r\n\r\ngone"
    async with receiving(answering(OK + forged)) as receiver:
        pool = pool_to(receiver)
        for _ in range(2):
            answer = await pool.post([], b"{}")
            assert (answer.status, answer.body, answer.retry_after) == (200, b"ok", None)
        assert receiver.connections == 2


async def test_what_is_said_unasked_is_not_taken_for_the_answer_to_the_next_post() -> None:
    told = asyncio.Event()

    async def answer_and_go_on(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        await told.wait()
        writer.write(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")

    async with receiving(answer_and_go_on) as receiver:
        pool = pool_to(receiver)
        await pool.post([], b"{}")
        told.set()
        async with asyncio.timeout(5):
            while pool._idle and pool._idle[-1].is_open:  # noqa: ASYNC110 - it is told by the network alone
                await asyncio.sleep(0)
        assert (await pool.post([], b"{}")).status == 200
        assert receiver.connections == 2


async def test_a_head_that_does_not_end_is_not_read_to_its_end() -> None:
    written = 0

    async def stream(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not writer.is_closing():
            writer.write(b"x" * 65_536)
            written += 65_536
            await writer.drain()

    async with receiving(stream) as receiver:
        assert (await failure(pool_to(receiver))).outcome is Failure.BROKEN
        # What the sockets hold on both sides, and no more.
        assert written < 64 * 1024 * 1024


async def test_an_answer_that_ends_before_its_length_is_none() -> None:
    async def half(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async with receiving(half) as receiver:
        assert (await failure(pool_to(receiver))).outcome is Failure.BROKEN


async def test_who_is_not_posted_to_has_no_connection_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_IDLE_SECONDS", 0.05)
    gone = asyncio.Event()

    class Watched(Receiver):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await super().serve(reader, writer)
            gone.set()

    receiver = Watched(answering(OK))
    async with await asyncio.start_server(receiver.serve, "127.0.0.1", 0) as server:
        receiver.port = server.sockets[0].getsockname()[1]
        await pool_to(receiver).post([], b"{}")
        await asyncio.wait_for(gone.wait(), 5)


@pytest.mark.parametrize("secure", [False, True])
async def test_posts_arrive_by_the_loop_that_processes_run_on(secure: bool, tmp_path: Path) -> None:
    """Whose transports are others than asyncio's."""
    authority, tls = _tls_for("hooks.test", tmp_path)

    async def post() -> list[int]:
        async with (
            receiving(answering(OK), tls if secure else None) as receiver,
            serving({"hooks.test": {"A": ["127.0.0.1"]}}) as (nameserver, _),
        ):
            client = Client(RULES, Resolver(nameserver), trusted=str(authority))
            url = f"{'https' if secure else 'http'}://hooks.test:{receiver.port}/"
            pool = client.pool(parse_destination(url, RULES))
            statuses = [(await pool.post([], b"{}")).status for _ in range(3)]
            pool.close()
            return [*statuses, receiver.connections]

    assert await asyncio.to_thread(uvloop.run, post()) == [200, 200, 200, 1]


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA\x00: b\r\n\r\n",
        b"HTTP/1.1 101 Over\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    ],
)
async def test_what_is_not_http_is_told_as_broken(answer: bytes) -> None:
    async with receiving(answering(answer)) as receiver:
        assert (await failure(pool_to(receiver))).outcome is Failure.BROKEN


async def test_who_hangs_up_has_not_answered_and_is_not_asked_twice() -> None:
    async def hang_up(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with receiving(hang_up) as receiver:
        assert (await failure(pool_to(receiver))).outcome is Failure.BROKEN
        assert len(receiver.requests) == 1


async def test_who_does_not_answer_is_waited_for_until_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_ATTEMPT_SECONDS", 0.2)

    async def nothing(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async with receiving(nothing) as receiver:
        failed = await failure(pool_to(receiver))
        assert (failed.outcome, failed.address) == (Failure.TIMEOUT, "127.0.0.1")


async def test_where_nobody_listens_is_told_as_unreachable() -> None:
    async with receiving(answering(OK)) as receiver:
        pool = pool_to(receiver)
    failed = await failure(pool)
    assert (failed.outcome, failed.address) == (Failure.UNREACHABLE, "127.0.0.1")


async def test_of_several_addresses_the_next_one_is_tried_where_nobody_listens() -> None:
    zone = {"two.test": {"A": ["127.0.0.2", "127.0.0.1"]}}
    async with receiving(answering(OK)) as receiver, serving(zone) as (nameserver, _):
        client = Client(RULES, Resolver(nameserver))
        pool = client.pool(parse_destination(f"http://two.test:{receiver.port}/", RULES))
        assert (await pool.post([], b"{}")).address == "127.0.0.1"


async def test_a_name_with_many_addresses_does_not_send_us_to_all_of_them() -> None:
    others = [f"127.0.0.{number}" for number in range(2, 30)]
    async with (
        receiving(answering(OK)) as receiver,
        serving({"many.test": {"A": [*others, "127.0.0.1"]}}) as (
            nameserver,
            _,
        ),
    ):
        client = Client(RULES, Resolver(nameserver))
        failed = await failure(client.pool(parse_destination(f"http://many.test:{receiver.port}/", RULES)))
        assert failed.outcome is Failure.UNREACHABLE
        assert receiver.connections == 0


async def test_a_name_that_the_dns_does_not_know_is_told_as_unresolved() -> None:
    async with serving({}) as (nameserver, _):
        client = Client(RULES, Resolver(nameserver))
        assert (
            await failure(client.pool(parse_destination("http://nowhere.test/", RULES)))
        ).outcome is Failure.UNRESOLVED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("X-One", value) for value in ("a\r\nX-Other: b", "a\nb", "a\0b", "a\x7fb", "a\u2028b", "\u010d")),
        *((name, "1") for name in ("", "X One", "X-One:", "X-One\r\nX-Other", "X-Öne", "X-One ")),
        # By these a request would say itself where it ends, where it goes, and what becomes of its connection.
        *(("Transfer-Encoding", "chunked"), ("content-length", "0"), ("Host", "other.test")),
        *(("Connection", "close"), ("Upgrade", "h2c"), ("Expect", "100-continue")),
    ],
)
async def test_no_header_can_bring_another_along_or_change_the_request(name: str, value: str) -> None:
    async with receiving(answering(OK)) as receiver:
        with pytest.raises(PostFailed) as failed:
            await pool_to(receiver).post([(name, value)], b"{}")
        assert failed.value.outcome is Failure.REFUSED
        assert receiver.requests == []


async def test_a_kept_connection_is_looked_at_again_before_it_is_used() -> None:
    async with receiving(answering(OK)) as receiver:
        client = Client(RULES, Resolver("127.0.0.1:9"))
        pool = client.pool(parse_destination(f"http://127.0.0.1:{receiver.port}/", RULES))
        await pool.post([], b"{}")
        client.rules = DestinationRules(False, RULES.ports, AddressRules())
        assert (await failure(pool)).outcome is Failure.REFUSED
        assert len(receiver.requests) == 1


async def test_over_tls_the_certificate_must_be_for_the_name(tmp_path: Path) -> None:
    authority, tls = _tls_for("hooks.test", tmp_path)
    zone = {"hooks.test": {"A": ["127.0.0.1"]}, "other.test": {"A": ["127.0.0.1"]}}
    async with receiving(answering(OK), tls) as receiver, serving(zone) as (nameserver, _):
        client = Client(RULES, Resolver(nameserver), trusted=str(authority))

        def pool(host: str, by: Client = client) -> Pool:
            return by.pool(parse_destination(f"https://{host}:{receiver.port}/", RULES))

        assert (await pool("hooks.test").post([], b"{}")).status == 200
        assert (await failure(pool("other.test"))).outcome is Failure.TLS
        strangers = Client(RULES, Resolver(nameserver))
        assert (await failure(pool("hooks.test", strangers))).outcome is Failure.TLS
        assert len(receiver.requests) == 1


async def test_over_tls_an_address_must_be_in_the_certificate_as_a_name_must(tmp_path: Path) -> None:
    authority, tls = _tls_for("hooks.test", tmp_path)
    client = Client(RULES, Resolver("127.0.0.1:9"), trusted=str(authority))
    outcomes = {}
    for address in ("127.0.0.9", "127.0.0.8"):
        receiver = Receiver(answering(OK))
        async with await asyncio.start_server(receiver.serve, address, 0, ssl=tls) as server:
            port = server.sockets[0].getsockname()[1]
            pool = client.pool(parse_destination(f"https://{address}:{port}/", RULES))
            try:
                outcomes[address] = str((await pool.post([], b"{}")).status)
            except PostFailed as failed:
                outcomes[address] = failed.outcome
            pool.close()
    assert outcomes == {"127.0.0.9": "200", "127.0.0.8": Failure.TLS}


async def test_who_speaks_without_tls_where_it_is_meant_is_told_so_and_gets_nothing() -> None:
    said: list[bytes] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        said.append(await reader.read(65_536))
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = Client(RULES, Resolver("127.0.0.1:9"))
        pool = client.pool(parse_destination(f"https://127.0.0.1:{port}/secret", RULES))
        assert (await failure(pool)).outcome is Failure.TLS
    assert not any(b"secret" in each for each in said)


async def test_who_takes_a_connection_and_says_nothing_of_tls_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "_CONNECT_SECONDS", 0.2)

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = Client(RULES, Resolver("127.0.0.1:9"))
        failed = await failure(client.pool(parse_destination(f"https://127.0.0.1:{port}/", RULES)))
        assert (failed.outcome, failed.address) == (Failure.UNREACHABLE, "127.0.0.1")


async def test_an_ipv6_address_is_posted_to_in_its_brackets() -> None:
    rules = DestinationRules(False, RULES.ports, AddressRules([ip_network("::1/128")]))
    receiver = Receiver(answering(OK))
    async with await asyncio.start_server(receiver.serve, "::1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        pool = Client(rules, Resolver("127.0.0.1:9")).pool(
            parse_destination(f"http://[0:0:0:0:0:0:0:1]:{port}/", rules)
        )
        assert (await pool.post([], b"{}")).address == "::1"
        pool.close()
    assert b"\r\nHost: [::1]:%d\r\n" % port in receiver.requests[0]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"120", 120.0),
        (b"0", 0.0),
        (b"Sat, 28 Nov 2026 00:01:00 GMT", 60.0),
        (b"Fri, 27 Nov 2026 00:00:00 GMT", 0.0),
        (b"soon", None),
        (b"-5", None),
        (b"", None),
        (b"1" * 400, float("inf")),
    ],
)
def test_both_forms_of_retry_after_are_understood(value: bytes, seconds: float | None) -> None:
    now = datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC)
    assert retry_after(value.decode(), now) == seconds


def _tls_for(name: str, folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate that vouches for itself, as its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.9"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, private = folder / "certificate.pem", folder / "key.pem"
    authority.write_bytes(certificate.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    return authority, context
