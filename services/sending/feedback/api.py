"""ProviderReportService: what providers that mail is handed to post of it."""

import asyncio
from collections.abc import Mapping

from chassis.context import RequestContext
from chassis.contract.rules import rule_of
from chassis.errors import NotFound
from flownurture.feedback.v1 import provider_reports_pb2 as pb
from services.sending.feedback.intake import Intake
from services.sending.feedback.providers.provider import Post, Provider
from services.sending.feedback.reports import Report

# Which of the request's fields are headers, and of which names, says the contract.
_HEADERS = {
    field.name: rule_of(field).from_header
    for field in pb.TakeProviderReportRequest.DESCRIPTOR.fields
    if rule_of(field).from_header
}


class ProviderReportApi:
    """Takes in what is proven genuine. A post that says nothing that anybody understands is kept as well: its sender would send it for ever."""

    service = pb.DESCRIPTOR.services_by_name["ProviderReportService"]

    def __init__(self, providers: Mapping[str, Provider], intake: Intake) -> None:
        self._providers = providers
        self._intake = intake

    async def take_provider_report(
        self, request: pb.TakeProviderReportRequest, context: RequestContext
    ) -> pb.TakeProviderReportResponse:
        """Kept once it answers. NOT_FOUND for a provider that is not configured, UNAUTHENTICATED for a post that is not genuine."""
        provider = self._providers.get(request.provider)
        if provider is None:
            raise NotFound("provider")
        headers = {header: getattr(request, name) for name, header in _HEADERS.items()}
        post = Post(headers, request.body.data)
        await provider.admit(post)
        effect = await self._intake.take(Report.of_post(request.provider, post.body))
        # Who opted out at the provider is on the list before it hears that we know.
        await asyncio.shield(effect)
        return pb.TakeProviderReportResponse()
