"""Postmark: one event a post, with HTTP basic credentials; the token comes back as metadata (`X-PM-Metadata-…`)."""

from base64 import b64encode
from collections.abc import Iterator

from chassis.secret import Secret
from services.sending.feedback.providers.document import Document
from services.sending.feedback.providers.events import OPTED_OUT, Called, Event, complaint, deferred, refused
from services.sending.feedback.providers.provider import Post, require_same
from services.sending.feedback.understanding import Finding
from services.sending.signed_addresses import CARRIED_AS

# Types of bounce that are no bounces: what a person or a program answered, and what is about other mail.
_NO_BOUNCES = frozenset(
    (
        "AddressChange",
        "AutoResponder",
        "ChallengeVerification",
        "InboundError",
        "OpenRelayTest",
        "Subscribe",
    )
)
_CALLED = {
    "BadEmailAddress": Called.PERMANENT,
    "Blocked": Called.BLOCKED,
    "DMARCPolicy": Called.BLOCKED,
    "HardBounce": Called.PERMANENT,
    "ManuallyDeactivated": Called.BLOCKED,
    "SpamNotification": Called.BLOCKED,
    "VirusNotification": Called.BLOCKED,
}


class Postmark:
    """Its webhooks for bounces, spam complaints and changes of subscription."""

    def __init__(self, credentials: Secret) -> None:
        self._credential = b64encode(credentials.reveal().encode()).decode()

    async def admit(self, post: Post) -> None:
        """RFC 7617."""
        require_same(post.credential("basic"), self._credential)

    @staticmethod
    def events(body: bytes) -> Iterator[Event]:
        """Bounces, complaints, and who opted out."""
        record = Document.read(body)
        carried = record.part("Metadata").text(CARRIED_AS)
        match record.text("RecordType"), record.text("Type"):
            case ("SpamComplaint", _) | ("Bounce", "SpamComplaint"):
                yield Event(complaint(), carried)
            case "Bounce", "Unsubscribe":
                yield Event(OPTED_OUT, carried)
            case "Bounce", kind if kind not in _NO_BOUNCES:
                yield Event(_bounce(record, kind), carried)
            case "SubscriptionChange", _ if _was_said_by_the_recipient(record):
                yield Event(OPTED_OUT, carried)


def _bounce(record: Document, kind: str) -> Finding:
    # What the server said; `Description` is Postmark's own explanation of its label.
    words = record.text("Details")
    if kind == "Transient":
        return deferred("", words)
    return refused("", words, _CALLED.get(kind, Called.TRANSIENT))


def _was_said_by_the_recipient(record: Document) -> bool:
    # Those that bounced or complained are told as such, too.
    return (
        record.holds("SuppressSending")
        and record.text("SuppressionReason") == "ManualSuppression"
        and record.text("Origin") == "Recipient"
    )
