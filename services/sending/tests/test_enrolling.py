"""Who may come into a workflow comes in once, whoever brings them, and nobody comes in to whom no mail may go."""

import asyncio
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid4

import pytest

from flownurture.sending.v1 import workflows_pb2 as pb
from flownurture.workflows.v1.events_pb2 import ContactsEnrolled
from services.sending.statuses import SuppressionReason
from services.sending.suppression_list import Suppressed as OnTheList
from services.sending.suppression_list import suppress
from services.sending.tests.tenant import Tenant
from services.sending.workflows.documents import Version
from services.sending.workflows.enrolling import (
    AlreadyIn,
    Enrolled,
    Enrollee,
    NotAgain,
    Outcome,
    Source,
    Suppressed,
    enroll,
)
from services.sending.workflows.tests.drafts import document, leave, wait

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def person(email: str = "") -> Enrollee:
    return Enrollee(uuid4(), sha256((email or str(uuid4())).encode()).digest())


def version(rule: "pb.ReEnrollmentRule.ValueType" = pb.RE_ENROLLMENT_RULE_NEVER, days: int = 0) -> Version:
    drafted = document(wait("pause", duration={"days": 1}), leave("end"))
    drafted.re_enrollment.CopyFrom(pb.ReEnrollment(rule=rule, days=days))
    return Version(1, drafted)


async def come_in(
    tenant: Tenant,
    workflow_id: UUID,
    *people: Enrollee,
    by: Version | None = None,
    moment: datetime = NOON,
) -> list[Outcome]:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        return await enroll(session, workflow_id, by or version(), people, source=Source.API, moment=moment)


async def leaves(tenant: Tenant, contact: Enrollee, moment: datetime) -> None:
    await tenant.rows(
        "UPDATE enrollments SET ended_at = :moment, cause = 'exit_step' WHERE contact_id = :contact",
        moment=moment,
        contact=contact.contact_id,
    )


async def test_whoever_comes_in_stands_before_the_first_step_and_is_told_of(tenant: Tenant) -> None:
    workflow_id, people = uuid4(), [person(), person()]
    outcomes = await come_in(tenant, workflow_id, *people)
    assert all(isinstance(outcome, Enrolled) for outcome in outcomes)
    places = await tenant.rows(
        "SELECT step_id, visit, since, wake_at, waiting, version FROM enrollment_places"
    )
    assert {tuple(place) for place in places} == {("pause", 1, NOON, NOON, False, 1)}
    (told,) = await tenant.published(ContactsEnrolled)
    assert [each.contact_id for each in told.enrollments] == [str(each.contact_id) for each in people]
    (count,) = await tenant.rows("SELECT what, number FROM workflow_counts")
    assert tuple(count) == ("enrolled", 2)


async def test_whoever_is_on_the_list_does_not_come_in(tenant: Tenant) -> None:
    gone, there = person("gone@example.test"), person()
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await suppress(session, [OnTheList(gone.email_digest, SuppressionReason.UNSUBSCRIBE)])
    first, second = await come_in(tenant, uuid4(), gone, there)
    assert first == Suppressed(SuppressionReason.UNSUBSCRIBE)
    assert isinstance(second, Enrolled)


@pytest.mark.parametrize(
    ("rule", "days", "later", "again"),
    [
        (pb.RE_ENROLLMENT_RULE_UNSPECIFIED, 0, timedelta(days=3650), False),
        (pb.RE_ENROLLMENT_RULE_NEVER, 0, timedelta(days=3650), False),
        (pb.RE_ENROLLMENT_RULE_AFTER_EXIT, 0, timedelta(0), True),
        (pb.RE_ENROLLMENT_RULE_AFTER_DAYS, 30, timedelta(days=29), False),
        (pb.RE_ENROLLMENT_RULE_AFTER_DAYS, 30, timedelta(days=30), True),
    ],
)
async def test_whoever_was_in_it_comes_again_as_its_rule_says(
    tenant: Tenant, rule: "pb.ReEnrollmentRule.ValueType", days: int, later: timedelta, again: bool
) -> None:
    workflow_id, contact, by = uuid4(), person(), version(rule, days)
    await come_in(tenant, workflow_id, contact, by=by)
    assert await come_in(tenant, workflow_id, contact, by=by, moment=NOON + later) == [AlreadyIn()]
    await leaves(tenant, contact, NOON)
    (outcome,) = await come_in(tenant, workflow_id, contact, by=by, moment=NOON + later)
    assert outcome == NotAgain() if not again else isinstance(outcome, Enrolled)


async def test_of_many_who_bring_the_same_people_in_at_once_one_does(tenant: Tenant) -> None:
    workflow_id, people = uuid4(), [person() for _ in range(20)]
    orders = [people, people[::-1], people[5:], people[:15]]
    told = await asyncio.gather(*(come_in(tenant, workflow_id, *order) for order in orders))
    outcomes = [outcome for each in told for outcome in each]
    assert sum(isinstance(outcome, Enrolled) for outcome in outcomes) == len(people)
    assert outcomes.count(AlreadyIn()) == len(outcomes) - len(people)


async def test_one_workflow_says_nothing_of_another(tenant: Tenant) -> None:
    contact = person()
    assert isinstance((await come_in(tenant, uuid4(), contact))[0], Enrolled)
    assert isinstance((await come_in(tenant, uuid4(), contact))[0], Enrolled)
