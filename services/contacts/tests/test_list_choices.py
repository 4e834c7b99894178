"""What a person leaves on their page of preferences stays left, whoever would have it otherwise."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection

import pytest
from sqlalchemy.exc import IntegrityError

from chassis.email_address import EmailAddress
from chassis.errors import PermissionDenied
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import bulk_changes_pb2, contacts_pb2, events_pb2, lists_pb2
from flownurture.contacts.v1 import list_choices_pb2 as pb
from services.contacts.list_choices import MOST_CHOICES
from services.contacts.tests.tenant import Tenant
from services.contacts.tests.test_forms import Visitor, make_form, token_of

ADA = "ada@example.com"


class Chooser:
    """A person on their page of preferences."""

    def __init__(self, tenant: Tenant, email: str = ADA) -> None:
        self._suppression = tenant
        self.digest = EmailAddress.parse(email).digest

    async def sees(self) -> dict[str, bool]:
        """The lists by name, and whether they are in each."""
        return _by_name(await self._suppression(pb.GetListChoicesRequest(email_digest=self.digest)))

    async def chooses(self, offered: Collection[str], chosen: Collection[str] = ()) -> dict[str, bool]:
        """Press the button with some of the boxes ticked."""
        request = pb.ChooseListsRequest(
            email_digest=self.digest, offered_list_ids=offered, chosen_list_ids=chosen
        )
        return _by_name(await self._suppression(request))


def _by_name(answer: pb.ListChoices) -> dict[str, bool]:
    return {choice.name: choice.chosen for choice in answer.choices}


@pytest.fixture(scope="session")
async def suppression(peer_as: Callable[[str], Peer]) -> AsyncIterator[Peer]:
    async with peer_as("suppression") as peer:
        yield peer


@pytest.fixture
def ada(tenant: Tenant, suppression: Peer) -> Chooser:
    return Chooser(tenant.called_by(suppression))


@pytest.fixture
async def news(tenant: Tenant) -> str:
    """A public list with Ada in it."""
    created = await tenant(lists_pb2.CreateListRequest(name="News", description="Weekly", is_public=True))
    await tenant.add(ADA, list_ids=[created.id])
    return str(created.id)


async def lists_of(tenant: Tenant, email: str = ADA) -> list[str]:
    return list((await tenant.everybody())[email].list_ids)


async def timeline(tenant: Tenant, contact_id: str) -> list[tuple[int, int]]:
    found = await tenant(contacts_pb2.ListContactEventsRequest(contact_id=contact_id))
    return [(event.type, event.source) for event in found.events]


async def test_a_person_sees_the_public_lists_that_they_are_in_or_have_been(
    tenant: Tenant, stranger: Tenant, ada: Chooser, news: str
) -> None:
    await stranger.add(
        ADA, list_ids=[(await stranger(lists_pb2.CreateListRequest(name="X", is_public=True))).id]
    )
    internal = await tenant.add_list("Pays late")
    await tenant(lists_pb2.CreateListRequest(name="Of others", is_public=True))
    contact = (await tenant.everybody())[ADA]
    await tenant(lists_pb2.AddListContactsRequest(list_id=internal.id, contact_ids=[contact.id]))
    assert await ada.sees() == {"News": True}
    await tenant(lists_pb2.RemoveListContactRequest(list_id=news, contact_id=contact.id))
    assert await ada.sees() == {"News": False}
    await tenant(lists_pb2.UpdateListRequest(list_id=news, is_public=False))
    await tenant(lists_pb2.UpdateListRequest(list_id=internal.id, is_public=True))
    assert await ada.sees() == {"Pays late": True}


async def test_a_person_leaves_and_comes_back_and_it_shows_that_it_was_them(
    tenant: Tenant, ada: Chooser, news: str
) -> None:
    contact = (await tenant.everybody())[ADA]
    for _ in range(2):
        assert await ada.chooses([news]) == {"News": False}
    assert await lists_of(tenant) == []
    for _ in range(2):
        assert await ada.chooses([news], [news]) == {"News": True}
    assert await lists_of(tenant) == [news]
    assert (await timeline(tenant, contact.id))[:2] == [
        (contacts_pb2.CONTACT_EVENT_TYPE_LIST_JOINED, contacts_pb2.CONTACT_SOURCE_PREFERENCES),
        (contacts_pb2.CONTACT_EVENT_TYPE_LIST_LEFT, contacts_pb2.CONTACT_SOURCE_PREFERENCES),
    ]
    told = [
        (type(event).__name__, event.source)
        for event in await tenant.published()
        if isinstance(event, events_pb2.ListLeft | events_pb2.ListJoined)
    ]
    assert told[1:] == [
        ("ListLeft", contacts_pb2.CONTACT_SOURCE_PREFERENCES),
        ("ListJoined", contacts_pb2.CONTACT_SOURCE_PREFERENCES),
    ]


async def by_creating_anew(tenant: Tenant, list_id: str) -> None:
    contact = (await tenant.everybody())[ADA]
    await tenant(contacts_pb2.DeleteContactRequest(contact_id=contact.id))
    await tenant.add(ADA, list_ids=[list_id])


async def by_upsert(tenant: Tenant, list_id: str) -> None:
    await tenant(contacts_pb2.UpsertContactRequest(email=ADA, list_ids=[list_id]))


async def by_adding(tenant: Tenant, list_id: str) -> None:
    contact = (await tenant.everybody())[ADA]
    await tenant(lists_pb2.AddListContactsRequest(list_id=list_id, contact_ids=[contact.id]))


async def by_import(tenant: Tenant, list_id: str) -> None:
    done = await tenant.import_file(
        f"email,first name\n{ADA},Ada\nbob@example.com,\n".encode(), list_id=list_id
    )
    assert (done.created_contacts, done.updated_contacts) == (1, 1)
    assert await lists_of(tenant, "bob@example.com") == [list_id]


async def by_import_after_deletion(tenant: Tenant, list_id: str) -> None:
    contact = (await tenant.everybody())[ADA]
    await tenant(contacts_pb2.DeleteContactRequest(contact_id=contact.id))
    await tenant.import_file(f"email\n{ADA}\n".encode(), list_id=list_id)


async def by_bulk_change(tenant: Tenant, list_id: str) -> None:
    contact = (await tenant.everybody())[ADA]
    done = await tenant.change_all(
        bulk_changes_pb2.CreateBulkChangeRequest(add_to_list_id=list_id, contact_ids=[contact.id])
    )
    assert done.processed_contacts == 1


async def by_form_unconfirmed(tenant: Tenant, list_id: str) -> None:
    form = await make_form(tenant, list_ids=[list_id], double_opt_in=False)
    await Visitor(tenant).submit(form, email=ADA)


async def by_new_address(tenant: Tenant, list_id: str) -> None:
    """Move away, be put on the list there, and come back."""
    contact = (await tenant.everybody())[ADA]
    for email in ("ada@example.org", ADA):
        await tenant(contacts_pb2.UpdateContactRequest(contact_id=contact.id, email=email))
        await tenant(contacts_pb2.UpsertContactRequest(email=email, list_ids=[list_id]))


@pytest.mark.parametrize(
    "put_back",
    [
        by_creating_anew,
        by_upsert,
        by_adding,
        by_import,
        by_import_after_deletion,
        by_bulk_change,
        by_form_unconfirmed,
        by_new_address,
    ],
)
async def test_nobody_puts_a_person_back_who_has_left(
    tenant: Tenant, ada: Chooser, news: str, put_back: Callable[[Tenant, str], Awaitable[None]]
) -> None:
    await ada.chooses([news])
    await put_back(tenant, news)
    assert await lists_of(tenant) == []
    assert await ada.sees() == {"News": False}
    assert await ada.chooses([news], [news]) == {"News": True}


async def test_a_confirmed_form_puts_a_person_back(tenant: Tenant, ada: Chooser, news: str) -> None:
    await ada.chooses([news])
    form, visitor = await make_form(tenant, list_ids=[news], double_opt_in=False), Visitor(tenant)
    await visitor.submit(form, email=ADA)
    assert await lists_of(tenant) == []
    await visitor.confirm(await token_of(tenant))
    assert await lists_of(tenant) == [news]


async def test_no_writer_of_memberships_passes_over_what_was_left(
    tenant: Tenant, ada: Chooser, news: str
) -> None:
    await ada.chooses([news])
    with pytest.raises(IntegrityError, match="left the list"):
        await tenant.execute(
            "INSERT INTO memberships (list_id, contact_id, source)"
            " SELECT lists.id, contacts.id, 'api' FROM lists, contacts"
        )


async def test_who_takes_an_address_at_which_a_list_was_left_leaves_it(
    tenant: Tenant, ada: Chooser, news: str
) -> None:
    await ada.chooses([news])
    contact = (await tenant.everybody())[ADA]
    await tenant(contacts_pb2.DeleteContactRequest(contact_id=contact.id))
    eve = await tenant.add("eve@example.com", list_ids=[news])
    await tenant(contacts_pb2.UpdateContactRequest(contact_id=eve.id, email=ADA))
    assert await lists_of(tenant) == []


async def test_forged_internal_and_foreign_lists_are_not_a_persons_to_choose(
    tenant: Tenant, stranger: Tenant, ada: Chooser, news: str
) -> None:
    internal = (await tenant.add_list("Pays late")).id
    foreign = (await stranger(lists_pb2.CreateListRequest(name="X", is_public=True))).id
    never_theirs = (await tenant(lists_pb2.CreateListRequest(name="Staff", is_public=True))).id
    forged = [internal, foreign, never_theirs, str(new_id())]
    contact = (await tenant.everybody())[ADA]
    await tenant(lists_pb2.AddListContactsRequest(list_id=internal, contact_ids=[contact.id]))
    assert await ada.chooses([*forged, news], [*forged, news]) == {"News": True}
    assert await ada.chooses([internal, foreign, str(new_id())]) == {"News": True}
    # What was not before them stays, whatever they did not tick.
    assert await ada.chooses([], [news]) == {"News": True}
    assert sorted(await lists_of(tenant)) == sorted([internal, news])


async def test_a_list_that_is_deleted_takes_the_choices_about_it_along(
    tenant: Tenant, ada: Chooser, news: str
) -> None:
    await ada.chooses([news])
    await tenant(lists_pb2.DeleteListRequest(list_id=news))
    assert await ada.chooses([news], [news]) == {}
    assert await tenant.count("list_refusals") == 0


async def test_what_an_erased_person_left_is_kept_and_tells_nothing_of_them(
    tenant: Tenant, ada: Chooser, news: str
) -> None:
    await ada.chooses([news])
    contact = (await tenant.everybody())[ADA]
    await tenant(contacts_pb2.DeleteContactRequest(contact_id=contact.id))
    assert await ada.sees() == {}
    # Also what they press only then.
    other = (await tenant(lists_pb2.CreateListRequest(name="Offers", is_public=True))).id
    assert await ada.chooses([other]) == {}
    assert await tenant.count("list_refusals") == 2
    await tenant.add(ADA, list_ids=[news, other])
    assert await lists_of(tenant) == []


async def test_who_leaves_while_others_put_them_back_has_left(
    tenant: Tenant, ada: Chooser, news: str
) -> None:
    file = f"email\n{ADA}\n".encode()
    for _ in range(5):
        await ada.chooses([news], [news])
        await asyncio.gather(
            ada.chooses([news]),
            ada.chooses([news]),
            by_upsert(tenant, news),
            by_adding(tenant, news),
            tenant.import_file(file, list_id=news),
            by_bulk_change(tenant, news),
        )
        assert await lists_of(tenant) == []


async def test_a_page_has_so_many_lists_at_most(tenant: Tenant, ada: Chooser) -> None:
    created = [
        (await tenant(lists_pb2.CreateListRequest(name=f"List {number:02}", is_public=True))).id
        for number in range(MOST_CHOICES + 1)
    ]
    await tenant.add(ADA, list_ids=created)
    assert list(await ada.sees()) == [f"List {number:02}" for number in range(MOST_CHOICES)]
    await ada.chooses(created[:MOST_CHOICES])
    assert await lists_of(tenant) == created[MOST_CHOICES:]


async def test_nobody_but_the_suppression_process_chooses_for_people(tenant: Tenant, ada: Chooser) -> None:
    with pytest.raises(PermissionDenied):
        await tenant(pb.ChooseListsRequest(email_digest=ada.digest))
