"""Tests of subjects: a part of a campaign's audience gets it under several, the rest under the one that did best.

The variants are numbered from 1, which is the campaign's own subject. Who is in the test is told by their place in the audience:
every so many-eth, so that the test reaches evenly from the first to the last, and the variants in turn.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any, Self
from uuid import UUID

from sqlalchemy import func, text, update

from chassis.database import TenantSession
from chassis.errors import Conflict, FieldViolation, InvalidRequest
from services.sending.tables import campaigns
from services.sending.templating.language import TEXT
from services.sending.templating.template import Template

# The campaign's own subject.
FIRST = 1


class WinnerRule(StrEnum):
    """What the best variant is best in: for how many of those who got it, once each."""

    OPENS = "opens"
    CLICKS = "clicks"


@dataclass(frozen=True, slots=True)
class SubjectTest:
    """Subjects beside the campaign's own, the share of the audience that is tested on, for how long, and by which rule."""

    other_subjects: tuple[str, ...]
    share_percent: int
    wait: timedelta
    rule: WinnerRule

    @classmethod
    def parse(cls, kept: Mapping[str, Any]) -> Self:
        """As `kept` tells it."""
        wait = timedelta(minutes=kept["wait_minutes"])
        return cls(tuple(kept["other_subjects"]), kept["share_percent"], wait, WinnerRule(kept["rule"]))

    @property
    def kept(self) -> Mapping[str, Any]:
        """In the form in which a campaign keeps it, of what JSON has."""
        return {
            "other_subjects": list(self.other_subjects),
            "share_percent": self.share_percent,
            "wait_minutes": self.wait // timedelta(minutes=1),
            "rule": self.rule.value,
        }

    @property
    def variants(self) -> range:
        """Their numbers."""
        return range(FIRST, FIRST + 1 + len(self.other_subjects))

    def subject(self, variant: int, own: str) -> str:
        """What a variant says, `own` being the campaign's."""
        return own if variant == FIRST else self.other_subjects[variant - FIRST - 1]

    def variant_at(self, place: int) -> int | None:
        """Which variant whoever stands there in the audience gets, counted from 0; None for the rest."""
        before, with_them = (number * self.share_percent // 100 for number in (place, place + 1))
        return self.variants[before % len(self.variants)] if with_them > before else None

    @property
    def paths(self) -> frozenset[tuple[str, ...]]:
        """What its subjects name. Raises InvalidRequest that tells what is wrong in them."""
        compiled = (Template.compile("subject_test", subject, TEXT) for subject in self.other_subjects)
        return frozenset().union(*(template.paths for template in compiled))


@dataclass(frozen=True, slots=True)
class VariantResult:
    """How many messages of a variant's test were sent, and with how many of them something was done."""

    variant: int
    sent: int
    opens: int
    clicks: int


# What persons did; programs are told apart where it is written.
_RESULTS = text("""
    SELECT message.variant, count(*) AS sent, count(opened.message_id) AS opens, count(clicked.message_id) AS clicks
    FROM messages AS message
    LEFT JOIN first_engagements AS opened
        ON opened.organization_id = message.organization_id AND opened.message_id = message.id
        AND opened.kind = 'opened' AND opened.link_number = 0
    LEFT JOIN first_engagements AS clicked
        ON clicked.organization_id = message.organization_id AND clicked.message_id = message.id
        AND clicked.kind = 'clicked' AND clicked.link_number = 0
    WHERE message.campaign_id = :campaign_id AND message.variant IS NOT NULL
      AND message.status IN ('sent', 'delivered')
    GROUP BY message.variant ORDER BY message.variant
""")
# With nobody in it there is nothing to wait for.
_BEGIN_WAIT = text("""
    UPDATE campaigns SET next_release_at = ending.moment, test_ends_at = ending.moment
    FROM (
        SELECT now() + CASE WHEN EXISTS (
            SELECT FROM messages WHERE campaign_id = :campaign_id AND variant IS NOT NULL
        ) THEN :wait ELSE interval '0' END AS moment
    ) AS ending
    WHERE campaigns.id = :campaign_id AND campaigns.test_ends_at IS NULL AND NOT EXISTS (
        SELECT FROM batches WHERE campaign_id = :campaign_id AND status = 'held' AND of_test
    )
""")


def subject_of(own: str, kept: Mapping[str, Any] | None, variant: int | None) -> str:
    """What a campaign's message says whose variant this is, or the winner's, None when there is none."""
    return own if kept is None or variant is None else SubjectTest.parse(kept).subject(variant, own)


async def results_of(session: TenantSession, campaign_id: UUID) -> Sequence[VariantResult]:
    """How a campaign's variants did until now; those of which nothing was sent are missing."""
    found = await session.execute(_RESULTS, {"campaign_id": campaign_id})
    return [VariantResult(**row) for row in found.mappings()]


def winner_of(results: Iterable[VariantResult], rule: WinnerRule) -> int:
    """The variant with the highest rate; of several the first, and the campaign's own subject when nobody did anything."""

    def rate(result: VariantResult) -> Fraction:
        done = result.opens if rule is WinnerRule.OPENS else result.clicks
        return Fraction(done, result.sent)

    best = max(results, key=lambda result: (rate(result), -result.variant), default=None)
    return best.variant if best is not None and rate(best) else FIRST


async def begin_wait(session: TenantSession, campaign_id: UUID, test: SubjectTest) -> None:
    """Decide in a while, once the whole test is on its way."""
    await session.execute(_BEGIN_WAIT, {"campaign_id": campaign_id, "wait": test.wait})


async def decide_winner(session: TenantSession, campaign_id: UUID, test: SubjectTest) -> None:
    """Let the rest have the subject that did best until now."""
    winner = winner_of(await results_of(session, campaign_id), test.rule)
    await session.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(winner=winner))


async def choose_winner(
    session: TenantSession, campaign_id: UUID, test: SubjectTest | None, winner: int | None, variant: int
) -> None:
    """Let the rest of a campaign that is held have this subject, without waiting any longer. Choosing it again changes nothing.

    Raises Conflict when it tests none or another one has won, InvalidRequest for a variant that there is not.
    """
    if test is None:
        raise Conflict("This campaign tests no subjects.")
    if variant not in test.variants:
        raise InvalidRequest(FieldViolation("variant", f"must be from {FIRST} to {test.variants[-1]}"))
    if winner not in (None, variant):
        raise Conflict(f"Variant {winner} has won already.")
    if winner is None:
        await session.execute(
            update(campaigns)
            .where(campaigns.c.id == campaign_id)
            .values(winner=variant, next_release_at=func.least(campaigns.c.next_release_at, func.now()))
        )
