"""SendGrid: many events a post, signed by ECDSA; the token comes back as a unique argument (`X-SMTPAPI`)."""

from base64 import b64decode
from collections.abc import Iterator

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from chassis.errors import Unauthenticated
from services.sending.feedback.providers.document import Document
from services.sending.feedback.providers.events import OPTED_OUT, Called, Event, complaint, refused
from services.sending.feedback.providers.provider import Post, from_base64, require_recent
from services.sending.signed_addresses import CARRIED_AS

# It goes on trying for a day; what was signed when it first tried must get through then.
_LONGEST_UNDER_WAY = 25 * 3600.0


class SendGrid:
    """Its event webhook, with signature verification switched on."""

    def __init__(self, public_key: str) -> None:
        self._key = read_public_key(public_key)

    async def admit(self, post: Post) -> None:
        """Over the time and each byte of the body."""
        timestamp = post.headers.get("x-twilio-email-event-webhook-timestamp", "")
        signature = from_base64(post.headers.get("x-twilio-email-event-webhook-signature", ""))
        require_recent(timestamp, _LONGEST_UNDER_WAY)
        try:
            self._key.verify(signature, timestamp.encode() + post.body, ECDSA(SHA256()))
        except InvalidSignature:
            raise Unauthenticated from None

    @staticmethod
    def events(body: bytes) -> Iterator[Event]:
        """Bounces, what it did not send, complaints, and who opted out. It goes on trying what is deferred."""
        for told in Document.read_all(body):
            carried = told.text(CARRIED_AS)
            match told.text("event"):
                case "bounce":
                    called = Called.BLOCKED if told.text("type") == "blocked" else Called.PERMANENT
                    yield Event(refused(told.text("status"), told.text("reason"), called), carried)
                case "dropped":
                    yield Event(refused(told.text("status"), told.text("reason"), Called.BLOCKED), carried)
                case "spamreport":
                    yield Event(complaint(), carried)
                case "unsubscribe" | "group_unsubscribe":
                    yield Event(OPTED_OUT, carried)


def read_public_key(text: str) -> EllipticCurvePublicKey:
    """The verification key as SendGrid shows it, DER in base64. Raises ValueError."""
    key = load_der_public_key(b64decode(text, validate=True))
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("must be a public key on the curve P-256")  # noqa: TRY004 - of what is in the text
    return key
