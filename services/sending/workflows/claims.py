"""Claiming enrollments: whoever has locked a place alone moves it, until the transaction ends.

Those that are due are claimed in sets, and what somebody else has is passed over; those that something happened to are waited for.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import namedtuple_row

from chassis.database import TenantSession
from services.sending.statuses import SuppressionReason
from services.sending.workflows.enrollments import Enrollment, Ready, Waiting
from services.sending.workflows.versions import Numbered

# An order that is not carried out by then keeps nobody waiting any more; whoever carries it out remembers it for longer.
_CHANGE_AWAITED_SECONDS = 3600.0

_ORDER = [reason.value for reason in SuppressionReason]
# The look at the list is why nobody is moved on who may get no mail, whether or not the event that told of it has come.
_SELECT = """
    SELECT place.enrollment_id, place.workflow_id, place.version, place.step_id, place.visit, place.since, place.wake_at,
           place.waiting, place.traced, place.change_id, enrollment.contact_id, enrollment.email_digest, enrollment.began_at,
           CASE WHEN enrollment.email_digest IS NULL THEN 'erased' ELSE (
               SELECT suppression.reason FROM suppressions AS suppression
               WHERE suppression.email_digest = enrollment.email_digest
               ORDER BY array_position(%(order)s::text[], suppression.reason) LIMIT 1
           ) END AS suppressed
    FROM enrollment_places AS place
    JOIN enrollments AS enrollment
      ON enrollment.organization_id = place.organization_id AND enrollment.id = place.enrollment_id
"""
_DUE = f"""
    {_SELECT}
    WHERE place.workflow_id = %(workflow_id)s AND place.wake_at <= %(moment)s
      AND EXISTS (SELECT FROM workflows WHERE id = %(workflow_id)s AND status = 'active')
    ORDER BY place.wake_at LIMIT %(most)s FOR UPDATE OF place SKIP LOCKED
"""
# In one order, so that two sets cannot wait for each other in a circle.
_OF_CONTACTS = f"""
    {_SELECT}
    WHERE enrollment.contact_id = ANY(%(contact_ids)s::uuid[]) AND enrollment.ended_at IS NULL
      AND (place.workflow_id, place.version) IN (
          SELECT * FROM unnest(%(workflow_ids)s::uuid[], %(versions)s::integer[])
      )
    ORDER BY place.enrollment_id FOR UPDATE OF place
"""  # noqa: S608 - of our own words alone
_OF_ADDRESSES = f"""
    {_SELECT}
    WHERE enrollment.email_digest = ANY(%(digests)s::bytea[]) AND enrollment.ended_at IS NULL
    ORDER BY place.enrollment_id FOR UPDATE OF place
"""
_BY_ID = f"{_SELECT} WHERE place.enrollment_id = ANY(%(ids)s::uuid[]) ORDER BY place.enrollment_id FOR UPDATE OF place"


@dataclass(frozen=True, slots=True)
class Claimed:
    """An enrollment that is ours until the transaction ends, and where it is."""

    enrollment: Enrollment
    workflow_id: UUID
    place: Ready | Waiting
    # How many lines its trace has.
    traced: int
    # The last event that ordered a change of the contact, unless that is long ago.
    change_id: UUID | None
    # Why no mail may go to the contact.
    suppressed: SuppressionReason | None

    @property
    def numbered(self) -> Numbered:
        """The version that it goes by."""
        return self.workflow_id, self.enrollment.version


async def claim_due(session: TenantSession, workflow_id: UUID, moment: datetime, most: int) -> list[Claimed]:
    """Of an active workflow up to so many that are due by then and nobody else has; the longest due first."""
    return await _claim(session, _DUE, {"workflow_id": workflow_id, "moment": moment, "most": most})


async def claim_of_contacts(
    session: TenantSession, contact_ids: Collection[UUID], versions: Collection[Numbered]
) -> list[Claimed]:
    """Those of these contacts that are under way by these versions."""
    given = {
        "contact_ids": list(contact_ids),
        "workflow_ids": [workflow_id for workflow_id, _ in versions],
        "versions": [number for _, number in versions],
    }
    return await _claim(session, _OF_CONTACTS, given)


async def claim_of_addresses(session: TenantSession, digests: Collection[bytes]) -> list[Claimed]:
    """Those under way whose mail goes to these addresses."""
    return await _claim(session, _OF_ADDRESSES, {"digests": list(digests)})


async def claim_by_id(session: TenantSession, ids: Collection[UUID]) -> list[Claimed]:
    """Those of them that are under way."""
    return await _claim(session, _BY_ID, {"ids": list(ids)})


async def _claim(session: TenantSession, statement: str, given: Mapping[str, Any]) -> list[Claimed]:
    claimed = session.driver.cursor(row_factory=namedtuple_row)
    await claimed.execute(statement, {**given, "order": _ORDER})
    return [_claimed(row) for row in await claimed.fetchall()]


def _claimed(row: Any) -> Claimed:
    if row.waiting:
        place: Ready | Waiting = Waiting(row.step_id, row.visit, row.since, row.wake_at)
    else:
        place = Ready(row.step_id, row.visit, row.since)
    return Claimed(
        Enrollment(row.enrollment_id, row.contact_id, row.version, row.began_at),
        row.workflow_id,
        place,
        row.traced,
        row.change_id if row.change_id is not None and _is_recent(row.change_id) else None,
        None if row.suppressed is None else SuppressionReason(row.suppressed),
    )


def _is_recent(event_id: UUID) -> bool:
    """By the time in the id (RFC 9562 §5.7)."""
    return time.time() - (event_id.int >> 80) / 1000 < _CHANGE_AWAITED_SECONDS
