"""What must not be served is refused at the start, by name; what is served is behind the stamp without exception."""

import importlib
import re
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.empty_pb2 import Empty

import flownurture
from chassis.rpc.methods import Servicer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import STAMP_METADATA, Stamper, StampVerifier
from chassis.tests.wire import TRUSTED, Contacts, member, private_key, serving, stamper


def services() -> Iterator[ServiceDescriptor]:
    """Every service of the contract."""
    # A folder that is named twice where Python looks for modules is named twice here, too.
    for root in map(Path, dict.fromkeys(flownurture.__path__)):
        for path in sorted(root.rglob("*_pb2.py")):
            name = ".".join(("flownurture", *path.relative_to(root).with_suffix("").parts))
            yield from importlib.import_module(name).DESCRIPTOR.services_by_name.values()


SERVICES = list(services())
PATHS = [f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods]


def servicer_of(service: ServiceDescriptor) -> Servicer:
    """A servicer with a method for every RPC, none of which must ever run."""

    async def reached(self: Any, request: Any, context: Any) -> None:
        raise AssertionError

    async def reached_by_a_stream(self: Any, requests: Any, context: Any) -> None:
        raise AssertionError

    async def reached_for_a_stream(self: Any, request: Any, context: Any) -> AsyncIterator[None]:
        raise AssertionError
        yield

    methods = {
        re.sub("(?<!^)(?=[A-Z])", "_", method.name).lower(): (
            reached_by_a_stream
            if method.client_streaming
            else reached_for_a_stream
            if method.server_streaming
            else reached
        )
        for method in service.methods
    }
    servicer: Servicer = type(service.name, (), {"service": service, **methods})()
    return servicer


@pytest.fixture(scope="module")
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    async with (
        serving(*map(servicer_of, SERVICES)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield channel


def an_hour_ago() -> float:
    return time.time() - 3600


def in_an_hour() -> float:
    return time.time() + 3600


FORGERIES: dict[str, Callable[[], bytes]] = {
    "missing": lambda: b"",
    "unsigned": lambda: b"\x0a\x10gatewaycontacts1",
    "expired": lambda: Stamper("gateway", private_key("gateway"), an_hour_ago).stamp(member(), "contacts"),
    "living too long": lambda: Stamper("gateway", private_key("gateway"), in_an_hour).stamp(
        member(), "contacts"
    ),
    "of another audience": lambda: stamper().stamp(member(), "identity"),
    "signed by an unknown key": lambda: stamper("gateway", key="stranger").stamp(member(), "contacts"),
    "signed by another process": lambda: stamper("gateway", key="sending").stamp(member(), "contacts"),
    "of an unknown process": lambda: stamper("stranger").stamp(member(), "contacts"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("path", PATHS)
async def test_no_rpc_of_the_contract_answers_a_call_without_a_good_stamp(
    channel: grpc.aio.Channel, path: str, forgery: str
) -> None:
    stamp = FORGERIES[forgery]()
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await channel.unary_unary(path, bytes, bytes)(
            b"", metadata=((STAMP_METADATA, stamp),) if stamp else (), timeout=10
        )
    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_health_alone_asks_for_no_stamp(channel: grpc.aio.Channel) -> None:
    await channel.unary_unary("/grpc.health.v1.Health/Check", bytes, bytes)(b"", timeout=10)


def refusal_of(servicer: Servicer) -> str:
    server = RpcServer("contacts", "127.0.0.1:0", StampVerifier("contacts", TRUSTED))
    with pytest.raises(SystemExit) as refusal:
        server.add(servicer)
    return str(refusal.value)


def test_an_rpc_without_an_access_option_is_not_served() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="open.proto", package="open.v1", syntax="proto3")
    file.message_type.add(name="Nothing")
    file.service.add(name="OpenService").method.add(
        name="GetSecrets", input_type=".open.v1.Nothing", output_type=".open.v1.Nothing"
    )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    refusal = refusal_of(servicer_of(pool.FindServiceByName("open.v1.OpenService")))
    assert "open.v1.OpenService.GetSecrets has no access option" in refusal


def test_an_rpc_without_a_method_is_not_served() -> None:
    class Incomplete:
        service = Contacts.service

    assert "flownurture.contacts.v1.ContactService.CreateContact" in refusal_of(Incomplete())


async def without_context(self: Any, request: Any) -> Empty:
    return Empty()


async def in_another_order(self: Any, context: Any, request: Any) -> Empty:
    return Empty()


async def with_an_organization(self: Any, request: Any, context: Any, organization_id: Any) -> Empty:
    return Empty()


def not_a_coroutine(self: Any, request: Any, context: Any) -> Empty:
    return Empty()


@pytest.mark.parametrize(
    "method",
    [without_context, in_another_order, with_an_organization, not_a_coroutine],
    ids=lambda method: method.__name__,
)
def test_a_method_with_another_signature_is_not_served(method: Any) -> None:
    servicer = type("Contacts", (Contacts,), {"delete_contact": method})()
    assert "flownurture.contacts.v1.ContactService.DeleteContact" in refusal_of(servicer)


def test_a_method_that_wants_a_session_is_not_served_without_a_database() -> None:
    class Stored(Contacts):
        async def delete_contact(self, request: Any, context: Any, session: Any) -> Empty:  # type: ignore[override]
            return Empty()

    assert "flownurture.contacts.v1.ContactService.DeleteContact" in refusal_of(Stored())


async def test_a_port_that_is_taken_is_a_clear_refusal() -> None:
    async with serving(Contacts()) as server:
        second = RpcServer("contacts", f"127.0.0.1:{server.port}", StampVerifier("contacts", TRUSTED))
        with pytest.raises(SystemExit, match=f"127.0.0.1:{server.port}"):
            await second.__aenter__()


def test_a_key_that_is_none_is_refused_at_once() -> None:
    short = b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()[:31]).decode()
    with pytest.raises(ValueError, match="32 bytes"):
        StampVerifier("contacts", {"gateway": short})
    with pytest.raises(ValueError, match="32 bytes"):
        Stamper("gateway", Secret(short))
