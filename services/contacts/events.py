"""What happened to contacts, and the ledger of their consent among it: append-only, newest first when it is read.

Nothing in it tells who a contact is or was, so it stays when the contact is erased. Where a consent came from (an IP address)
does tell, and is kept apart: `consent_addresses` goes with the contact.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import select, text

from chassis.database import TenantSession
from chassis.identifiers import new_id
from services.contacts.tables import consent_addresses, contact_events


class Source(StrEnum):
    """What brought something about."""

    API = "api"
    IMPORT = "import"
    FORM = "form"
    BULK_CHANGE = "bulk_change"
    SUPPRESSION = "suppression"
    ADDRESS_CHANGE = "address_change"
    MAIL = "mail"
    PREFERENCES = "preferences"
    WORKFLOW = "workflow"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class Origin:
    """What brought something about, and which of them it was: the import, the form, the bulk change, the workflow, the connection."""

    source: Source
    id: UUID | None = None


BY_API = Origin(Source.API)
BY_PREFERENCES = Origin(Source.PREFERENCES)


class EventType(StrEnum):
    """What can happen to a contact."""

    CREATED = "created"
    SUBSCRIBED = "subscribed"
    CONFIRMED = "confirmed"
    UNSUBSCRIBED = "unsubscribed"
    RESUBSCRIBED = "resubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    CLEARED = "cleared"
    LIST_JOINED = "list_joined"
    LIST_LEFT = "list_left"
    TAG_ADDED = "tag_added"
    TAG_REMOVED = "tag_removed"
    FORM_SUBMITTED = "form_submitted"
    EMAIL_SENT = "email_sent"
    EMAIL_OPENED = "email_opened"
    EMAIL_CLICKED = "email_clicked"
    EMAIL_BOUNCED = "email_bounced"


# The ledger: how a contact came to be written to, or not.
CONSENTS = frozenset(
    {
        EventType.SUBSCRIBED,
        EventType.FORM_SUBMITTED,
        EventType.CONFIRMED,
        EventType.UNSUBSCRIBED,
        EventType.RESUBSCRIBED,
        EventType.BOUNCED,
        EventType.COMPLAINED,
        EventType.CLEARED,
    }
)


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened to one contact."""

    contact_id: UUID
    type: EventType
    source: Source
    source_id: UUID | None = None
    about_id: UUID | None = None
    text: str = ""
    client_address: str = ""
    # Now, unless it is told of later.
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ContactEvent:
    """A happening as it was recorded."""

    id: UUID
    type: str
    occurred_at: datetime
    source: str
    source_id: UUID | None
    about_id: UUID | None
    text: str
    client_address: str | None


_RECORD = text("""
    INSERT INTO contact_events (contact_id, id, type, occurred_at, source, source_id, about_id, text)
    SELECT contact_id, id, type, coalesce(occurred_at, now()), source, source_id, about_id, text
    FROM unnest(
        CAST(:contact_ids AS uuid[]), CAST(:ids AS uuid[]), CAST(:types AS text[]), CAST(:moments AS timestamptz[]),
        CAST(:sources AS text[]), CAST(:source_ids AS uuid[]), CAST(:about_ids AS uuid[]), CAST(:texts AS text[])
    ) AS given (contact_id, id, type, occurred_at, source, source_id, about_id, text)
""")
_RECORD_ADDRESSES = text("""
    INSERT INTO consent_addresses (contact_id, event_id, client_address)
    SELECT * FROM unnest(CAST(:contact_ids AS uuid[]), CAST(:ids AS uuid[]), CAST(:addresses AS text[]))
""")


async def record(session: TenantSession, happenings: Sequence[Happening]) -> None:
    """Add what happened, in this order."""
    if not happenings:
        return
    ids = [new_id() for _ in happenings]
    await session.execute(
        _RECORD,
        {
            "contact_ids": [happening.contact_id for happening in happenings],
            "ids": ids,
            "types": [happening.type.value for happening in happenings],
            "moments": [happening.occurred_at for happening in happenings],
            "sources": [happening.source.value for happening in happenings],
            "source_ids": [happening.source_id for happening in happenings],
            "about_ids": [happening.about_id for happening in happenings],
            "texts": [happening.text for happening in happenings],
        },
    )
    located = [
        (happening, id_) for happening, id_ in zip(happenings, ids, strict=True) if happening.client_address
    ]
    if located:
        await session.execute(
            _RECORD_ADDRESSES,
            {
                "contact_ids": [happening.contact_id for happening, _ in located],
                "ids": [id_ for _, id_ in located],
                "addresses": [happening.client_address for happening, _ in located],
            },
        )


async def page_events(
    session: TenantSession,
    contact_id: UUID,
    *,
    before: UUID | None,
    size: int,
    types: Collection[EventType] = frozenset(),
) -> list[ContactEvent]:
    """Up to `size` events of a contact, newest first, that were recorded before `before`; of these types, if any are given."""
    recorded, addresses = contact_events, consent_addresses
    wanted = (
        select(
            recorded.c.id,
            recorded.c.type,
            recorded.c.occurred_at,
            recorded.c.source,
            recorded.c.source_id,
            recorded.c.about_id,
            recorded.c.text,
            addresses.c.client_address,
        )
        .outerjoin(
            addresses,
            (addresses.c.organization_id == recorded.c.organization_id)
            & (addresses.c.contact_id == recorded.c.contact_id)
            & (addresses.c.event_id == recorded.c.id),
        )
        .where(recorded.c.contact_id == contact_id)
        .order_by(recorded.c.id.desc())
        .limit(size)
    )
    if before is not None:
        wanted = wanted.where(recorded.c.id < before)
    if types:
        wanted = wanted.where(recorded.c.type.in_(sorted(each.value for each in types)))
    return [ContactEvent(**row) for row in (await session.execute(wanted)).mappings()]
