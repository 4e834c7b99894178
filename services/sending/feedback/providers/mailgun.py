"""Mailgun: one event a post, with an HMAC over its time and its token; ours comes back as a variable (`X-Mailgun-Variables`).

Its signature does not cover what the post says. So a post that was seen on its way could be changed and used for as long as its time is good;
what it can be about is bounded by our own token all the same.
"""

import hmac
from collections.abc import Iterator

from chassis.secret import Secret
from services.sending.feedback.providers.document import Document
from services.sending.feedback.providers.events import OPTED_OUT, Called, Event, complaint, deferred, refused
from services.sending.feedback.providers.provider import Post, require_recent, require_same
from services.sending.signed_addresses import CARRIED_AS

# It goes on trying for eight hours; what was signed when it first tried must get through then.
_LONGEST_UNDER_WAY = 9 * 3600.0


class Mailgun:
    """Its webhooks for failures, complaints and unsubscribes."""

    def __init__(self, signing_key: Secret) -> None:
        self._key = signing_key.reveal().encode()

    async def admit(self, post: Post) -> None:
        """Over the time and the token that stand in the body."""
        signature = Document.read(post.body).part("signature")
        # Of ten digits always, so that none can move between the two.
        timestamp = signature.text("timestamp")
        require_recent(timestamp, _LONGEST_UNDER_WAY)
        signed = f"{timestamp}{signature.text('token')}".encode(errors="replace")
        require_same(signature.text("signature"), hmac.digest(self._key, signed, "sha256").hex())

    @staticmethod
    def events(body: bytes) -> Iterator[Event]:
        """What failed, what it did not take, complaints, and who opted out."""
        told = Document.read(body).part("event-data")
        carried = told.part("user-variables").text(CARRIED_AS)
        answer = told.part("delivery-status")
        status = answer.text("enhanced-code") or answer.text("bounce-code")
        words = answer.text("message") or answer.text("description")
        words = words and f"{answer.text('code')} {words}".strip()
        reporter = answer.text("mx-host")
        match told.text("event"), told.text("severity"):
            case "failed", "temporary":
                yield Event(deferred(status, words, reporter), carried)
            case "failed", _:
                blocked = told.text("reason").startswith("suppress-")
                called = Called.BLOCKED if blocked else Called.PERMANENT
                yield Event(refused(status, words, called, reporter), carried)
            case "rejected", _:
                said = told.part("reject").text("reason")
                yield Event(refused("", said, Called.BLOCKED), carried)
            case "complained", _:
                yield Event(complaint(), carried)
            case "unsubscribed", _:
                yield Event(OPTED_OUT, carried)
