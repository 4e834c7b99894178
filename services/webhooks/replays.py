"""Replays: what an endpoint was sent, or missed, in a range of time, sent once more, piece by piece."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, exists, func, insert, select, true, tuple_, update

from chassis.database import TenantSession
from chassis.errors import Conflict, NotFound
from chassis.identifiers import new_id
from flownurture.audit.v1.acts_pb2 import AuditedAct
from services.webhooks import deliveries as once
from services.webhooks.acts import tell
from services.webhooks.deliveries import DeliveryStatus
from services.webhooks.endpoints import require_enabled
from services.webhooks.event_types import matches
from services.webhooks.fan_out import deliver
from services.webhooks.payloads import Told
from services.webhooks.rehearsals import is_test
from services.webhooks.tables import deliveries, endpoints, events, replays

PIECE = 500
# Whoever works on a replay renews it with every piece.
LEASE = timedelta(seconds=15)


class ReplayStatus(StrEnum):
    """Where a replay stands."""

    RUNNING = "running"
    COMPLETED = "completed"


class Chosen(StrEnum):
    """Which deliveries of the range."""

    FAILED = "failed"
    DELIVERED = "delivered"
    ANY = "any"
    MISSED = "missed"


_STATUSES = {
    Chosen.FAILED: (DeliveryStatus.FAILED, DeliveryStatus.CANCELLED),
    Chosen.DELIVERED: (DeliveryStatus.DELIVERED,),
    Chosen.ANY: (DeliveryStatus.FAILED, DeliveryStatus.CANCELLED, DeliveryStatus.DELIVERED),
}


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay, and how many deliveries it has begun."""

    id: UUID
    endpoint_id: UUID
    since: datetime
    until: datetime
    deliveries: str
    status: str
    replayed: int
    created_at: datetime
    completed_at: datetime | None


_COLUMNS = [replays.c[name] for name in Replay.__dataclass_fields__]


async def create_replay(
    session: TenantSession, endpoint_id: UUID, chosen: Chosen, *, since: datetime, until: datetime
) -> Replay:
    """Begin a replay. Raises NotFound, and Conflict when the endpoint is disabled or another replay for it is running."""
    # Whoever begins another waits here, before they look for those that are running.
    await session.execute(
        select(endpoints.c.id).where(endpoints.c.id == endpoint_id).with_for_update(key_share=True)
    )
    await require_enabled(session, endpoint_id)
    running = exists().where(
        replays.c.endpoint_id == endpoint_id, replays.c.status == ReplayStatus.RUNNING.value
    )
    if await session.scalar(select(running)):
        raise Conflict("A replay for the endpoint is running.")
    begun = await session.execute(
        insert(replays)
        .values(id=new_id(), endpoint_id=endpoint_id, since=since, until=until, deliveries=chosen.value)
        .returning(*_COLUMNS)
    )
    replay = Replay(**begun.mappings().one())
    tell(
        session,
        AuditedAct.KIND_WEBHOOK_REPLAY_REQUESTED,
        endpoint_id,
        after={
            "replay_id": str(replay.id),
            "deliveries": replay.deliveries,
            "since": since.isoformat(),
            "until": until.isoformat(),
        },
    )
    return replay


async def get_replay(session: TenantSession, replay_id: UUID) -> Replay:
    """The replay. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(replays.c.id == replay_id))
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFound(f"webhook replay as {replay_id}")
    return Replay(**row)


async def page_replays(
    session: TenantSession, endpoint_id: UUID, *, before: UUID | None, size: int
) -> list[Replay]:
    """Up to `size` replays for an endpoint, newest first, that are older than `before`."""
    wanted = select(*_COLUMNS).where(replays.c.endpoint_id == endpoint_id)
    if before is not None:
        wanted = wanted.where(replays.c.id < before)
    found = await session.execute(wanted.order_by(replays.c.id.desc()).limit(size))
    return [Replay(**row) for row in found.mappings()]


async def replay_piece(session: TenantSession, replay_id: UUID) -> UUID | None:
    """Begin the next `PIECE` deliveries; answers the endpoint as long as there may be more, and None once there are not.

    Nobody else works on the replay until the transaction ends, and what is begun and how far it is are committed together: whoever
    is cut off has begun nothing twice.
    """
    mine = await session.execute(
        select(replays)
        .where(replays.c.id == replay_id, replays.c.status == ReplayStatus.RUNNING.value)
        .with_for_update(skip_locked=True)
    )
    replay = mine.one_or_none()
    if replay is None:
        return None
    event_types = await session.scalar(
        select(endpoints.c.event_types)
        .where(endpoints.c.id == replay.endpoint_id, endpoints.c.enabled)
        .with_for_update(read=True, key_share=True)
    )
    if event_types is None:
        await _complete(session, replay)
        return None
    if replay.deliveries == Chosen.MISSED:
        return await _send_missed(session, replay, event_types)
    return await _begin_anew(session, replay)


async def _begin_anew(session: TenantSession, replay: Row[Any]) -> UUID | None:
    chosen = once.stands(*_STATUSES[Chosen(replay.deliveries)])
    found = await session.execute(
        select(deliveries.c.created_at, deliveries.c.id)
        .where(
            deliveries.c.endpoint_id == replay.endpoint_id,
            chosen,
            _is_kept(),
            *once.made(replay.since, replay.until),
            deliveries.c.id > replay.reached_id if replay.reached_id is not None else true(),
        )
        .order_by(deliveries.c.id)
        .limit(PIECE)
    )
    page = found.all()
    begun = await session.execute(
        update(deliveries)
        .where(deliveries.c.id.in_([row.id for row in page]), chosen)
        .values(once.ANEW)
        .returning(deliveries.c.id)
    )
    return await _advance(session, replay, page, len(begun.all()))


def _is_kept() -> ColumnElement[bool]:
    """What is forgotten cannot be sent.

    A scalar, which is asked of each delivery in its turn: of two tables that are joined PostgreSQL may read all events first.
    """
    kept = select(true()).where(
        events.c.organization_id == deliveries.c.organization_id, events.c.id == deliveries.c.event_id
    )
    return kept.correlate(deliveries).scalar_subquery()


async def _send_missed(session: TenantSession, replay: Row[Any], event_types: Collection[str]) -> UUID | None:
    found = await session.execute(
        select(events)
        .where(*_occurred_within(replay))
        .order_by(events.c.occurred_at, events.c.id)
        .limit(PIECE)
    )
    page = found.all()
    told = [_told(row) for row in page if matches(event_types, row.type) and not is_test(row.id)]
    sent = await deliver(session, [(replay.endpoint_id, event) for event in told])
    reached = [(row.occurred_at, row.id) for row in page]
    return await _advance(session, replay, reached, len(sent.get(replay.endpoint_id, ())))


def _occurred_within(replay: Row[Any]) -> Iterator[ColumnElement[bool]]:
    """In the replay's range, and behind where it has arrived."""
    yield events.c.occurred_at >= replay.since
    yield events.c.occurred_at < replay.until
    if replay.reached_id is not None:
        reached = tuple_(replay.reached_time, replay.reached_id)
        yield tuple_(events.c.occurred_at, events.c.id) > reached


async def _advance(session: TenantSession, replay: Row[Any], page: Sequence[Any], begun: int) -> UUID | None:
    if not page:
        await _complete(session, replay)
        return None
    reached_time, reached_id = page[-1]
    await session.execute(
        update(replays)
        .where(replays.c.id == replay.id)
        .values(
            reached_time=reached_time,
            reached_id=reached_id,
            replayed=replays.c.replayed + begun,
            lease_until=func.now() + LEASE,
        )
    )
    endpoint_id: UUID = replay.endpoint_id
    return endpoint_id


async def _complete(session: TenantSession, replay: Row[Any]) -> None:
    await session.execute(
        update(replays)
        .where(replays.c.id == replay.id)
        .values(status=ReplayStatus.COMPLETED.value, completed_at=func.now(), lease_until=None)
    )


def _told(row: Row[Any]) -> Told:
    return Told(
        id=row.id,
        type=row.type,
        data=row.payload,
        sequence=row.sequence,
        occurred_at=row.occurred_at,
        contact_id=row.contact_id,
    )
