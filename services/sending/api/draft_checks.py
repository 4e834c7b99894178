"""DraftCheckService: what is wrong with what nobody has made yet."""

from chassis.context import RequestContext
from chassis.errors import InvalidRequest
from flownurture.sending.v1 import draft_checks_pb2 as pb
from services.sending.draft_checks import checked_mail


class DraftCheckApi:
    """Answers integrations."""

    service = pb.DESCRIPTOR.services_by_name["DraftCheckService"]

    async def check_mail(self, request: pb.CheckMailRequest, context: RequestContext) -> pb.CheckMailResponse:
        """A mail's body in both forms, or what is wrong with the mail."""
        try:
            body = checked_mail(request.subjects, request.preheaders, request.html, request.text)
        except InvalidRequest as refused:
            return pb.CheckMailResponse(
                flaws=(pb.DraftFlaw(field=each.field, message=each.message) for each in refused.violations)
            )
        return pb.CheckMailResponse(html=body.html, text=body.text)
