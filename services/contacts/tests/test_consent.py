"""Consent: whatever happens in whatever order, there is one status, and who opted out stays out until they come back."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.email_address import EmailAddress
from chassis.identifiers import new_id
from flownurture.contacts.v1 import contacts_pb2 as pb
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed, SuppressedAddress, SuppressionsLifted
from services.contacts.tests.tenant import Tenant
from services.contacts.tests.test_forms import Visitor, make_form, token_of

# By gravity, as the contract names them: the reason of a suppression, and the status that follows.
GRAVEST_FIRST = (
    (messages_pb2.SUPPRESSION_REASON_COMPLAINT, pb.CONTACT_STATUS_COMPLAINED),
    (messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE, pb.CONTACT_STATUS_UNSUBSCRIBED),
    (messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE, pb.CONTACT_STATUS_BOUNCED),
)
REASONS = [reason for reason, _ in GRAVEST_FIRST]


@dataclass(frozen=True)
class Told:
    """What the suppression process says of the address; of two about one reason the later holds."""

    number: int
    reason: int
    suppressed: bool


# What anybody but the person can do, and what the person does with a form: none of it may change a status.
DEEDS = ("upsert", "import", "rename", "erase and create", "submit", "submit and confirm")


@st.composite
def stories(draw: st.DrawFn) -> list[Told | str]:
    facts = draw(st.lists(st.tuples(st.sampled_from(REASONS), st.booleans()), max_size=6))
    told = [Told(number, reason, suppressed) for number, (reason, suppressed) in enumerate(facts)]
    deeds = draw(st.lists(st.sampled_from(DEEDS), max_size=4))
    story: list[Told | str] = draw(st.permutations([*told, *deeds]))
    return story


def status_after(heard: list[Told]) -> int:
    for reason, status in GRAVEST_FIRST:
        about = [each for each in heard if each.reason == reason]
        if about and max(about, key=lambda each: each.number).suppressed:
            return status
    return pb.CONTACT_STATUS_SUBSCRIBED


class Life:
    """One address in one organization, and what has been heard of it."""

    def __init__(self, tenant: Tenant, form: Any, number: int) -> None:
        self.email = f"ada{number}@example.com"
        self.heard: list[Told] = []
        self._tenant = tenant
        self._form = form
        self._visitor = Visitor(tenant, f"2001:db8::{number:x}")
        self._ids = [new_id() for _ in range(6)]

    async def live(self, step: Told | str) -> None:
        if isinstance(step, Told):
            address = SuppressedAddress(
                digest=EmailAddress.parse(self.email).digest,
                reason=step.reason,  # type: ignore[arg-type]
            )
            event = AddressesSuppressed if step.suppressed else SuppressionsLifted
            await self._tenant.hear(event(addresses=[address]), self._ids[step.number])
            self.heard.append(step)
        elif step == "upsert":
            await self._tenant(pb.UpsertContactRequest(email=self.email, first_name="Ada"))
        elif step == "import":
            await self._tenant.import_file(f"email\n{self.email}\n".encode())
        elif step == "rename":
            await self._tenant(pb.UpdateContactRequest(contact_id=await self.id(), first_name="Augusta"))
        elif step == "erase and create":
            await self._tenant(pb.DeleteContactRequest(contact_id=await self.id()))
            await self._tenant.add(self.email)
        else:
            await self._visitor.submit(self._form, email=self.email)
            if step == "submit and confirm":
                await self._visitor.confirm(await token_of(self._tenant))

    async def contact(self) -> pb.Contact:
        (found,) = (await self._tenant(pb.ListContactsRequest(email=self.email))).contacts
        contact: pb.Contact = found
        return contact

    async def id(self) -> str:
        return (await self.contact()).id


async def test_any_order_of_events_gives_one_status_and_nobody_else_brings_a_person_back(
    tenant: Tenant,
) -> None:
    drawn: list[list[Told | str]] = []

    # Hypothesis draws, and the event loop that the database belongs to lives the stories.
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(stories())
    def draw(story: list[Told | str]) -> None:
        drawn.append(story)

    draw()
    form = await make_form(tenant)
    for number, story in enumerate(drawn):
        life = Life(tenant, form, number)
        await tenant.add(life.email)
        for place, step in enumerate(story):
            await life.live(step)
            assert (await life.contact()).status == status_after(life.heard), story[: place + 1]


async def test_the_ledger_is_only_ever_added_to(tenant: Tenant) -> None:
    ada = await tenant.add("ada@example.com")
    await tenant.suppress("ada@example.com", messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE)
    await tenant.suppress("ada@example.com", messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE)
    await tenant.lift("ada@example.com", messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE)
    ledger = (await tenant(pb.ListContactConsentsRequest(contact_id=ada.id))).consents
    assert [entry.type for entry in ledger] == [
        pb.CONTACT_EVENT_TYPE_CLEARED,
        pb.CONTACT_EVENT_TYPE_UNSUBSCRIBED,
        pb.CONTACT_EVENT_TYPE_SUBSCRIBED,
    ]
    assert [entry.source for entry in ledger] == [
        pb.CONTACT_SOURCE_SUPPRESSION,
        pb.CONTACT_SOURCE_SUPPRESSION,
        pb.CONTACT_SOURCE_API,
    ]
    assert await tenant.refused("UPDATE contact_events SET type = 'subscribed'")
    # Until its organization is erased nothing of it can be deleted.
    await tenant.execute("DELETE FROM contact_events")
    assert (await tenant(pb.ListContactConsentsRequest(contact_id=ada.id))).consents == ledger


async def test_who_comes_and_goes_is_told_of(tenant: Tenant) -> None:
    ada = await tenant.add("ada@example.com")
    await tenant.suppress("ada@example.com", messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE)
    await tenant.lift("ada@example.com", messages_pb2.SUPPRESSION_REASON_UNSUBSCRIBE)
    told = [(type(event).__name__, UUID(event.contacts[0].id)) for event in await tenant.published()]
    assert [name for name, id_ in told if id_ == UUID(ada.id)] == [
        "ContactsCreated",
        "ContactsUpdated",
        "ContactsUnsubscribed",
        "ContactsUpdated",
        "ContactsSubscribed",
    ]
