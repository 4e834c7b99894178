"""An organization's sending policy: when campaigns and workflows send nothing, and how much marketing an address gets at most."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select, text

from chassis.database import TenantSession
from services.sending.frequency_cap import FrequencyCap
from services.sending.quiet_hours import IS_QUIET, QuietHours
from services.sending.tables import sending_policies

_UTC = ZoneInfo("UTC")

_KEEP = text("""
    INSERT INTO sending_policies AS policy
        (time_zone, quiet_from, quiet_until, quiet_begins_at, quiet_ends_at, cap_messages, cap_days)
    VALUES (:time_zone, :quiet_from, :quiet_until, :quiet_begins_at, :quiet_ends_at, :cap_messages, :cap_days)
    ON CONFLICT (organization_id) DO UPDATE
    SET time_zone = excluded.time_zone, quiet_from = excluded.quiet_from, quiet_until = excluded.quiet_until,
        quiet_begins_at = excluded.quiet_begins_at, quiet_ends_at = excluded.quiet_ends_at,
        cap_messages = excluded.cap_messages, cap_days = excluded.cap_days
""")
# What of campaigns was approved and could not be claimed, if it is not quiet now. What was attempted is due by itself.
_LOOK_AT_ONCE = text(f"""
    UPDATE batches SET due_at = now() FROM campaigns
    WHERE campaigns.organization_id = batches.organization_id AND campaigns.id = batches.campaign_id
      AND campaigns.status = 'sending' AND batches.status = 'approved' AND batches.lease_token IS NULL AND NOT batches.tried
      AND NOT EXISTS (SELECT FROM sending_policies WHERE {IS_QUIET})
""")  # noqa: S608 - of our own words alone


@dataclass(frozen=True, slots=True)
class SendingPolicy:
    """What an organization has its campaigns and workflows keep to, by which clocks."""

    zone: ZoneInfo = _UTC
    quiet_hours: QuietHours | None = None
    frequency_cap: FrequencyCap | None = None


def quiet_until(policy: SendingPolicy, moment: datetime) -> datetime | None:
    """When the quiet hours are over that a moment is in, in UTC; None when it is in none, and campaigns and workflows send."""
    return policy.quiet_hours.until(moment) if policy.quiet_hours else None


async def policy_of(session: TenantSession) -> SendingPolicy:
    """The organization's policy; of one that has said nothing, one that holds up nothing, in UTC."""
    row = (await session.execute(select(sending_policies))).one_or_none()
    if row is None:
        return SendingPolicy()
    zone = ZoneInfo(row.time_zone)
    return SendingPolicy(
        zone,
        QuietHours(zone, row.quiet_from, row.quiet_until) if row.quiet_from is not None else None,
        FrequencyCap(row.cap_messages, row.cap_days) if row.cap_messages is not None else None,
    )


async def set_policy(session: TenantSession, policy: SendingPolicy, now: datetime) -> None:
    """Replace the policy, in force once committed. Setting the same again changes nothing."""
    hours, cap = policy.quiet_hours, policy.frequency_cap
    begins_at, ends_at = hours.next(now) if hours else (None, None)
    await session.execute(
        _KEEP,
        {
            "time_zone": policy.zone.key,
            "quiet_from": hours and hours.begin,
            "quiet_until": hours and hours.end,
            "quiet_begins_at": begins_at,
            "quiet_ends_at": ends_at,
            "cap_messages": cap and cap.messages,
            "cap_days": cap and cap.days,
        },
    )
    await session.execute(_LOOK_AT_ONCE)
