"""A story of several organizations that know the same people, which the services live, and a bystander who knows what must come of it."""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Sequence
from contextlib import suppress as ignore
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody
from sqlalchemy import text

from chassis.email_address import EmailAddress
from chassis.errors import Conflict, FailedPrecondition, NotFound
from flownurture.contacts.v1 import contacts_pb2
from flownurture.contacts.v1.events_pb2 import AddressChanged, AddressResubscribed, SendConfirmationMail
from flownurture.sending.v1 import campaigns_pb2, messages_pb2
from flownurture.suppression.v1 import preferences_pb2, suppressions_pb2, unsubscribe_pb2
from services.contacts.tests.test_forms import Visitor
from services.sending.categories import RULES
from services.sending.delivery.claims import Claimed
from services.sending.feedback.tests.labelled_mail import mail_named
from services.sending.statuses import SuppressionReason
from services.sending.suppression.veto import decide
from tests.integration.sending_path import Notice, Organization, SendingPath

ORGANIZATIONS = 2
PEOPLE = [EmailAddress.parse(f"{name}@example.com") for name in ("ada", "bob", "eve", "kim", "lou", "zoe")]
# Where some of them move to.
ELSEWHERE = [EmailAddress.parse(f"{name}@example.org") for name in ("ada", "bob")]
EVERYWHERE = [*PEOPLE, *ELSEWHERE]

# As the corpus of reports has them.
COMPLAINT, BOUNCE = mail_named("arf_yahoo").content, mail_named("postfix_user_unknown").content
_FOLLOWING = (SuppressionReason.COMPLAINT, SuppressionReason.UNSUBSCRIBE)
_BY_HAND = (SuppressionReason.MANUAL, SuppressionReason.HARD_BOUNCE)
# What a contact's status shows, the gravest first.
_SHOWN = {
    SuppressionReason.COMPLAINT: contacts_pb2.CONTACT_STATUS_COMPLAINED,
    SuppressionReason.UNSUBSCRIBE: contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED,
    SuppressionReason.HARD_BOUNCE: contacts_pb2.CONTACT_STATUS_BOUNCED,
}


_REFUSED_LISTS = text("""
    SELECT refusal.email_digest, membership.contact_id IS NOT NULL AS is_member
    FROM list_refusals AS refusal LEFT JOIN contacts AS contact ON contact.email_digest = refusal.email_digest
    LEFT JOIN memberships AS membership
        ON membership.contact_id = contact.id AND membership.list_id = refusal.list_id
""")

_ADDRESS = text("SELECT email_digest FROM contacts WHERE id = :contact_id")


class Way(StrEnum):
    """How a person opts out."""

    LINK = "link"
    PAGE = "page"
    MAIL = "mail"


@dataclass
class Membership:
    """An organization, and all that a bystander knows about it: what must be on its list, and since which step."""

    organization: Organization
    refusals: dict[bytes, dict[SuppressionReason, int]] = field(default_factory=lambda: defaultdict(dict))
    # Who each message ever made was to.
    recipients: dict[UUID, EmailAddress] = field(default_factory=dict)
    ended: set[UUID] = field(default_factory=set)
    # Of the workflow.
    left_workflow: set[UUID] = field(default_factory=set)
    # Addresses and contacts.
    erased: set[bytes | str] = field(default_factory=set)
    # Who has left the list of readers on the page.
    left: set[bytes] = field(default_factory=set)
    # What people have in their mailboxes, with whose it is, and what they have pressed of it.
    confirmations: list[tuple[str, bytes]] = field(default_factory=list)
    confirmed: set[str] = field(default_factory=set)


class Story:
    """One life of everybody. A step is checked as soon as it has happened."""

    def __init__(self, path: SendingPath) -> None:
        # What it was about, and how often.
        self.counts: Counter[str] = Counter()
        self._path = path
        self._members: list[Membership] = []
        self._notices: list[tuple[Notice, int]] = []
        self._without_mailbox: set[str] = set()
        self._heard: set[tuple[str, str]] = set()
        self._visitors = 0
        path.relay.on_recipient = self._answer

    async def begin(self) -> None:
        """Organizations come into being, know everybody, and have written to them: there is something to answer."""
        self._members = [Membership(await self._path.found()) for _ in range(ORGANIZATIONS)]
        for number, member in enumerate(self._members):
            await self.import_file(number)
            await self.launch(number)
            await self._look(member)
        await self._catch_up()

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
            member.erased |= {who.digest, contact.id}
            await member.organization.contacts(contacts_pb2.DeleteContactRequest(contact_id=contact.id))

    async def change_address(self, number: int, who: EmailAddress, to: EmailAddress) -> None:
        """Have a contact at another address, if nobody else is there."""
        member = self._members[number]
        for contact in await self._contacts(member, who):
            with ignore(Conflict):
                await member.organization.contacts(
                    contacts_pb2.UpdateContactRequest(contact_id=contact.id, email=to.text)
                )
                self.counts["moved"] += who != to
                if who.digest in member.left:
                    member.left.add(to.digest)

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

    async def unsubscribe(self, number: int, which: int, way: Way) -> None:
        """By the link in any mail that there ever was, or by a mail to the address in it."""
        member = self._members[number]
        if not member.recipients:
            return
        message_id, who = list(member.recipients.items())[which % len(member.recipients)]
        organization = member.organization
        if way is Way.MAIL:
            if not await self._opt_out_by_mail(organization, message_id):
                return
        elif way is Way.PAGE:
            await self._choose(organization, message_id, who, "choice=unsubscribe")
        else:
            token = _token(self._path.unsubscribe_links.url(organization.id, message_id, who.digest))
            await organization.sending(unsubscribe_pb2.UnsubscribeRequest(token=token))
        self._refused(member, who.digest, SuppressionReason.UNSUBSCRIBE)

    async def choose_list(self, number: int, which: int, *, stay: bool) -> None:
        """Leave the list of readers, or come back to it, on the page behind any mail that there ever was."""
        member = self._members[number]
        if not member.recipients:
            return
        message_id, who = list(member.recipients.items())[which % len(member.recipients)]
        list_id = member.organization.list_id
        choice = f"choice=lists&offered={list_id}" + (f"&list={list_id}" if stay else "")
        await self._choose(member.organization, message_id, who, choice)
        if not stay:
            member.left.add(who.digest)
            self.counts["left"] += 1
        elif await self._contacts(member, who):
            member.left.discard(who.digest)

    async def complain(self, number: int, which: int, times: int) -> None:
        """By what a mailbox provider reports of a mail that has arrived."""
        await self._report(number, which, times, COMPLAINT, SuppressionReason.COMPLAINT)

    async def bounce_late(self, number: int, which: int, times: int) -> None:
        """By what a receiving server reports of a mail that it has taken."""
        member = self._members[number]
        message_id = await self._report(number, which, times, BOUNCE, SuppressionReason.HARD_BOUNCE)
        if message_id is not None:
            member.ended.add(message_id)

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
            token, digest = member.confirmations[which % len(member.confirmations)]
            with ignore(NotFound):
                await Visitor(member.organization.contacts).confirm(token)
                if token not in member.confirmed:
                    member.confirmed.add(token)
                    member.left.discard(digest)

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

    async def wake(self, number: int) -> None:
        """The time comes for the next letter of the workflow to those under way in it."""
        await self._path.wake(self._members[number].organization)

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
        """When all is told and sent, what contacts show is what the lists say."""
        await self._catch_up()
        for number, member in enumerate(self._members):
            await self._write_to_all_under_way(number, member)
        await self._catch_up()
        for member in self._members:
            statuses = await member.organization.sending.rows("SELECT DISTINCT status FROM messages")
            assert {row.status for row in statuses} <= {"sent", "vetoed", "bounced"}
            for who in EVERYWHERE:
                for contact in await self._contacts(member, who):
                    shown = [
                        status for reason, status in _SHOWN.items() if reason in member.refusals[who.digest]
                    ]
                    assert contact.status == next(iter(shown), contacts_pb2.CONTACT_STATUS_SUBSCRIBED)

    async def _write_to_all_under_way(self, number: int, member: Membership) -> None:
        """All is told, so whoever is still in the workflow is on no list, and gets the next letter."""
        under_way = await member.organization.sending.rows(
            "SELECT email_digest FROM enrollments WHERE ended_at IS NULL"
        )
        assert not any(member.refusals[bytes(row.email_digest)] for row in under_way)
        before = self.counts["letters"]
        await self.wake(number)
        await self._look(member)
        assert self.counts["letters"] - before == len(under_way)

    async def _catch_up(self) -> None:
        """Whatever is still to be told is told, and whatever is open is sent."""
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

    def _refused(self, member: Membership, digest: bytes, reason: SuppressionReason) -> None:
        member.refusals[digest][reason] = self.counts["steps"]

    async def _tell(self, notice: Notice, since: int) -> None:
        self.counts["told"] += 1
        is_news = (notice.envelope.id, notice.reader) not in self._heard
        self._heard.add((notice.envelope.id, notice.reader))
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
        if notice.reader == "suppression" and isinstance(event := notice.event, AddressChanged) and is_news:
            for reason in member.refusals[event.old_email_digest].keys() & set(_FOLLOWING):
                self._refused(member, event.new_email_digest, reason)
        # The next event may have it forgotten whom a message was to, and take from the list why somebody has left.
        await self._look_at_mail(member)
        await self._look_at_workflow(member)

    def _came_back(self, refusals: dict[SuppressionReason, int], *, confirmed: int) -> None:
        # What was said after it was confirmed stays, whenever it is told.
        if refusals.get(SuppressionReason.UNSUBSCRIBE, confirmed) < confirmed:
            del refusals[SuppressionReason.UNSUBSCRIBE]
            self.counts["back"] += 1

    def _one_who_left(self, member: Membership, which: int) -> EmailAddress:
        left = [
            who for who in EVERYWHERE if SuppressionReason.UNSUBSCRIBE in member.refusals[who.digest]
        ] or PEOPLE
        return left[which % len(left)]

    async def _look(self, member: Membership) -> None:
        await self._look_at_mail(member)
        await self._look_at_workflow(member)
        await self._collect(member)
        listed = await member.organization.sending.rows("SELECT email_digest, reason FROM suppressions")
        expected = {
            (digest, reason.value) for digest, reasons in member.refusals.items() for reason in reasons
        }
        assert {(bytes(row.email_digest), row.reason) for row in listed} == expected
        await self._look_at_list(member)

    async def _look_at_list(self, member: Membership) -> None:
        """Whoever has left it is not in it, whoever would have them there."""
        context = member.organization.contacts.context
        async with self._path.contacts.tenant_transaction(context, read_only=True) as session:
            rows = (await session.execute(_REFUSED_LISTS)).all()
        assert {bytes(row.email_digest) for row in rows} == member.left
        assert not any(row.is_member for row in rows)

    async def _look_at_mail(self, member: Membership) -> None:
        """Whose address bounced is on the list now; who was vetoed was on it, or is forgotten."""
        rows = await member.organization.sending.rows(
            "SELECT id, contact_id, email, status, veto_reason, workflow_mail_id FROM messages"
        )
        for row in rows:
            if not row.email:
                continue
            who = EmailAddress.parse(row.email)
            if row.workflow_mail_id and row.id not in member.recipients:
                assert not member.refusals[who.digest], f"a workflow wrote to {who}, who is on the list"
                self.counts["letters"] += 1
            member.recipients[row.id] = who
        new = [row for row in rows if row.id not in member.ended and row.status in ("bounced", "vetoed")]
        for row in sorted(new, key=lambda row: str(row.status)):
            member.ended.add(row.id)
            self.counts[row.status] += 1
            who = member.recipients[row.id]
            if row.status == "bounced":
                assert who.text in self._without_mailbox
                self._refused(member, who.digest, SuppressionReason.HARD_BOUNCE)
            elif row.veto_reason == SuppressionReason.ERASED.value:
                assert {who.digest, str(row.contact_id)} & member.erased
            else:
                assert SuppressionReason(row.veto_reason) in member.refusals[who.digest]

    async def _look_at_workflow(self, member: Membership) -> None:
        """Whoever has left the workflow, which nobody leaves otherwise, was on the list, or is forgotten."""
        rows = await member.organization.sending.rows(
            "SELECT id, contact_id, email_digest, cause, reason FROM enrollments WHERE ended_at IS NOT NULL"
        )
        for row in rows:
            if row.id in member.left_workflow:
                continue
            member.left_workflow.add(row.id)
            self.counts["out"] += 1
            assert row.cause == "suppressed"
            if row.reason == SuppressionReason.ERASED.value:
                assert str(row.contact_id) in member.erased
            else:
                # They may have moved, and the workflow have heard of it from contacts themselves.
                digests = {bytes(row.email_digest), *await self._digests(member, row.contact_id)}
                assert any(SuppressionReason(row.reason) in member.refusals[digest] for digest in digests)

    async def _digests(self, member: Membership, contact_id: UUID) -> list[bytes]:
        """Of the address that a contact has now."""
        context = member.organization.contacts.context
        async with self._path.contacts.tenant_transaction(context, read_only=True) as session:
            found = await session.execute(_ADDRESS, {"contact_id": contact_id})
            return [bytes(row.email_digest) for row in found]

    async def _collect(self, member: Membership) -> None:
        """What was published in this step is on its way."""
        for notice in await self._path.published(member.organization):
            self._notices.append((notice, self.counts["steps"]))
            if notice.reader == "sending" and isinstance(event := notice.event, SendConfirmationMail):
                digest = EmailAddress.parse(event.to).digest
                order_id = UUID(notice.envelope.id)
                said = await self._path.sealed_mails.open(event.sealed_body, order_id, event.to)
                tokens = re.findall(r"/f/confirm/([\w-]+)", said.text)
                member.confirmations += [(token, digest) for token in tokens]

    async def _choose(
        self, organization: Organization, message_id: UUID, who: EmailAddress, choice: str
    ) -> None:
        token = _token(self._path.preference_links.url(organization.id, message_id, who.digest))
        body = HttpBody(data=choice.encode())
        await organization.sending(preferences_pb2.ChangePreferencesRequest(token=token, body=body))

    async def _opt_out_by_mail(self, organization: Organization, message_id: UUID) -> bool:
        """Whether that can work: it names the message alone, and of who is erased nobody knows whose it was."""
        (message,) = await organization.sending.rows(
            "SELECT email FROM messages WHERE id = :id", id=message_id
        )
        address = self._path.unsubscribe_addresses.address(organization.id, message_id, "mail.test")
        await self._path.write(address, b"Subject: unsubscribe\r\n\r\n")
        return bool(message.email)

    async def _report(
        self, number: int, which: int, times: int, content: bytes, reason: SuppressionReason
    ) -> UUID | None:
        """Report so often about one of the mails that have arrived, if there is any; which message that was."""
        member = self._members[number]
        organization = member.organization
        arrived = await organization.sending.rows(
            "SELECT id, email, email_digest FROM messages WHERE status = 'sent' ORDER BY id"
        )
        if not arrived:
            return None
        message = arrived[which % len(arrived)]
        return_path = self._path.return_paths.address(organization.id, message.id, "mail.test")
        for _ in range(times):
            await self._path.write(return_path, content)
        self.counts["reported"] += 1
        # Nobody knows the address any more of who is erased.
        if message.email:
            self._refused(member, bytes(message.email_digest), reason)
        return UUID(str(message.id))

    async def _contacts(self, member: Membership, who: EmailAddress) -> Sequence[contacts_pb2.Contact]:
        found = await member.organization.contacts(contacts_pb2.ListContactsRequest(email=who.text))
        contacts: Sequence[contacts_pb2.Contact] = found.contacts
        return contacts

    async def _answer(self, recipient: str) -> str:
        return "550 5.1.1 no such user" if recipient in self._without_mailbox else "250 2.1.5 OK"


def _token(url: str) -> str:
    return url.rpartition("/")[2]
