"""Mails by which a person confirms a subscription, which the contacts process orders: the organization's own, one of each order."""

from uuid import UUID

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.logs import logger
from flownurture.contacts.v1.events_pb2 import SendConfirmationMail
from services.sending.bodies import Body, SealedBody
from services.sending.categories import Category
from services.sending.one_off import Letter, Suppressed, send_letter_once


async def send_confirmation(session: TenantSession, order_id: UUID, order: SendConfirmationMail) -> None:
    """Queue the mail, unless it is queued already or its address gets none at all."""
    body = SealedBody(order.sealed_body) if order.sealed_body else Body.of(order.html, order.text)
    letter = Letter(
        to=EmailAddress.parse(order.to),
        from_email=order.from_email,
        from_name=order.from_name,
        subject=order.subject,
        body=body,
        category=Category.CONFIRMATION,
    )
    try:
        await send_letter_once(session, order_id, letter)
    except Suppressed as refusal:
        logger().info("confirmation_mail_not_sent", because=refusal.message)
