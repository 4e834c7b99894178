"""Which findings put an address on the suppression list: at the first of a kind, or at so many within a time, as `suppression_policy.toml` says."""

import tomllib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, PositiveInt, TypeAdapter
from sqlalchemy import text

from chassis.database import TenantSession
from services.sending.bounces import Kind
from services.sending.findings import Noted
from services.sending.statuses import SuppressionReason

# As what an address is put on the list.
REASONS: Mapping[Kind, SuppressionReason] = {
    Kind.HARD: SuppressionReason.HARD_BOUNCE,
    Kind.SOFT: SuppressionReason.HARD_BOUNCE,
    Kind.COMPLAINT: SuppressionReason.COMPLAINT,
}

# Whoever gets mail in between has a mailbox that works. What comes back was sent, and was not delivered.
_DELIVERED_SINCE = """
    delivered.email_digest = given.digest AND delivered.status IN ('sent', 'delivered')
    AND delivered.settled_at > finding.occurred_at AND NOT EXISTS (
        SELECT FROM feedback_findings AS returned
        WHERE returned.organization_id = delivered.organization_id AND returned.message_id = delivered.id
          AND returned.kind <> 'complaint'
    )
"""
_OFTEN_ENOUGH = text(f"""
    SELECT given.digest FROM unnest(CAST(:digests AS bytea[])) AS given (digest)
    WHERE :count <= (
        SELECT count(*) FROM feedback_findings AS finding
        WHERE finding.email_digest = given.digest AND finding.kind = :kind
          AND finding.occurred_at > now() - CAST(:within AS interval) AND (:kind = 'complaint' OR NOT EXISTS (
            SELECT FROM messages AS found JOIN messages AS delivered
              ON delivered.organization_id = found.organization_id AND delivered.contact_id = found.contact_id
            WHERE found.id = finding.message_id AND {_DELIVERED_SINCE}
        ) AND NOT EXISTS (
            SELECT FROM messages AS delivered WHERE delivered.contact_id IS NULL AND {_DELIVERED_SINCE}
        ))
    )
""")  # noqa: S608 - of our own words alone


class Rule(BaseModel):
    """How often, and within how many days."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: PositiveInt
    # Without any, for as long as findings are kept.
    days: PositiveInt = 36_500


@cache
def rules() -> dict[Kind, Rule]:
    """Read `suppression_policy.toml`."""
    listed = tomllib.loads(resources.files(__package__).joinpath("suppression_policy.toml").read_text())
    return TypeAdapter(dict[Kind, Rule]).validate_python(listed)


async def leading_to_suppression(session: TenantSession, findings: Sequence[Noted]) -> list[Noted]:
    """Those of findings, all noted already, whose addresses are to be put on the list."""
    leading: list[Noted] = []
    for kind, rule in rules().items():
        of_kind = [finding for finding in findings if finding.kind is kind]
        often = await _often_enough(session, kind, rule, of_kind) if rule.count > 1 else None
        leading += [finding for finding in of_kind if often is None or finding.digest in often]
    return leading


async def _often_enough(
    session: TenantSession, kind: Kind, rule: Rule, findings: Sequence[Noted]
) -> set[bytes]:
    if not findings:
        return set()
    found = await session.execute(
        _OFTEN_ENOUGH,
        {
            "digests": [finding.digest for finding in findings],
            "kind": kind.value,
            "count": rule.count,
            "within": timedelta(days=rule.days),
        },
    )
    return {bytes(digest) for digest in found.scalars()}
