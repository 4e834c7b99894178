"""The suppression list as its organization works with it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, exists, select

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import Conflict, NotFound
from services.sending.statuses import SuppressionReason
from services.sending.suppression.announcements import announce_lifted, announce_removed, announce_suppressed
from services.sending.suppression.search import Suppression, Wanted, page_suppressions
from services.sending.suppression_list import Suppressed, suppress
from services.sending.tables import messages, resubscriptions, suppressions
from services.sending.unsubscribe_links import OptOut

# Facts about a person's will: only the person changes them.
_ONLY_BY_THE_PERSON = (SuppressionReason.UNSUBSCRIBE, SuppressionReason.COMPLAINT)


async def add_by_hand(session: TenantSession, address: EmailAddress, note: str) -> Suppression:
    """Put an address on the list; what is there already stays as it is."""
    await add_all_by_hand(session, [address], note)
    (found,) = await page_suppressions(
        session, Wanted(address=address, reason=SuppressionReason.MANUAL), before=None, size=1
    )
    return found


async def add_all_by_hand(session: TenantSession, addresses: Sequence[EmailAddress], note: str) -> int:
    """The same for many addresses; answers how many were not there."""
    once = {address.digest: address.text for address in reversed(addresses)}
    entries = [Suppressed(digest, SuppressionReason.MANUAL, email, note) for digest, email in once.items()]
    return await _add(session, entries)


async def opt_out(session: TenantSession, *opt_outs: OptOut) -> None:
    """Put the addresses that messages went to on the list, by their digests should the messages be gone."""
    await _add(
        session,
        [
            Suppressed(opt_out.digest, SuppressionReason.UNSUBSCRIBE, message_id=opt_out.message_id)
            for opt_out in opt_outs
        ],
    )


async def opt_out_by_message(session: TenantSession, message_id: UUID) -> None:
    """The same, where the message is all that is known; of one whose person was erased nobody knows the address any more."""
    digest = await session.scalar(
        select(messages.c.email_digest).where(messages.c.id == message_id, messages.c.email != "")
    )
    if digest is not None:
        await opt_out(session, OptOut(session.context, message_id, bytes(digest)))


async def opt_out_by_address(session: TenantSession, addresses: Sequence[EmailAddress], note: str) -> None:
    """The same for people who said so elsewhere; the note tells where."""
    await _add(
        session,
        [
            Suppressed(address.digest, SuppressionReason.UNSUBSCRIBE, address.text, note)
            for address in addresses
        ],
    )


async def welcome_back(session: TenantSession, digest: bytes) -> None:
    """Take off the list the unsubscribe of who is on the ledger as wanting mail again; one that came later stays."""
    lifted = await session.execute(
        delete(suppressions)
        .where(
            suppressions.c.email_digest == digest,
            suppressions.c.reason == SuppressionReason.UNSUBSCRIBE.value,
            exists().where(
                resubscriptions.c.organization_id == suppressions.c.organization_id,
                resubscriptions.c.email_digest == suppressions.c.email_digest,
                resubscriptions.c.confirmed_at > suppressions.c.reaffirmed_at,
            ),
        )
        .returning(suppressions.c.email_digest)
    )
    entries = [Suppressed(bytes(found), SuppressionReason.UNSUBSCRIBE) for found in lifted.scalars()]
    if entries:
        announce_lifted(session, entries)


async def follow_to(session: TenantSession, old_digest: bytes, new_digest: bytes) -> None:
    """Put a person's other address on the list for what they refused at this one; a bounce is the mailbox' alone."""
    refusals = await session.execute(
        select(suppressions.c.reason, suppressions.c.note, suppressions.c.message_id).where(
            suppressions.c.email_digest == old_digest,
            suppressions.c.reason.in_([reason.value for reason in _ONLY_BY_THE_PERSON]),
        )
    )
    await _add(
        session,
        [
            Suppressed(new_digest, SuppressionReason(row.reason), note=row.note, message_id=row.message_id)
            for row in refusals
        ],
    )


async def lift(session: TenantSession, suppression_id: UUID) -> None:
    """Take an entry off the list, and let the audit trail know who did. Raises NotFound, or Conflict for an unsubscribe or complaint."""
    found = await session.execute(
        select(suppressions.c.reason, suppressions.c.email_digest)
        .where(suppressions.c.id == suppression_id)
        .with_for_update()
    )
    row = found.one_or_none()
    if row is None:
        raise NotFound(f"suppression as {suppression_id}")
    reason = SuppressionReason(row.reason)
    if reason in _ONLY_BY_THE_PERSON:
        raise Conflict(
            "Who opted out or complained can be written to again only by their own re-subscription."
        )
    await session.execute(delete(suppressions).where(suppressions.c.id == suppression_id))
    entry = Suppressed(bytes(row.email_digest), reason)
    announce_lifted(session, [entry])
    announce_removed(session, suppression_id, entry)


async def _add(session: TenantSession, entries: Sequence[Suppressed]) -> int:
    added = await suppress(session, entries)
    announce_suppressed(session, added)
    return len(added)
