"""What a mail says: its subject and its body, as templates or rendered."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.sending.bodies import Body
from services.sending.templating.mailing import Compile, compile_mailing
from services.sending.templating.template import Template


@dataclass(frozen=True, slots=True)
class Content:
    """A subject and a body."""

    subject: str
    body: Body

    def rendered(self, data: Mapping[str, object], compiled_by: Compile = Template.compile) -> "Content":
        """What templates say of this data. Raises InvalidRequest that tells where they cannot."""
        mailing, _ = compile_mailing(self.subject, self.body.html, self.body.text, compiled_by)
        body = Body(mailing.html.text(data), mailing.text.text(data))
        return Content(mailing.subject.text(data), body)
