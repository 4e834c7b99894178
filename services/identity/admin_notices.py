"""What admins are told of what their organization has set up in other services: webhook endpoints, connections to CRMs."""

from collections.abc import Iterable

from sqlalchemy import select

from chassis.context import Role
from chassis.database import TenantSession
from flownurture.integrations.v1.connections_pb2 import Provider
from flownurture.integrations.v1.events_pb2 import ConnectionNeedsAuthorization
from flownurture.webhooks.v1.events_pb2 import WebhookEndpointDisabled
from services.identity import organizations
from services.identity.account_mails import AccountMails
from services.identity.tables import memberships, users


async def tell_of_disabled_endpoint(
    session: TenantSession, event: WebhookEndpointDisabled, mails: AccountMails
) -> None:
    """Mail every ORG_ADMIN who has proved that the address is theirs."""
    organization = await organizations.get(session)
    for email in await _admins(session):
        mails.endpoint_disabled(session, email, organization.name, event.url, gone=event.reason == "gone")


async def tell_of_refused_connection(
    session: TenantSession, event: ConnectionNeedsAuthorization, mails: AccountMails
) -> None:
    """The same, of an account of a CRM that has to be connected again."""
    organization = await organizations.get(session)
    name = Provider.Name(event.provider).removeprefix("PROVIDER_").lower()
    for email in await _admins(session):
        mails.connection_refused(
            session,
            email,
            organization.name,
            crm=event.provider_title or name,
            account=event.account_name,
            path=f"/v1/integrations/{name}/authorize",
        )


async def _admins(session: TenantSession) -> Iterable[str]:
    """The proved addresses of the context's organization's."""
    found = await session.execute(
        select(users.c.email)
        .join_from(memberships, users, users.c.id == memberships.c.user_id)
        .where(memberships.c.role == Role.ORG_ADMIN.name, users.c.email_verified_at.is_not(None))
    )
    return found.scalars()
