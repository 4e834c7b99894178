"""Erasing an organization, in two steps: asked for, it stands still and that can be taken back; when its time has come it is gone for good."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import delete, insert, select, text, update

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.erasure import EVERY_ROW
from chassis.errors import Conflict, FieldViolation, InvalidRequest
from flownurture.identity.v1 import events_pb2 as events
from services.identity import audit, organizations
from services.identity.audit import Act
from services.identity.clock import Clock
from services.identity.grants import Grants
from services.identity.tables import erasure_requests
from services.identity.tables import organizations as organization_rows

# As long as streams keep facts: what was told before the organization stood still has been heard, or never will be.
GRACE = timedelta(days=7)

# What identity keeps of an organization: that there was one, the trail of what was done to it, and that others are to be told.
STAYS = {
    "organizations": EVERY_ROW,
    "erasure_requests": EVERY_ROW,
    "audit_events": EVERY_ROW,
    "outbox": "subject = 'flownurture.identity.organization_erased'",
}

# For the scheduler's role.
ERASURES_DUE = text("""
    SELECT organization_id, organization_id AS id FROM identity.erasure_requests
    WHERE erased_at IS NULL AND erases_at <= now() ORDER BY erases_at LIMIT 16
""")


@dataclass(frozen=True, slots=True)
class Standing:
    """When an organization is to be erased, or since when it is; both None where nobody asked for it."""

    erases_at: datetime | None = None
    erased_at: datetime | None = None


async def standing(session: TenantSession) -> Standing:
    """How the context's organization stands. Raises NotFound."""
    await organizations.get(session)
    asked = await session.execute(select(erasure_requests.c.erases_at, erasure_requests.c.erased_at))
    row = asked.one_or_none()
    if row is None:
        return Standing()
    return Standing(erased_at=row.erased_at) if row.erased_at else Standing(erases_at=row.erases_at)


async def request_erasure(session: TenantSession, name: str, grants: Grants, *, now: datetime) -> None:
    """Let the context's organization stand still, and be erased after `GRACE`. Asked again it changes nothing.

    Raises NotFound, InvalidRequest for another name than its own, Conflict when it is erased, and Unavailable as suspending does.
    """
    organization = await organizations.hold(session)
    await _require_there(session)
    if name != organization.name:
        raise InvalidRequest(FieldViolation("name", "is not the name of this organization"))
    if (await standing(session)).erases_at is not None:
        return
    await organizations.set_suspended(session, True, grants)
    erases_at = now + GRACE
    await session.execute(insert(erasure_requests).values(erases_at=erases_at))
    session.publish(events.OrganizationErasureRequested(erases_at=_timestamp(erases_at)))
    await audit.record(
        session,
        Act.ORGANIZATION_ERASURE_REQUESTED,
        organization.id,
        after={"erases_at": erases_at.isoformat()},
    )


async def take_back(session: TenantSession) -> None:
    """Let the context's organization be; it stays suspended. Changes nothing where nobody asked. Raises NotFound, Conflict when it is erased."""
    organization = await organizations.hold(session)
    await _require_there(session)
    taken_back = await session.scalar(delete(erasure_requests).returning(erasure_requests.c.erases_at))
    if taken_back is not None:
        session.publish(events.OrganizationErasureTakenBack())
        await audit.record(
            session,
            Act.ORGANIZATION_ERASURE_TAKEN_BACK,
            organization.id,
            before={"erases_at": taken_back.isoformat()},
        )


async def require_staying(session: TenantSession) -> None:
    """Raise Conflict for an organization that is erased, or is to be."""
    await _require_there(session)
    if (await standing(session)).erases_at is not None:
        raise Conflict("The organization is to be erased: take that back first.", reason="ERASURE_REQUESTED")


async def erase(session: TenantSession, *, now: datetime) -> None:
    """Let the context's organization be gone, if its time has come. Every service, this one too, hears of it and takes its rows away."""
    organization = await organizations.hold(session)
    due = update(erasure_requests).where(
        erasure_requests.c.erased_at.is_(None), erasure_requests.c.erases_at <= now
    )
    if not (await session.execute(due.values(erased_at=now))).rowcount:
        return
    await session.execute(update(organization_rows).values(name=""))
    session.publish(events.OrganizationErased())
    await audit.record(session, Act.ORGANIZATION_ERASED, organization.id)


class Departures:
    """Erases the organizations whose time has come."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def depart(self, context: RequestContext, _: UUID) -> None:
        """Erase the context's organization, if its time has come."""
        async with self._database.tenant_transaction(context) as session:
            await erase(session, now=self._clock())


async def _require_there(session: TenantSession) -> None:
    if (await standing(session)).erased_at is not None:
        raise Conflict("The organization is erased.", reason="ORGANIZATION_ERASED")


def _timestamp(moment: datetime) -> Timestamp:
    written = Timestamp()
    written.FromDatetime(moment)
    return written
