"""Whether a drafted mail is good, as sending's template engine sees it."""

from collections.abc import Sequence
from dataclasses import dataclass

from chassis.context import RequestContext
from chassis.errors import InvalidRequest
from chassis.rpc.client import Peer
from flownurture.sending.v1.draft_checks_pb2 import CheckMailRequest
from flownurture.sending.v1.draft_checks_pb2_grpc import DraftCheckServiceStub


@dataclass(frozen=True, slots=True)
class Checked:
    """A mail's body in both forms, or what is wrong with the mail, in words."""

    html: str
    text: str
    flaws: Sequence[str]


class MailChecks:
    """By calls to DraftCheckService."""

    def __init__(self, sending: Peer) -> None:
        self._sending = sending
        self._checks = DraftCheckServiceStub(sending.channel)

    async def check(
        self, context: RequestContext, subjects: Sequence[str], preheaders: Sequence[str], html: str
    ) -> Checked:
        """Look at a mail. Raises Unavailable."""
        request = CheckMailRequest(subjects=subjects, preheaders=preheaders, html=html)
        caller = RequestContext.of_process(
            "integrations", context.organization, request_id=context.request_id
        )
        try:
            answer = await self._sending.call(self._checks.CheckMail, request, caller)
        except InvalidRequest as beyond_its_bounds:
            return Checked("", "", [f"{each.field} {each.message}" for each in beyond_its_bounds.violations])
        return Checked(answer.html, answer.text, [f"{flaw.field}: {flaw.message}" for flaw in answer.flaws])
