"""The mail that asks whether it was they who filled in a form. The sending service carries it, in the organization's name."""

from jinja2 import Environment, PackageLoader

from chassis.database import TenantSession
from flownurture.contacts.v1.events_pb2 import SendConfirmationMail
from services.contacts.confirmation_links import ConfirmationLinks
from services.contacts.form_submissions import Submission
from services.contacts.forms import Form

_HTML = Environment(loader=PackageLoader(__package__), autoescape=True, auto_reload=False)
_NOTE = "If it was not you, ignore this mail: you will not hear from us again."


class ConfirmationMails:
    """Orders them; each goes out if the session's transaction commits."""

    def __init__(self, links: ConfirmationLinks) -> None:
        self._links = links

    def order(self, session: TenantSession, form: Form, submission: Submission) -> None:
        """Ask who has submitted the form to confirm it."""
        link = self._links.url(session.context.organization, submission.id)
        opening = f"Please confirm that you want to subscribe: {form.title}"
        html = _HTML.get_template("confirmation_mail.html").render(
            opening=opening, link=link, consent_text=submission.consent_text, note=_NOTE
        )
        session.publish(
            SendConfirmationMail(
                submission_id=str(submission.id),
                to=submission.email,
                from_email=form.from_email,
                from_name=form.from_name,
                subject=f"Please confirm: {form.title}",
                html=html,
                text=f"{opening}\n\n{link}\n\n{submission.consent_text}\n\n{_NOTE}",
            )
        )
