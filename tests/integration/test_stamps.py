"""Every RPC of every running process is behind the stamp: without a good one, nothing answers."""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from os import urandom

import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor

from chassis.context import ActorKind, RequestContext, Role
from chassis.contract.access import AccessRule, Audience
from chassis.identifiers import new_id
from chassis.secret import Secret
from chassis.stamp import STAMP_METADATA, Stamper
from deploy.local.environment import READERS
from gateway.endpoints import contract_files
from tests.integration.house import House

# Every RPC of the contract, internal ones too.
RPCS = {
    f"/{service.full_name}/{rpc.name}": rpc
    for file in contract_files()
    for service in file.services_by_name.values()
    for rpc in service.methods
}
SOMEBODY = RequestContext(
    issuer="gateway",
    actor_kind=ActorKind.USER,
    actor_id=str(new_id()),
    role=Role.SUPER_ADMIN,
    organization_id=new_id(),
    session_id=str(new_id()),
    features=frozenset(AccessRule.of(rpc).feature for rpc in RPCS.values()),
)
# Makes the stamp that a call to this process carries.
Forge = Callable[[House, str], bytes]


# What operators ask of many.
OPERATIONS = {
    "DeadLetterService": READERS,
    "ErasureService": ["contacts", "sending", "webhooks", "integrations"],
    "ExportService": ["contacts", "sending", "webhooks", "integrations"],
}


def processes_of(rpc: MethodDescriptor) -> list[str]:
    """Who serves it: the process named like the domain, and what operators ask of many, all of those."""
    domain = str(rpc.containing_service.file.package.split(".")[1])
    return OPERATIONS[rpc.containing_service.name] if domain == "operations" else [domain]


# Each RPC at each process that serves it.
SERVED = [(path, process) for path, rpc in RPCS.items() for process in processes_of(rpc)]


def stamper(house: House, process: str, ago: float = 0) -> Stamper:
    key = Secret(house.secrets.stamp_keys[process])
    return Stamper(process, key, lambda: time.time() - ago)


def cut(house: House, process: str) -> bytes:
    return stamper(house, "gateway").stamp(SOMEBODY, process)[:-1]


def of_another_audience(house: House, process: str) -> bytes:
    other = "identity" if process != "identity" else "contacts"
    return stamper(house, "gateway").stamp(SOMEBODY, other)


def signed_by_an_unknown_key(_: House, process: str) -> bytes:
    return Stamper("gateway", Secret(b64encode(urandom(32)).decode())).stamp(SOMEBODY, process)


def signed_by_another_process(house: House, process: str) -> bytes:
    return Stamper("gateway", Secret(house.secrets.stamp_keys["webhooks"])).stamp(SOMEBODY, process)


FORGERIES: dict[str, Forge] = {
    "missing": lambda _house, _process: b"",
    "garbage": lambda _house, _process: urandom(200),
    "cut short": cut,
    "expired": lambda house, process: stamper(house, "gateway", ago=61).stamp(SOMEBODY, process),
    "made to live too long": lambda house, process: stamper(house, "gateway", ago=-60).stamp(
        SOMEBODY, process
    ),
    "of another audience": of_another_audience,
    "signed by an unknown key": signed_by_an_unknown_key,
    "signed by another process": signed_by_another_process,
}


@pytest.fixture(scope="module")
async def channels(house: House) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    channels = {name: grpc.aio.insecure_channel(address) for name, address in house.services().items()}
    yield channels
    await asyncio.gather(*(channel.close(None) for channel in channels.values()))


async def code_of(channel: grpc.aio.Channel, path: str, stamp: bytes) -> grpc.StatusCode:
    """How a call with an empty request ends."""
    metadata = ((STAMP_METADATA, stamp),) if stamp else ()
    try:
        if RPCS[path].client_streaming:
            await channel.stream_unary(path, bytes, bytes)(iter((b"",)), metadata=metadata, timeout=10)
        else:
            await channel.unary_unary(path, bytes, bytes)(b"", metadata=metadata, timeout=10)
    except grpc.aio.AioRpcError as refusal:
        return refusal.code()
    return grpc.StatusCode.OK


def test_every_process_with_rpcs_is_running(house: House) -> None:
    assert {process for _, process in SERVED} <= house.services().keys()


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_no_process_answers_a_call_without_a_good_stamp(
    house: House, channels: dict[str, grpc.aio.Channel], forgery: str
) -> None:
    codes = {
        (path, process): await code_of(channels[process], path, FORGERIES[forgery](house, process))
        for path, process in SERVED
    }
    assert codes == dict.fromkeys(SERVED, grpc.StatusCode.UNAUTHENTICATED)


async def test_a_process_serves_the_rpcs_of_its_own_domain_only(
    house: House, channels: dict[str, grpc.aio.Channel]
) -> None:
    for name, channel in channels.items():
        stamp = stamper(house, "gateway").stamp(SOMEBODY, name)
        served = {
            path for path in RPCS if await code_of(channel, path, stamp) is not grpc.StatusCode.UNIMPLEMENTED
        }
        assert served == {path for path, process in SERVED if process == name}


async def test_with_a_good_stamp_the_caller_is_known(
    house: House, channels: dict[str, grpc.aio.Channel]
) -> None:
    for path, process in SERVED:
        code = await code_of(channels[process], path, stamper(house, "gateway").stamp(SOMEBODY, process))
        access = AccessRule.of(RPCS[path])
        assert (code is grpc.StatusCode.PERMISSION_DENIED) == ("gateway" not in access.callers), path
        assert access.audience is Audience.ACCOUNT or code is not grpc.StatusCode.UNAUTHENTICATED, path
