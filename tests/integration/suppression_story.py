"""A story of several organizations that know the same people, which the services live, and a bystander who knows what must come of it."""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Sequence
from contextlib import suppress as ignore
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody

from chassis.email_address import EmailAddress
from chassis.errors import Conflict, FailedPrecondition, NotFound
from flownurture.contacts.v1 import contacts_pb2
from flownurture.contacts.v1.events_pb2 import AddressResubscribed, SendConfirmationMail
from flownurture.sending.v1 import campaigns_pb2, messages_pb2
from flownurture.suppression.v1 import preferences_pb2, suppressions_pb2, unsubscribe_pb2
from services.contacts.tests.test_forms import Visitor
from services.sending.categories import RULES
from services.sending.delivery.claims import Claimed
from services.sending.statuses import SuppressionReason
from services.sending.suppression.announcements import announce_suppressed
from services.sending.suppression.veto import decide
from services.sending.suppression_list import Suppressed, suppress
from tests.integration.sending_path import Notice, Organization, SendingPath

ORGANIZATIONS = 2
PEOPLE = [EmailAddress.parse(f"{name}@example.com") for name in ("ada", "bob", "eve", "kim", "lou", "zoe")]

_BY_HAND = (SuppressionReason.MANUAL, SuppressionReason.HARD_BOUNCE)
# What a contact's status shows, the gravest first.
_SHOWN = {
    SuppressionReason.COMPLAINT: contacts_pb2.CONTACT_STATUS_COMPLAINED,
    SuppressionReason.UNSUBSCRIBE: contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED,
    SuppressionReason.HARD_BOUNCE: contacts_pb2.CONTACT_STATUS_BOUNCED,
}


@dataclass
class Membership:
    """An organization, and all that a bystander knows about it: what must be on its list, and since which step."""

    organization: Organization
    refusals: dict[bytes, dict[SuppressionReason, int]] = field(default_factory=lambda: defaultdict(dict))
    # Who each message ever made was to.
    recipients: dict[UUID, EmailAddress] = field(default_factory=dict)
    ended: set[UUID] = field(default_factory=set)
    erased: set[bytes] = field(default_factory=set)
    # What people have in their mailboxes and have not pressed yet.
    confirmations: list[str] = field(default_factory=list)


class Story:
    """One life of everybody. A step is checked as soon as it has happened."""

    def __init__(self, path: SendingPath) -> None:
        # What it was about, and how often.
        self.counts: Counter[str] = Counter()
        self._path = path
        self._members: list[Membership] = []
        self._notices: list[tuple[Notice, int]] = []
        self._without_mailbox: set[str] = set()
        self._visitors = 0
        path.relay.on_recipient = self._answer

    async def begin(self) -> None:
        """Organizations come into being, and know everybody."""
        self._members = [Membership(await self._path.found()) for _ in range(ORGANIZATIONS)]
        for number in range(ORGANIZATIONS):
            await self.import_file(number)

    async def step(self, deed: Awaitable[None]) -> None:
        """Live it, and look whether everything is as it must be."""
        self.counts["steps"] += 1
        await deed
        # In every organization, whosever deed it was.
        await asyncio.gather(*map(self._look, self._members))

    def note_claimed(self, organization: UUID, messages: Sequence[Claimed]) -> None:
        """Nothing is claimed for an address against which something stands on the list of its organization."""
        (member,) = [member for member in self._members if member.organization.id == organization]
        for message in messages:
            standing = member.refusals[message.digest].keys() - RULES[message.category].passes_over
            assert not standing, f"claimed for {message.email}, suppressed for {standing}"
        self.counts["claimed"] += len(messages)

    # What organizations do.

    async def upsert(self, number: int, who: EmailAddress) -> None:
        member = self._members[number]
        fields = contacts_pb2.UpsertContactRequest(
            email=who.text, first_name="Ada", list_ids=[member.organization.list_id]
        )
        await member.organization.contacts(fields)

    async def import_file(self, number: int) -> None:
        organization = self._members[number].organization
        rows = "".join(f"{who.text}\n" for who in PEOPLE)
        await organization.contacts.import_file(f"email\n{rows}".encode(), list_id=organization.list_id)

    async def create(self, number: int, who: EmailAddress) -> None:
        organization = self._members[number].organization
        with ignore(Conflict):
            await organization.contacts.add(who.text, list_ids=[organization.list_id])

    async def delete(self, number: int, who: EmailAddress) -> None:
        member = self._members[number]
        for contact in await self._contacts(member, who):
            member.erased.add(who.digest)
            await member.organization.contacts(contacts_pb2.DeleteContactRequest(contact_id=contact.id))

    async def launch(self, number: int) -> None:
        organization = self._members[number].organization
        draft = await organization.sending(
            campaigns_pb2.CreateCampaignRequest(
                name="News",
                subject="News",
                from_email="ada@shop.test",
                html="<p>Hello</p>",
                audience=campaigns_pb2.CampaignAudience(list_ids=[organization.list_id]),
            )
        )
        await organization.sending(campaigns_pb2.LaunchCampaignRequest(campaign_id=draft.id))
        await self._path.fan_out.fan_out(organization.sending.context, UUID(draft.id))
        await organization.sending.release()

    async def send(self, number: int, who: EmailAddress) -> None:
        member = self._members[number]
        try:
            await member.organization.sending.message(who.text)
        except FailedPrecondition:
            assert member.refusals[who.digest], f"refused for {who}, who is not on the list"
        else:
            assert not member.refusals[who.digest], f"accepted for {who}, who is on the list"

    async def suppress_by_hand(self, number: int, who: EmailAddress) -> None:
        member = self._members[number]
        request = suppressions_pb2.CreateSuppressionRequest(
            email=who.text, reason=messages_pb2.SUPPRESSION_REASON_MANUAL
        )
        await member.organization.sending(request)
        self._refused(member, who.digest, SuppressionReason.MANUAL)

    async def lift(self, number: int, who: EmailAddress) -> None:
        """Try to take all off the list that is on it for somebody: opt-outs stay."""
        member = self._members[number]
        rows = await member.organization.sending.rows(
            "SELECT id, reason FROM suppressions WHERE email_digest = :digest", digest=who.digest
        )
        for row in rows:
            reason = SuppressionReason(row.reason)
            with ignore(Conflict):
                await member.organization.sending(
                    suppressions_pb2.DeleteSuppressionRequest(suppression_id=str(row.id))
                )
                assert reason in _BY_HAND, f"lifted by hand: {reason}"
                del member.refusals[who.digest][reason]

    # What people do.

    async def unsubscribe(self, number: int, which: int, *, by_page: bool) -> None:
        """By the link in any mail that there ever was."""
        member = self._members[number]
        if not member.recipients:
            return
        message_id, who = list(member.recipients.items())[which % len(member.recipients)]
        organization = member.organization
        if by_page:
            token = _token(self._path.preference_links.url(organization.id, message_id, who.digest))
            body = HttpBody(data=b"choice=unsubscribe")
            await organization.sending(preferences_pb2.ChangePreferencesRequest(token=token, body=body))
        else:
            token = _token(self._path.unsubscribe_links.url(organization.id, message_id, who.digest))
            await organization.sending(unsubscribe_pb2.UnsubscribeRequest(token=token))
        self._refused(member, who.digest, SuppressionReason.UNSUBSCRIBE)

    async def complain(self, number: int, who: EmailAddress) -> None:
        member = self._members[number]
        sending = member.organization.sending
        async with sending.database.tenant_transaction(sending.context) as session:
            entry = Suppressed(who.digest, SuppressionReason.COMPLAINT, who.text)
            announce_suppressed(session, await suppress(session, [entry]))
        self._refused(member, who.digest, SuppressionReason.COMPLAINT)

    async def come_back(self, number: int, which: int) -> None:
        """By the link in the mail that the page of preferences sends: one who is out, if anybody is."""
        member = self._members[number]
        who = self._one_who_left(member, which)
        until = datetime.now(UTC) + timedelta(days=7)
        token = _token(self._path.preference_links.return_url(member.organization.id, who.digest, until))
        await member.organization.sending(
            preferences_pb2.ChangePreferencesRequest(token=token, body=HttpBody())
        )
        self._came_back(member.refusals[who.digest], confirmed=self.counts["steps"])

    async def fill_in(self, number: int, which: int, *, at_once: bool) -> None:
        """Fill in the form, and press the link in its mail at once or later: one who is out, if anybody is."""
        member = self._members[number]
        who = self._one_who_left(member, which)
        self._visitors += 1
        visitor = Visitor(member.organization.contacts, f"2001:db8::{self._visitors:x}")
        await visitor.submit(member.organization.form, email=who.text)
        await self._collect(member)
        if at_once:
            await self.confirm(number, -1)

    async def confirm(self, number: int, which: int) -> None:
        """By the link in the mail that a form sends, perhaps long after, perhaps again."""
        member = self._members[number]
        if member.confirmations:
            token = member.confirmations[which % len(member.confirmations)]
            with ignore(NotFound):
                await Visitor(member.organization.contacts).confirm(token)

    async def lose_mailbox(self, who: EmailAddress) -> None:
        self._without_mailbox ^= {who.text}

    # What happens by itself.

    async def decide(self, number: int) -> None:
        """Suppression finds what nobody has decided on, as if its event had been lost."""
        sending = self._members[number].organization.sending
        for batch in await sending.rows("SELECT id FROM batches WHERE status = 'requested' ORDER BY id"):
            async with sending.database.tenant_transaction(sending.context) as session:
                await decide(session, batch.id)

    async def deliver(self, number: int) -> None:
        """Delivery finds what is due, as if its event had been lost."""
        sending = self._members[number].organization.sending
        for batch in await sending.rows("SELECT id FROM batches WHERE status = 'approved' ORDER BY id"):
            await self._path.worker.deliver(sending.context, batch.id)

    async def tell(self, picks: Sequence[tuple[int, bool]]) -> None:
        """Tell events to their readers, in this order; some come again."""
        for pick, again in picks:
            if not self._notices:
                return
            place = pick % len(self._notices)
            notice, since = self._notices[place]
            if not again:
                del self._notices[place]
            await self._tell(notice, since)

    async def end(self) -> None:
        """Whatever is still to be told is told, and whatever is open is sent; what contacts show is what the lists say."""
        busy = True
        while busy:
            notices, self._notices = self._notices, []
            for notice, since in reversed(notices):
                await self._tell(notice, since)
            for number, member in enumerate(self._members):
                await member.organization.sending.release()
                await self.decide(number)
                await self.deliver(number)
                await self._look(member)
            busy = bool(self._notices)
        for member in self._members:
            statuses = await member.organization.sending.rows("SELECT DISTINCT status FROM messages")
            assert {row.status for row in statuses} <= {"sent", "vetoed", "bounced"}
            for who in PEOPLE:
                for contact in await self._contacts(member, who):
                    shown = [
                        status for reason, status in _SHOWN.items() if reason in member.refusals[who.digest]
                    ]
                    assert contact.status == next(iter(shown), contacts_pb2.CONTACT_STATUS_SUBSCRIBED)

    def _refused(self, member: Membership, digest: bytes, reason: SuppressionReason) -> None:
        member.refusals[digest][reason] = self.counts["steps"]

    async def _tell(self, notice: Notice, since: int) -> None:
        self.counts["told"] += 1
        await self._path.hand_over(notice)
        if notice.reader == "contacts":
            return
        (member,) = [
            member
            for member in self._members
            if str(member.organization.id) == notice.envelope.organization_id
        ]
        if notice.reader == "suppression" and isinstance(event := notice.event, AddressResubscribed):
            self._came_back(member.refusals[event.email_digest], confirmed=since)
        # The next event may have it forgotten whom a message was to.
        await self._look_at_mail(member)

    def _came_back(self, refusals: dict[SuppressionReason, int], *, confirmed: int) -> None:
        # What was said after it was confirmed stays, whenever it is told.
        if refusals.get(SuppressionReason.UNSUBSCRIBE, confirmed) < confirmed:
            del refusals[SuppressionReason.UNSUBSCRIBE]
            self.counts["back"] += 1

    def _one_who_left(self, member: Membership, which: int) -> EmailAddress:
        left = [
            who for who in PEOPLE if SuppressionReason.UNSUBSCRIBE in member.refusals[who.digest]
        ] or PEOPLE
        return left[which % len(left)]

    async def _look(self, member: Membership) -> None:
        await self._look_at_mail(member)
        await self._collect(member)
        listed = await member.organization.sending.rows("SELECT email_digest, reason FROM suppressions")
        expected = {
            (digest, reason.value) for digest, reasons in member.refusals.items() for reason in reasons
        }
        assert {(bytes(row.email_digest), row.reason) for row in listed} == expected

    async def _look_at_mail(self, member: Membership) -> None:
        """Whose address bounced is on the list now; who was vetoed was on it, or is forgotten."""
        rows = await member.organization.sending.rows("SELECT id, email, status, veto_reason FROM messages")
        for row in rows:
            if row.email:
                member.recipients[row.id] = EmailAddress.parse(row.email)
        new = [row for row in rows if row.id not in member.ended and row.status in ("bounced", "vetoed")]
        for row in sorted(new, key=lambda row: str(row.status)):
            member.ended.add(row.id)
            self.counts[row.status] += 1
            who = member.recipients[row.id]
            if row.status == "bounced":
                assert who.text in self._without_mailbox
                self._refused(member, who.digest, SuppressionReason.HARD_BOUNCE)
            elif row.veto_reason == SuppressionReason.ERASED.value:
                assert who.digest in member.erased
            else:
                assert SuppressionReason(row.veto_reason) in member.refusals[who.digest]

    async def _collect(self, member: Membership) -> None:
        """What was published in this step is on its way."""
        for notice in await self._path.published(member.organization):
            self._notices.append((notice, self.counts["steps"]))
            if notice.reader == "sending" and isinstance(event := notice.event, SendConfirmationMail):
                member.confirmations += re.findall(r"/f/confirm/([\w-]+)", event.text)

    async def _contacts(self, member: Membership, who: EmailAddress) -> Sequence[contacts_pb2.Contact]:
        found = await member.organization.contacts(contacts_pb2.ListContactsRequest(email=who.text))
        contacts: Sequence[contacts_pb2.Contact] = found.contacts
        return contacts

    async def _answer(self, recipient: str) -> str:
        return "550 5.1.1 no such user" if recipient in self._without_mailbox else "250 2.1.5 OK"


def _token(url: str) -> str:
    return url.rpartition("/")[2]
