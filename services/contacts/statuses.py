"""A contact's status, and the suppressed addresses it follows from.

An address may be suppressed for several reasons at once; the gravest shows: complaint, then unsubscribe, then bounce.
The status is stored with the contact for quick reading, and is always what `status_of` says of its address. That holds
because whoever gives a contact its address does so under a shared lock, and whoever changes the suppressed addresses
under an exclusive one: neither can miss what the other has not committed yet.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Select,
    Text,
    Uuid,
    case,
    func,
    literal,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Insert, insert

from chassis.database import TenantSession
from services.contacts.events import EventType, Happening, Source
from services.contacts.events import record as record_events
from services.contacts.sets import among, rows_of
from services.contacts.tables import contacts, suppressed_addresses


class Status(StrEnum):
    """Whether a contact may be written to, and if not, why."""

    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"


class Reason(StrEnum):
    """Why an address is suppressed, as far as a contact shows it."""

    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    HARD_BOUNCE = "hard_bounce"


_TOLD = {
    Reason.COMPLAINT: EventType.COMPLAINED,
    Reason.UNSUBSCRIBE: EventType.UNSUBSCRIBED,
    Reason.HARD_BOUNCE: EventType.BOUNCED,
}

_GRAVEST_FIRST = {
    Reason.COMPLAINT: Status.COMPLAINED,
    Reason.UNSUBSCRIBE: Status.UNSUBSCRIBED,
    Reason.HARD_BOUNCE: Status.BOUNCED,
}

# One lock per organization; statements see only what was committed before them, so it is taken in one of its own.
_LOCK_KEY = func.hashtextextended("contacts.statuses." + func.current_setting("app.organization_id"), 0)


def status_of(email_digest: ColumnElement[bytes]) -> ColumnElement[str]:
    """The status that follows from why the address is suppressed, if it is."""
    held = suppressed_addresses
    gravest = case(
        *(
            (func.bool_or(held.c.reason == reason.value), literal(status.value, Text))
            for reason, status in _GRAVEST_FIRST.items()
        ),
        else_=literal(Status.SUBSCRIBED.value, Text),
    )
    return (
        select(gravest)
        .where(held.c.email_digest == email_digest, held.c.in_force)
        .correlate_except(held)
        .scalar_subquery()
    )


# The same, within a statement in SQL, of a row called `given` that has an `email_digest`.
STATUS_OF_GIVEN = str(
    status_of(literal_column("given.email_digest", LargeBinary)).compile(
        dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
        compile_kwargs={"literal_binds": True},
    )
)


async def hold_statuses(session: TenantSession) -> None:
    """Until the transaction ends no suppressed address of the organization changes. Before contacts get addresses."""
    await session.execute(select(func.pg_advisory_xact_lock_shared(_LOCK_KEY)))


async def record(
    session: TenantSession, facts: Collection[tuple[bytes, Reason]], *, in_force: bool, event_id: UUID
) -> list[UUID]:
    """Take in what an event tells: that addresses (by digest) are suppressed for a reason, or no longer are.

    Events may come in any order: of two about the same address and reason the later, by its id, holds.
    Answers the contacts whose status changed.
    """
    await hold_statuses_alone(session)
    given = rows_of(
        "given",
        email_digest=(suppressed_addresses.c.email_digest, [digest for digest, _ in facts]),
        reason=(suppressed_addresses.c.reason, [reason.value for _, reason in facts]),
    )
    told = await session.execute(
        _later_holds(
            select(
                given.c.email_digest, given.c.reason, literal(in_force), literal(event_id, Uuid)
            ).distinct()
        ).returning(
            suppressed_addresses.c.email_digest,
            suppressed_addresses.c.reason,
            literal_column("old.in_force").label("before"),
        )
    )
    # What was told before in other words, or never was in force, is no news of the person.
    news = [(bytes(row.email_digest), Reason(row.reason)) for row in told if bool(row.before) != in_force]
    await _enter_in_ledger(session, news, in_force=in_force)
    return await _derive(session, [digest for digest, _ in facts])


async def refuses_mail(session: TenantSession, email_digest: bytes) -> bool:
    """Whether whoever has the address has opted out, and not come back."""
    held = suppressed_addresses
    refusal = select(held.c.reason).where(
        held.c.email_digest == email_digest,
        held.c.reason == Reason.UNSUBSCRIBE.value,
        held.c.in_force == true(),
    )
    return await session.scalar(refusal) is not None


async def _enter_in_ledger(
    session: TenantSession, news: Collection[tuple[bytes, Reason]], *, in_force: bool
) -> None:
    found = await session.execute(
        select(contacts.c.email_digest, contacts.c.id).where(
            among(contacts.c.email_digest, [digest for digest, _ in news])
        )
    )
    ids = {bytes(row.email_digest): row.id for row in found}
    await record_events(
        session,
        [
            Happening(ids[digest], _TOLD[reason] if in_force else EventType.CLEARED, Source.SUPPRESSION)
            for digest, reason in news
            if digest in ids
        ],
    )


async def carry_over(session: TenantSession, old_digest: bytes, new_digest: bytes) -> None:
    """Let a person's own refusals follow them to another address; a bounce belongs to the mailbox alone."""
    await hold_statuses_alone(session)
    held = suppressed_addresses
    await session.execute(
        _later_holds(
            select(literal(new_digest), held.c.reason, held.c.in_force, held.c.event_id).where(
                held.c.email_digest == old_digest,
                held.c.in_force,
                held.c.reason != Reason.HARD_BOUNCE.value,
            )
        )
    )


def _later_holds(facts: Select[Any]) -> Insert:
    statement = insert(suppressed_addresses).from_select(
        ["email_digest", "reason", "in_force", "event_id"], facts
    )
    return statement.on_conflict_do_update(
        index_elements=["organization_id", "email_digest", "reason"],
        set_={"in_force": statement.excluded.in_force, "event_id": statement.excluded.event_id},
        where=suppressed_addresses.c.event_id < statement.excluded.event_id,
    )


async def hold_statuses_alone(session: TenantSession) -> None:
    """Until the transaction ends nobody gives a contact an address, and nobody else changes what people refuse."""
    await session.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))


async def _derive(session: TenantSession, digests: Collection[bytes]) -> list[UUID]:
    status = status_of(contacts.c.email_digest)
    changed = await session.execute(
        update(contacts)
        .values(status=status, updated_at=func.now())
        .where(among(contacts.c.email_digest, digests), contacts.c.status != status)
        .returning(contacts.c.id)
    )
    return list(changed.scalars())
