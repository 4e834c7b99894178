"""Brevo: one event a post, or several in a list, with a bearer token; ours comes back as the field `X-Mailin-custom`."""

from collections.abc import Iterator

from chassis.secret import Secret
from services.sending.feedback.providers.document import Document
from services.sending.feedback.providers.events import OPTED_OUT, Called, Event, complaint, refused
from services.sending.feedback.providers.provider import Post, require_same

_CALLED = {
    "blocked": Called.BLOCKED,
    "error": Called.TRANSIENT,
    "hard_bounce": Called.PERMANENT,
    "invalid_email": Called.PERMANENT,
    "soft_bounce": Called.TRANSIENT,
}


class Brevo:
    """Its webhooks for transactional mail, which is what it calls all that comes by SMTP."""

    def __init__(self, token: Secret) -> None:
        self._token = token.reveal()

    async def admit(self, post: Post) -> None:
        """RFC 6750."""
        require_same(post.credential("bearer"), self._token)

    @staticmethod
    def events(body: bytes) -> Iterator[Event]:
        """Bounces, what it did not send, complaints, and who opted out. It goes on trying what is deferred."""
        for told in Document.read_all(body):
            carried = told.text("X-Mailin-custom")
            event = told.text("event")
            match event:
                case _ if event in _CALLED:
                    yield Event(refused("", told.text("reason"), _CALLED[event]), carried)
                case "spam" | "complaint":
                    yield Event(complaint(), carried)
                case "unsubscribed":
                    yield Event(OPTED_OUT, carried)
