"""Campaigns: one mail to many people, from the draft to its launch."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, case, delete, func, insert, literal, select, text, update

from chassis.database import TenantSession
from chassis.errors import Conflict, FieldViolation, InvalidRequest, NotFound
from chassis.identifiers import new_id
from flownurture.sending.v1.events_pb2 import CampaignLaunched
from services.sending.batches import order_again
from services.sending.bodies import Body
from services.sending.contents import Content
from services.sending.opt_out_footer import require_way_out
from services.sending.quiet_hours import IS_QUIET
from services.sending.recipients import Audience
from services.sending.statuses import CampaignStatus, PauseReason
from services.sending.subject_tests import SubjectTest, WinnerRule, choose_winner
from services.sending.tables import campaigns, sending_policies
from services.sending.templates import require_content
from services.sending.templating.mailing import compile_mailing
from services.sending.templating.merge_fields import MergeFields
from services.sending.tracking.campaign_links import keep_links

_COLUMNS = (
    campaigns.c.id,
    campaigns.c.name,
    campaigns.c.subject,
    campaigns.c.from_name,
    campaigns.c.from_email,
    campaigns.c.html,
    campaigns.c.text,
    campaigns.c.audience_selection,
    campaigns.c.template_id,
    campaigns.c.track_opens,
    campaigns.c.track_clicks,
    campaigns.c.subject_test,
    campaigns.c.winner,
    campaigns.c.send_at,
    campaigns.c.messages_per_hour,
    campaigns.c.status,
    campaigns.c.audience,
    campaigns.c.audience_complete,
    campaigns.c.created_at,
    campaigns.c.waiting_for_quota_since,
    campaigns.c.pause_reason,
    campaigns.c.launched_at,
    campaigns.c.completed_at,
    # What is being sent waits while it is quiet.
    case(
        (
            campaigns.c.status == CampaignStatus.SENDING.value,
            select(sending_policies.c.quiet_ends_at).where(text(IS_QUIET)).scalar_subquery(),
        )
    ).label("quiet_until"),
)
_CHECKED = ("subject", "html", "text", "template_id", "track_opens", "track_clicks")
# Bodies have up to a million characters each: a page of them would be too much.
_COLUMNS_BUT_BODIES = tuple(
    literal("").label(column.name) if column.name in ("html", "text") else column for column in _COLUMNS
)


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as its organization sees it."""

    id: UUID
    name: str
    subject: str
    from_name: str
    from_email: str
    html: str
    text: str
    audience_selection: Audience
    template_id: UUID | None
    track_opens: bool
    track_clicks: bool
    subject_test: SubjectTest | None
    winner: int | None
    send_at: datetime | None
    messages_per_hour: int | None
    status: str
    audience: int
    audience_complete: bool
    created_at: datetime
    waiting_for_quota_since: datetime | None
    pause_reason: str
    launched_at: datetime | None
    completed_at: datetime | None
    quiet_until: datetime | None

    @property
    def is_draft(self) -> bool:
        """Whether it may still be changed."""
        return self.status == CampaignStatus.DRAFT


async def create_campaign(session: TenantSession, content: Mapping[str, Any]) -> Campaign:
    """Create a draft; `content` holds its columns. Raises InvalidRequest when one of its templates is not good."""
    await _check(session, content)
    row = await session.execute(
        insert(campaigns)
        .values(id=new_id(), status=CampaignStatus.DRAFT.value, **content)
        .returning(*_COLUMNS)
    )
    return _campaign(row.mappings().one())


async def get_campaign(session: TenantSession, campaign_id: UUID) -> Campaign:
    """The campaign. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(campaigns.c.id == campaign_id))
    row = found.mappings().one_or_none()
    if row is None:
        raise _no_such(campaign_id)
    return _campaign(row)


async def page_campaigns(session: TenantSession, *, before: UUID | None, size: int) -> list[Campaign]:
    """Up to `size` campaigns, newest first and without their bodies, that are older than `before`."""
    wanted = select(*_COLUMNS_BUT_BODIES).order_by(campaigns.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(campaigns.c.id < before)
    return [_campaign(row) for row in (await session.execute(wanted)).mappings()]


async def update_campaign(session: TenantSession, campaign_id: UUID, changes: Mapping[str, Any]) -> Campaign:
    """Change columns of a draft, or the time of what is scheduled.

    Raises NotFound, Conflict once it was launched, InvalidRequest for a bad template.
    """
    status = await hold_campaign(session, campaign_id)
    if status is CampaignStatus.SCHEDULED and changes.keys() <= {"send_at"}:
        return await _set(session, campaign_id, **changes)
    _require_draft(status, "changed")
    if changes:
        draft = await get_campaign(session, campaign_id)
        kept = {name: getattr(draft, name) for name in _CHECKED}
        test = draft.subject_test.kept if draft.subject_test else None
        await _check(session, {**kept, "subject_test": test, **changes})
        return await _set(session, campaign_id, **changes)
    return await get_campaign(session, campaign_id)


async def delete_campaign(session: TenantSession, campaign_id: UUID) -> None:
    """Delete a draft. Raises NotFound, or Conflict once it was launched."""
    _require_draft(await hold_campaign(session, campaign_id), "deleted")
    await session.execute(delete(campaigns).where(campaigns.c.id == campaign_id))


async def launch_campaign(session: TenantSession, campaign_id: UUID) -> Campaign:
    """Let it be sent, now or when its time has come. Launching it again changes nothing.

    Raises NotFound, or InvalidRequest when it says nothing or hides how to opt out.
    """
    # Held first: what is launched is the draft as the last change left it.
    if await hold_campaign(session, campaign_id) is not CampaignStatus.DRAFT:
        return await get_campaign(session, campaign_id)
    draft = await get_campaign(session, campaign_id)
    content = await content_of_campaign(session, draft)
    mailing, paths = compile_mailing(content.subject, content.body.html, content.body.text)
    require_way_out(mailing)
    if draft.subject_test is not None:
        paths |= draft.subject_test.paths
    scheduled = await _set(
        session,
        campaign_id,
        status=CampaignStatus.SCHEDULED.value,
        send_at=func.coalesce(campaigns.c.send_at, func.now()),
        html=content.body.html,
        text=content.body.text,
        merge_fields=MergeFields.of(paths).kept,
    )
    return await start_campaign(session, campaign_id) or scheduled


async def start_campaign(session: TenantSession, campaign_id: UUID) -> Campaign | None:
    """Begin to send a scheduled campaign, if its time has come."""
    started = await session.execute(
        update(campaigns)
        .where(
            campaigns.c.id == campaign_id,
            campaigns.c.status == CampaignStatus.SCHEDULED.value,
            campaigns.c.send_at <= func.now(),
        )
        .values(status=CampaignStatus.SENDING.value, launched_at=func.clock_timestamp())
        .returning(*_COLUMNS)
    )
    row = started.mappings().one_or_none()
    if row is None:
        return None
    campaign = _campaign(row)
    if campaign.track_clicks:
        await keep_links(session, {campaign_id: campaign.html})
    session.publish(CampaignLaunched(campaign_id=str(campaign_id), name=campaign.name))
    return campaign


async def unschedule_campaign(session: TenantSession, campaign_id: UUID) -> Campaign:
    """Make what is scheduled a draft again. Raises NotFound, or Conflict when it is neither."""
    status = await hold_campaign(session, campaign_id)
    if status is CampaignStatus.DRAFT:
        return await get_campaign(session, campaign_id)
    if status is not CampaignStatus.SCHEDULED:
        raise Conflict(f"This takes a scheduled campaign, and the status of this one is {status.value}.")
    # What it took from its template at the launch it takes anew at the next.
    return await _set(
        session,
        campaign_id,
        status=CampaignStatus.DRAFT.value,
        html=case((campaigns.c.template_id.is_(None), campaigns.c.html), else_=""),
        text=case((campaigns.c.template_id.is_(None), campaigns.c.text), else_=""),
    )


async def content_of_campaign(session: TenantSession, campaign: Campaign) -> Content:
    """What it says: its own words, or those of its template. Raises InvalidRequest when there are none."""
    # What was launched has its words, whatever becomes of the template.
    if campaign.template_id is None or not campaign.is_draft:
        return Content(campaign.subject, Body.of(campaign.html, campaign.text))
    return Content(campaign.subject, (await require_content(session, campaign.template_id)).body)


async def choose_subject(session: TenantSession, campaign_id: UUID, variant: int) -> Campaign:
    """End the test of a campaign's subjects with this one. Raises NotFound, InvalidRequest, or Conflict when there is none to end."""
    status = await hold_campaign(session, campaign_id)
    if status not in (CampaignStatus.SENDING, CampaignStatus.PAUSED):
        raise _not_under_way(status)
    campaign = await get_campaign(session, campaign_id)
    await choose_winner(session, campaign_id, campaign.subject_test, campaign.winner, variant)
    return await get_campaign(session, campaign_id)


async def pause_campaign(session: TenantSession, campaign_id: UUID) -> Campaign:
    """Let nothing more of it be made or claimed. Raises NotFound, or Conflict when it is not being sent."""
    await _turn(session, campaign_id, CampaignStatus.SENDING, CampaignStatus.PAUSED)
    return await get_campaign(session, campaign_id)


async def pause_all(session: TenantSession, reason: PauseReason) -> list[UUID]:
    """Pause whatever is being sent, for a reason of the platform's; answers which campaigns that were."""
    sending = await session.execute(
        select(campaigns.c.id)
        .where(campaigns.c.status == CampaignStatus.SENDING.value)
        .order_by(campaigns.c.id)
        .with_for_update(key_share=True)
    )
    paused = list(sending.scalars())
    for campaign_id in paused:
        await _turn(session, campaign_id, CampaignStatus.SENDING, CampaignStatus.PAUSED, reason.value)
    return paused


async def resume_campaign(session: TenantSession, campaign_id: UUID) -> Campaign:
    """Let it go on where it was. Raises NotFound, or Conflict when it is not being sent."""
    if await _turn(session, campaign_id, CampaignStatus.PAUSED, CampaignStatus.SENDING):
        await order_again(session, campaign_id)
    return await get_campaign(session, campaign_id)


async def cancel_campaign(session: TenantSession, campaign_id: UUID) -> Campaign:
    """End it for good; what has not gone out is vetoed afterwards. Raises NotFound, or Conflict when there is nothing to end."""
    status = await hold_campaign(session, campaign_id)
    if status is CampaignStatus.CANCELLED:
        return await get_campaign(session, campaign_id)
    if status not in (CampaignStatus.SCHEDULED, CampaignStatus.SENDING, CampaignStatus.PAUSED):
        raise _not_under_way(status)
    return await _set(
        session,
        campaign_id,
        status=CampaignStatus.CANCELLED.value,
        # Again once nothing of it is open.
        audience_complete=False,
        lease_token=None,
        lease_until=None,
        waiting_for_quota_since=None,
    )


async def hold_campaign(session: TenantSession, campaign_id: UUID) -> CampaignStatus:
    """Its status, which nobody else changes until the transaction ends. Raises NotFound."""
    status: str | None = await session.scalar(
        # Not against the messages that a fan-out makes meanwhile: they refer to the row and leave it as it is.
        select(campaigns.c.status).where(campaigns.c.id == campaign_id).with_for_update(key_share=True)
    )
    if status is None:
        raise _no_such(campaign_id)
    return CampaignStatus(status)


async def _turn(
    session: TenantSession,
    campaign_id: UUID,
    old: CampaignStatus,
    new: CampaignStatus,
    pause_reason: str = "",
) -> bool:
    """Whether it was the old and now is the new; False when it was the new already."""
    status = await hold_campaign(session, campaign_id)
    if status is new:
        return False
    if status is not old:
        raise _not_under_way(status)
    # A lease that a fan-out holds on it ends: whoever goes on takes a new one.
    await _set(
        session,
        campaign_id,
        status=new.value,
        pause_reason=pause_reason,
        lease_token=None,
        lease_until=None,
    )
    return True


def _require_draft(status: CampaignStatus, what: str) -> None:
    if status is not CampaignStatus.DRAFT:
        raise Conflict(f"A campaign that was launched cannot be {what}.")


async def _set(session: TenantSession, campaign_id: UUID, **values: Any) -> Campaign:
    """Write columns of a campaign that is held."""
    written = await session.execute(
        update(campaigns).where(campaigns.c.id == campaign_id).values(**values).returning(*_COLUMNS)
    )
    return _campaign(written.mappings().one())


def _campaign(row: RowMapping) -> Campaign:
    test = row["subject_test"]
    return Campaign(
        **{
            **row,
            "audience_selection": Audience.parse(row["audience_selection"]),
            "subject_test": None if test is None else SubjectTest.parse(test),
        }
    )


async def _check(session: TenantSession, content: Mapping[str, Any]) -> None:
    """Raises InvalidRequest that tells what is wrong in its templates."""
    compile_mailing(content["subject"], content["html"], content["text"])
    if content["subject_test"] is not None:
        _check_test(SubjectTest.parse(content["subject_test"]), content)
    if content["template_id"] is None:
        return
    if content["html"] or content["text"]:
        raise InvalidRequest(FieldViolation("template_id", "takes the place of html and text"))
    await require_content(session, content["template_id"])


def _check_test(test: SubjectTest, content: Mapping[str, Any]) -> None:
    # Both are, unless it says no.
    if not content.get("track_opens" if test.rule is WinnerRule.OPENS else "track_clicks", True):
        raise InvalidRequest(
            FieldViolation("subject_test", f"is decided by {test.rule}, which are not tracked")
        )
    _ = test.paths


def _not_under_way(status: CampaignStatus) -> Conflict:
    return Conflict(
        f"This takes a campaign that is being sent, and the status of this one is {status.value}."
    )


def _no_such(campaign_id: UUID) -> NotFound:
    return NotFound(f"campaign as {campaign_id}")
