"""Operators see what any process could not handle, and have it handled again; the trail says that they did."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from chassis import dead_letters
from chassis.database import Database, RoleDatabase
from chassis.dead_letter_service import DeadLetterService
from chassis.errors import InvalidRequest, PermissionDenied, Unavailable
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from flownurture.identity.v1 import admin_pb2, dead_letters_pb2
from flownurture.operations.v1.dead_letters_pb2 import DeadLetter, ListParkedRequest
from flownurture.operations.v1.dead_letters_pb2_grpc import DeadLetterServiceStub
from services.identity.settings import IdentitySettings
from services.identity.tests.conftest import ServiceEnvironment, Start
from services.identity.tests.edge import Edge, Person

NOBODY_LISTENS = "127.0.0.1:1"


@dataclass
class Readers:
    """Processes that read events, their tables, and an identity that asks them; nobody else knows their names."""

    names: list[str]
    edge: Edge
    operator: Person
    database: Database
    relay: RoleDatabase
    addresses: dict[str, str]

    async def park(self, *processes: str) -> None:
        """Give up an event in each of these processes, one after the other."""
        for process in processes:
            await dead_letters.park(
                self.database,
                process=process,
                stream="CONTACTS",
                subject="flownurture.contacts.contacts_created",
                envelope=b"",
                deliveries=8,
                error="ValueError: no",
            )

    async def page(self, person: Person | None = None, **asked: Any) -> Any:
        """A page of dead letters."""
        request = dead_letters_pb2.ListDeadLettersRequest(**asked)
        return await self.edge.call(
            self.edge.dead_letters.ListDeadLetters, request, (person or self.operator).context
        )

    async def replay(self, person: Person | None = None, **asked: Any) -> int:
        """Ask for a replay; how many events that was."""
        request = dead_letters_pb2.ReplayDeadLettersRequest(**asked)
        answer = await self.edge.call(
            self.edge.dead_letters.ReplayDeadLetters, request, (person or self.operator).context
        )
        return int(answer.requested)

    async def waiting(self, process: str) -> list[DeadLetter]:
        """The events of a process whose replay was requested."""
        page = await self.page(process=process)
        return [letter for letter in page.dead_letters if letter.HasField("replay_requested_at")]


@pytest.fixture
async def readers(start: Start, settings: IdentitySettings, database: Database) -> AsyncIterator[Readers]:
    """Two that run, and one that is down."""
    one, two, down = names = sorted(f"reader-{uuid4()}" for _ in range(3))
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(RoleDatabase(settings.database_relay_url))
        addresses = {down: NOBODY_LISTENS}
        for name in (one, two):
            verifier = StampVerifier(name, settings.stamp_trusted_keys)
            server = RpcServer(name, "127.0.0.1:0", verifier).add(DeadLetterService(relay, name))
            await stack.enter_async_context(server)
            addresses[name] = f"127.0.0.1:{server.port}"
        edge = await start(settings.model_copy(update={"dead_letter_targets": addresses}))
        assert settings.super_admin_email
        operator = await edge.log_in(settings.super_admin_email)
        yield Readers(names, edge, operator, database, relay, addresses)


async def test_an_operator_sees_what_all_processes_gave_up_oldest_first(readers: Readers) -> None:
    one, two, _ = readers.names
    await readers.park(one, two, two, one)
    page = await readers.page()
    assert [letter.process for letter in page.dead_letters] == [one, two, two, one]
    assert {letter.error for letter in page.dead_letters} == {"ValueError: no"}
    assert all(letter.HasField("parked_at") for letter in page.dead_letters)


async def test_a_process_that_does_not_answer_is_named_and_the_others_are_shown(readers: Readers) -> None:
    one, two, down = readers.names
    await readers.park(one)
    page = await readers.page()
    assert (len(page.dead_letters), list(page.unreachable)) == (1, [down])
    page = await readers.page(process=one)
    assert (len(page.dead_letters), list(page.unreachable)) == (1, [])
    page = await readers.page(process=two)
    assert (len(page.dead_letters), list(page.unreachable)) == (0, [])


@pytest.mark.parametrize("size", [1, 2, 3, 4])
async def test_pages_hold_each_event_once_whatever_leaves_meanwhile(readers: Readers, size: int) -> None:
    one, two, _ = readers.names
    await readers.park(one, two, one, one, two, two, one)
    everything = [letter.id for letter in (await readers.page()).dead_letters]
    seen: list[str] = []
    token = ""
    while True:
        page = await readers.page(page_size=size, page_token=token)
        seen += [letter.id for letter in page.dead_letters]
        token = page.next_page_token
        if not token:
            break
        assert len(page.dead_letters) == size
        # What is handled in between moves nothing that is still to come.
        await readers.replay(process=one, dead_letter_ids=seen)
        await dead_letters.Replays(readers.relay, [_Reader(one)]).round()
    assert seen == everything


async def test_some_or_all_of_a_process_are_handled_again(readers: Readers) -> None:
    one, two, _ = readers.names
    await readers.park(one, one, one, two)
    second = (await readers.page(process=one)).dead_letters[1]
    assert await readers.replay(process=one, dead_letter_ids=[second.id, str(new_id())]) == 1
    assert [letter.id for letter in await readers.waiting(one)] == [second.id]
    assert await readers.replay(process=one) == 3
    assert len(await readers.waiting(one)) == 3
    assert await readers.waiting(two) == []


async def test_a_replay_is_in_the_platforms_trail_even_when_it_could_not_be_asked_for(
    readers: Readers,
) -> None:
    one, _, down = readers.names
    letter = str(new_id())
    await readers.replay(process=one, dead_letter_ids=[letter])
    with pytest.raises(Unavailable):
        await readers.replay(process=down)
    request = admin_pb2.ListPlatformAuditEventsRequest(page_size=50)
    trail = await readers.edge.call(
        readers.edge.admin.ListPlatformAuditEvents, request, readers.operator.context
    )
    asked = [each for each in trail.audit_events if each.event.act == "dead_letter_replay_requested"]
    found = {
        each.event.after["process"]: each for each in asked if each.event.after["process"] in (one, down)
    }
    assert list(found[one].event.after["dead_letter_ids"]) == [letter]
    assert found[down].event.after["all"] is True
    for each in found.values():
        assert each.event.actor.id == readers.operator.context.actor_id
        assert not each.HasField("organization_id")


async def test_a_process_that_there_is_not_is_refused_with_the_names_of_those_that_there_are(
    readers: Readers,
) -> None:
    for attempt in (readers.page(process="nobody"), readers.replay(process="nobody")):
        with pytest.raises(InvalidRequest) as refused:
            await attempt
        [violation] = refused.value.violations
        assert violation.field == "process"
        assert all(name in violation.message for name in readers.names)


async def test_nobody_but_an_operator_sees_or_replays(readers: Readers) -> None:
    person = await readers.edge.sign_up()
    for attempt in (readers.page(person), readers.replay(person, process=readers.names[0])):
        with pytest.raises(PermissionDenied):
            await attempt


async def test_nobody_but_identity_asks_a_process(
    readers: Readers, service_environment: ServiceEnvironment
) -> None:
    name = readers.names[0]
    gateway = Stamper("gateway", Secret(service_environment("gateway")["STAMP_PRIVATE_KEY"]))
    async with Peer(readers.addresses[name], name, gateway) as peer:
        stub = DeadLetterServiceStub(peer.channel)
        with pytest.raises(PermissionDenied) as refused:
            await peer.call(stub.ListParked, ListParkedRequest(page_size=1), readers.operator.context)
    assert refused.value.reason == "CALLER_NOT_ALLOWED"


@dataclass
class _Reader:
    """A consumer that handles everything."""

    durable: str
    stream: str = "CONTACTS"

    async def handle(self, data: bytes) -> None:
        """Handled."""
