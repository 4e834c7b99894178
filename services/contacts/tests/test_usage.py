"""How many contacts there may be: counted as they come and go, and never passed, by whomever together."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from chassis.errors import Conflict, DomainError, NotFound, PermissionDenied, Unavailable
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import contacts_pb2, usage_pb2
from flownurture.contacts.v1.usage_pb2_grpc import ContactUsageServiceStub
from services.contacts.tests.tenant import Tenant

AT_ONCE = 64


def on_a_plan_of(tenant: Tenant, contacts: int) -> Tenant:
    tenant.context = replace(tenant.context, limits=(("contacts", contacts),))
    return tenant


async def refusals(*calls: Any) -> list[DomainError]:
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    return [outcome for outcome in outcomes if isinstance(outcome, DomainError)]


async def test_of_64_at_one_below_the_limit_exactly_one_passes(tenant: Tenant) -> None:
    on_a_plan_of(tenant, 5)
    for number in range(4):
        await tenant.add(f"c{number}@example.com")
    refused = await refusals(*(tenant.add(f"p{number}@example.com") for number in range(AT_ONCE)))
    assert len(refused) == AT_ONCE - 1
    assert {(type(error), error.reason) for error in refused} == {(PermissionDenied, "PLAN_LIMIT_EXCEEDED")}
    assert await tenant.count("contacts") == 5
    assert len(await tenant.published()) == 5


async def test_the_first_64_of_an_organization_are_all_counted(tenant: Tenant) -> None:
    assert await refusals(*(tenant.add(f"p{number}@example.com") for number in range(AT_ONCE))) == []
    on_a_plan_of(tenant, AT_ONCE)
    with pytest.raises(PermissionDenied):
        await tenant.add("one-more@example.com")


async def test_a_deleted_contact_frees_its_place(tenant: Tenant) -> None:
    on_a_plan_of(tenant, 1)
    ada = await tenant.add("ada@example.com")
    with pytest.raises(PermissionDenied):
        await tenant.add("grace@example.com")
    await tenant(contacts_pb2.DeleteContactRequest(contact_id=ada.id))
    await tenant.add("grace@example.com")


async def test_what_was_there_before_there_was_a_count_is_counted(tenant: Tenant) -> None:
    await tenant.add("ada@example.com")
    await tenant.execute("UPDATE usage SET contacts = 0")
    on_a_plan_of(tenant, 1)
    await tenant.add("grace@example.com")
    # Only a missing row is counted anew, and the count of one that is there is believed.
    with pytest.raises(PermissionDenied):
        await tenant.add("joan@example.com")


async def test_an_import_stops_creating_at_the_limit_and_goes_on_updating(tenant: Tenant) -> None:
    on_a_plan_of(tenant, 4)
    await tenant.add("ada@example.com")
    rows = [*(f"n{number}@example.com,New" for number in range(6)), "ada@example.com,Ada"]
    done = await tenant.import_file(("email,first name\n" + "\n".join(rows)).encode())
    assert (done.created_contacts, done.updated_contacts, done.failed_rows) == (3, 1, 3)
    assert [(error.line, error.message) for error in done.errors] == [
        (line, "The plan's limit of 4 contacts is reached.") for line in (5, 6, 7)
    ]
    people = await tenant.everybody()
    assert set(people) == {"ada@example.com", *(f"n{number}@example.com" for number in range(3))}
    assert people["ada@example.com"].first_name == "Ada"


async def test_an_import_beside_other_requests_never_passes_the_limit(tenant: Tenant) -> None:
    on_a_plan_of(tenant, 40)
    file = ("email\n" + "\n".join(f"i{number}@example.com" for number in range(50))).encode()
    imported = tenant.import_file(file)
    await asyncio.gather(imported, refusals(*(tenant.add(f"p{number}@example.com") for number in range(50))))
    assert await tenant.count("contacts") == 40


@pytest.mark.parametrize("seed", range(4))
async def test_the_count_is_exact_after_whatever_happens(
    tenant: Tenant, gateway: Peer, peer_as: Any, seed: int
) -> None:
    on_a_plan_of(tenant, 25)
    chance = random.Random(seed)

    async def add() -> None:
        await tenant.add(f"c{chance.randrange(40)}@example.com")

    async def remove() -> None:
        people = list((await tenant.everybody()).values())
        contact_id = chance.choice(people).id if people else str(new_id())
        await tenant(contacts_pb2.DeleteContactRequest(contact_id=contact_id))

    async def load() -> None:
        rows = "\n".join(f"c{chance.randrange(40)}@example.com" for _ in range(10))
        await tenant.import_file(f"email\n{rows}".encode())

    for _ in range(6):
        acts = [chance.choice((add, add, add, remove, load))() for _ in range(6)]
        refused = await refusals(*acts)
        assert all(isinstance(error, PermissionDenied | Conflict | NotFound) for error in refused), refused
    async with peer_as("identity") as identity:
        answer = await identity.call(
            ContactUsageServiceStub(identity.channel).CountContacts,
            usage_pb2.CountContactsRequest(),
            replace(tenant.context, issuer="identity"),
        )
    assert answer.contacts == await tenant.count("contacts") <= 25


async def test_without_a_limit_in_its_context_nothing_is_added(tenant: Tenant) -> None:
    tenant.context = replace(tenant.context, limits=())
    with pytest.raises(Unavailable):
        await tenant.add("ada@example.com")
    assert await tenant.count("contacts") == 0
