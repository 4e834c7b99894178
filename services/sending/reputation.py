"""An organization's reputation: how many of those who got its mail complain, and how many of its addresses do not exist.

Above the shares of `reputation.toml` the platform pauses what the organization is sending, unless an operator lets it go on.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib import resources

from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from services.sending.statuses import PauseReason
from services.sending.tables import reputation_overrides

WINDOW = timedelta(hours=24)

# Whoever follows a person to another address takes their complaint along: it is one, of one message.
_FIGURES = text("""
    SELECT coalesce(sum(messages) FILTER (WHERE status IN ('sent', 'delivered', 'bounced')), 0)::bigint AS messages,
        coalesce(sum(messages) FILTER (WHERE status = 'bounced'), 0)::bigint AS bounces, (
            SELECT count(DISTINCT coalesce(message_id, id)) FROM suppressions
            WHERE reason = 'complaint' AND reaffirmed_at > now() - CAST(:window AS interval)
        ) AS complaints, (
            SELECT until FROM reputation_overrides WHERE until > now()
        ) AS overridden_until
    FROM message_counts WHERE hour > now() - CAST(:window AS interval)
""")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Which shares are too much, of how many messages at least."""

    least_messages: int
    shares: Mapping[PauseReason, float]


@cache
def thresholds() -> Thresholds:
    """Read `reputation.toml`."""
    listed = tomllib.loads(resources.files(__package__).joinpath("reputation.toml").read_text())
    return Thresholds(listed["least_messages"], {reason: listed[reason.value] for reason in PauseReason})


@dataclass(frozen=True, slots=True)
class Reputation:
    """What became of an organization's mail in the last 24 hours."""

    # That receivers answered for good.
    messages: int
    complaints: int
    bounces: int
    # Until when nothing is paused, whatever the shares.
    overridden_until: datetime | None

    def share(self, reason: PauseReason) -> float:
        """How many of its messages ended so, from 0 to 1."""
        number = self.complaints if reason is PauseReason.COMPLAINTS else self.bounces
        return number / self.messages if self.messages else 0.0

    @property
    def holds_mail(self) -> bool:
        """Whether what the organization sends to many is held up: it is at risk, and no operator lets it go on."""
        return self.at_risk is not None and self.overridden_until is None

    @property
    def at_risk(self) -> PauseReason | None:
        """What there is too much of, overridden or not."""
        if self.messages < thresholds().least_messages:
            return None
        for reason, most in thresholds().shares.items():
            if self.share(reason) > most:
                return reason
        return None


async def reputation_of(session: TenantSession) -> Reputation:
    """How it is now."""
    found = await session.execute(_FIGURES, {"window": WINDOW})
    return Reputation(**found.mappings().one())


async def override(session: TenantSession, until: datetime | None) -> None:
    """Let the organization send until then in spite of its reputation; None ends that."""
    if until is None:
        await session.execute(delete(reputation_overrides))
        return
    await session.execute(
        insert(reputation_overrides)
        .values(until=until)
        .on_conflict_do_update(index_elements=["organization_id"], set_={"until": until})
    )
