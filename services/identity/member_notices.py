"""Notices that an organization's workflows have for members of its team, as mails."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, text

from chassis.database import TenantSession
from chassis.identifiers import parse_id
from chassis.logs import logger
from flownurture.workflows.v1.events_pb2 import MemberNotice
from services.identity import organizations
from services.identity.account_mails import AccountMails
from services.identity.tables import memberships, users

# Under the id of a step's effect, which is as unlike any other as an event's.
_NOTE = text("""
    INSERT INTO inbox (reader, event_id)
    SELECT 'identity.notices', given.id FROM unnest(CAST(:ids AS uuid[])) AS given (id) ORDER BY given.id
    ON CONFLICT DO NOTHING RETURNING event_id
""")


async def notify_members(
    session: TenantSession, notices: Sequence[MemberNotice], mails: AccountMails
) -> None:
    """Mail each notice once, however often it is told.

    Passed over is who is no member of the context's organization, and who has not proved that the address is theirs: in our own
    name nobody writes to strangers.
    """
    noted = await session.execute(_NOTE, {"ids": [UUID(bytes=notice.effect_id) for notice in notices]})
    news = {row.event_id for row in noted}
    fresh = {notice.effect_id: notice for notice in notices if UUID(bytes=notice.effect_id) in news}
    addresses = await _addresses(session, {parse_id(notice.user_id) for notice in fresh.values()})
    organization = await organizations.get(session)
    for notice in fresh.values():
        address = addresses.get(parse_id(notice.user_id))
        if address is None:
            logger().info("member_not_notified", user_id=notice.user_id)
        else:
            mails.member_notice(session, address, organization.name, notice.subject, notice.text)


async def _addresses(session: TenantSession, user_ids: set[UUID]) -> dict[UUID, str]:
    """Where members are reached, of those who are."""
    found = await session.execute(
        select(memberships.c.user_id, users.c.email)
        .join_from(memberships, users, users.c.id == memberships.c.user_id)
        .where(memberships.c.user_id.in_(user_ids), users.c.email_verified_at.is_not(None))
    )
    return {row.user_id: row.email for row in found}
