"""CampaignService: decode, call the domain, encode."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from datetime import UTC, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import FieldViolation, InvalidRequest, NotFound
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.sending.v1 import campaigns_pb2 as pb
from services.sending import accounting, campaigns, messages
from services.sending.analytics.figures import Engaged, figures_of_campaign
from services.sending.api.addresses import address_of
from services.sending.api.data import data_of
from services.sending.api.messages import as_message
from services.sending.api.statuses import campaign_status, pause_reason, status_filter, suppression_reason
from services.sending.api.templates import optional_id
from services.sending.campaign_tests import test_campaign
from services.sending.recipients import Audience, Recipients, Selection
from services.sending.repetition import retry_indeterminate
from services.sending.statuses import MessageStatus
from services.sending.subject_tests import SubjectTest, VariantResult, WinnerRule

_TEXTS: tuple[Literal["name", "subject", "from_name", "html", "text"], ...] = (
    "name",
    "subject",
    "from_name",
    "html",
    "text",
)

_TRACKED: tuple[Literal["track_opens", "track_clicks"], ...] = ("track_opens", "track_clicks")

_RULES = {pb.WINNER_RULE_OPENS: WinnerRule.OPENS, pb.WINNER_RULE_CLICKS: WinnerRule.CLICKS}

Launched: TypeAlias = Callable[[RequestContext, UUID], object]


class CampaignApi:
    """One mail to many people. `launched` is called once a launch, or a resumption, has committed."""

    service = pb.DESCRIPTOR.services_by_name["CampaignService"]

    def __init__(self, database: Database, recipients: Recipients, *, launched: Launched) -> None:
        self._database = database
        self._recipients = recipients
        self._launched = launched

    async def create_campaign(
        self, request: pb.CreateCampaignRequest, context: RequestContext, session: TenantSession
    ) -> pb.Campaign:
        """Create a draft."""
        content: dict[str, Any] = {field: getattr(request, field) for field in _TEXTS}
        content["from_email"] = address_of("from_email", request.from_email).text
        content["template_id"] = optional_id("template_id", request.template_id)
        content["send_at"] = request.send_at.ToDatetime(UTC) if request.HasField("send_at") else None
        content["messages_per_hour"] = request.messages_per_hour or None
        content["audience_selection"] = _audience(request.audience).kept
        content["subject_test"] = _subject_test(request.subject_test)
        content |= _tracking(request)
        return _as_message(await campaigns.create_campaign(session, content))

    async def get_campaign(
        self, request: pb.GetCampaignRequest, context: RequestContext, session: TenantSession
    ) -> pb.Campaign:
        """The campaign, or NOT_FOUND."""
        return _as_message(await campaigns.get_campaign(session, parse_id(request.campaign_id)))

    async def list_campaigns(
        self, request: pb.ListCampaignsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListCampaignsResponse:
        """Campaigns, newest first, without their bodies."""
        size = page_size(request.page_size)
        found = await campaigns.page_campaigns(
            session, before=decode_cursor(request.page_token), size=size + 1
        )
        return pb.ListCampaignsResponse(
            campaigns=map(_as_message, found[:size]),
            next_page_token=next_cursor(found, size),
        )

    async def update_campaign(
        self, request: pb.UpdateCampaignRequest, context: RequestContext, session: TenantSession
    ) -> pb.Campaign:
        """Change what is present; NOT_FOUND, or CONFLICT once it was launched, but for the time of what is scheduled."""
        changes: dict[str, Any] = {
            field: getattr(request, field) for field in _TEXTS if request.HasField(field)
        }
        if request.HasField("from_email"):
            changes["from_email"] = address_of("from_email", request.from_email).text
        if request.HasField("template_id"):
            changes["template_id"] = optional_id("template_id", request.template_id)
        if request.HasField("subject_test"):
            changes["subject_test"] = _subject_test(request.subject_test)
        if request.HasField("send_at"):
            changes["send_at"] = request.send_at.ToDatetime(UTC)
        if request.HasField("messages_per_hour"):
            changes["messages_per_hour"] = request.messages_per_hour or None
        if request.HasField("audience"):
            changes["audience_selection"] = _audience(request.audience).kept
        changes |= _tracking(request)
        return _as_message(await campaigns.update_campaign(session, parse_id(request.campaign_id), changes))

    async def delete_campaign(
        self, request: pb.DeleteCampaignRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Delete a draft; NOT_FOUND, or CONFLICT once it was launched."""
        await campaigns.delete_campaign(session, parse_id(request.campaign_id))
        return Empty()

    async def launch_campaign(
        self, request: pb.LaunchCampaignRequest, context: RequestContext
    ) -> pb.Campaign:
        """Start sending, or schedule it, once however often it is asked. INVALID when it has no body or a list does not exist."""
        campaign_id = parse_id(request.campaign_id)
        async with self._database.tenant_transaction(context, read_only=True) as session:
            campaign = await campaigns.get_campaign(session, campaign_id)
        if campaign.is_draft:
            await self._require_audience(context, campaign.audience_selection)
            async with self._database.tenant_transaction(context) as session:
                campaign = await campaigns.launch_campaign(session, campaign_id)
            self._launched(context, campaign_id)
        return _as_message(campaign)

    async def unschedule_campaign(
        self, request: pb.UnscheduleCampaignRequest, context: RequestContext, session: TenantSession
    ) -> pb.Campaign:
        """Make it a draft again, once however often it is asked; NOT_FOUND, or CONFLICT when it is no longer scheduled."""
        return _as_message(await campaigns.unschedule_campaign(session, parse_id(request.campaign_id)))

    async def pause_campaign(
        self, request: pb.PauseCampaignRequest, context: RequestContext, session: TenantSession
    ) -> pb.Campaign:
        """Hold it; NOT_FOUND, or CONFLICT when it is not being sent."""
        return _as_message(await campaigns.pause_campaign(session, parse_id(request.campaign_id)))

    async def resume_campaign(
        self, request: pb.ResumeCampaignRequest, context: RequestContext
    ) -> pb.Campaign:
        """Let it go on, once however often it is asked; NOT_FOUND, or CONFLICT when it is not being sent."""
        async with self._database.tenant_transaction(context) as session:
            campaign = await campaigns.resume_campaign(session, parse_id(request.campaign_id))
        self._launched(context, campaign.id)
        return _as_message(campaign)

    async def cancel_campaign(
        self, request: pb.CancelCampaignRequest, context: RequestContext, session: TenantSession
    ) -> pb.Campaign:
        """End it, once however often it is asked; NOT_FOUND, or CONFLICT when there is nothing to end."""
        return _as_message(await campaigns.cancel_campaign(session, parse_id(request.campaign_id)))

    async def choose_winner(self, request: pb.ChooseWinnerRequest, context: RequestContext) -> pb.Campaign:
        """Let the rest have a subject now; NOT_FOUND, or CONFLICT when none is tested or another one has won."""
        async with self._database.tenant_transaction(context) as session:
            campaign = await campaigns.choose_subject(session, parse_id(request.campaign_id), request.variant)
        self._launched(context, campaign.id)
        return _as_message(campaign)

    async def retry_indeterminate(
        self, request: pb.RetryIndeterminateRequest, context: RequestContext
    ) -> pb.Campaign:
        """Send what is in doubt again; NOT_FOUND, or CONFLICT when it was not sent."""
        async with self._database.tenant_transaction(context) as session:
            campaign = await retry_indeterminate(session, parse_id(request.campaign_id))
        self._launched(context, campaign.id)
        return _as_message(campaign)

    async def test_campaign(
        self, request: pb.TestCampaignRequest, context: RequestContext, session: TenantSession
    ) -> pb.TestCampaignResponse:
        """Send it to some addresses; NOT_FOUND, FAILED_PRECONDITION with reason SUPPRESSED for all when it holds for one."""
        campaign = await campaigns.get_campaign(session, parse_id(request.campaign_id))
        addresses = dict.fromkeys(address_of("to", given) for given in request.to)
        sent = await test_campaign(session, campaign, list(addresses), data_of(request.contact))
        return pb.TestCampaignResponse(messages=map(as_message, sent))

    async def get_campaign_report(
        self, request: pb.GetCampaignReportRequest, context: RequestContext, session: TenantSession
    ) -> pb.CampaignReport:
        """How many were reached, vetoed, bounced; or NOT_FOUND."""
        report = await accounting.report_on(session, parse_id(request.campaign_id))
        figures = await figures_of_campaign(session, report.campaign.id)
        return pb.CampaignReport(
            campaign_id=str(report.campaign.id),
            status=campaign_status(report.campaign.status),
            audience=report.campaign.audience,
            audience_complete=report.campaign.audience_complete,
            released=report.released,
            queued=report.count(MessageStatus.QUEUED),
            approved=report.count(MessageStatus.APPROVED),
            deferred=report.count(MessageStatus.DEFERRED),
            sent=report.count(MessageStatus.SENT, MessageStatus.DELIVERED),
            vetoed=report.count(MessageStatus.VETOED),
            bounced=report.count(MessageStatus.BOUNCED),
            failed=report.count(MessageStatus.FAILED),
            indeterminate=report.count(MessageStatus.INDETERMINATE),
            delivered=report.count(MessageStatus.SENT, MessageStatus.DELIVERED),
            opens=_engaged(figures.opens),
            clicks=_engaged(figures.clicks),
            links=[pb.LinkClicks(url=link.url, clicks=_engaged(link.clicks)) for link in figures.links],
            unsubscribes=figures.unsubscribes,
            complaints=figures.complaints,
            vetoes=[
                pb.VetoCount(reason=suppression_reason(reason), messages=number)
                for reason, number in figures.vetoes.items()
            ],
            variants=_variants(report),
            winner=report.campaign.winner or 0,
        )

    async def list_campaign_messages(
        self, request: pb.ListCampaignMessagesRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListCampaignMessagesResponse:
        """The campaign's messages, newest first, or NOT_FOUND."""
        campaign_id, size = parse_id(request.campaign_id), page_size(request.page_size)
        before = decode_cursor(request.page_token)
        await campaigns.get_campaign(session, campaign_id)
        found = await messages.page_messages(
            session,
            before=before,
            size=size + 1,
            status=status_filter("status", request.status),
            campaign_id=campaign_id,
        )
        return pb.ListCampaignMessagesResponse(
            messages=map(as_message, found[:size]),
            next_page_token=next_cursor(found, size),
        )

    async def _require_audience(self, context: RequestContext, audience: Audience) -> None:
        try:
            async with aclosing(
                self._recipients.stream(context, audience, custom_fields=(), after=None, size=1)
            ) as recipients:
                await anext(recipients, None)
        except NotFound as missing:
            raise InvalidRequest(FieldViolation("audience", missing.message)) from None


def _engaged(engaged: Engaged) -> pb.EngagementCount:
    return pb.EngagementCount(unique=engaged.messages, total=engaged.total, by_bots=engaged.by_bots)


def _tracking(request: pb.CreateCampaignRequest | pb.UpdateCampaignRequest) -> dict[str, bool]:
    return {field: getattr(request, field) for field in _TRACKED if request.HasField(field)}


def _audience(message: pb.CampaignAudience) -> Audience:
    audience = Audience(_selection(message), _selection(message.exclude))
    if not audience.include:
        raise InvalidRequest(FieldViolation("audience", "must name a list, a segment or a tag"))
    return audience


def _selection(message: pb.CampaignAudience | pb.AudienceExclusion) -> Selection:
    return Selection(
        tuple(dict.fromkeys(map(parse_id, message.list_ids))),
        tuple(dict.fromkeys(map(parse_id, message.segment_ids))),
        tuple(dict.fromkeys(message.tags)),
    )


def _subject_test(message: pb.SubjectTest) -> Mapping[str, Any] | None:
    if not message.other_subjects:
        return None
    missing = [field for field in ("share_percent", "wait_minutes", "rule") if not getattr(message, field)]
    if missing:
        raise InvalidRequest(*(FieldViolation(f"subject_test.{field}", "is required") for field in missing))
    wait = timedelta(minutes=message.wait_minutes)
    rule = _RULES[message.rule]
    return SubjectTest(tuple(message.other_subjects), message.share_percent, wait, rule).kept


def _subject_test_message(test: SubjectTest | None) -> pb.SubjectTest | None:
    if test is None:
        return None
    return pb.SubjectTest(
        other_subjects=test.other_subjects,
        share_percent=test.share_percent,
        wait_minutes=test.wait // timedelta(minutes=1),
        rule=pb.WinnerRule.Value(f"WINNER_RULE_{test.rule.name}"),
    )


def _variants(report: accounting.Report) -> Iterator[pb.VariantReport]:
    campaign = report.campaign
    if campaign.subject_test is None:
        return
    done = {result.variant: result for result in report.variants}
    for variant in campaign.subject_test.variants:
        result = done.get(variant, VariantResult(variant, 0, 0, 0))
        yield pb.VariantReport(
            variant=variant,
            subject=campaign.subject_test.subject(variant, campaign.subject),
            sent=result.sent,
            opens=result.opens,
            clicks=result.clicks,
        )


def _audience_message(audience: Audience) -> pb.CampaignAudience:
    return pb.CampaignAudience(
        list_ids=map(str, audience.include.list_ids),
        segment_ids=map(str, audience.include.segment_ids),
        tags=audience.include.tags,
        exclude=pb.AudienceExclusion(
            list_ids=map(str, audience.exclude.list_ids),
            segment_ids=map(str, audience.exclude.segment_ids),
            tags=audience.exclude.tags,
        )
        if audience.exclude
        else None,
    )


def _as_message(campaign: campaigns.Campaign) -> pb.Campaign:
    message = pb.Campaign(
        id=str(campaign.id),
        name=campaign.name,
        subject=campaign.subject,
        from_name=campaign.from_name,
        from_email=campaign.from_email,
        html=campaign.html,
        text=campaign.text,
        template_id=str(campaign.template_id or ""),
        track_opens=campaign.track_opens,
        track_clicks=campaign.track_clicks,
        audience=_audience_message(campaign.audience_selection),
        status=campaign_status(campaign.status),
        messages_per_hour=campaign.messages_per_hour or 0,
        subject_test=_subject_test_message(campaign.subject_test),
        winner=campaign.winner or 0,
        pause_reason=pause_reason(campaign.pause_reason),
    )
    message.created_at.FromDatetime(campaign.created_at)
    if campaign.send_at is not None:
        message.send_at.FromDatetime(campaign.send_at)
    if campaign.waiting_for_quota_since is not None:
        message.waiting_for_quota_since.FromDatetime(campaign.waiting_for_quota_since)
    if campaign.launched_at is not None:
        message.launched_at.FromDatetime(campaign.launched_at)
    if campaign.completed_at is not None:
        message.completed_at.FromDatetime(campaign.completed_at)
    if campaign.quiet_until is not None:
        message.quiet_until.FromDatetime(campaign.quiet_until)
    return message
