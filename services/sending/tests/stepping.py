"""A workflow as far as its mails go: a version that runs, and steps that send."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID, uuid4

from chassis.email_address import EmailAddress
from chassis.identifiers import new_id
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.recipients import Recipient
from services.sending.tests.tenant import Tenant
from services.sending.usage import Allowance, allowance_of
from services.sending.workflow_mails import WorkflowMail, keep_mails, mails_of
from services.sending.workflow_messages import Outcome, Send, send_mails
from services.sending.workflows.tests.drafts import document, leave, step

MAIL = {"from_email": "ada@shop.test", "from_name": "Ada", "subject": "Welcome", "html": "<p>Hello</p>"}


def sending(**mails: dict[str, Any]) -> pb.WorkflowDocument:
    """A document with a step for each of these mails, by its id."""
    steps = (step(step_id, send_email={**MAIL, **mail}) for step_id, mail in mails.items())
    return document(*steps, leave())


@dataclass(frozen=True)
class Stepping:
    """Sends the mails of a version."""

    tenant: Tenant
    workflow_id: UUID
    mails: dict[str, WorkflowMail]

    @classmethod
    async def of(cls, tenant: Tenant, **mails: dict[str, Any]) -> Self:
        """A workflow that was made ready to run, with a step for each of these mails."""
        workflow_id = uuid4()
        async with tenant.database.tenant_transaction(tenant.context) as session:
            await keep_mails(session, workflow_id, 1, sending(**mails))
            return cls(tenant, workflow_id, dict(await mails_of(session, workflow_id, 1)))

    def to(self, email: str, step_id: str = "hello", **known: Any) -> Send:
        """A step's mail to a contact of whom this is known."""
        mail, address = self.mails[step_id], EmailAddress.parse(email)
        recipient = Recipient(uuid4(), address.text, address.digest, **known)
        return Send(
            effect_id=uuid4(),
            enrollment_id=new_id(),
            workflow_id=self.workflow_id,
            step_id=step_id,
            mail_id=mail.id,
            contact_id=recipient.contact_id,
            email=recipient.email,
            digest=recipient.digest,
            merge_fields=mail.merge_fields.of_recipient(recipient) if mail.merge_fields else None,
        )

    async def send(self, *sends: Send) -> Sequence[Outcome]:
        """Take a set in, as the plan of the tenant's context allows."""
        return await self.send_within(allowance_of(self.tenant.context), *sends)

    async def send_within(self, allowance: Allowance | None, *sends: Send) -> Sequence[Outcome]:
        """The same within another allowance."""
        async with self.tenant.database.tenant_transaction(self.tenant.context) as session:
            return await send_mails(session, sends, allowance)
