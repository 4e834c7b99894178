"""What claimed messages are made from: the templates of a campaign or of a workflow's step, compiled once, or the words of a single message."""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from time import monotonic
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Row, select, text

from chassis.database import TenantSession
from chassis.errors import InvalidRequest, Unavailable
from chassis.logs import logger
from chassis.sealed_mail import SealedMails
from chassis.vault.wrapping import DoesNotOpen
from services.sending.categories import RULES, Category
from services.sending.delivery.claims import Claimed
from services.sending.delivery.mime import Field, Skeleton
from services.sending.delivery.senders import Identity, Senders
from services.sending.subject_tests import subject_of
from services.sending.tables import campaigns, workflow_mails
from services.sending.templating.mailing import Mailing, compile_mailing
from services.sending.tracking.campaign_links import numbers_of
from services.sending.tracking.links import TrackingLinks
from services.sending.tracking.places import with_links, with_pixel

_CAMPAIGNS_KEPT = 32
_WORKFLOW_MAILS_KEPT = 64
# What is launched or runs does not change, but its sender's domain and keys may.
_KEPT_SECONDS = 60.0

# The last part of Feedback-ID, as Gmail wants it: the same in all our mail, of 5 to 15 characters.
_SENDER_ID = "flownurture"

_CAMPAIGN = (
    campaigns.c.name,
    campaigns.c.from_name,
    campaigns.c.from_email,
    campaigns.c.subject,
    campaigns.c.subject_test,
    campaigns.c.winner,
    campaigns.c.html,
    campaigns.c.text,
    campaigns.c.track_opens,
    campaigns.c.track_clicks,
)
_WORKFLOW_MAIL = (
    workflow_mails.c.id,
    workflow_mails.c.workflow_id,
    workflow_mails.c.from_name,
    workflow_mails.c.from_email,
    workflow_mails.c.subject,
    workflow_mails.c.html,
    workflow_mails.c.text,
)
_SINGLES = text("""
    SELECT message.id, message.email, message.category,
           content.from_name, content.from_email, content.subject, content.html, content.text, content.sealed_body
    FROM messages AS message JOIN message_contents AS content
      ON content.organization_id = message.organization_id AND content.message_id = message.id
    WHERE message.id = ANY(CAST(:ids AS uuid[]))
""")


@dataclass(frozen=True)
class Draft:
    """What a message is made from."""

    identity: Identity
    hostname: str
    fields: tuple[Field, ...]
    subject: str
    html: str
    text: str
    offers_opt_out: bool
    # What its templates say of the campaign, nothing in a workflow's; None for a single message, whose words are no templates any more.
    campaign: Mapping[str, str] | None = None
    # Signs what its pixels and links end with; None where it has none.
    tracking: TrackingLinks | None = None
    # Why it cannot be written, where that is known already, and why it cannot be written yet.
    refusal: str = ""
    waits_for: str = ""

    def tracking_token(self, organization_id: UUID, message: Claimed) -> str:
        """What the pixel and the links of one of its messages end with; empty where nothing is tracked."""
        if self.tracking is None or message.mailing_id is None:
            return ""
        return self.tracking.token(organization_id, message.mailing_id, message.id)

    @cached_property
    def skeleton(self) -> Skeleton:
        """What is the same in all its mails.

        Raises InvalidRequest when its templates are not good, which a launch has seen to, or its sealed body does not open.
        """
        if self.refusal:
            raise InvalidRequest(message=self.refusal)
        if self.campaign is None:
            mailing = Mailing.verbatim(self.subject, self.html, self.text)
        else:
            mailing, _ = compile_mailing(self.subject, self.html, self.text)
        return Skeleton(self.identity.sender, mailing, self.hostname, self.fields)


Key = TypeVar("Key", bound=Hashable)


class _Kept(Generic[Key]):
    """Drafts for a minute each, of those that were asked for last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._drafts: OrderedDict[Key, tuple[float, Draft]] = OrderedDict()

    def get(self, key: Key) -> Draft | None:
        until, draft = self._drafts.get(key, (0.0, None))
        if draft is None or monotonic() >= until:
            return None
        self._drafts.move_to_end(key)
        return draft

    def keep(self, key: Key, draft: Draft) -> None:
        self._drafts[key] = (monotonic() + _KEPT_SECONDS, draft)
        self._drafts.move_to_end(key)
        if len(self._drafts) > self._most:
            self._drafts.popitem(last=False)


class Drafts:
    """Reads them, and remembers campaigns and the mails of workflows for a minute."""

    def __init__(self, senders: Senders, links: TrackingLinks, sealed: SealedMails, hostname: str) -> None:
        self._senders = senders
        self._sealed = sealed
        self._links = links
        self._hostname = hostname
        # By the subject that is tried as well: the rest has that which won, known before anything of it is released.
        self._campaigns: _Kept[tuple[UUID, int | None]] = _Kept(_CAMPAIGNS_KEPT)
        self._workflow_mails: _Kept[UUID] = _Kept(_WORKFLOW_MAILS_KEPT)

    async def refresh(self) -> None:
        """Learn what holds for all organizations; not from within a transaction."""
        await self._senders.refresh()

    async def of(self, session: TenantSession, claimed: Iterable[Claimed]) -> Mapping[UUID, Draft]:
        """What each of the messages is made from, by its id."""
        drafts: dict[UUID, Draft] = {}
        of_workflows: dict[UUID, UUID] = {}
        singles: list[UUID] = []
        for message in claimed:
            if message.campaign_id is not None:
                drafts[message.id] = await self._campaign(session, message.campaign_id, message.variant)
            elif message.workflow_mail_id is not None:
                of_workflows[message.id] = message.workflow_mail_id
            else:
                singles.append(message.id)
        mails = await self._of_workflows(session, set(of_workflows.values()))
        drafts.update({message_id: mails[mail_id] for message_id, mail_id in of_workflows.items()})
        drafts.update(await self._read_singles(session, singles))
        return drafts

    async def _campaign(self, session: TenantSession, campaign_id: UUID, variant: int | None) -> Draft:
        key = campaign_id, variant
        known = self._campaigns.get(key)
        if known is None:
            known = await self._read_campaign(session, *key)
            self._campaigns.keep(key, known)
        return known

    async def _read_campaign(self, session: TenantSession, campaign_id: UUID, variant: int | None) -> Draft:
        row = (await session.execute(select(*_CAMPAIGN).where(campaigns.c.id == campaign_id))).one()
        organization = session.context.organization
        draft = await self._of(
            session,
            row,
            Category.MARKETING,
            f"{campaign_id.hex}:{organization.hex}:campaign",
            {"id": str(campaign_id), "name": row.name},
        )
        html = draft.html
        if row.track_clicks:
            numbers = await numbers_of(session, [campaign_id])
            html = with_links(html, numbers.get(campaign_id, {}), self._links)
        if row.track_opens:
            html = with_pixel(html, self._links)
        subject = subject_of(row.subject, row.subject_test, variant or row.winner)
        return replace(
            draft, subject=subject, html=html, tracking=self._links if html != draft.html else None
        )

    async def _of_workflows(self, session: TenantSession, mail_ids: Collection[UUID]) -> Mapping[UUID, Draft]:
        """What each of these mails of workflows is made from."""
        known = {
            mail_id: draft for mail_id in mail_ids if (draft := self._workflow_mails.get(mail_id)) is not None
        }
        if unknown := [mail_id for mail_id in mail_ids if mail_id not in known]:
            rows = await session.execute(select(*_WORKFLOW_MAIL).where(workflow_mails.c.id.in_(unknown)))
            numbers = await numbers_of(session, unknown)
            for row in rows:
                known[row.id] = await self._workflow_mail(session, row, numbers.get(row.id, {}))
                self._workflow_mails.keep(row.id, known[row.id])
        return known

    async def _workflow_mail(
        self, session: TenantSession, row: Row[Any], numbers: Mapping[str, int]
    ) -> Draft:
        feedback = f"{row.workflow_id.hex}:{session.context.organization.hex}:workflow"
        draft = await self._of(session, row, Category.MARKETING, feedback, {})
        html = with_pixel(with_links(draft.html, numbers, self._links), self._links)
        return replace(draft, html=html, tracking=self._links)

    async def _read_singles(
        self, session: TenantSession, message_ids: Collection[UUID]
    ) -> Mapping[UUID, Draft]:
        if not message_ids:
            return {}
        rows = (await session.execute(_SINGLES, {"ids": list(message_ids)})).all()
        drafts = [await self._single(session, row) for row in rows]
        # At once, so that all together wait no longer for a keeper that does not answer than one.
        with_bodies = await asyncio.gather(*map(self._with_body, drafts, rows))
        return {row.id: draft for row, draft in zip(rows, with_bodies, strict=True)}

    async def _single(self, session: TenantSession, row: Row[Any]) -> Draft:
        category = Category(row.category)
        feedback = f"{category.value}:{session.context.organization.hex}:message"
        return await self._of(session, row, category, feedback, None)

    async def _with_body(self, draft: Draft, row: Row[Any]) -> Draft:
        """What it says, opened if that is sealed. One that cannot be opened holds up none of the others."""
        if row.sealed_body is None:
            return draft
        try:
            body = await self._sealed.open(bytes(row.sealed_body), row.id, row.email)
        except Unavailable:
            return replace(draft, waits_for="the keeper of the key that it is sealed by does not answer")
        except DoesNotOpen:
            logger().error("sealed_mail_does_not_open", message_id=str(row.id))
            return replace(draft, refusal="What it says is sealed and does not open.")
        return replace(draft, html=body.html, text=body.text)

    async def _of(
        self,
        session: TenantSession,
        row: Row[Any],
        category: Category,
        feedback: str,
        campaign: Mapping[str, str] | None,
    ) -> Draft:
        identity = await self._senders.identity(session, row.from_name, row.from_email)
        fields: tuple[Field, ...] = (("Feedback-ID", f"{feedback}:{_SENDER_ID}"),)
        offers_opt_out = RULES[category].offers_opt_out
        if offers_opt_out:
            # RFC 2919: what a reader's filters go by, the same for all that an organization sends to many.
            fields += (("List-Id", f"<{session.context.organization.hex}.{self._hostname}>"),)
        return Draft(
            identity, self._hostname, fields, row.subject, row.html, row.text, offers_opt_out, campaign
        )
