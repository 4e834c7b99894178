"""TLS between processes, with certificates of real authorities over real sockets."""

import ast
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from prometheus_client import REGISTRY

from chassis.context import RequestContext
from chassis.errors import Unavailable
from chassis.events import EventBus
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.rpc.tls import MutualTls
from chassis.secret import Secret
from chassis.settings import EventsSettings, ProcessSettings, load
from chassis.stamp import StampVerifier
from chassis.tests.broker import Broker
from chassis.tests.certificates import Authority, Files
from chassis.tests.deadlines import until
from chassis.tests.test_settings import ENVIRONMENT
from chassis.tests.wire import TRUSTED, Contacts, member, stamper
from flownurture.contacts.v1 import contacts_pb2 as pb
from flownurture.contacts.v1.contacts_pb2_grpc import ContactServiceStub

ROOT = Path(__file__).parents[2]
GET = pb.GetContactRequest(contact_id="01900000-0000-7000-8000-000000000000")
VARIABLES = ("RPC_TLS_CERTIFICATE", "RPC_TLS_KEY", "RPC_TLS_AUTHORITIES")


@pytest.fixture
def authority() -> Authority:
    return Authority("ours")


@pytest.fixture
def contacts(authority: Authority, tmp_path: Path) -> Files:
    return authority.issue(tmp_path / "contacts", "contacts")


@pytest.fixture
def gateway(authority: Authority, tmp_path: Path) -> Files:
    return authority.issue(tmp_path / "gateway", "gateway")


@asynccontextmanager
async def serving(files: Files, servicer: Contacts | None = None, port: int = 0) -> AsyncIterator[RpcServer]:
    verifier = StampVerifier("contacts", TRUSTED)
    server = RpcServer("contacts", f"127.0.0.1:{port}", verifier, tls=files.tls())
    async with server.add(servicer or Contacts()):
        yield server


def calling(server: RpcServer, tls: MutualTls | None, name: str = "contacts") -> Peer:
    return Peer(f"127.0.0.1:{server.port}", name, stamper(), tls)


async def call(peer: Peer) -> pb.Contact:
    stub = ContactServiceStub(peer.channel)
    return await peer.call(stub.GetContact, GET, member(), 5)


async def is_answered(peer: Peer) -> bool:
    try:
        await call(peer)
    except Unavailable:
        return False
    return True


def test_operators_see_when_the_certificate_in_place_runs_out(authority: Authority, contacts: Files) -> None:
    def ends() -> float:
        return REGISTRY.get_sample_value("flownurture_certificate_expires_seconds", {"use": "rpc"}) or 0.0

    contacts.tls()
    before = ends()
    assert 3_500 < before - time.time() <= 3_600
    authority.issue(contacts.folder, "contacts", lasts=timedelta(hours=9))
    assert 32_000 < ends() - time.time() <= 32_400


async def test_processes_with_certificates_of_one_authority_call_each_other(
    contacts: Files, gateway: Files
) -> None:
    async with serving(contacts) as server, calling(server, gateway.tls()) as peer:
        assert await is_answered(peer)


async def test_who_has_no_certificate_of_the_authority_is_not_answered(
    contacts: Files, tmp_path: Path
) -> None:
    stranger = Authority("theirs").issue(tmp_path / "stranger", "gateway")
    # It believes the process that it calls; the process does not believe it.
    stranger.authorities.write_bytes(contacts.authorities.read_bytes())
    async with serving(contacts) as server:
        for tls in (None, stranger.tls()):
            async with calling(server, tls) as peer:
                assert not await is_answered(peer)
        without = grpc.ssl_channel_credentials(contacts.authorities.read_bytes())
        named = (("grpc.ssl_target_name_override", "contacts"),)
        async with grpc.aio.secure_channel(f"127.0.0.1:{server.port}", without, options=named) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ContactServiceStub(channel).GetContact(GET, timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_nobody_calls_who_has_a_foreign_certificate_or_that_of_another_process(
    gateway: Files, authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority("theirs").issue(tmp_path / "foreign", "contacts")
    foreign.authorities.write_bytes(gateway.authorities.read_bytes())
    other = authority.issue(tmp_path / "other", "identity")
    for files in (foreign, other):
        async with serving(files) as server, calling(server, gateway.tls()) as peer:
            assert not await is_answered(peer)


@pytest.fixture
def looks_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.rpc.renewed_channel._LOOK_EVERY", 0.0)


async def test_a_server_shows_and_believes_what_was_renewed_to_whoever_comes_then(
    contacts: Files, gateway: Files, tmp_path: Path
) -> None:
    renewed = Authority("renewed")
    async with serving(contacts) as server:
        renewed.issue(contacts.folder, "contacts")
        async with calling(server, renewed.issue(tmp_path / "newcomer", "gateway").tls()) as newcomer:
            assert await is_answered(newcomer)
        async with calling(server, gateway.tls()) as former:
            assert not await is_answered(former)


@pytest.mark.usefixtures("looks_at_each_call")
async def test_a_caller_shows_and_believes_what_was_renewed(contacts: Files, gateway: Files) -> None:
    async with AsyncExitStack() as stack:
        async with serving(contacts) as server:
            peer = await stack.enter_async_context(calling(server, gateway.tls()))
            assert await is_answered(peer)
        renewed = Authority("renewed")
        renewed.issue(gateway.folder, "gateway")
        await stack.enter_async_context(serving(renewed.issue(contacts.folder, "contacts"), port=server.port))
        await until(lambda: is_answered(peer))


@pytest.mark.usefixtures("looks_at_each_call")
async def test_a_call_that_is_under_way_when_certificates_are_renewed_ends_well(
    contacts: Files, gateway: Files, authority: Authority
) -> None:
    servicer, begun, end = Contacts(), asyncio.Event(), asyncio.Event()

    async def wait(_: Any, __: RequestContext) -> pb.Contact:
        begun.set()
        await end.wait()
        return pb.Contact(email="ana@people.test")

    async with serving(contacts, servicer) as server, calling(server, gateway.tls()) as peer:
        servicer.act = wait
        under_way = asyncio.create_task(call(peer))
        await begun.wait()
        authority.issue(gateway.folder, "gateway")
        servicer.act = servicer.answer_nothing
        assert await is_answered(peer)
        end.set()
        assert (await under_way).email == "ana@people.test"


@pytest.mark.usefixtures("looks_at_each_call")
async def test_files_that_do_not_fit_together_are_not_taken_up(
    contacts: Files, gateway: Files, authority: Authority, tmp_path: Path
) -> None:
    next_ones = authority.issue(tmp_path / "next", "any")
    async with serving(contacts) as server, calling(server, gateway.tls()) as peer:
        for files in (contacts, gateway):
            files.certificate.write_bytes(next_ones.certificate.read_bytes())
        assert await is_answered(peer)
        async with calling(server, authority.issue(tmp_path / "newcomer", "gateway").tls()) as newcomer:
            assert await is_answered(newcomer)
    with pytest.raises(ValueError, match="not the certificate's"):
        contacts.tls()


def _environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in (ENVIRONMENT | variables).items():
        monkeypatch.setenv(name, value)


def test_a_process_is_told_of_its_certificate_by_three_files(
    contacts: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (contacts.certificate, contacts.key, contacts.authorities)
    _environment(monkeypatch)
    assert MutualTls.of(load(ProcessSettings)) is None
    _environment(monkeypatch, **dict(zip(VARIABLES, map(str, files), strict=True)))
    assert MutualTls.of(load(ProcessSettings)) is not None


@pytest.mark.parametrize("missing", VARIABLES)
def test_some_of_the_three_alone_are_refused(
    contacts: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    _environment(monkeypatch, **dict.fromkeys(VARIABLES, str(contacts.key)) | {missing: ""})
    with pytest.raises(SystemExit):
        load(ProcessSettings)
    assert "RPC_TLS_AUTHORITIES must be set with" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(contacts: Files) -> None:
    contacts.key.unlink()
    with pytest.raises(FileNotFoundError, match=r"tls\.key"):
        contacts.tls()


def test_every_server_and_every_call_of_a_process_is_given_its_certificate() -> None:
    wired = [*ROOT.glob("services/**/server.py"), ROOT / "gateway" / "upstreams.py"]
    made = [
        (file, call)
        for file in wired
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in ("Peer", "RpcServer")
    ]
    assert len(made) > 20
    assert [
        (file.name, ast.unparse(call)) for file, call in made if "tls" not in ast.unparse(call.args[-1])
    ] == []


async def test_the_event_bus_is_spoken_to_in_tls_from_the_first_word(
    contacts: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bus"
    folder.mkdir()
    broker = Broker(folder, tls=contacts).start()
    try:
        monkeypatch.setenv("SSL_CERT_FILE", str(contacts.authorities))
        async with EventBus(broker.settings) as bus:
            assert bus.connected
    finally:
        broker.kill()


async def test_who_stands_between_cannot_talk_a_process_out_of_tls(contacts: Files) -> None:
    heard = asyncio.Queue[bytes]()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.12.0","max_payload":1048576}\r\n')
        heard.put_nowait(await reader.read(1024))
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url, password = f"tls://127.0.0.1:{port}", Secret("the-password")
        bus = EventBus(EventsSettings(nats_url=url, nats_user="probe", nats_password=password))
        entering = asyncio.create_task(bus.__aenter__())
        try:
            first = await heard.get()
        finally:
            entering.cancel()
            await asyncio.gather(entering, return_exceptions=True)
    # A TLS handshake, and no CONNECT with a password.
    assert first.startswith(b"\x16\x03")
