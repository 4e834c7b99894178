"""A campaign before it is launched, in the mailboxes of those who write it."""

from collections.abc import Mapping, Sequence

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import DomainError
from services.sending.campaigns import Campaign, content_of_campaign
from services.sending.contents import Content
from services.sending.messages import Message
from services.sending.one_off import Letter, Outcome, send_letters

# Nobody opts out by a test.
_NO_LINK = "about:blank"


async def test_campaign(
    session: TenantSession,
    campaign: Campaign,
    to: Sequence[EmailAddress],
    contact: Mapping[str, object],
) -> list[Message]:
    """Queue it to each of these addresses, as if they were this contact's.

    Raises InvalidRequest when it cannot be rendered, FailedPrecondition (SUPPRESSED), EmailLimitReached; then none is sent.
    """
    content = await content_of_campaign(session, campaign)
    marked = Content(f"[Test] {content.subject}", content.body)
    about = {"id": str(campaign.id), "name": campaign.name}
    letters = []
    for address in to:
        said = marked.rendered(
            {
                "campaign": about,
                "contact": {**contact, "email": address.text},
                "unsubscribe_url": _NO_LINK,
                "preferences_url": _NO_LINK,
            }
        )
        letters.append(Letter(address, campaign.from_email, campaign.from_name, said.subject, said.body))
    return [_sent(outcome) for outcome in await send_letters(session, letters)]


def _sent(outcome: Outcome) -> Message:
    if isinstance(outcome, DomainError):
        raise outcome
    return outcome
