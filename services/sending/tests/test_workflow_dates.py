"""Whose date it is comes in at its time, once; and whoever is in a workflow that is archived leaves."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from chassis.database import RoleDatabase
from chassis.errors import Unavailable
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.identity_peer import IdentityPeer
from services.sending.tests.neighbours import Neighbour
from services.sending.tests.tenant import Tenant
from services.sending.tests.workflow_runs import NOON, MovedClock, Workflows
from services.sending.workflows.archiving import Archiving
from services.sending.workflows.lifecycle import (
    activate_workflow,
    archive_workflow,
    change_document,
    get_workflow,
    pause_workflow,
)
from services.sending.workflows.occasions import Occasions
from services.sending.workflows.tests.drafts import document, leave, wait

BIRTHDAY = {"date_field": {"custom_field": "birthday", "at": {"time": "09:00", "clock": pb.CLOCK_CONTACT}}}
TOMORROW = "2026-11-29"


@pytest.fixture
def workflows(tenant: Tenant, allowances: IdentityPeer, scheduler: RoleDatabase) -> Workflows:
    return Workflows(tenant, allowances, scheduler)


@pytest.fixture
def occasions(workflows: Workflows, scheduler: RoleDatabase) -> Occasions:
    return Occasions(
        workflows.tenant.database, scheduler, workflows.neighbours, workflows.advancing, workflows.runner
    )


def born(name: str, day: str, zone: str = "") -> Neighbour:
    return Neighbour(f"{name}@people.test", fields={"birthday": day}, zone=ZoneInfo(zone) if zone else None)


def congratulates() -> pb.WorkflowDocument:
    again = pb.ReEnrollment(rule=pb.RE_ENROLLMENT_RULE_AFTER_EXIT)
    return document(leave("end", "congratulated"), trigger=BIRTHDAY, re_enrollment=again)


async def started(workflows: Workflows, drafted: pb.WorkflowDocument | None = None) -> UUID:
    workflow_id = await workflows.start(drafted or congratulates())
    await workflows.tenant.rows("UPDATE workflow_occasions SET looked_until = :noon", noon=NOON)
    return workflow_id


async def look_at(workflows: Workflows, occasions: Occasions, workflow_id: UUID, moment: datetime) -> None:
    workflows.clock.moment = moment
    await occasions.look(workflows.tenant.context, workflow_id)
    await workflows.runner.settled()


async def came(workflows: Workflows) -> list[UUID]:
    rows = await workflows.tenant.rows("SELECT contact_id FROM enrollments ORDER BY id")
    return [row.contact_id for row in rows]


async def test_a_contact_comes_in_when_their_own_clock_shows_the_time_of_their_day(
    workflows: Workflows, occasions: Occasions
) -> None:
    people = [
        born("tokyo", TOMORROW, "Asia/Tokyo"),
        born("nowhere", TOMORROW),
        born("ny", TOMORROW, "America/New_York"),
        born("later", "2026-11-30"),
    ]
    workflows.neighbours.add(*people)
    workflow_id = await started(workflows)
    for hour, seen in ((0, 1), (8, 1), (9, 2), (13, 2), (14, 3), (23, 3)):
        await look_at(workflows, occasions, workflow_id, datetime(2026, 11, 29, hour, tzinfo=UTC))
        assert await came(workflows) == [person.id for person in people[:seen]]
    assert set((await workflows.ends()).values()) == {("exit_step", "congratulated")}


async def test_what_nobody_looked_at_is_made_up_for(workflows: Workflows, occasions: Occasions) -> None:
    ada = born("ada", TOMORROW)
    workflows.neighbours.add(ada)
    workflow_id = await started(workflows)
    await look_at(workflows, occasions, workflow_id, NOON + timedelta(days=5))
    assert await came(workflows) == [ada.id]


async def test_a_look_goes_up_to_when_it_began_however_time_goes_on(
    workflows: Workflows, occasions: Occasions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go_on(clock: MovedClock) -> datetime:
        clock.move(seconds=1)
        return clock.moment

    workflow_id = await started(workflows)
    begun = NOON + timedelta(days=5)
    monkeypatch.setattr(MovedClock, "__call__", go_on)
    async with asyncio.timeout(30):
        await look_at(workflows, occasions, workflow_id, begun)
    (row,) = await workflows.tenant.rows("SELECT looked_until FROM workflow_occasions")
    assert row.looked_until == begun + timedelta(seconds=1)


async def test_whoever_dies_half_way_through_lets_nobody_in_twice(
    workflows: Workflows, occasions: Occasions, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [born(f"p{number}", TOMORROW) for number in range(3)]
    workflows.neighbours.add(*people)
    workflow_id = await started(workflows)
    let_in = Occasions._let_in
    seen = 0

    async def dies(self: Occasions, *given: object) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise Unavailable
        await let_in(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Occasions, "_let_in", dies)
    morning = datetime(2026, 11, 29, 9, tzinfo=UTC)
    with pytest.raises(Unavailable):
        await look_at(workflows, occasions, workflow_id, morning)
    await workflows.advance(workflow_id)
    assert len(await workflows.ends()) == 2
    await look_at(workflows, occasions, workflow_id, morning + timedelta(minutes=1))
    assert sorted(await came(workflows)) == sorted(person.id for person in people)


async def test_whose_date_comes_while_a_workflow_is_paused_does_not_come_in(
    workflows: Workflows, occasions: Occasions
) -> None:
    workflows.neighbours.add(born("ada", TOMORROW))
    workflow_id = await started(workflows)
    async with workflows.tenant.database.tenant_transaction(workflows.tenant.context) as session:
        await pause_workflow(session, workflow_id)
    await look_at(workflows, occasions, workflow_id, NOON + timedelta(days=1))
    assert await came(workflows) == []
    async with workflows.tenant.database.tenant_transaction(workflows.tenant.context) as session:
        await activate_workflow(session, await get_workflow(session, workflow_id))
    # It is looked from the moment on at which it goes on, which is later than the test's.
    (row,) = await workflows.tenant.rows(
        "SELECT looked_until > now() - interval '1 minute' AS anew FROM workflow_occasions"
    )
    assert row.anew


async def test_another_document_goes_on_where_was_looked_or_looks_no_more(workflows: Workflows) -> None:
    workflow_id = await started(workflows)
    for drafted, left in (
        (document(wait("pause"), leave(), trigger=BIRTHDAY), [(NOON,)]),
        (document(wait("pause"), leave()), []),
    ):
        async with workflows.tenant.database.tenant_transaction(workflows.tenant.context) as session:
            await change_document(session, await get_workflow(session, workflow_id), drafted, None)
        rows = await workflows.tenant.rows("SELECT looked_until FROM workflow_occasions")
        assert [tuple(row) for row in rows] == left


async def test_whoever_is_in_a_workflow_that_is_archived_leaves(
    workflows: Workflows, scheduler: RoleDatabase
) -> None:
    people = [born(f"p{number}", TOMORROW) for number in range(3)]
    workflow_id = await workflows.start(document(wait("pause"), leave()))
    await workflows.enroll(workflow_id, *people)
    await workflows.advance(workflow_id)
    async with workflows.tenant.database.tenant_transaction(workflows.tenant.context) as session:
        await archive_workflow(session, workflow_id)
    await Archiving(workflows.tenant.database, scheduler).let_leave(workflows.tenant.context, workflow_id)
    assert await workflows.ends() == {person.id: ("archived", "") for person in people}
    assert (await workflows.trace(people[0]))[-1] == ("pause", "the workflow was archived")
    (count,) = await workflows.tenant.rows("SELECT number FROM workflow_counts WHERE what = 'archived'")
    assert count.number == 3
