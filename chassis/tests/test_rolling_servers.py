"""Servers behind one name that take each other's place: no call is lost, though each is made once."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chassis.context import RequestContext
from chassis.errors import Unavailable
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.stamp import StampVerifier
from chassis.tests.deadlines import until
from chassis.tests.wire import TRUSTED, Contacts, member, stamper
from deploy.local.nameserver.server import Nameserver
from flownurture.contacts.v1 import contacts_pb2 as pb
from flownurture.contacts.v1.contacts_pb2_grpc import ContactServiceStub

GET = pb.GetContactRequest(contact_id="01900000-0000-7000-8000-000000000000")
CALLERS = 40
ROLLS = 4


@pytest.fixture
async def nameserver() -> AsyncIterator[Nameserver]:
    async with Nameserver("127.0.0.1", 0) as nameserver:
        yield nameserver


def server(number: int, port: int, contacts: Contacts) -> RpcServer:
    """One of several that listen on the same port, each at an address of its own, as pods do."""
    return RpcServer("contacts", f"127.0.1.{number}:{port}", StampVerifier("contacts", TRUSTED)).add(contacts)


async def test_servers_that_replace_each_other_lose_no_call(
    nameserver: Nameserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.rpc.server._NOTICE", 0.3)
    answered: Counter[str] = Counter()
    over = asyncio.Event()

    async def call(peer: Peer, context: RequestContext) -> None:
        stub = ContactServiceStub(peer.channel)
        while not over.is_set():
            contact = await peer.call(stub.GetContact, GET, context)
            answered[contact.id] += 1

    async def answers_of(number: int) -> None:
        await until(lambda: answered[str(number)] > 100)

    old = await server(1, 0, named("1")).__aenter__()
    nameserver.zone.publish("contacts", "A", ["127.0.1.1"])
    target = f"dns://{nameserver.address}/contacts:{old.port}"
    async with Peer(target, "contacts", stamper()) as peer, asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(call(peer, member()))
        for number in range(2, ROLLS + 2):
            await answers_of(number - 1)
            new = await server(number, old.port, named(str(number))).__aenter__()
            nameserver.zone.publish("contacts", "A", [f"127.0.1.{number}"])
            await old.__aexit__()
            old = new
        await answers_of(ROLLS + 1)
        over.set()
    await old.__aexit__()


async def test_a_call_waits_for_a_server_that_is_about_to_come_and_not_for_one_that_stays_away() -> None:
    first = await server(1, 0, named("first")).__aenter__()
    async with Peer(f"127.0.1.1:{first.port}", "contacts", stamper()) as peer:
        stub, context = ContactServiceStub(peer.channel), member()
        await peer.call(stub.GetContact, GET, context)
        await first.__aexit__()
        waiting = asyncio.create_task(peer.call(stub.GetContact, GET, context))
        second = await server(1, first.port, named("second")).__aenter__()
        assert (await waiting).id == "second"
        await second.__aexit__()
        await nobody_is_waited_for_twice(peer)


async def test_a_call_waits_for_a_server_that_has_not_been_there_yet_however_long_ago_its_caller_started() -> (
    None
):
    gone = await server(1, 0, named("gone")).__aenter__()
    await gone.__aexit__()
    async with Peer(f"127.0.1.1:{gone.port}", "contacts", stamper()) as peer:
        stub, context = ContactServiceStub(peer.channel), member()
        waiting = asyncio.create_task(peer.call(stub.GetContact, GET, context))
        late = await server(1, gone.port, named("late")).__aenter__()
        assert (await waiting).id == "late"
    await late.__aexit__()


async def test_calls_do_not_wait_one_after_another_for_a_server_that_never_comes() -> None:
    gone = await server(1, 0, named("gone")).__aenter__()
    await gone.__aexit__()
    async with Peer(f"127.0.1.1:{gone.port}", "contacts", stamper()) as peer:
        await nobody_is_waited_for_twice(peer)


async def nobody_is_waited_for_twice(peer: Peer) -> None:
    """The second call fails at once, in a small part of what the first took."""

    async def refused_after() -> float:
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            await peer.call(ContactServiceStub(peer.channel).GetContact, GET, member())
        return time.monotonic() - begun

    assert await refused_after() > 4 * await refused_after()


def named(name: str) -> Contacts:
    """A service whose contacts tell which it is."""

    async def answer(request: Any, context: RequestContext) -> pb.Contact:
        return pb.Contact(id=name)

    contacts = Contacts()
    contacts.act = answer
    return contacts
