"""An organization is erased in two steps: asked for, which can be taken back, and gone, which cannot."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database, RoleDatabase
from chassis.erasure import Erasures
from chassis.errors import Conflict, InvalidRequest, NotFound, PermissionDenied, Unauthenticated
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.identity.v1 import admin_pb2 as pb
from flownurture.identity.v1.events_pb2 import (
    OrganizationErased,
    OrganizationErasureRequested,
    OrganizationErasureTakenBack,
)
from services.identity import audit
from services.identity.consumers import identity_consumer
from services.identity.organization_erasures import ERASURES_DUE, GRACE, STAYS, Departures
from services.identity.settings import IdentitySettings
from services.identity.tables import erasure_requests, memberships
from services.identity.tests import keys
from services.identity.tests.edge import Edge, Person

NAME = "Ferro & Daughters"


@dataclass
class Operators:
    """An operator, and the process that erases."""

    edge: Edge
    person: Person
    database: Database
    scheduler: RoleDatabase

    async def request(self, owner: Person, name: str = NAME) -> pb.OrganizationErasure:
        request = pb.RequestOrganizationErasureRequest(organization_id=_id(owner), name=name)
        return await self._call("RequestOrganizationErasure", request)

    async def take_back(self, owner: Person) -> pb.OrganizationErasure:
        return await self._call(
            "TakeBackOrganizationErasure", pb.TakeBackOrganizationErasureRequest(organization_id=_id(owner))
        )

    async def look(self, organization_id: str) -> pb.OrganizationErasure:
        return await self._call(
            "GetOrganizationErasure", pb.GetOrganizationErasureRequest(organization_id=organization_id)
        )

    async def resume(self, owner: Person) -> None:
        request = pb.ChangeOrganizationRequest(organization_id=_id(owner), suspended=False)
        await self.edge.call(self.edge.admin.ChangeOrganization, request, self.person.context)

    async def depart(self, owner: Person, ahead: timedelta) -> None:
        """Have the process look, so much later, and read what it tells."""
        context = RequestContext.of_process("identity", UUID(_id(owner)))
        departures = Departures(self.database, lambda: datetime.now(UTC) + ahead)
        await departures.depart(context, context.organization)
        erasures = Erasures(self.database, self.scheduler, process="identity", stays=STAYS)
        reader = identity_consumer(None, self.database, erasures)  # type: ignore[arg-type]
        for envelope in await _published(self.database, owner):
            await reader.handle(envelope.SerializeToString())

    async def _call(self, method: str, request: object) -> pb.OrganizationErasure:
        answer: pb.OrganizationErasure = await self.edge.call(
            getattr(self.edge.admin, method), request, self.person.context
        )
        return answer


def _id(owner: Person) -> str:
    return str(owner.answer.organization.id)


async def _published(database: Database, owner: Person) -> list[Envelope]:
    context = RequestContext.of_process("identity", UUID(_id(owner)))
    async with database.tenant_transaction(context, read_only=True) as session:
        rows = await session.execute(text("SELECT envelope FROM outbox ORDER BY id"))
        return [Envelope.FromString(row.envelope) for row in rows]


async def _acts(database: Database, owner: Person) -> list[str]:
    context = RequestContext.of_process("identity", UUID(_id(owner)))
    async with database.tenant_transaction(context, read_only=True) as session:
        return [event.act for event in await audit.page(session, before=None, size=100)]


@pytest.fixture
async def operators(edge: Edge, settings: IdentitySettings, database: Database) -> AsyncIterator[Operators]:
    assert settings.super_admin_email
    async with RoleDatabase(settings.database_scheduler_url) as scheduler:
        yield Operators(edge, await edge.log_in(settings.super_admin_email), database, scheduler)


async def test_an_organization_that_is_to_be_erased_stands_still_and_services_are_told(
    operators: Operators, edge: Edge, database: Database
) -> None:
    owner = await edge.sign_up()
    assert not (await operators.look(_id(owner))).HasField("erases_at")
    asked = await operators.request(owner)
    assert GRACE - timedelta(minutes=1) < asked.erases_at.ToDatetime(UTC) - datetime.now(UTC) <= GRACE
    assert (await edge.resolve_session(owner.session_id)).organization_suspended
    # Asking again changes nothing.
    assert await operators.request(owner) == asked == await operators.look(_id(owner))
    told = [each for each in await _published(database, owner) if each.type.endswith("ErasureRequested")]
    assert [OrganizationErasureRequested.FromString(each.payload).erases_at for each in told] == [
        asked.erases_at
    ]
    assert (await _acts(database, owner)).count("organization_erasure_requested") == 1


async def test_another_name_than_its_own_erases_nothing(operators: Operators, edge: Edge) -> None:
    owner = await edge.sign_up()
    with pytest.raises(InvalidRequest) as refused:
        await operators.request(owner, "Ferro and Daughters")
    assert [violation.field for violation in refused.value.violations] == ["name"]
    assert not (await operators.look(_id(owner))).HasField("erases_at")
    assert not (await edge.resolve_session(owner.session_id)).organization_suspended


async def test_an_erasure_is_taken_back_until_it_is_done_and_only_then_can_it_be_resumed(
    operators: Operators, edge: Edge, database: Database
) -> None:
    owner = await edge.sign_up()
    await operators.request(owner)
    with pytest.raises(Conflict) as refused:
        await operators.resume(owner)
    assert refused.value.reason == "ERASURE_REQUESTED"
    for _ in range(2):
        assert not (await operators.take_back(owner)).HasField("erases_at")
    assert (await edge.resolve_session(owner.session_id)).organization_suspended
    told = [each.type for each in await _published(database, owner)]
    assert told.count(OrganizationErasureTakenBack.DESCRIPTOR.full_name) == 1
    await operators.resume(owner)
    assert not (await edge.resolve_session(owner.session_id)).organization_suspended
    await operators.depart(owner, 2 * GRACE)
    assert await edge.resolve_session(owner.session_id)
    assert (await _acts(database, owner)).count("organization_erasure_taken_back") == 1


async def test_nothing_goes_before_its_time(operators: Operators, edge: Edge) -> None:
    owner = await edge.sign_up()
    await operators.request(owner)
    await operators.depart(owner, GRACE - timedelta(minutes=1))
    assert (await edge.resolve_session(owner.session_id)).organization_suspended
    assert not (await operators.look(_id(owner))).HasField("erased_at")


async def test_when_its_time_has_come_nothing_is_left_but_that_there_was_one_and_its_trail(
    operators: Operators, edge: Edge, database: Database
) -> None:
    owner = await edge.sign_up()
    await keys.create(edge, owner)
    await operators.request(owner)
    context = RequestContext.of_process("identity", UUID(_id(owner)))
    async with database.tenant_transaction(context) as session:
        await session.execute(update(erasure_requests).values(erases_at=func.now() - timedelta(hours=1)))
    async with operators.scheduler.transaction() as connection:
        assert context.organization in {row.id for row in await connection.execute(ERASURES_DUE)}
    trail = await _acts(database, owner)
    await operators.depart(owner, timedelta())
    with pytest.raises(Unauthenticated):
        await edge.resolve_session(owner.session_id)
    assert [each.type for each in await _published(database, owner)] == [
        OrganizationErased.DESCRIPTOR.full_name
    ]
    assert await _acts(database, owner) == ["organization_erased", *trail]
    async with database.tenant_transaction(context, read_only=True) as session:
        assert await session.scalar(select(func.count()).select_from(memberships)) == 0
    answer = await operators.look(_id(owner))
    assert answer.HasField("erased_at")
    told = {each.service: each for each in answer.services}
    assert told.keys() == {"identity", "contacts", "sending", "webhooks", "integrations"}
    assert told["identity"].HasField("erased_at")
    # Nobody else is there in this test.
    assert {each.service for each in answer.services if each.reachable} == {"identity"}
    for attempt in (operators.request(owner), operators.take_back(owner), operators.resume(owner)):
        with pytest.raises(Conflict) as refused:
            await attempt
        assert refused.value.reason == "ORGANIZATION_ERASED"


async def test_a_person_of_an_organization_that_is_erased_has_their_account_and_belongs_nowhere(
    operators: Operators, edge: Edge
) -> None:
    owner = await edge.sign_up()
    await operators.request(owner)
    await operators.depart(owner, 2 * GRACE)
    with pytest.raises(PermissionDenied, match="belongs to no organization any more"):
        await edge.log_in(owner.email)


async def test_the_platforms_own_and_one_that_there_is_not_are_not_found(operators: Operators) -> None:
    for organization_id in (str(PLATFORM), str(uuid4())):
        with pytest.raises(NotFound):
            await operators.look(organization_id)


async def test_nobody_but_an_operator_erases(operators: Operators, edge: Edge) -> None:
    owner = await edge.sign_up()
    theirs = replace(operators, person=owner)
    for attempt in (theirs.request(owner), theirs.take_back(owner), theirs.look(_id(owner))):
        with pytest.raises(PermissionDenied):
            await attempt
