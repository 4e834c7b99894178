"""Amazon SES, through SNS: one event a message. It is told by the return path that the mail had, or by the mail's own fields."""

from collections.abc import Iterator

from services.sending.feedback.providers.document import Document
from services.sending.feedback.providers.events import OPTED_OUT, Called, Event, complaint, refused
from services.sending.feedback.providers.provider import Post
from services.sending.feedback.providers.sns import Subscription
from services.sending.feedback.understanding import Finding

# Where one of our addresses stands in a mail, for who has SES tell the fields of the original.
_FIELDS = frozenset(("return-path", "list-unsubscribe"))


class Ses:
    """Its notifications of feedback, and what a configuration set publishes, which differ in one name."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    async def admit(self, post: Post) -> None:
        """As SNS signs it. A subscription of a topic that we know is confirmed."""
        await self._subscription.admit(post.body)

    @staticmethod
    def events(body: bytes) -> Iterator[Event]:
        """Bounces, what it did not send, complaints, and who opted out. It goes on trying what is delayed."""
        told = Document.read(Document.read(body).text("Message"))
        mail = told.part("mail")
        fields = [
            field.text("value") for field in mail.parts("headers") if field.text("name").lower() in _FIELDS
        ]
        addresses = [mail.text("source"), *fields]
        match told.text("notificationType") or told.text("eventType"):
            case "Bounce":
                for finding in _bounces(told.part("bounce")):
                    yield Event(finding, addresses=addresses)
            case "Complaint":
                yield Event(_complaint(told.part("complaint")), addresses=addresses)
            case "Reject":
                finding = refused("", told.part("reject").text("reason"), Called.BLOCKED)
                yield Event(finding, addresses=addresses)
            case "Subscription" if _leaves_all(told.part("subscription")):
                yield Event(OPTED_OUT, addresses=addresses)


def _bounces(bounce: Document) -> Iterator[Finding]:
    called = Called.PERMANENT if bounce.text("bounceType") == "Permanent" else Called.TRANSIENT
    reporter = bounce.text("reportingMTA").rpartition(";")[2].strip()
    for recipient in bounce.parts("bouncedRecipients"):
        if recipient.text("action").lower() in {"", "failed"}:
            yield refused(recipient.text("status"), recipient.text("diagnosticCode"), called, reporter)


def _complaint(told: Document) -> Finding:
    if told.text("complaintSubType") == "OnAccountSuppressionList":
        # It was never sent: SES remembers an earlier complaint.
        return refused("", "", Called.BLOCKED)
    return complaint(told.text("complaintFeedbackType").lower(), told.text("userAgent"))


def _leaves_all(told: Document) -> bool:
    return told.part("newTopicPreferences").holds("unsubscribeAll")
