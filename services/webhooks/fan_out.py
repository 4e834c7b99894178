"""Who is told of an event: a delivery for each endpoint of the organization that takes its type."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import text

from chassis.database import TenantSession
from chassis.identifiers import new_id
from services.webhooks.dispatch.parcels import Parcel
from services.webhooks.event_types import matches
from services.webhooks.payloads import Told, told_by

# What is told of somebody who has been erased.
_ERASURE = "contact.deleted"

# Until the transaction ends nobody is erased and no endpoint deleted: whoever does that finds what it has written. In a statement of its
# own, since the next one sees what was committed before it began: who was deleted while this waited.
_TOGETHER = "SELECT pg_advisory_xact_lock_shared(hashtextextended('webhooks.keeping:' || %s, 0))"
_TAKERS = "SELECT id, event_types, enabled FROM endpoints"
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('webhooks.keeping:' || :organization, 0))")
# An event that no endpoint takes is not kept. One that a disabled endpoint would take is, so that it can be had later. Of whoever has
# been erased nothing is, but that they have.
_KEEP = """
    WITH erased AS (SELECT contact_id FROM erased_contacts WHERE contact_id = ANY(%s::uuid[])), kept AS (
        INSERT INTO events (id, type, payload, sequence, occurred_at, contact_id)
        SELECT given.* FROM unnest(%s::uuid[], %s::text[], %b::bytea[], %s::bigint[], %s::timestamptz[], %s::uuid[])
            AS given (id, type, payload, sequence, occurred_at, contact_id)
        WHERE type = %s OR contact_id IS NULL OR contact_id NOT IN (SELECT contact_id FROM erased)
        ON CONFLICT DO NOTHING
    )
    SELECT contact_id FROM erased
"""
_DELIVER = """
    INSERT INTO deliveries (id, endpoint_id, event_id, event_type, due_at)
    SELECT given.*, now() FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[]) AS given
    ON CONFLICT DO NOTHING RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Taker:
    """An endpoint, and what it takes."""

    endpoint_id: UUID
    event_types: Sequence[str]
    enabled: bool


async def takers(session: TenantSession) -> list[Taker]:
    """The endpoints of the organization, asked for before anything is kept for them."""
    # One after the other, in one round trip.
    async with session.driver.pipeline():
        await session.driver.execute(_TOGETHER, (str(session.context.organization),))
        found = await session.driver.execute(_TAKERS)
    return [Taker(*row) for row in await found.fetchall()]


async def fan_out(session: TenantSession, fact: Message, event_id: UUID) -> Mapping[UUID, list[Parcel]]:
    """Keep what somebody takes of a fact, with a delivery for each enabled endpoint that does; answers those, by endpoint."""
    everybody = await takers(session)

    @cache
    def those_who_take(kind: str) -> list[UUID]:
        return [
            taker.endpoint_id for taker in everybody if taker.enabled and matches(taker.event_types, kind)
        ]

    @cache
    def is_taken(kind: str) -> bool:
        return any(matches(taker.event_types, kind) for taker in everybody)

    told = await keep(session, told_by(fact, event_id, is_taken) if everybody else [])
    return await deliver(session, [(taker, event) for event in told for taker in those_who_take(event.type)])


async def wait_until_kept(session: TenantSession) -> None:
    """What is being kept for the organization is committed, and nothing more is kept until the transaction ends."""
    await session.execute(_ALONE, {"organization": str(session.context.organization)})


async def keep(session: TenantSession, told: Sequence[Told]) -> Sequence[Told]:
    """Note events in the organization's log, each once; answers them, without those of whoever has been erased."""
    if not told:
        return told
    contact_ids = [event.contact_id for event in told]
    found = await session.driver.execute(
        _KEEP,
        (
            list({contact_id for contact_id in contact_ids if contact_id}),
            [event.id for event in told],
            [event.type for event in told],
            [event.data for event in told],
            [event.sequence for event in told],
            [event.occurred_at for event in told],
            contact_ids,
            _ERASURE,
        ),
    )
    erased = {row[0] for row in await found.fetchall()}
    if not erased:
        return told
    return [event for event in told if event.type == _ERASURE or event.contact_id not in erased]


async def deliver(session: TenantSession, pairs: Sequence[tuple[UUID, Told]]) -> Mapping[UUID, list[Parcel]]:
    """A delivery, due now, of each event to its endpoint, unless there is one; answers those that are new, by endpoint."""
    parcels: dict[UUID, list[Parcel]] = defaultdict(list)
    if not pairs:
        return parcels
    ids = [new_id() for _ in pairs]
    written = await session.driver.execute(
        _DELIVER,
        (
            ids,
            [endpoint_id for endpoint_id, _ in pairs],
            [event.id for _, event in pairs],
            [event.type for _, event in pairs],
        ),
    )
    new = {row[0] for row in await written.fetchall()}
    for delivery_id, (endpoint_id, event) in zip(ids, pairs, strict=True):
        if delivery_id in new:
            parcels[endpoint_id].append(parcel_of(delivery_id, event))
    return parcels


def parcel_of(delivery_id: UUID, event: Told) -> Parcel:
    """What a lane carries of it."""
    return Parcel(delivery_id, event.id, event.type, event.data, event.sequence, event.occurred_at)
