"""What a person sees and decides behind a link in their mail: whether they get more of it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, literal, select

from chassis.database import TenantSession
from chassis.identifiers import new_id
from chassis.sealed_mail import SealedMails
from flownurture.contacts.v1.events_pb2 import SendConfirmationMail
from flownurture.sending.v1.sealed_mail_pb2 import MailBody
from services.sending.categories import Category
from services.sending.confirmation_mail import send_confirmation
from services.sending.preference_links import Preferences, Return
from services.sending.statuses import SuppressionReason
from services.sending.suppression.pages import return_mail
from services.sending.tables import campaigns, message_contents, messages, suppressions, workflow_mails

# To one address, whoever asks for them.
_MOST_MAILS = 3
_MAILS_WITHIN = timedelta(hours=24)
_CONFIRMED_WITHIN = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Standing:
    """How it is for an address."""

    opted_out: bool
    # For what it cannot end by itself: its mailbox does not exist, it complained, or the organization put it on the list.
    kept_out: bool


async def standing_of(session: TenantSession, digest: bytes) -> Standing:
    """Whether an address gets mail of the organization."""
    found = await session.execute(select(suppressions.c.reason).where(suppressions.c.email_digest == digest))
    reasons = set(found.scalars())
    return Standing(
        opted_out=SuppressionReason.UNSUBSCRIBE.value in reasons,
        kept_out=bool(reasons - {SuppressionReason.UNSUBSCRIBE.value}),
    )


async def ask_to_return(
    session: TenantSession, link: Preferences, return_url: Callable[[datetime], str], sealed: SealedMails
) -> None:
    """Send who has opted out a mail by which they confirm that they want mail again; `return_url` makes its link, good until then.

    None goes out after a few a day, nor to somebody who was erased: nobody knows their address any more. Raises Unavailable.
    """
    await session.execute(select(func.pg_advisory_xact_lock(_lock_of(link.digest))))
    if await _mails_sent(session, link.digest) >= _MOST_MAILS:
        return
    found = await session.execute(
        select(
            messages.c.email,
            func.coalesce(
                campaigns.c.from_name, message_contents.c.from_name, workflow_mails.c.from_name
            ).label("from_name"),
            func.coalesce(
                campaigns.c.from_email, message_contents.c.from_email, workflow_mails.c.from_email
            ).label("from_email"),
            func.now().label("now"),
        )
        .outerjoin(
            campaigns,
            and_(
                campaigns.c.organization_id == messages.c.organization_id,
                campaigns.c.id == messages.c.campaign_id,
            ),
        )
        .outerjoin(
            message_contents,
            and_(
                message_contents.c.organization_id == messages.c.organization_id,
                message_contents.c.message_id == messages.c.id,
            ),
        )
        .outerjoin(
            workflow_mails,
            and_(
                workflow_mails.c.organization_id == messages.c.organization_id,
                workflow_mails.c.id == messages.c.workflow_mail_id,
            ),
        )
        .where(messages.c.id == link.message_id, messages.c.email_digest == link.digest)
    )
    if (known := found.one_or_none()) is None:
        return
    said = return_mail(known.from_name or known.from_email, return_url(known.now + _CONFIRMED_WITHIN))
    order_id = new_id()
    body = MailBody(to=known.email, html=said.body.html, text=said.body.text)
    order = SendConfirmationMail(
        to=known.email,
        from_email=known.from_email,
        from_name=known.from_name,
        subject=said.subject,
        sealed_body=await sealed.seal(order_id, body),
    )
    await send_confirmation(session, order_id, order)


async def is_still_good(session: TenantSession, link: Return) -> bool:
    """Whether the time of the link is not over."""
    return bool(await session.scalar(select(func.now() < link.until)))


async def _mails_sent(session: TenantSession, digest: bytes) -> int:
    count = await session.scalar(
        select(func.count()).where(
            messages.c.email_digest == digest,
            messages.c.contact_id.is_(None),
            messages.c.category == Category.CONFIRMATION.value,
            messages.c.created_at > func.now() - _MAILS_WITHIN,
        )
    )
    return int(count or 0)


def _lock_of(digest: bytes) -> object:
    organization = func.current_setting("app.organization_id")
    return func.hashtextextended("sending.return." + organization + literal(f".{digest.hex()}"), 0)
