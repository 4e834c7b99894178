"""Which providers there are, and which of them this platform hands mail to. A further one is a file, a line here, and its setting."""

from collections.abc import Callable, Iterator, Mapping

from services.sending.feedback.providers.brevo import Brevo
from services.sending.feedback.providers.events import Event
from services.sending.feedback.providers.mailgun import Mailgun
from services.sending.feedback.providers.postmark import Postmark
from services.sending.feedback.providers.provider import Provider
from services.sending.feedback.providers.sendgrid import SendGrid
from services.sending.feedback.providers.ses import Ses
from services.sending.feedback.providers.sns import Subscription, Topic, Visit
from services.sending.feedback.settings import FeedbackSettings

EVENTS: Mapping[str, Callable[[bytes], Iterator[Event]]] = {
    "brevo": Brevo.events,
    "mailgun": Mailgun.events,
    "postmark": Postmark.events,
    "sendgrid": SendGrid.events,
    "ses": Ses.events,
}


def configured(settings: FeedbackSettings, visit: Visit) -> Mapping[str, Provider]:
    """Those that the settings say how to know, by name."""
    providers: dict[str, Provider] = {}
    if settings.brevo_token:
        providers["brevo"] = Brevo(settings.brevo_token)
    if settings.mailgun_signing_key:
        providers["mailgun"] = Mailgun(settings.mailgun_signing_key)
    if settings.postmark_credentials:
        providers["postmark"] = Postmark(settings.postmark_credentials)
    if settings.sendgrid_public_key:
        providers["sendgrid"] = SendGrid(settings.sendgrid_public_key)
    if settings.ses_topic_arns:
        topics = map(Topic.parse, settings.ses_topic_arns)
        providers["ses"] = Ses(Subscription(topics, visit))
    return providers
