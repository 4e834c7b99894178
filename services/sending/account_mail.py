"""Mails about accounts, which identity orders: the platform's own, in the platform's own organization.

So they are in no tenant's lists, reports or suppressions, and go the way of every other message: veto, claim, delivery.
"""

from uuid import UUID

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database
from chassis.email_address import EmailAddress
from chassis.logs import logger
from services.sending.bodies import Body, SealedBody
from services.sending.categories import Category
from services.sending.one_off import Letter, Suppressed, send_letter_once


class AccountMail:
    """Makes one message of each order, however often it is delivered."""

    def __init__(self, database: Database, *, from_email: str, from_name: str) -> None:
        self._database = database
        self._from_email = EmailAddress.parse(from_email).text
        self._from_name = from_name

    async def send(self, order_id: UUID, *, to: str, subject: str, body: Body | SealedBody) -> None:
        """Queue the mail, unless it is queued already or its address bounced before."""
        letter = Letter(
            to=EmailAddress.parse(to),
            from_email=self._from_email,
            from_name=self._from_name,
            subject=subject,
            body=body,
            category=Category.SYSTEM,
        )
        async with self._database.tenant_transaction(
            RequestContext.of_process("sending", PLATFORM)
        ) as session:
            try:
                await send_letter_once(session, order_id, letter)
            except Suppressed as refusal:
                logger().info("account_mail_not_sent", because=refusal.message)
