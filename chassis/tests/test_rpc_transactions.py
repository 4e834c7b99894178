"""Handlers with a session, against the real database: one transaction a call, done once for each idempotency key."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.empty_pb2 import Empty
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import (
    Conflict,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
)
from chassis.rpc.client import Peer
from chassis.tests.wire import Contacts, calling, member, serving
from flownurture.contacts.v1 import contacts_pb2 as pb
from flownurture.contacts.v1.contacts_pb2_grpc import ContactServiceStub

INSERT = text("INSERT INTO things (name) VALUES (:name) RETURNING id")
NAMES = text("SELECT name FROM things ORDER BY name")
GET = pb.GetContactRequest(contact_id="01900000-0000-7000-8000-000000000000")


class StoredContacts(Contacts):
    """Keeps a thing for each contact; a test may say what else happens in the transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.before_answer: Callable[[TenantSession], Awaitable[None]] = self.nothing

    async def nothing(self, session: TenantSession) -> None:
        pass

    async def create_contact(  # type: ignore[override]
        self, request: pb.CreateContactRequest, context: RequestContext, session: TenantSession
    ) -> pb.Contact:
        thing = await session.scalar(INSERT, {"name": request.email})
        await self.before_answer(session)
        return pb.Contact(id=str(thing), email=request.email)

    async def get_contact(  # type: ignore[override]
        self, request: pb.GetContactRequest, context: RequestContext, session: TenantSession
    ) -> pb.Contact:
        await session.scalar(INSERT, {"name": "written by a reader"})
        return pb.Contact()

    async def list_contacts(  # type: ignore[override]
        self, request: pb.ListContactsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListContactsResponse:
        names = (await session.execute(NAMES)).scalars()
        return pb.ListContactsResponse(contacts=[pb.Contact(email=name) for name in names])

    async def delete_contact(  # type: ignore[override]
        self, request: pb.DeleteContactRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        raise NotFound("contact")


class House:
    """A contacts process with a database, and the gateway that calls it."""

    def __init__(self, servicer: StoredContacts, peer: Peer) -> None:
        self.servicer = servicer
        self.peer = peer
        self.stub = ContactServiceStub(peer.channel)

    async def create(self, email: str, context: RequestContext, **call: Any) -> pb.Contact:
        return await self.peer.call(
            self.stub.CreateContact, pb.CreateContactRequest(email=email), context, **call
        )

    async def names(self, context: RequestContext) -> list[str]:
        listed = await self.peer.call(self.stub.ListContacts, pb.ListContactsRequest(), context)
        return [contact.email for contact in listed.contacts]


@pytest.fixture(scope="module")
async def one_house(database: Database) -> AsyncIterator[House]:
    servicer = StoredContacts()
    async with serving(servicer, database=database) as server, calling(server) as peer:
        yield House(servicer, peer)


@pytest.fixture
def house(one_house: House) -> House:
    one_house.servicer.before_answer = one_house.servicer.nothing
    return one_house


async def failing(_: TenantSession) -> None:
    raise Conflict("No.")


async def buggy(_: TenantSession) -> None:
    raise RuntimeError


async def test_a_call_commits_what_its_handler_wrote_for_its_organization_alone(house: House) -> None:
    mine, theirs = member(), member()
    await house.create("a@example.com", mine)
    assert await house.names(mine) == ["a@example.com"]
    assert await house.names(theirs) == []


@pytest.mark.parametrize(("act", "error"), [(failing, Conflict), (buggy, InternalError)])
async def test_a_call_that_fails_leaves_nothing(house: House, act: Any, error: type[Exception]) -> None:
    caller = member()
    house.servicer.before_answer = act
    with pytest.raises(error):
        await house.create("a@example.com", caller)
    assert await house.names(caller) == []


async def test_a_call_that_runs_out_of_time_leaves_nothing_and_gives_its_connection_back(
    house: House,
) -> None:
    caller = member()

    async def never(_: TenantSession) -> None:
        await asyncio.Event().wait()

    house.servicer.before_answer = never
    late = [house.create(f"{n}@example.com", caller, timeout=0.3) for n in range(10)]
    outcomes = await asyncio.gather(*late, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {DeadlineExceeded}
    assert await house.names(caller) == []


async def test_an_rpc_that_reads_cannot_write(house: House) -> None:
    caller = member()
    with pytest.raises(InternalError):
        await house.peer.call(house.stub.GetContact, GET, caller)
    assert await house.names(caller) == []


async def test_a_session_needs_an_organization(house: House) -> None:
    with pytest.raises(PermissionDenied) as refusal:
        await house.create("a@example.com", member(organization_id=None))
    assert refusal.value.reason == "INSUFFICIENT_ROLE"


async def test_a_repeated_key_repeats_the_answer_and_not_the_deed(house: House) -> None:
    caller = member(idempotency_key=str(uuid4()))
    first = await house.create("a@example.com", caller)
    assert await house.create("a@example.com", caller) == first
    assert await house.names(caller) == ["a@example.com"]


async def test_a_key_used_for_another_request_is_refused(house: House) -> None:
    caller = member(idempotency_key=str(uuid4()))
    await house.create("a@example.com", caller)
    with pytest.raises(InvalidRequest) as refusal:
        await house.create("b@example.com", caller)
    assert refusal.value.reason == "IDEMPOTENCY_MISMATCH"
    assert await house.names(caller) == ["a@example.com"]


async def test_a_key_belongs_to_its_organization(house: House) -> None:
    key = str(uuid4())
    mine, theirs = member(idempotency_key=key), member(idempotency_key=key)
    await house.create("a@example.com", mine)
    await house.create("b@example.com", theirs)
    assert await house.names(theirs) == ["b@example.com"]


async def test_a_request_that_failed_may_be_tried_again_under_its_key(house: House) -> None:
    caller = member(idempotency_key=str(uuid4()))
    house.servicer.before_answer = failing
    with pytest.raises(Conflict):
        await house.create("a@example.com", caller)
    house.servicer.before_answer = house.servicer.nothing
    await house.create("a@example.com", caller)
    assert await house.names(caller) == ["a@example.com"]


async def test_of_requests_under_one_key_at_the_same_time_one_is_done(house: House) -> None:
    caller = member(idempotency_key=str(uuid4()))
    begun, finish = asyncio.Event(), asyncio.Event()

    async def wait(_: TenantSession) -> None:
        begun.set()
        await finish.wait()

    house.servicer.before_answer = wait
    first = asyncio.create_task(house.create("a@example.com", caller))
    await asyncio.wait_for(begun.wait(), 5)
    with pytest.raises(Conflict) as refusal:
        await house.create("a@example.com", caller)
    assert refusal.value.reason == "IDEMPOTENCY_IN_FLIGHT"
    finish.set()
    made = await first
    assert await house.create("a@example.com", caller) == made
    assert await house.names(caller) == ["a@example.com"]
