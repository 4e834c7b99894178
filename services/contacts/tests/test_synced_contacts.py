"""Contacts that are kept in step with another system: each has an outcome of its own, and nobody's choice is undone."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.errors import InvalidRequest, PermissionDenied
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import contacts_pb2, custom_fields_pb2
from flownurture.contacts.v1 import synced_contacts_pb2 as pb
from flownurture.contacts.v1.synced_contacts_pb2_grpc import SyncedContactServiceStub
from flownurture.sending.v1.messages_pb2 import SUPPRESSION_REASON_UNSUBSCRIBE
from services.contacts.tests.plan import Plan
from services.contacts.tests.tenant import Tenant

CREATED, CHANGED, UNCHANGED = pb.SYNC_RESULT_CREATED, pb.SYNC_RESULT_CHANGED, pb.SYNC_RESULT_UNCHANGED
STALE, GONE, REFUSED = pb.SYNC_RESULT_STALE, pb.SYNC_RESULT_GONE, pb.SYNC_RESULT_REFUSED


@pytest.fixture
async def integrations(peer_as: Callable[[str], Peer], tenant: Tenant) -> AsyncIterator[Tenant]:
    """The integrations process, on behalf of the tenant's organization."""
    async with peer_as("integrations") as peer:
        yield tenant.called_by(peer)


def someone(email: str = "", contact: str = "", **known: Any) -> pb.SyncedContactWrite:
    return pb.SyncedContactWrite(email=email, contact_id=UUID(contact).bytes if contact else b"", **known)


async def written(integrations: Tenant, *writes: pb.SyncedContactWrite) -> list[pb.SyncedContactOutcome]:
    request = pb.WriteContactsRequest(contacts=writes, source_id=uuid4().bytes)
    return list((await integrations(request)).outcomes)


async def read(integrations: Tenant, email: str, *fields: str) -> pb.SyncedContactBatch:
    request = pb.ReadContactsRequest(contacts=[pb.SyncedContactKey(email=email)], custom_fields=fields)
    found: pb.SyncedContactBatch = (await integrations(request)).contacts
    return found


async def test_each_contact_is_created_changed_or_left_and_says_so(
    integrations: Tenant, tenant: Tenant
) -> None:
    await tenant(
        custom_fields_pb2.CreateCustomFieldRequest(
            key="score", type=custom_fields_pb2.CUSTOM_FIELD_TYPE_NUMBER
        )
    )
    ada = someone("ada@example.com", first_name="Ada", custom_fields=json.dumps({"score": 7}))
    (created,) = await written(integrations, ada)
    assert created.result == CREATED
    (same, other) = await written(integrations, ada, someone("bob@example.com", first_name="Bob"))
    assert (same.result, same.version, other.result) == (UNCHANGED, created.version, CREATED)
    (changed,) = await written(integrations, someone("ADA@example.com", last_name="Lovelace"))
    assert (changed.result, changed.contact_id) == (CHANGED, created.contact_id)
    assert changed.version > created.version

    found = await read(integrations, "ada@example.com", "score")
    assert (list(found.first_names), list(found.last_names)) == (["Ada"], ["Lovelace"])
    assert (json.loads(found.custom_fields[0]), list(found.versions)) == ({"score": 7}, [changed.version])


async def test_what_was_changed_since_it_was_read_is_not_written_over(
    integrations: Tenant, tenant: Tenant
) -> None:
    (created,) = await written(integrations, someone("ada@example.com", first_name="Ada"))
    await tenant(
        contacts_pb2.UpdateContactRequest(
            contact_id=str(UUID(bytes=created.contact_id)), first_name="Augusta"
        )
    )
    (stale,) = await written(
        integrations, someone("ada@example.com", first_name="A.", expected_version=created.version)
    )
    assert stale.result == STALE
    assert list((await read(integrations, "ada@example.com")).first_names) == ["Augusta"]
    (changed,) = await written(
        integrations, someone("ada@example.com", first_name="A.", expected_version=stale.version)
    )
    assert changed.result == CHANGED


async def test_of_two_who_write_at_the_same_version_one_is_stale(integrations: Tenant) -> None:
    (created,) = await written(integrations, someone("ada@example.com"))
    results = await asyncio.gather(
        *(
            written(
                integrations, someone("ada@example.com", first_name=name, expected_version=created.version)
            )
            for name in ("Ada", "Augusta")
        )
    )
    assert sorted(outcome.result for (outcome,) in results) == sorted((CHANGED, STALE))


async def test_whoever_opted_out_stays_so_whatever_is_written(integrations: Tenant, tenant: Tenant) -> None:
    (created,) = await written(integrations, someone("ada@example.com"))
    await tenant.suppress("ada@example.com", SUPPRESSION_REASON_UNSUBSCRIBE)
    contact = str(UUID(bytes=created.contact_id))
    await written(integrations, someone("ada@example.com", first_name="Ada"))
    (moved,) = await written(integrations, someone("ada@elsewhere.example", contact))
    assert moved.result == CHANGED
    (found,) = (await read(integrations, "ada@elsewhere.example")).statuses
    assert found == contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED
    # Erased, and told of again by the other system.
    await tenant(contacts_pb2.DeleteContactRequest(contact_id=contact))
    (again,) = await written(integrations, someone("ada@elsewhere.example"))
    assert again.result == CREATED
    (found,) = (await read(integrations, "ada@elsewhere.example")).statuses
    assert found == contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED


async def test_what_cannot_be_written_is_refused_alone(integrations: Tenant, tenant: Tenant) -> None:
    await tenant(
        custom_fields_pb2.CreateCustomFieldRequest(
            key="score", type=custom_fields_pb2.CUSTOM_FIELD_TYPE_NUMBER
        )
    )
    outcomes = await written(
        integrations,
        someone("no address"),
        someone(first_name="Nobody"),
        someone("long@example.com", first_name="x" * 201),
        someone("zone@example.com", time_zone="Europe/Nowhere"),
        someone("score@example.com", custom_fields=json.dumps({"score": "many"})),
        someone("unknown@example.com", custom_fields=json.dumps({"colour": "red"})),
        someone("text@example.com", custom_fields="["),
        someone("gone@example.com", str(uuid4())),
        someone("good@example.com"),
    )
    assert [outcome.result for outcome in outcomes] == [*[REFUSED] * 7, GONE, CREATED]
    assert all(outcome.message for outcome in outcomes[:7])
    assert outcomes[4].message == "custom_fields.score must be a number."


async def test_an_address_that_another_contact_has_is_not_taken(integrations: Tenant) -> None:
    ada, bob = await written(integrations, someone("ada@example.com"), someone("bob@example.com"))
    taken, swapped = await written(
        integrations,
        someone("bob@example.com", str(UUID(bytes=ada.contact_id))),
        someone("carl@example.com", str(UUID(bytes=bob.contact_id))),
    )
    assert (taken.result, swapped.result) == (REFUSED, CHANGED)
    moved, behind = await written(
        integrations,
        someone("ada@elsewhere.example", str(UUID(bytes=ada.contact_id))),
        someone("ada@example.com"),
    )
    # The second speaks of who had the address when it was read.
    assert (moved.result, behind.result) == (CHANGED, STALE)
    (new,) = await written(integrations, someone("ada@example.com"))
    assert new.result == CREATED


async def test_beyond_the_plans_places_nobody_is_created_and_the_known_are_changed(
    integrations: Tenant, plan: Plan
) -> None:
    await written(integrations, someone("known@example.com"))
    plan.allow(integrations.context.organization, 2)
    outcomes = await written(
        integrations, *(someone(f"{name}@example.com", first_name=name) for name in ("one", "two", "known"))
    )
    assert [outcome.result for outcome in outcomes] == [CREATED, REFUSED, CHANGED]


async def test_a_contact_may_not_be_written_twice_in_one_call(integrations: Tenant) -> None:
    with pytest.raises(InvalidRequest):
        await written(integrations, someone("ada@example.com"), someone("ADA@example.com"))


async def test_all_contacts_are_streamed_once_behind_where_one_was_cut_off(integrations: Tenant) -> None:
    await written(integrations, *(someone(f"reader{number}@example.com") for number in range(25)))
    stub = SyncedContactServiceStub(integrations.peer.channel)

    async def streamed(after: bytes = b"") -> list[bytes]:
        request = pb.StreamContactsRequest(batch_size=10, after_contact_id=after)
        batches = integrations.peer.stream(stub.StreamContacts, request, integrations.context)
        return [contact_id async for batch in batches for contact_id in batch.contact_ids]

    everybody = await streamed()
    assert len(set(everybody)) == 25
    assert await streamed(everybody[11]) == everybody[12:]


async def test_another_organizations_contacts_are_neither_read_nor_written(
    integrations: Tenant, stranger: Tenant, peer_as: Callable[[str], Peer]
) -> None:
    (created,) = await written(integrations, someone("ada@example.com", first_name="Ada"))
    async with peer_as("integrations") as peer:
        theirs = stranger.called_by(peer)
        contact = str(UUID(bytes=created.contact_id))
        assert not (await read(theirs, "ada@example.com")).contact_ids
        assert [outcome.result for outcome in await written(theirs, someone("x@example.com", contact))] == [
            GONE
        ]


async def test_what_may_be_kept_in_step_is_told_with_its_type(integrations: Tenant, tenant: Tenant) -> None:
    for key, kind, choices in (
        ("points", custom_fields_pb2.CUSTOM_FIELD_TYPE_NUMBER, ()),
        ("color", custom_fields_pb2.CUSTOM_FIELD_TYPE_CHOICE, ("red", "blue")),
    ):
        await tenant(custom_fields_pb2.CreateCustomFieldRequest(key=key, type=kind, choices=choices))
    *own, points, color = (await integrations(pb.DescribeSyncedFieldsRequest())).fields
    assert {(each.name, each.is_custom) for each in own} == {
        ("first_name", False),
        ("last_name", False),
        ("time_zone", False),
    }
    assert (points.name, points.is_custom, points.type) == ("points", True, pb.SYNCED_FIELD_TYPE_NUMBER)
    assert (color.type, list(color.choices)) == (pb.SYNCED_FIELD_TYPE_CHOICE, ["red", "blue"])


async def test_no_other_process_may_ask(tenant: Tenant, peer_as: Callable[[str], Peer]) -> None:
    async with peer_as("sending") as peer:
        with pytest.raises(PermissionDenied):
            await read(tenant.called_by(peer), "ada@example.com")


async def test_who_hears_of_what_a_sync_wrote_hears_by_which_connection(
    integrations: Tenant, tenant: Tenant
) -> None:
    connection = uuid4().bytes
    for name in ("Ada", "Augusta"):
        write = someone("ada@example.com", first_name=name)
        await integrations(pb.WriteContactsRequest(contacts=[write], source_id=connection))
    created, updated = await tenant.published()
    assert (created.connection_id, updated.connection_id) == (connection, connection)
    await tenant(contacts_pb2.UpdateContactRequest(contact_id=created.contacts[0].id, first_name="A."))
    assert (await tenant.published())[-1].connection_id == b""
