"""From a launched campaign to its messages, all of them as soon as can be: page by page, each page one transaction.

A page makes its messages in batches that are held until the dispatch releases them, and moves the campaign's cursor. So a crash
loses nothing and repeats nothing: whoever goes on begins behind the last page that was committed. What the audience says while it
is read is who gets the campaign; whoever comes into it behind the cursor later does not.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import func, or_, select, text, update

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.errors import NotFound, Unavailable
from chassis.identifiers import new_id
from chassis.logs import logger
from chassis.scheduler import Scheduler
from services.sending import usage
from services.sending.dispatch import Dispatch
from services.sending.recipients import Audience, Recipient, Recipients
from services.sending.statuses import CampaignStatus
from services.sending.subject_tests import SubjectTest
from services.sending.tables import campaigns
from services.sending.templating.merge_fields import MergeFields
from services.sending.throttle import LARGEST_BATCH, batch_size
from services.sending.usage import Allowance, Allowances, EmailLimitReached

_BATCHES_IN_A_PAGE = 4
_LEASE = timedelta(seconds=15)
_POLL = timedelta(seconds=2)
_ROUNDS_AT_ONCE = 8

# For the scheduler's role.
_CAMPAIGNS_TO_FAN_OUT = text("""
    SELECT organization_id, id FROM sending.campaigns
    WHERE status = 'sending' AND NOT audience_complete AND (lease_until IS NULL OR lease_until <= now())
    ORDER BY lease_until NULLS FIRST, id LIMIT 16
""")

# After this long a campaign whose organization's e-mails are used up looks again.
_WAIT_FOR_QUOTA = timedelta(minutes=1)

_ADD_BATCHES = text("""
    INSERT INTO batches (id, campaign_id, status, size, of_test, usage_cycle)
    SELECT given.id, :campaign_id, 'held', given.size, given.of_test, :usage_cycle
    FROM unnest(CAST(:ids AS uuid[]), CAST(:sizes AS integer[]), CAST(:of_test AS boolean[])) AS given (id, size, of_test)
""")
# What a repeated page would make again is there already; the lease keeps two workers from making pages at once.
_ADD_MESSAGES = text("""
    INSERT INTO messages (id, batch_id, campaign_id, contact_id, email, email_digest, variant, merge_fields)
    SELECT given.id, given.batch_id, :campaign_id, given.contact_id, given.email, given.email_digest, given.variant,
           CAST(given.merge_fields AS jsonb)
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:batch_ids AS uuid[]), CAST(:contact_ids AS uuid[]), CAST(:emails AS text[]),
        CAST(:digests AS bytea[]), CAST(:variants AS smallint[]), CAST(:merge_fields AS text[])
    ) AS given (id, batch_id, contact_id, email, email_digest, variant, merge_fields)
    ON CONFLICT (organization_id, campaign_id, contact_id) DO NOTHING
""")


class LeaseLost(Exception):
    """Another worker has taken the campaign over, or it was paused; this page must not be written."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make a campaign's messages, from a contact on."""

    campaign_id: UUID
    token: UUID
    audience: Audience
    merge_fields: MergeFields
    batch_size: int
    subject_test: SubjectTest | None
    after_contact_id: UUID | None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Recipients whose messages are let go together, each with the subject that is tried on them."""

    id: UUID
    recipients: Sequence[tuple[Recipient, int | None]]

    @property
    def of_test(self) -> bool:
        return self.recipients[0][1] is not None


class FanOut:
    """Makes the messages of launched campaigns, in any organization."""

    def __init__(
        self,
        database: Database,
        scheduler: RoleDatabase,
        recipients: Recipients,
        allowances: Allowances,
        dispatch: Dispatch,
        *,
        batch: int = LARGEST_BATCH,
    ) -> None:
        self._wake = asyncio.Event()
        self._database = database
        self._recipients = recipients
        self._allowances = allowances
        self._dispatch = dispatch
        self._batch = batch
        self._scheduler = Scheduler(scheduler, _CAMPAIGNS_TO_FAN_OUT, _POLL, self.fan_out, process="sending")

    async def run(self) -> None:
        """Run until cancelled."""
        slots = asyncio.Semaphore(_ROUNDS_AT_ONCE)
        async with asyncio.TaskGroup() as rounds:
            while True:
                await slots.acquire()
                self._wake.clear()
                # The next does not wait for this one: a small campaign is not held up by the largest.
                rounds.create_task(self._round()).add_done_callback(lambda _: slots.release())
                await self._rest()

    def launched(self, context: RequestContext, campaign_id: UUID) -> None:
        """Have a campaign that was launched or resumed looked at now: what is to be made, and what is made already."""
        self._wake.set()
        self._dispatch.wake(context, campaign_id)

    async def fan_out(self, context: RequestContext, campaign_id: UUID) -> None:
        """Make all messages of a campaign, or as many as the plan allows; nothing happens when somebody else does."""
        # Before anything is claimed: what is not known is not guessed.
        allowance = await self._allowances.of(context)
        async with self._database.tenant_transaction(context) as session:
            claim = await _claim(session, campaign_id, self._batch)
        if claim is None:
            return
        try:
            await self._make_pages(context, claim, allowance)
        except LeaseLost:
            logger().info("fan_out_given_up", campaign_id=str(campaign_id))

    async def _make_pages(self, context: RequestContext, claim: Claim, allowance: Allowance) -> None:
        recipients = self._recipients.stream(
            context,
            claim.audience,
            custom_fields=claim.merge_fields.custom_fields,
            after=claim.after_contact_id,
            size=self._batch * _BATCHES_IN_A_PAGE,
        )
        try:
            async with aclosing(recipients):
                async for page in recipients:
                    if not await self._make_page(context, claim, page, allowance):
                        return
        except NotFound:
            # A list, segment or tag was deleted after the launch: who is a message already gets it, nobody else can be found.
            logger().warning("audience_incomplete", campaign_id=str(claim.campaign_id))
        async with self._database.tenant_transaction(context) as session:
            await _move(session, claim, [], 0, last=True)
        # Perhaps there was nobody.
        self._dispatch.wake(context, claim.campaign_id)

    async def _make_page(
        self, context: RequestContext, claim: Claim, page: Sequence[Recipient], allowance: Allowance
    ) -> bool:
        """Make messages of as many of the page as the plan allows; whether that was all of it."""
        while True:
            try:
                fitting = await self._write_page(context, claim, page, allowance)
            except EmailLimitReached:
                # Others took the places that were left; now it is seen how many.
                continue
            self._dispatch.wake(context, claim.campaign_id)
            return fitting == len(page)

    async def _write_page(
        self, context: RequestContext, claim: Claim, page: Sequence[Recipient], allowance: Allowance
    ) -> int:
        async with self._database.tenant_transaction(context) as session:
            fitting = page[: await usage.places_left(session, allowance)]
            added = await _add(session, claim, fitting, allowance)
            await _move(session, claim, fitting, added, last=False)
            if len(fitting) < len(page):
                await _wait_for_quota(session, claim)
            # Last, since nobody else in the organization can count an e-mail from here on.
            await usage.take(session, allowance, added)
        return len(fitting)

    async def _round(self) -> None:
        try:
            await self._scheduler.round()
        except Unavailable:
            logger().warning("fan_out_waits", exc_info=True)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(_POLL.total_seconds()):
                await self._wake.wait()
        except TimeoutError:
            return


async def _claim(session: TenantSession, campaign_id: UUID, largest_batch: int) -> Claim | None:
    token = uuid4()
    claimed = await session.execute(
        update(campaigns)
        .where(
            campaigns.c.id == campaign_id,
            campaigns.c.status == CampaignStatus.SENDING.value,
            campaigns.c.audience_complete.is_(False),
            or_(campaigns.c.lease_until.is_(None), campaigns.c.lease_until <= func.now()),
        )
        .values(lease_token=token, lease_until=func.now() + _LEASE)
        .returning(
            campaigns.c.audience_selection,
            campaigns.c.merge_fields,
            campaigns.c.messages_per_hour,
            campaigns.c.subject_test,
            campaigns.c.after_contact_id,
        )
    )
    row = claimed.one_or_none()
    if row is None:
        return None
    return Claim(
        campaign_id,
        token,
        Audience.parse(row.audience_selection),
        MergeFields.parse(row.merge_fields),
        batch_size(row.messages_per_hour, largest_batch),
        SubjectTest.parse(row.subject_test) if row.subject_test else None,
        row.after_contact_id,
    )


async def _wait_for_quota(session: TenantSession, claim: Claim) -> None:
    """Let the campaign be looked at again in a while; a larger plan or the next cycle lets it go on."""
    await session.execute(
        update(campaigns)
        .where(campaigns.c.id == claim.campaign_id)
        .values(
            waiting_for_quota_since=func.coalesce(campaigns.c.waiting_for_quota_since, func.now()),
            lease_token=None,
            lease_until=func.now() + _WAIT_FOR_QUOTA,
        )
    )


async def _add(
    session: TenantSession, claim: Claim, recipients: Sequence[Recipient], allowance: Allowance
) -> int:
    """Write messages in held batches; answers how many messages that were."""
    if not recipients:
        return 0
    tried = await _variants(session, claim, len(recipients))
    batches = _batches(list(zip(recipients, tried, strict=True)), claim.batch_size)
    await session.execute(
        _ADD_BATCHES,
        {
            "ids": [batch.id for batch in batches],
            "sizes": [len(batch.recipients) for batch in batches],
            "of_test": [batch.of_test for batch in batches],
            "campaign_id": claim.campaign_id,
            "usage_cycle": allowance.cycle_started_at,
        },
    )
    return await _add_messages(session, claim, batches)


async def _variants(session: TenantSession, claim: Claim, number: int) -> Sequence[int | None]:
    """Which subject is tried on each of the next recipients."""
    if claim.subject_test is None:
        return [None] * number
    place = await session.scalar(select(campaigns.c.audience).where(campaigns.c.id == claim.campaign_id))
    return [claim.subject_test.variant_at(place + ahead) for ahead in range(number)]


def _batches(recipients: Sequence[tuple[Recipient, int | None]], size: int) -> Sequence[_Batch]:
    """Those of the test apart, since they go first."""
    rest = [each for each in recipients if each[1] is None]
    tested = [each for each in recipients if each[1] is not None]
    return [
        _Batch(new_id(), group[start : start + size])
        for group in (tested, rest)
        for start in range(0, len(group), size)
    ]


async def _move(
    session: TenantSession, claim: Claim, recipients: Sequence[Recipient], added: int, *, last: bool
) -> None:
    """Move the cursor behind these recipients. Raises LeaseLost."""
    moved = await session.execute(
        update(campaigns)
        .where(
            campaigns.c.id == claim.campaign_id,
            campaigns.c.lease_token == claim.token,
            campaigns.c.status == CampaignStatus.SENDING.value,
        )
        .values(
            audience=campaigns.c.audience + added,
            audience_complete=last,
            after_contact_id=recipients[-1].contact_id if recipients else campaigns.c.after_contact_id,
            lease_token=None if last else claim.token,
            lease_until=None if last else func.now() + _LEASE,
            waiting_for_quota_since=None if recipients or last else campaigns.c.waiting_for_quota_since,
        )
    )
    if moved.rowcount != 1:
        raise LeaseLost


async def _add_messages(session: TenantSession, claim: Claim, batches: Sequence[_Batch]) -> int:
    merged = claim.merge_fields
    made = [(batch.id, recipient, variant) for batch in batches for recipient, variant in batch.recipients]
    recipients = [recipient for _, recipient, _ in made]
    added = await session.execute(
        _ADD_MESSAGES,
        {
            "campaign_id": claim.campaign_id,
            "batch_ids": [batch_id for batch_id, _, _ in made],
            "variants": [variant for _, _, variant in made],
            "ids": [new_id() for _ in recipients],
            "contact_ids": [recipient.contact_id for recipient in recipients],
            "emails": [recipient.email for recipient in recipients],
            "digests": [recipient.digest for recipient in recipients],
            "merge_fields": [merged.of_recipient(recipient) if merged else None for recipient in recipients],
        },
    )
    return added.rowcount
