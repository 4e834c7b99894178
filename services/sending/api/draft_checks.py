"""DraftCheckService: what is wrong with what nobody has made yet."""

from contextlib import suppress

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import DomainError, InvalidRequest
from flownurture.sending.v1 import draft_checks_pb2 as pb
from services.sending.api.campaigns import CampaignApi
from services.sending.api.workflows import document_of
from services.sending.draft_checks import checked_mail
from services.sending.workflows.checks import Checks, require_good


class DraftCheckApi:
    """Answers integrations."""

    service = pb.DESCRIPTOR.services_by_name["DraftCheckService"]

    def __init__(self, database: Database, campaigns: CampaignApi, checks: Checks) -> None:
        self._database = database
        self._campaigns = campaigns
        self._checks = checks

    async def check_mail(self, request: pb.CheckMailRequest, context: RequestContext) -> pb.CheckMailResponse:
        """A mail's body in both forms, or what is wrong with the mail."""
        try:
            body = checked_mail(request.subjects, request.preheaders, request.html, request.text)
        except InvalidRequest as refused:
            return pb.CheckMailResponse(
                flaws=(pb.DraftFlaw(field=each.field, message=each.message) for each in refused.violations)
            )
        return pb.CheckMailResponse(html=body.html, text=body.text)

    async def check_campaign(
        self, request: pb.CheckCampaignRequest, context: RequestContext
    ) -> pb.CheckDraftResponse:
        """What is wrong with a campaign: it is created, and that is taken back."""
        try:
            await self._create_for_a_moment(request, context)
        except InvalidRequest as refused:
            return _flaws(refused)
        return pb.CheckDraftResponse()

    async def _create_for_a_moment(self, request: pb.CheckCampaignRequest, context: RequestContext) -> None:
        with suppress(_TakenBack):
            async with self._database.tenant_transaction(context) as session:
                await self._campaigns.create_campaign(request.campaign, context, session)
                raise _TakenBack

    async def check_workflow(
        self, request: pb.CheckWorkflowRequest, context: RequestContext
    ) -> pb.CheckDraftResponse:
        """What is wrong with a workflow's document; PLAN_UPGRADE_REQUIRED for rules beyond the plan that the context tells."""
        document = document_of(request.workflow)
        found = await self._checks.look_at(context, document)
        try:
            async with self._database.tenant_transaction(context) as session:
                await require_good(session, document, found)
        except InvalidRequest as refused:
            return _flaws(refused)
        return pb.CheckDraftResponse()


class _TakenBack(Exception):
    """Ends a transaction that was never to be kept."""


def _flaws(refused: DomainError) -> pb.CheckDraftResponse:
    return pb.CheckDraftResponse(
        flaws=(pb.DraftFlaw(field=each.field, message=each.message) for each in refused.violations)
    )
