"""The mails about accounts: what they say. The platform's own sending service carries them.

Whoever has the link of one is let in, so what it says is sealed until it is handed over.
"""

from datetime import timedelta

from jinja2 import Environment, PackageLoader

from chassis.database import TenantSession
from chassis.identifiers import new_id
from chassis.sealed_mail import SealedMails
from chassis.secret import Secret
from flownurture.identity.v1.events_pb2 import SendAccountMail
from flownurture.sending.v1.sealed_mail_pb2 import MailBody
from services.identity.account_tokens import LIFETIMES, Purpose

_HTML = Environment(loader=PackageLoader(__package__), autoescape=True, auto_reload=False)


class AccountMails:
    """Writes mails whose links lead to the pages at `public_url`; each goes out if the session's transaction commits.

    Those that have a link are sealed, which raises Unavailable when the keeper of the key-encryption key does not answer.
    """

    def __init__(self, public_url: str, sealed: SealedMails) -> None:
        self._public_url = public_url.rstrip("/")
        self._pages = f"{self._public_url}/account"
        self._sealed = sealed

    async def verify_email(self, session: TenantSession, to: str, token: Secret) -> None:
        """Ask for the proof that the address is the person's."""
        await self._let_in(
            session,
            to,
            "Please confirm your e-mail address",
            "You signed up at FlowNurture with this address. Please confirm that it is yours.",
            action="Confirm this address",
            link=f"{self._pages}/verify-email/{token.reveal()}",
            note=f"The link works once, for {_hours(LIFETIMES[Purpose.VERIFY_EMAIL])}. If it was not you, ignore this mail.",
        )

    async def reset_password(self, session: TenantSession, to: str, token: Secret) -> None:
        """Let the person set another password."""
        await self._let_in(
            session,
            to,
            "Set a new password",
            "Somebody, probably you, asked to replace the password of your FlowNurture account.",
            action="Set a new password",
            link=f"{self._pages}/reset-password/{token.reveal()}",
            note=f"The link works once, for {_hours(LIFETIMES[Purpose.RESET_PASSWORD])}. If it was not you, ignore this mail.",
        )

    def password_changed(self, session: TenantSession, to: str) -> None:
        """Tell that it was done, to who should know if it was somebody else."""
        self._tell(
            session,
            to,
            "Your password was changed",
            "The password of your FlowNurture account was changed, and your other sessions were ended.",
            note="If it was not you, ask for a new password at once: the log-in page offers that.",
        )

    def address_taken(self, session: TenantSession, to: str) -> None:
        """Tell that somebody tried to sign up with an address that has an account."""
        self._tell(
            session,
            to,
            "You have an account already",
            "Somebody tried to sign up at FlowNurture with this address. You have an account with it: log in instead.",
            note="If it was not you, nothing has happened and nothing needs to be done.",
        )

    async def invitation(self, session: TenantSession, to: str, organization: str, token: Secret) -> None:
        """Invite a person to an organization."""
        await self._let_in(
            session,
            to,
            f"You are invited to {organization}",
            f"You are invited to work in {organization} at FlowNurture.",
            action="Accept the invitation",
            link=f"{self._pages}/invitation/{token.reveal()}",
            note="The link works once, for 7 days. If you do not know why you got this, ignore it.",
        )

    def member_notice(
        self, session: TenantSession, to: str, organization: str, subject: str, text: str
    ) -> None:
        """Tell a member what a workflow of their organization has for them. Its words are not ours: subject and end say whose they are."""
        self._tell(
            session,
            to,
            f"{organization}: {subject}",
            text,
            note=f"A workflow of {organization} wrote this, and you get it as a member there. FlowNurture has only carried it.",
        )

    def endpoint_disabled(
        self, session: TenantSession, to: str, organization: str, url: str, *, gone: bool
    ) -> None:
        """Tell an admin that an endpoint of theirs is told of nothing any more, and why."""
        why = "It answered that it is gone (410)." if gone else "It has taken nothing for five days."
        self._tell(
            session,
            to,
            f"{organization}: a webhook endpoint was disabled",
            f"{url} is not told of what happens in {organization} any more. {why}",
            note="Once it works again, enable it, and have what it missed sent once more: the API has a replay for that.",
        )

    def connection_refused(
        self, session: TenantSession, to: str, organization: str, *, crm: str, account: str, path: str
    ) -> None:
        """Tell an admin that a CRM takes the credentials of an account no longer, and where it is connected again: `path`."""
        self._tell(
            session,
            to,
            f"{organization}: a connection to {crm} needs you",
            f"{crm} no longer lets FlowNurture into the account {account}, which {organization} has connected. Until"
            " somebody connects the same account again, nothing is synced with it. What is there stays, on both sides.",
            note=f"To connect it again: POST {self._public_url}{path}, or, with another key of the account's own,"
            f" POST {self._public_url}/v1/integrations/connections.",
        )

    async def _let_in(
        self,
        session: TenantSession,
        to: str,
        subject: str,
        opening: str,
        *,
        action: str,
        link: str,
        note: str,
    ) -> None:
        html, text = _written(opening, note, action, link)
        order_id, body = new_id(), MailBody(to=to, html=html, text=text)
        sealed_body = await self._sealed.seal(order_id, body)
        session.publish(SendAccountMail(to=to, subject=subject, sealed_body=sealed_body), order_id)

    def _tell(self, session: TenantSession, to: str, subject: str, opening: str, *, note: str) -> None:
        html, text = _written(opening, note)
        session.publish(SendAccountMail(to=to, subject=subject, text=text, html=html))


def _written(opening: str, note: str, action: str = "", link: str = "") -> tuple[str, str]:
    """In HTML, and as text."""
    said = {"opening": opening, "action": action, "link": link, "note": note}
    text = "\n\n".join(part for part in (opening, f"{action}:\n{link}" if link else "", note) if part)
    return _HTML.get_template("mail.html").render(said), text


def _hours(duration: timedelta) -> str:
    hours = int(duration.total_seconds()) // 3600
    return "an hour" if hours == 1 else f"{hours} hours"
