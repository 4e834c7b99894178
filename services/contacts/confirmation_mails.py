"""The mail that asks whether it was they who filled in a form. The sending service carries it, in the organization's name."""

from jinja2 import Environment, PackageLoader

from chassis.database import TenantSession
from chassis.identifiers import new_id
from chassis.sealed_mail import SealedMails
from flownurture.contacts.v1.events_pb2 import SendConfirmationMail
from flownurture.sending.v1.sealed_mail_pb2 import MailBody
from services.contacts.confirmation_links import ConfirmationLinks
from services.contacts.form_submissions import Submission
from services.contacts.forms import Form

_HTML = Environment(loader=PackageLoader(__package__), autoescape=True, auto_reload=False)
_NOTE = "If it was not you, ignore this mail: you will not hear from us again."


class ConfirmationMails:
    """Orders them, sealed: who has the link can confirm. Each goes out if the session's transaction commits."""

    def __init__(self, links: ConfirmationLinks, sealed: SealedMails) -> None:
        self._links = links
        self._sealed = sealed

    async def order(self, session: TenantSession, form: Form, submission: Submission) -> None:
        """Ask who has submitted the form to confirm it. Raises Unavailable."""
        link = self._links.url(session.context.organization, submission.id)
        opening = f"Please confirm that you want to subscribe: {form.title}"
        html = _HTML.get_template("confirmation_mail.html").render(
            opening=opening, link=link, consent_text=submission.consent_text, note=_NOTE
        )
        text = f"{opening}\n\n{link}\n\n{submission.consent_text}\n\n{_NOTE}"
        order_id, body = new_id(), MailBody(to=submission.email, html=html, text=text)
        session.publish(
            SendConfirmationMail(
                submission_id=str(submission.id),
                to=submission.email,
                from_email=form.from_email,
                from_name=form.from_name,
                subject=f"Please confirm: {form.title}",
                sealed_body=await self._sealed.seal(order_id, body),
            ),
            order_id,
        )
