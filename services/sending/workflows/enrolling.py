"""Contacts come into a workflow: sets of them, each let in or told why not.

Nobody is in a workflow twice at a time, whoever brings them in at once: an event, a date, a call. Who is on the suppression list does not come
in, and so not again either until they are off it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from psycopg.rows import namedtuple_row

from chassis.database import TenantSession
from chassis.identifiers import new_id
from flownurture.workflows.v1.events_pb2 import ContactsEnrolled, WorkflowEnrollment
from services.sending.statuses import SuppressionReason
from services.sending.workflows.counts import ENROLLED, Count, add_counts
from services.sending.workflows.documents import Version
from services.sending.workflows.enrollments import Stay, may_enroll

MOST_PEOPLE = 500

_ORDER = [reason.value for reason in SuppressionReason]

# Whoever else would let one of them in waits, so that the next statement sees what they did. In one order, so that two sets cannot wait
# for each other in a circle.
_HOLD = """
    SELECT count(pg_advisory_xact_lock(person)) FROM (
        SELECT DISTINCT hashtextextended('enrollments:' || contact_id || %(workflow_id)s, 0) AS person
        FROM unnest(%(contact_ids)s::uuid[]) AS given (contact_id) ORDER BY person
    ) AS people
"""
_KNOWN = """
    SELECT given.number, last.began_at, last.ended_at, (
        SELECT suppression.reason FROM suppressions AS suppression
        WHERE suppression.email_digest = given.email_digest
        ORDER BY array_position(%(order)s::text[], suppression.reason) LIMIT 1
    ) AS reason
    FROM unnest(%(contact_ids)s::uuid[], %(digests)s::bytea[]) WITH ORDINALITY AS given (contact_id, email_digest, number)
    LEFT JOIN LATERAL (
        SELECT began_at, ended_at FROM enrollments
        WHERE workflow_id = %(workflow_id)s AND enrollments.contact_id = given.contact_id
        ORDER BY began_at DESC, ended_at DESC NULLS FIRST LIMIT 1
    ) AS last ON true
    ORDER BY given.number
"""
_ADD = """
    WITH enrolled AS (
        INSERT INTO enrollments (id, workflow_id, contact_id, email_digest, source, began_at)
        SELECT id, %(workflow_id)s, contact_id, email_digest, %(source)s, %(moment)s
        FROM unnest(%(ids)s::uuid[], %(contact_ids)s::uuid[], %(digests)s::bytea[]) AS given (id, contact_id, email_digest)
    )
    INSERT INTO enrollment_places (enrollment_id, workflow_id, version, step_id, visit, since, wake_at, waiting)
    SELECT id, %(workflow_id)s, %(version)s, %(step_id)s, 1, %(moment)s, %(moment)s, false FROM unnest(%(ids)s::uuid[]) AS given (id)
"""


class Source(StrEnum):
    """What brought a contact in."""

    EVENT = "event"
    DATE = "date"
    API = "api"


@dataclass(frozen=True, slots=True)
class Enrollee:
    """A contact who is to come in, and the digest of their address."""

    contact_id: UUID
    email_digest: bytes


@dataclass(frozen=True, slots=True)
class Enrolled:
    """They are in."""

    enrollment_id: UUID


@dataclass(frozen=True, slots=True)
class AlreadyIn:
    """They are in it already."""


@dataclass(frozen=True, slots=True)
class NotAgain:
    """They were in it before, and its rule of re-enrollment does not let them in again, or not yet."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """No mail may go to them."""

    reason: SuppressionReason


Outcome: TypeAlias = Enrolled | AlreadyIn | NotAgain | Suppressed


async def enroll(
    session: TenantSession,
    workflow_id: UUID,
    version: Version,
    people: Sequence[Enrollee],
    *,
    source: Source,
    moment: datetime,
) -> list[Outcome]:
    """Let people in, at most `MOST_PEOPLE`, each of them named once; answers what became of each, in their order.

    They stand before the first step at this moment. Whether the workflow runs, the caller has looked at.
    """
    if not people:
        return []
    known = await _look_at(session, workflow_id, people)
    rule = version.document.re_enrollment
    outcomes: list[Outcome] = []
    for row in known:
        stay = None if row.began_at is None else Stay(row.began_at, row.ended_at)
        if row.reason is not None:
            outcomes.append(Suppressed(SuppressionReason(row.reason)))
        elif may_enroll(rule, stay, moment):
            outcomes.append(Enrolled(new_id()))
        else:
            outcomes.append(AlreadyIn() if stay is not None and stay.ended_at is None else NotAgain())
    entering = {
        outcome.enrollment_id: person
        for person, outcome in zip(people, outcomes, strict=True)
        if isinstance(outcome, Enrolled)
    }
    if entering:
        await _let_in(session, workflow_id, version, entering, source=source, moment=moment)
    return outcomes


async def _look_at(session: TenantSession, workflow_id: UUID, people: Sequence[Enrollee]) -> Sequence[Any]:
    given = {
        "workflow_id": workflow_id,
        "contact_ids": [person.contact_id for person in people],
        "digests": [person.email_digest for person in people],
        "order": _ORDER,
    }
    known = session.driver.cursor(row_factory=namedtuple_row)
    # Statement after statement, in one round trip.
    async with session.driver.pipeline():
        await session.driver.execute(_HOLD, given)
        await known.execute(_KNOWN, given)
    return await known.fetchall()


async def _let_in(
    session: TenantSession,
    workflow_id: UUID,
    version: Version,
    entering: Mapping[UUID, Enrollee],
    *,
    source: Source,
    moment: datetime,
) -> None:
    await session.driver.execute(
        _ADD,
        {
            "ids": list(entering),
            "workflow_id": workflow_id,
            "version": version.number,
            "step_id": version.first,
            "contact_ids": [person.contact_id for person in entering.values()],
            "digests": [person.email_digest for person in entering.values()],
            "source": source.value,
            "moment": moment,
        },
    )
    await add_counts(session, workflow_id, Counter({Count(version.number, "", ENROLLED): len(entering)}))
    session.publish(
        ContactsEnrolled(
            workflow_id=str(workflow_id),
            version=version.number,
            enrollments=[
                WorkflowEnrollment(enrollment_id=str(enrollment_id), contact_id=str(person.contact_id))
                for enrollment_id, person in entering.items()
            ],
        )
    )
