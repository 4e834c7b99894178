"""The processes that the integrations process calls, as far as they matter here."""

from chassis.context import RequestContext
from flownurture.sending.v1 import draft_checks_pb2 as pb


class Sending:
    """Looks at mails as a test says: what stands in the HTML is a flaw, or not."""

    service = pb.DESCRIPTOR.services_by_name["DraftCheckService"]

    def __init__(self) -> None:
        self.asked: list[tuple[pb.CheckMailRequest, RequestContext]] = []

    async def check_mail(self, request: pb.CheckMailRequest, context: RequestContext) -> pb.CheckMailResponse:
        """A mail that says `{{ wrong` is wrong, as it is to the template engine."""
        self.asked.append((request, context))
        if "{{ wrong" in request.html:
            return pb.CheckMailResponse(flaws=[pb.DraftFlaw(field="html", message="'wrong' is not known")])
        return pb.CheckMailResponse(html=request.html, text="as text")

    async def check_campaign(
        self, request: pb.CheckCampaignRequest, context: RequestContext
    ) -> pb.CheckDraftResponse:
        """Every campaign is good."""
        return pb.CheckDraftResponse()

    async def check_workflow(
        self, request: pb.CheckWorkflowRequest, context: RequestContext
    ) -> pb.CheckDraftResponse:
        """Every workflow is good."""
        return pb.CheckDraftResponse()
