"""What admins are told of their organization's webhook endpoints."""

from sqlalchemy import select

from chassis.context import Role
from chassis.database import TenantSession
from flownurture.webhooks.v1.events_pb2 import WebhookEndpointDisabled
from services.identity import organizations
from services.identity.account_mails import AccountMails
from services.identity.tables import memberships, users


async def tell_of_disabled_endpoint(
    session: TenantSession, event: WebhookEndpointDisabled, mails: AccountMails
) -> None:
    """Mail every ORG_ADMIN who has proved that the address is theirs."""
    organization = await organizations.get(session)
    admins = await session.execute(
        select(users.c.email)
        .join_from(memberships, users, users.c.id == memberships.c.user_id)
        .where(memberships.c.role == Role.ORG_ADMIN.name, users.c.email_verified_at.is_not(None))
    )
    for email in admins.scalars():
        mails.endpoint_disabled(session, email, organization.name, event.url, gone=event.reason == "gone")
